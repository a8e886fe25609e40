"""A network as a graph of torch.fx: traced, brought into one form, and asked about its nodes.

The nodes are PyTorch's layers, gates, and parts that cannot be traced. In the one form, layers that do nothing in eval
mode are removed and nothing works in place, so that passes look for ``torch.relu``, ``torch.add`` and ``torch.mul`` of
two maps, and nothing else.
"""

import operator
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.modules.conv import _ConvNd

from senet_zoo.inference.passes.gates import MeanGate, is_gate

PREFIX = "network"
"""Prefix of every name in the graph, because the network is a part of the module that is traced."""
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
Layer = TypeVar("Layer", bound=nn.Module)
_OWN_MEMORY = {torch.relu, torch.add, torch.mul, torch.cat, F.max_pool2d, F.avg_pool2d, F.linear, F.pad, "mean"}
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_LAYERS = (*CONVOLUTIONS, *NORMS, *_POOLS, nn.Linear, MeanGate)


def trace(model: nn.Module) -> tuple[fx.GraphModule, list[str]]:
    """The graph of ``model`` in eval mode; it shares the model's tensors.

    A part whose code depends on values cannot be traced and stays one node; that may be the whole network.

    Returns:
        The graph; the names of such parts.
    """
    root = _Root(model)
    tracer = _LayerTracer()
    graph = tracer.trace(root)
    traced = fx.GraphModule(root, graph, type(model).__name__)
    _name_norms(traced)
    return traced, tracer.opaque


def opaque_parts(network: fx.GraphModule) -> list[str]:
    """Parts of a graph that are neither PyTorch's layers nor ours: code that was not traced."""
    parts = [str(node.target) for node in network.graph.nodes if node.op == "call_module"]
    known = ("torch.nn.", "senet_zoo.")
    return [part for part in parts if not type(network.get_submodule(part)).__module__.startswith(known)]


class _Root(nn.Module):
    """A network as a part, so that it can be a single node as well."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.network(x)
        return y


class _LayerTracer(fx.Tracer):
    def __init__(self) -> None:
        super().__init__()
        self.opaque: list[str] = []

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_gate(m) or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if isinstance(m, nn.BatchNorm2d) and type(m) is not nn.BatchNorm2d:
            # a norm with an activation of its own: only its check of dimensions cannot be traced
            m._check_input_dim = _no_check  # type: ignore[method-assign, assignment]
        before, depth = len(self.graph.nodes), len(self.module_stack)
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:  # whatever the part's own code raises when it is given a proxy
            for node in reversed(list(self.graph.nodes)[before:]):
                self.graph.erase_node(node)
            while len(self.module_stack) > depth:
                self.module_stack.popitem()
            name = self.path_of_module(m)
            self.opaque = [part for part in self.opaque if not part.startswith(f"{name}.")] + [name]
            return self.create_proxy("call_module", name, args, kwargs)


def _no_check(_: Tensor) -> None:
    pass


def _name_norms(traced: fx.GraphModule) -> None:
    """Make ``F.batch_norm`` a layer again, like every other norm in the graph."""
    for number, node in enumerate(list(traced.graph.nodes)):
        if node.op != "call_function" or node.target is not F.batch_norm:
            continue
        names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
        given = dict(zip(names, node.args, strict=False)) | node.kwargs
        mean, var, weight, bias = (_tensor(traced, given.get(name)) for name in names[1:5])
        if given.get("training") or mean is None or var is None or weight is None or bias is None:
            continue
        norm = nn.BatchNorm2d(mean.numel(), eps=float(given["eps"]), device=mean.device, dtype=mean.dtype).eval()
        norm.running_mean, norm.running_var = mean, var
        norm.weight, norm.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
        name = f"norm_{number}"
        traced.add_submodule(name, norm)
        with traced.graph.inserting_before(node):
            node.replace_all_uses_with(traced.graph.call_module(name, (given["input"],)))
        traced.graph.erase_node(node)


def _tensor(traced: fx.GraphModule, node: object) -> Tensor | None:
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    value: Any = traced
    for part in str(node.target).split("."):
        value = getattr(value, part)
    return value.detach() if isinstance(value, Tensor) else None


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


def layer_at(traced: fx.GraphModule, node: object, *kinds: type[Layer]) -> Layer | None:
    """The layer that ``node`` calls, if it is exactly of one of these kinds."""
    if not isinstance(node, fx.Node) or node.op != "call_module":
        return None
    layer = traced.get_submodule(str(node.target))
    return cast("Layer", layer) if type(layer) in kinds else None


def dimensions_of(network: nn.Module) -> int:
    """Axes of the maps that a network's convolutions read: 2 for pictures, and where there is no convolution."""
    return next((len(part.kernel_size) for part in network.modules() if isinstance(part, _ConvNd)), 2)


def only_reader(node: fx.Node) -> fx.Node | None:
    """The only node that reads ``node``; None if there are several, or none."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def other_addend(total: fx.Node | None, node: fx.Node) -> fx.Node | None:
    """The map that ``total`` adds to ``node``, if it is the sum of two maps."""
    if total is None or total.target is not torch.add:
        return None
    others = [arg for arg in total.args if arg is not node]
    return others[0] if len(others) == 1 and isinstance(others[0], fx.Node) else None


def end_of_sum(total: fx.Node) -> fx.Node:
    """The ReLU behind a sum, if nothing else reads the sum; otherwise the sum itself."""
    reader = only_reader(total)
    return reader if reader is not None and reader.target is torch.relu else total


def erase(network: fx.GraphModule, *nodes: fx.Node) -> None:
    """Erase nodes, each once, the last of them in the graph first."""
    for node in dict.fromkeys(nodes):
        network.graph.erase_node(node)


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
