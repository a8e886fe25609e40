"""`drop_gates`: a network without some of its gates, each replaced by its mean, folded into the layers around it.

A factor a channel that follows a batch norm is part of its weight and bias, and one that follows a convolution part of
its filters and its bias. What stands between is passed: a pool of means and whatever does nothing in eval mode by any
factor, a ReLU and a pool of maxima by one that is not negative, as ``relu(x) g = relu(x g)``. Where nothing before the
gate takes the factor, the convolutions that read the gate's map do, in the columns of their filters.
"""

import copy
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from senet_zoo.analysis.pruning.activity import Block, GateActivity, observe
from senet_zoo.errors import SpecError, UsageError
from senet_zoo.networks.layers import DropPath
from senet_zoo.networks.network import ConvNet, on_meta
from senet_zoo.networks.specs import NetworkSpec
from senet_zoo.networks.squeeze_excite import SqueezeExcite

_ANY_SIGN = (nn.Identity, nn.Dropout, nn.AvgPool2d, DropPath)
_NOT_NEGATIVE = (nn.ReLU, nn.MaxPool2d)
_NOT_NEGATIVE_FUNCTIONS = (F.relu, torch.relu)


class Side(Enum):
    """Which channels of a layer are scaled."""

    OUT = "those it writes"
    IN = "those it reads"


@dataclass(frozen=True, eq=False)
class Scaling:
    """A factor for each channel on one side of a layer, which is a convolution or a batch norm; by the layer's name."""

    layer: str
    side: Side
    factors: Tensor


class _Stuck(Exception):
    """Why a factor goes no further."""


class GateFolding:
    """Finds the layers that take a gate's factors."""

    def __init__(self, model: ConvNet) -> None:
        self._model = model
        self._graph = _Tracer().trace(model)
        self._nodes = {str(node.target): node for node in self._graph.nodes if node.op == "call_module"}
        self._calls = Counter(str(node.target) for node in self._graph.nodes if node.op == "call_module")

    def scalings(self, gate: str, factors: Tensor) -> tuple[Scaling, ...]:
        """The layers that take these factors in the place of the gate, so that the function stays that of the factors.

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
def scale_layers(model: nn.Module, scalings: Sequence[Scaling]) -> None:
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


def drop_gates(model: ConvNet, batches: Tensor | Iterable[Tensor], names: Sequence[str]) -> ConvNet:
    """The network without some of its gates, each replaced by its mean over pictures.

    Where a gate is constant the logits stay as they are, up to rounding.

    Args:
        model: in eval mode; it is left as it is.
        batches: one batch of pictures, (N, in_channels, H, W), or several.
        names: gates by the paper's names, as `ConvNet.excitations` has them; those of a block with several together.

    Returns:
        A network of the zoo whose spec says which blocks carry gates: `save_pretrained` writes it, and ``create_model(
        ..., weights=folder)`` reads it.

    Raises:
        UsageError: no such gate, all of them, a part of a block's, or one that no layer beside it can stand in for.
        DataError: there is no picture.
        WeightsError: a gate says what is no finite number.

    Source: the paper, section 4: without the gates of the last stage SE-ResNet-50 has 4 % more parameters than its
        twin, and not 10 %, for less than 0.1 % of accuracy.

    Example:
        >>> import torch
        >>> import senet_zoo
        >>> model = senet_zoo.create_model("se_resnet20", pretrained=True)
        >>> drop_gates(model, torch.rand(8, 3, 32, 32), ["SE_3_1", "SE_4_2"]).spec.se.without
        ((3, 1), (4, 2))
    """
    return fold_gates(model, observe(model, batches), names)


def fold_gates(model: ConvNet, activity: Sequence[GateActivity], names: Sequence[str]) -> ConvNet:
    """`drop_gates` by what `observe` found of all gates of the network."""
    chosen = _chosen(activity, names)
    spec = spec_without(model.spec, activity, {gate.block for gate in chosen if gate.block})
    folding = GateFolding(model)
    scalings: list[Scaling] = []
    for gate in chosen:
        try:
            scalings += folding.scalings(gate.module, gate.mean)
        except UsageError as error:
            raise UsageError(
                f"a gate can go where a linear layer beside it takes its mean, and {gate.name} cannot: {error}. Leave "
                "it out"
            ) from error
    pruned = copy.deepcopy(model, {id(model.weights): model.weights})
    for gate in chosen:
        parent, _, child = gate.module.rpartition(".")
        setattr(pruned.get_submodule(parent), child, nn.Identity())
    pruned.spec = spec
    _require_rebuilt(pruned, chosen)
    scale_layers(pruned, scalings)
    return pruned


def spec_without(spec: NetworkSpec, activity: Sequence[GateActivity], blocks: set[Block]) -> NetworkSpec:
    """The architecture without the gates of these blocks; a stage that loses them all is no longer among its stages.

    Raises:
        UsageError: no gate would be left.
    """
    gated = {gate.block for gate in activity if gate.block}
    left, se = gated - blocks, spec.se
    if not left or se is None:
        raise UsageError(
            f"pruning leaves at least one gate, and all {len(gated)} would go: choose fewer, or take the plain twin "
            "(the model's name without se_)"
        )
    stages = tuple(sorted({stage for stage, _ in left}))
    all_stay = se.stages is None and {stage for stage, _ in gated} == set(stages)
    without = tuple(sorted(block for block in {*se.without, *blocks} if block[0] in stages))
    return replace(spec, se=replace(se, stages=None if all_stay else stages, without=without))


def _chosen(activity: Sequence[GateActivity], names: Sequence[str]) -> list[GateActivity]:
    known = [gate.name for gate in activity]
    for name in names:
        if name not in known:
            raise UsageError(f"the gates of this network are {', '.join(known)}; there is no {name}")
    chosen = [gate for gate in activity if gate.name in names]
    if not chosen:
        raise UsageError(f"pruning takes the name of at least one gate out of {', '.join(known)}, got none")
    for gate in chosen:
        if gate.block is None:
            raise UsageError(
                f"pruning takes gates that the network is defined with, and {gate.name} was inserted: "
                "remove_se(model) takes it out"
            )
        alone = [other.name for other in activity if other.block == gate.block and other not in chosen]
        if alone:
            raise UsageError(f"the gates of a block go together: {gate.name} with {', '.join(alone)}")
    return chosen


def _require_rebuilt(pruned: ConvNet, dropped: Sequence[GateActivity]) -> None:
    """Refuse a network that `create_model` would build otherwise from its spec."""
    rebuilt = on_meta(pruned.spec, num_classes=pruned.num_classes, in_channels=pruned.in_channels)
    theirs = {name: type(part) for name, part in rebuilt.named_modules()}
    for name, part in pruned.named_modules():
        if theirs.get(name) is not type(part):
            gate = next((gate.name for gate in dropped if name.startswith(_block_path(gate))), "a gate")
            raise SpecError(
                f"a block that loses its gate must otherwise stay as it is, and {gate} cannot go: {name} "
                f"({type(part).__name__}), which stands before it, belongs to the gate in this form of the network. "
                "Prune the network's B form, or leave the gate"
            )


def _block_path(gate: GateActivity) -> str:
    """``stages.i.j.``, what the names of all parts of its block begin with."""
    return "".join(f"{word}." for word in gate.module.split(".")[:3])
