"""Questions about a node of a graph that several passes ask."""

from typing import TypeVar

import torch
from torch import fx, nn
from torch.nn import functional as F

from senet_zoo.inference.passes.gates import MeanGate

Layer = TypeVar("Layer", bound=nn.Module)


def layer_at(traced: fx.GraphModule, node: object, kind: type[Layer]) -> Layer | None:
    """The layer that ``node`` calls, if it is exactly of that kind."""
    if not isinstance(node, fx.Node) or node.op != "call_module":
        return None
    layer = traced.get_submodule(str(node.target))
    return layer if type(layer) is kind else None


def only_reader(node: fx.Node) -> fx.Node | None:
    """The only node that reads ``node``; None if there are several, or none."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def other_addend(total: fx.Node | None, node: fx.Node) -> fx.Node | None:
    """The map that ``total`` adds to ``node``, if it is the sum of two maps."""
    if total is None or total.target is not torch.add:
        return None
    others = [arg for arg in total.args if arg is not node]
    return others[0] if len(others) == 1 and isinstance(others[0], fx.Node) else None


_OWN_MEMORY = {torch.relu, torch.add, torch.mul, torch.cat, F.max_pool2d, F.avg_pool2d, F.linear, F.pad, "mean"}
_LAYERS = (nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.MaxPool2d, nn.AvgPool2d, MeanGate)


def makes_new_tensor(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether the result surely lies in memory of its own, never in that of an argument."""
    if node.meta.get("new_tensor"):  # set by the pass that made the node
        return True
    if node.op == "call_module":
        return isinstance(traced.get_submodule(str(node.target)), _LAYERS)
    return node.op in ("call_function", "call_method") and node.target in _OWN_MEMORY


def may_overwrite(traced: fx.GraphModule, node: fx.Node, at: fx.Node) -> bool:
    """Whether ``at`` may overwrite the result of ``node``: nothing reads it later, and no view shares its memory."""
    readers = [user for user in node.users if user is not at]
    return makes_new_tensor(traced, node) and all(user < at and makes_new_tensor(traced, user) for user in readers)


def shape_of(node: object) -> tuple[int, ...] | None:
    """The shape of the node's result on the example, if it is one tensor."""
    found = node.meta.get("tensor_meta") if isinstance(node, fx.Node) else None
    shape = getattr(found, "shape", None)
    return None if shape is None else tuple(shape)
