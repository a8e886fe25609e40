"""Blocks of the mobile networks: MobileNet's depthwise separable, ShuffleNet's unit, MnasNet's inverted residual."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx, nn
from torch._jit_internal import is_scripting  # torch.jit.is_scripting, which checkers do not see
from torch.nn import functional as F

from senet_zoo.errors import SpecError
from senet_zoo.networks.dimensions import average_pool
from senet_zoo.networks.layers import ConvNorm, DropPath, relu
from senet_zoo.networks.specs import SE, only_gate
from senet_zoo.networks.squeeze_excite import Placement, hidden_units


@dataclass(frozen=True)
class DepthwiseSeparable:
    """3x3 depthwise, 1x1 pointwise, each with batch norm and ReLU; then the gate.

    Args:
        width: channels of the pointwise convolution, and of the output.
        stride: of the depthwise convolution.

    Source: Howard et al., MobileNets, arXiv:1704.04861, figure 3. The gate's place is that of the SENet authors' own
    prototxt excerpt: it scales the pointwise output.
    """

    width: int
    stride: int = 1

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        if drop_path > 0.0:
            raise SpecError("stochastic depth drops residual branches and MobileNet v1 has none; drop_path must be 0")
        gate = only_gate(se, Placement.STANDARD, self.width, "MobileNet v1's block")
        return DepthwiseSeparableBlock(in_channels, self.width, self.stride, gate)


class DepthwiseSeparableBlock(nn.Module):
    """``gate(pointwise(depthwise(x)))``."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, gate: nn.Module) -> None:
        super().__init__()
        self.depthwise = ConvNorm(in_channels, in_channels, 3, stride=stride, groups=in_channels, act=relu())
        self.pointwise = ConvNorm(in_channels, out_channels, 1, act=relu())
        self.se = gate

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.se(self.pointwise(self.depthwise(x)))
        return y


@dataclass(frozen=True)
class Shuffle:
    """1x1 in groups, shuffle, 3x3 depthwise, 1x1 in groups, the gate; then a sum, or at stride 2 a concatenation.

    Args:
        width: channels of the output. The bottleneck has a quarter of them; at stride 2 the branch gives only what
            the pooled input leaves to fill.
        groups: of both 1x1 convolutions.
        stride: 1 or 2.
        reduce_groups: groups of the first 1x1: 1 in the very first unit, whose input is too narrow to split.

    Source: Zhang et al., ShuffleNet, arXiv:1707.01083, figure 2.
    """

    width: int
    groups: int
    reduce_groups: int
    stride: int = 1

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        if self.stride == 1:
            return ShuffleSum(ShuffleBranch(in_channels, self.width, self, se), drop_path)
        return ShuffleConcat(ShuffleBranch(in_channels, self.width - in_channels, self, se))


class ShuffleBranch(nn.Module):
    """The residual branch of a ShuffleNet unit, its gate at the end."""

    def __init__(self, in_channels: int, out_channels: int, unit: Shuffle, se: SE | None) -> None:
        super().__init__()
        width = unit.width // 4
        self.groups = unit.groups
        self.reduce = ConvNorm(in_channels, width, 1, groups=unit.reduce_groups, act=relu())
        self.depthwise = ConvNorm(width, width, 3, stride=unit.stride, groups=width)
        self.increase = ConvNorm(width, out_channels, 1, groups=unit.groups)
        self.se = only_gate(se, Placement.STANDARD, out_channels, "ShuffleNet's unit")

    def forward(self, x: Tensor) -> Tensor:
        y = channel_shuffle(self.reduce(x), self.groups)
        z: Tensor = self.se(self.increase(self.depthwise(y)))
        return z


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Let the channels of the groups take turns: (g, C / g) becomes (C / g, g). Shape: (N, C, ...) -> (N, C, ...).

    PyTorch's own function keeps the layout of the map. A compiler fuses the elementary operations, and a converter may
    know no others.
    """
    if is_scripting() or not (torch.compiler.is_compiling() or torch._C._get_tracing_state()):
        return F.channel_shuffle(x, groups)
    n, c, *sides = x.shape
    return x.view(n, groups, c // groups, *sides).transpose(1, 2).reshape(n, c, *sides)


fx.wrap("channel_shuffle")


class ShuffleSum(nn.Module):
    """``relu(x + branch(x))``."""

    def __init__(self, branch: ShuffleBranch, drop_path: float) -> None:
        super().__init__()
        self.branch = branch
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.drop_path(self.branch(x)), inplace=True)


class ShuffleConcat(nn.Module):
    """``relu(concat(branch(x), pooled x))``; nothing is summed here, so stochastic depth has nothing to drop."""

    def __init__(self, branch: ShuffleBranch) -> None:
        super().__init__()
        self.branch = branch
        self.pool = average_pool(3, 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(torch.cat((self.branch(x), self.pool(x)), dim=1), inplace=True)


@dataclass(frozen=True)
class InvertedResidual:
    """1x1 expansion, depthwise convolution, the gate, 1x1 projection without ReLU; a sum where shapes agree.

    Maps are wide in the middle, where the convolution is depthwise, and narrow where they are summed.

    Args:
        width: channels of the output.
        kernel: side of the depthwise convolution.
        expand: factor by which the 1x1 widens the input; at 1 there is no expansion.
        stride: of the depthwise convolution.

    Source: Sandler et al., MobileNetV2, arXiv:1801.04381 (the block); Tan et al., MnasNet, arXiv:1807.11626, figure 7
    (the gate's place).

    Differs: the gate scales the expanded map, but its reduction counts from the block's input, as MnasNet has it: a
    gate over ``expand * C`` channels has C // r hidden units.
    """

    width: int
    kernel: int = 3
    expand: int = 6
    stride: int = 1

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        wide, gate = self.expand * in_channels, None
        if se is not None and se.hidden is not None:
            gate = se
        elif se is not None:
            hidden_units(in_channels, se.reduction)  # refuses in the caller's own numbers, not in the wider gate's
            gate = replace(se, reduction=se.reduction * self.expand)
        branch = InvertedBranch(
            ConvNorm(in_channels, wide, 1, act=relu()) if self.expand > 1 else nn.Identity(),
            ConvNorm(wide, wide, self.kernel, stride=self.stride, groups=wide, act=relu()),
            only_gate(gate, Placement.INNER, wide, "an inverted residual"),
            ConvNorm(wide, self.width, 1),
        )
        return LinearSum(branch, drop_path) if self.stride == 1 and in_channels == self.width else branch


class InvertedBranch(nn.Module):
    """``project(gate(depthwise(expand(x))))``."""

    def __init__(self, expand: nn.Module, depthwise: nn.Module, gate: nn.Module, project: nn.Module) -> None:
        super().__init__()
        self.expand = expand
        self.depthwise = depthwise
        self.se = gate
        self.project = project

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.se(self.depthwise(self.expand(x))))
        return y


class LinearSum(nn.Module):
    """``x + branch(x)``, with no ReLU after it."""

    def __init__(self, branch: nn.Module, drop_path: float) -> None:
        super().__init__()
        self.branch = branch
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.drop_path(self.branch(x))
        return y
