"""One form of each operation: layers that do nothing in eval mode are removed, and nothing works in place.

Later passes then look for ``torch.relu``, ``torch.add`` and ``torch.mul`` of two maps, and nothing else.
"""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

NOTHING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
SPELLINGS: dict[Callable[..., Any] | str, Callable[..., Any]] = {
    F.relu: torch.relu,
    F.relu_: torch.relu,
    torch.relu: torch.relu,
    torch.relu_: torch.relu,
    "relu": torch.relu,
    "relu_": torch.relu,
    operator.add: torch.add,
    operator.iadd: torch.add,
    torch.add: torch.add,
    "add": torch.add,
    "add_": torch.add,
    operator.mul: torch.mul,
    operator.imul: torch.mul,
    torch.mul: torch.mul,
    "mul": torch.mul,
    "mul_": torch.mul,
}
_MUTATING = (operator.iadd, operator.imul, F.relu_, torch.relu_)


def canonicalise(traced: fx.GraphModule) -> None:
    """Rewrite the graph, in place."""
    in_place = {layer for layer in traced.modules() if getattr(layer, "inplace", False)}
    for node in reversed(list(traced.graph.nodes)):
        if node.target is torch._assert:  # checks of shapes would count as readers of a map
            traced.graph.erase_node(node)
    traced.graph.eliminate_dead_code()
    for node in list(traced.graph.nodes):
        if node.op == "call_module":
            _respell_layer(traced, node, in_place)
        elif node.op in ("call_function", "call_method") and _does_nothing(node):
            _replace(node, node.args[0])
        elif node.op in ("call_function", "call_method") and node.target in SPELLINGS:
            _respell(traced, node)


def _respell_layer(traced: fx.GraphModule, node: fx.Node, in_place: set[nn.Module]) -> None:
    layer = traced.get_submodule(str(node.target))
    if type(layer) in NOTHING:
        _replace(node, node.args[0])
    elif type(layer) is nn.ReLU:
        with traced.graph.inserting_before(node):
            new = traced.graph.call_function(torch.relu, (node.args[0],))
        _mutated(node, layer in in_place)
        _replace(node, new)
    elif layer in in_place:
        layer.inplace = False  # type: ignore[assignment]
        _mutated(node, True)


def _respell(traced: fx.GraphModule, node: fx.Node) -> None:
    target = SPELLINGS[node.target]
    width = 1 if target is torch.relu else 2
    options = {key for key in node.kwargs if key != "inplace"}
    if options or any(type(arg) not in (fx.Node, int, float) for arg in node.args[:width]):
        return  # alpha=, or numbers only: arithmetic on sizes
    with traced.graph.inserting_before(node):
        new = traced.graph.call_function(target, node.args[:width])
    in_place = node.target in _MUTATING or str(node.target).endswith("_")
    _mutated(node, in_place or bool(node.kwargs.get("inplace") or len(node.args) > width))
    _replace(node, new)


def _mutated(node: fx.Node, in_place: bool) -> None:
    """What reads the input after an operation in place means its result."""
    if in_place and isinstance(node.args[0], fx.Node):
        node.args[0].replace_all_uses_with(node, lambda user: node < user)


def _does_nothing(node: fx.Node) -> bool:
    target = node.target
    if target in (F.dropout, F.dropout2d):
        training = node.args[2] if len(node.args) > 2 else node.kwargs.get("training", True)
        return training is False
    return getattr(target, "__name__", "") == "stochastic_depth" and node.args[-1] is False  # torchvision's


def _replace(node: fx.Node, by: Any) -> None:
    node.replace_all_uses_with(by)
    node.graph.erase_node(node)
