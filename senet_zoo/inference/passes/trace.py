"""A network as a graph whose nodes are PyTorch's layers, gates, and parts that cannot be traced."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, fx, nn
from torch.nn import functional as F

from senet_zoo.inference.passes.gates import is_gate

PREFIX = "network"
"""Prefix of every name in the graph, because the network is a part of the module that is traced."""


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
