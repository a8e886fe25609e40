"""Operations in the memory of their input, where nobody else reads it.

A new map of megabytes costs more than the operation: the system hands out its pages one by one.
"""

from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from senet_zoo.inference.passes.nodes import may_overwrite, shape_of

LAYERS = {nn.Hardswish: F.hardswish, nn.SiLU: F.silu, nn.ReLU6: F.relu6}


def work_in_place(network: fx.GraphModule) -> int:
    """Let activations, sums and products write over an input that has no later reader. Returns how many do."""
    count = 0
    for node in list(network.graph.nodes):
        function, options = _in_place_form(network, node)
        if function is None:
            continue
        free = next((arg for arg in node.args if _is_free(network, arg, node)), None)
        if free is None:
            continue
        others = tuple(arg for arg in node.args if arg is not free)
        node.op, node.target, node.args, node.kwargs = "call_function", function, (free, *others), options
        node.meta["new_tensor"] = True
        count += 1
    return count


def add_(a: Tensor, b: Tensor) -> Tensor:
    """``a + b`` in the memory of ``a``."""
    return a.add_(b)


def mul_(a: Tensor, b: Tensor) -> Tensor:
    """``a * b`` in the memory of ``a``."""
    return a.mul_(b)


_FUNCTIONS = {torch.relu: torch.relu_, torch.add: add_, torch.mul: mul_}


def _in_place_form(network: fx.GraphModule, node: fx.Node) -> tuple[Any, dict[str, bool]]:
    if node.op == "call_module":
        function = LAYERS.get(type(network.get_submodule(str(node.target))))
        return function, {"inplace": True}
    return _FUNCTIONS.get(cast("Any", node.target)) if node.op == "call_function" else None, {}


def _is_free(network: fx.GraphModule, arg: object, node: fx.Node) -> bool:
    if not isinstance(arg, fx.Node) or list(node.args).count(arg) > 1 or shape_of(arg) is None:
        return False
    return shape_of(arg) == shape_of(node) and may_overwrite(network, arg, node)
