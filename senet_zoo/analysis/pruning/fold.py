"""A constant gate as part of the layers around it.

A factor a channel that follows a batch norm is part of its weight and bias, and one that follows a convolution part of
its filters and its bias. What stands between is passed: a pool of means and whatever does nothing in eval mode by any
factor, a ReLU and a pool of maxima by one that is not negative, for ``relu(x) g = relu(x g)``. Where nothing before the
gate takes the factor, the convolutions that read the gate's map do, in the columns of their filters.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from senet_zoo.blocks.preactivation import NormRelu
from senet_zoo.errors import UsageError
from senet_zoo.layers import DropPath, SqueezeExcite
from senet_zoo.network import ConvNet

_ANY_SIGN = (nn.Identity, nn.Dropout, nn.AvgPool2d, DropPath)
_NOT_NEGATIVE = (nn.ReLU, nn.MaxPool2d)
_NOT_NEGATIVE_FUNCTIONS = (F.relu, torch.relu)


class Side(Enum):
    """Which channels of a layer are scaled."""

    OUT = "those it writes"
    IN = "those it reads"


@dataclass(frozen=True, eq=False)
class Scaling:
    """A factor for each channel of a layer.

    Args:
        layer: name of a convolution or a batch norm.
        side: of the layer.
        factors: (channels,).
    """

    layer: str
    side: Side
    factors: Tensor


class _Stuck(Exception):
    """Why a factor goes no further."""


class Folder:
    """Finds the layers that take a gate's factors.

    Args:
        model: a network in eval mode; it is only read.
    """

    def __init__(self, model: ConvNet) -> None:
        self._model = model
        self._graph = _Tracer().trace(model)
        self._nodes = {str(node.target): node for node in self._graph.nodes if node.op == "call_module"}
        self._calls = Counter(str(node.target) for node in self._graph.nodes if node.op == "call_module")

    def scalings(self, gate: str, factors: Tensor) -> tuple[Scaling, ...]:
        """The layers that take these factors in the place of the gate, so that the function stays that of the factors.

        Args:
            gate: name of its module.
            factors: one a channel.

        Raises:
            UsageError: nothing linear stands beside the gate; the message says what does.
        """
        node = self._nodes[gate]
        try:
            return tuple(self._before(node.all_input_nodes[0], factors))
        except _Stuck as before:
            try:
                return tuple(self._behind(node, factors))
            except _Stuck as behind:
                raise UsageError(f"before it {before}; behind it {behind}") from behind

    def _before(self, node: fx.Node, factors: Tensor) -> list[Scaling]:
        if len(node.users) > 1:
            raise _Stuck("lies a map that others read as well")
        layer = self._layer(node)
        if isinstance(layer, nn.BatchNorm2d | nn.Conv2d):
            if type(layer) is NormRelu:
                _require_not_negative(factors, "ReLU")
            return [self._scaling(node, Side.OUT, factors)]
        if node.target is torch.cat:
            maps = node.all_input_nodes
            parts = factors.split([self._channels(each) for each in maps])
            return [each for one, part in zip(maps, parts, strict=True) for each in self._before(one, part)]
        self._pass(node, layer, factors)
        return self._before(node.all_input_nodes[0], factors)

    def _behind(self, node: fx.Node, factors: Tensor) -> list[Scaling]:
        found = []
        for user in node.users:
            layer = self._layer(user)
            if isinstance(layer, nn.Conv2d):
                found.append(self._scaling(user, Side.IN, factors))
            else:
                self._pass(user, layer, factors)
                found += self._behind(user, factors)
        return found

    def _pass(self, node: fx.Node, layer: nn.Module | None, factors: Tensor) -> None:
        """Refuse what a factor does not pass."""
        if isinstance(layer, _NOT_NEGATIVE) or node.target in _NOT_NEGATIVE_FUNCTIONS:
            _require_not_negative(factors, "ReLU" if layer is None else type(layer).__name__)
        elif not isinstance(layer, _ANY_SIGN):
            what = f"{node.target} ({type(layer).__name__})" if layer is not None else node.name
            raise _Stuck(f"stands {what}, which takes no factor")

    def _scaling(self, node: fx.Node, side: Side, factors: Tensor) -> Scaling:
        name = str(node.target)
        if self._calls[name] != 1:
            raise _Stuck(f"stands {name}, which runs {self._calls[name]} times")
        return Scaling(name, side, factors)

    def _layer(self, node: fx.Node) -> nn.Module | None:
        return self._model.get_submodule(str(node.target)) if node.op == "call_module" else None

    def _channels(self, node: fx.Node) -> int:
        layer = self._layer(node)
        if isinstance(layer, nn.Conv2d):
            return layer.out_channels
        if isinstance(layer, nn.BatchNorm2d):
            return layer.num_features
        if not node.all_input_nodes:
            raise _Stuck("lies the picture")
        # What is neither keeps its channels, or is refused when the factors get there.
        maps = node.all_input_nodes if node.target is torch.cat else node.all_input_nodes[:1]
        return sum(map(self._channels, maps))


@torch.no_grad()
def apply(model: nn.Module, scalings: Sequence[Scaling]) -> None:
    """Multiply the layers by their factors, in place, computed in double precision."""
    for each in scalings:
        layer = model.get_submodule(each.layer)
        assert isinstance(layer, nn.Conv2d | nn.BatchNorm2d)
        factors = each.factors.to(layer.weight.device)
        if each.side is Side.IN:
            assert isinstance(layer, nn.Conv2d)
            columns = factors.view(layer.groups, -1).repeat_interleave(layer.out_channels // layer.groups, 0)
            _multiply(layer.weight, columns[:, :, None, None])
            continue
        _multiply(layer.weight, factors.view(-1, *(1,) * (layer.weight.ndim - 1)))
        if layer.bias is not None:
            _multiply(layer.bias, factors)


def _multiply(parameter: Tensor, factors: Tensor) -> None:
    parameter.copy_(parameter.double() * factors)


def _require_not_negative(factors: Tensor, what: str) -> None:
    if bool((factors < 0.0).any()):
        raise _Stuck(f"stands a {what}, which no negative factor passes")


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        own = isinstance(m, SqueezeExcite | nn.BatchNorm2d | DropPath)
        return own or super().is_leaf_module(m, module_qualified_name)
