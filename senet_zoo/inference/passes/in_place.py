"""Operations in the memory of their input, where nobody else reads it.

A new map of megabytes costs more than the operation: the system hands out its pages one by one.

The end of a gated residual unit, ``relu(gate * y + shortcut)``, in the memory of ``y`` and in two passes over it.
"""

from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from senet_zoo.inference.passes.gates import MeanGate
from senet_zoo.inference.passes.nodes import (
    layer_at,
    makes_new_tensor,
    may_overwrite,
    only_reader,
    other_addend,
    shape_of,
)

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


def fuse_tails(network: fx.GraphModule) -> int:
    """Fuse the end of every gated residual unit, in place.

    Args:
        network: canonical, its nodes with their shapes.

    Returns:
        How many.
    """
    fused = 0
    for product in [node for node in network.graph.nodes if node.target is torch.mul]:
        y, scale = product.args
        total = only_reader(product)
        shortcut = other_addend(total, product)
        if layer_at(network, scale, MeanGate) is None or total is None or shortcut is None:
            continue
        late = y in scale.args
        only_ours = set(y.users) == ({product, scale} if late else {product})
        if not only_ours or not makes_new_tensor(network, y) or shape_of(shortcut) != shape_of(y):
            continue
        last = only_reader(total)
        last = last if last is not None and last.target is torch.relu else total
        with network.graph.inserting_before(last):
            function = scale_add_ if last is total else scale_add_relu_
            new = network.graph.call_function(function, (y, scale, shortcut))
        new.meta |= last.meta | {"new_tensor": True}
        last.replace_all_uses_with(new)
        for node in dict.fromkeys((last, total, product)):
            network.graph.erase_node(node)
        fused += 1
    network.graph.eliminate_dead_code()
    return fused


def scale_add_relu_(y: Tensor, scale: Tensor, shortcut: Tensor) -> Tensor:
    """``relu(scale * y + shortcut)`` in the memory of ``y``."""
    return scale_add_(y, scale, shortcut).relu_()


def scale_add_(y: Tensor, scale: Tensor, shortcut: Tensor) -> Tensor:
    """``scale * y + shortcut`` in the memory of ``y``."""
    return torch.addcmul(shortcut, y, scale, out=y)
