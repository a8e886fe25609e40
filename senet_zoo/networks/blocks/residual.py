"""Residual units: the basic block and the bottleneck, their shortcuts, and where each puts its stride.

Source: He et al., arXiv:1512.03385, figure 5; Xie et al., arXiv:1611.05431 (cardinality); He et al., Bag of Tricks,
arXiv:1812.01187 (the B and D forms); the paper, figures 3 and 5 (the gate's place).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from torch import Tensor, nn

from senet_zoo.networks import dimensions
from senet_zoo.networks.fused.custom_op import fused_end, why_not_fused, why_observed
from senet_zoo.networks.layers import ConvNorm, DropPath, identity, relu
from senet_zoo.networks.specs import SE, gate_at
from senet_zoo.networks.squeeze_excite import Placement, SqueezeExcite


class StrideAt(Enum):
    """Where a bottleneck of stride 2 shrinks its map."""

    REDUCE = "the first 1x1"
    SPATIAL = "the 3x3"
    POOL = "a 2x2 average pool after the 3x3"


@dataclass(frozen=True)
class Projection:
    """Shortcut by a strided convolution, where shapes change; the identity elsewhere."""

    kernel: int = 1

    def build(self, in_channels: int, out_channels: int, stride: int) -> nn.Module:
        if in_channels == out_channels and stride == 1:
            return nn.Identity()
        return ConvNorm(in_channels, out_channels, self.kernel, stride=stride)


@dataclass(frozen=True)
class AveragedProjection:
    """The D form's shortcut: average pool, then a 1x1 convolution, so that no input pixel is skipped."""

    def build(self, in_channels: int, out_channels: int, stride: int) -> nn.Module:
        if in_channels == out_channels and stride == 1:
            return nn.Identity()
        return AveragedShortcut(in_channels, out_channels, stride)


@dataclass(frozen=True)
class UnconditionalProjection:
    """The D form's shortcut, with its 1x1 convolution also where shapes stay."""

    def build(self, in_channels: int, out_channels: int, stride: int) -> nn.Module:
        return AveragedShortcut(in_channels, out_channels, stride)


class AveragedShortcut(ConvNorm):
    """Average pool of ``stride``, then 1x1 convolution and batch normalisation."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, 1)
        self.pool = average_pool(stride)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.pool(x))


def average_pool(stride: int) -> nn.Module:
    """Mean over ``stride`` x ``stride`` pixels; a window over the far edge counts only what lies inside."""
    if stride == 1:
        return nn.Identity()
    return dimensions.average_pool(stride, stride, ceil_mode=True, count_include_pad=False)


Shortcut = Projection | AveragedProjection | UnconditionalProjection


@dataclass(frozen=True)
class ResidualGate:
    """The gate of a residual unit outside its branch, and its placement; the identity where there is none."""

    module: nn.Module
    placement: Placement

    @classmethod
    def of(cls, se: SE | None, in_channels: int, out_channels: int) -> "ResidualGate":
        """The gate of a unit that turns ``in_channels`` into ``out_channels``."""
        if se is None or se.placement is Placement.INNER:
            return cls(nn.Identity(), Placement.STANDARD)
        return cls(se.build(in_channels if se.placement is Placement.PRE else out_channels), se.placement)


@dataclass(frozen=True)
class Basic:
    """Two 3x3 convolutions.

    Args:
        width: channels of the second convolution, and of the output.
        stride: of the first convolution.
        shortcut: how the input reaches the sum where shapes change.
        before_gate: what the last map passes on its way to the gate: the identity, or the ReLU of timm's legacy
            weights.
        inner: channels of the first convolution, where the sum was narrowed; ``width`` by default.
    """

    width: int
    stride: int = 1
    shortcut: Shortcut = Projection()
    before_gate: Callable[[], nn.Module] = identity
    inner: int | None = None

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> "ResidualBlock":
        before_sum, inner = None if se is None else self.before_gate(), self.inner or self.width
        return ResidualBlock(
            branch={
                "conv1": ConvNorm(in_channels, inner, 3, stride=self.stride, act=relu()),
                "se": gate_at(se, Placement.INNER, inner),
                "conv2": ConvNorm(inner, self.width, 3, act=before_sum),
            },
            gate=ResidualGate.of(se, in_channels, self.width),
            shortcut=self.shortcut.build(in_channels, self.width, self.stride),
            drop_path=drop_path,
        )


@dataclass(frozen=True)
class Bottleneck:
    """1x1 reduce, 3x3 (grouped), 1x1 increase.

    Args:
        reduce: channels of the first 1x1.
        width: channels of the 3x3.
        out: channels of the last 1x1, and of the output.
        stride: by which the block shrinks its map.
        groups: cardinality of the 3x3.
        stride_at: where it shrinks.
        shortcut: how the input reaches the sum where shapes change.
        act: makes the activation behind each convolution but the last, and after the sum.
    """

    reduce: int
    width: int
    out: int
    stride: int = 1
    groups: int = 1
    stride_at: StrideAt = StrideAt.SPATIAL
    shortcut: Shortcut = Projection()
    act: Callable[[], nn.Module] = relu

    def out_channels(self, in_channels: int) -> int:
        return self.out

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> "ResidualBlock":
        stride = {at: self.stride if at is self.stride_at else 1 for at in StrideAt}
        return ResidualBlock(
            branch={
                "conv1": ConvNorm(in_channels, self.reduce, 1, stride=stride[StrideAt.REDUCE], act=self.act()),
                "conv2": ConvNorm(
                    self.reduce, self.width, 3, stride=stride[StrideAt.SPATIAL], groups=self.groups, act=self.act()
                ),
                "se": gate_at(se, Placement.INNER, self.width),
                "pool": average_pool(stride[StrideAt.POOL]),
                "conv3": ConvNorm(self.width, self.out, 1),
            },
            gate=ResidualGate.of(se, in_channels, self.out),
            shortcut=self.shortcut.build(in_channels, self.out, self.stride),
            drop_path=drop_path,
            act=self.act,
        )


@dataclass(frozen=True)
class RoundedGate:
    """A residual unit whose gate has its hidden units rounded to a multiple of 8, and at least 8: timm's rule.

    A gate over 64 channels has 8 hidden units at r = 16, not 4; over whole multiples of 128, C // 16 as ever.

    Args:
        unit: the unit; a gate's ``hidden`` is taken as it is.

    Source: timm's ``make_divisible`` in its ``SEModule``.
    """

    unit: Basic | Bottleneck

    @property
    def stride(self) -> int:
        return self.unit.stride

    def out_channels(self, in_channels: int) -> int:
        return self.unit.out_channels(in_channels)

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> "ResidualBlock":
        if se is not None:
            out = self.unit.out_channels(in_channels)
            channels = {Placement.PRE: in_channels, Placement.INNER: self.unit.width}.get(se.placement, out)
            se = rounded(se, channels)
        return self.unit.build(in_channels, se, drop_path)


def rounded(se: SE | None, channels: int) -> SE | None:
    """The gate over so many channels with its hidden units rounded by timm's rule; one with ``hidden`` as it is."""
    if se is None or se.hidden is not None:
        return se
    hidden = max(8, int(channels / se.reduction + 4) // 8 * 8)
    return replace(se, reduction=SE.reduction, hidden=hidden)


class ResidualBlock(nn.Module):
    """A residual unit with its gate in one of the placements of the paper's figure 5.

    In the standard placement: ``relu(shortcut(x) + gate(branch(x)))``.

    Args:
        branch: layers of the residual branch by name, in order; an inner gate is one of them.
        gate: the gate and its placement.
        shortcut: what carries the input to the sum.
        drop_path: probability of dropping the branch of a sample in training.
        act: makes the activation after the sum.
    """

    fused = False
    """Whether training runs the unit's end as one operation where it can; `senet_zoo.set_fused` switches it."""

    def __init__(
        self,
        branch: dict[str, nn.Module],
        gate: ResidualGate,
        shortcut: nn.Module,
        drop_path: float,
        act: Callable[[], nn.Module] = relu,
    ) -> None:
        super().__init__()
        self.branch = nn.Sequential()
        for name, module in branch.items():
            self.branch.add_module(name, module)
        self.se = gate.module
        self.placement = gate.placement
        self.drop_path = DropPath(drop_path)
        self.shortcut = shortcut
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        return self.join(x, x)

    def join(self, x: Tensor, carried: Tensor) -> Tensor:
        """The output of the unit, whose branch reads ``x`` and whose shortcut reads ``carried``."""
        if self.fused and self.training and not self.why_plain():
            return self._join_fused(x, carried)
        match self.placement:
            case Placement.PRE:
                branch, shortcut = self.branch(self.se(x)), self.shortcut(carried)
            case Placement.IDENTITY:
                branch, shortcut = self.branch(x), self.se(self.shortcut(carried))
            case Placement.POST:
                branch, shortcut = self.branch(x), self.shortcut(carried)
            case _:
                branch, shortcut = self.se(self.branch(x)), self.shortcut(carried)
        y: Tensor = self.act(self.drop_path(branch) + shortcut)
        return self.se(y) if self.placement is Placement.POST else y

    def _join_fused(self, x: Tensor, carried: Tensor) -> Tensor:
        *layers, last = self.branch
        for layer in layers:
            x = layer(x)
        assert isinstance(last, ConvNorm)
        assert isinstance(last.bn, nn.BatchNorm2d)  # `why_plain` saw to it
        gate = self.se if isinstance(self.se, SqueezeExcite) else None
        return fused_end(last.conv(x), self.shortcut(carried), last.bn, gate)

    def why_plain(self) -> str:
        """Why the unit's end, ``relu(shortcut + gate(bn(y)))``, cannot run as one operation; empty where it can."""
        last = self.branch[-1]
        if self.placement is not Placement.STANDARD:
            return f"its gate sits in another place than the branch's output: {self.placement.value}"
        if type(last) is not ConvNorm:
            return "its branch does not end in a convolution and a batch norm"
        if type(last.act) is not nn.Identity:
            return f"{type(last.act).__name__} stands between its batch norm and its gate"
        if type(self.act) is not nn.ReLU:
            return "no ReLU follows its sum"
        if type(self.drop_path) is not DropPath or self.drop_path.rate > 0.0:
            return "its branch is dropped or scaled on the way to the sum"
        return why_not_fused(last.bn, self.se) or why_observed(self.branch, last, last.act, self.drop_path, self.act)
