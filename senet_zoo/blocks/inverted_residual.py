"""The inverted residual: wide in the middle, where the convolution is depthwise, and narrow where maps are summed."""

from dataclasses import dataclass, replace

from torch import Tensor, nn

from senet_zoo.layers import ConvNorm, DropPath, Placement, relu
from senet_zoo.layers.squeeze_excite import hidden_units
from senet_zoo.specs import SE, only_gate


@dataclass(frozen=True)
class InvertedResidual:
    """1x1 expansion, depthwise convolution, the gate, 1x1 projection without ReLU; a sum where shapes agree.

    Args:
        width: channels of the output.
        kernel: side of the depthwise convolution.
        expand: its channels a channel of the input; at 1 there is no expansion.
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
        if se is not None:
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
