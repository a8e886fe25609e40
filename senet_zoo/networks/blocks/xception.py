"""Xception's unit: ReLU, separable convolution and batch norm, some times, with a shortcut around them.

Source: Chollet, Xception, arXiv:1610.02357, figure 5.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from senet_zoo.networks.blocks.pools import MaxPool
from senet_zoo.networks.blocks.residual import Projection, ResidualBlock, ResidualGate
from senet_zoo.networks.dimensions import batch_norm, conv
from senet_zoo.networks.layers import relu
from senet_zoo.networks.specs import SE, gate_at
from senet_zoo.networks.squeeze_excite import Placement

_PROJECTION = Projection()


@dataclass(frozen=True)
class XceptionUnit:
    """Separable convolutions, each behind a ReLU, a max pool where the map shrinks, the gate, the sum.

    Args:
        widths: channels of each separable convolution; the last are the output's.
        stride: 2 for a max pool at the branch's end and a projection on the shortcut.
        opens: whether it is the first of all: its input is rectified already, so that no ReLU comes first.

    Differs: the authors of the gate have no such network; its place is that of their residual networks, on the branch's
    output, after the pool. An inner gate sits before the last convolution.
    """

    widths: tuple[int, ...]
    stride: int = 1
    opens: bool = False

    def out_channels(self, in_channels: int) -> int:
        return self.widths[-1]

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        branch: dict[str, nn.Module] = {}
        width = in_channels
        for number, out in enumerate(self.widths, start=1):
            if number > 1 or not self.opens:
                branch[f"act{number}"] = nn.ReLU(inplace=number > 1)  # the shortcut reads the unit's input
            if number == len(self.widths):
                branch["se"] = gate_at(se, Placement.INNER, width)
            branch[f"conv{number}"] = SeparableNorm(width, out, nn.Identity())
            width = out
        branch["pool"] = nn.Identity() if self.stride == 1 else MaxPool().build()
        return ResidualBlock(
            branch=branch,
            gate=ResidualGate.of(se, in_channels, width),
            shortcut=_PROJECTION.build(in_channels, width, self.stride),
            drop_path=drop_path,
            act=nn.Identity,
        )


@dataclass(frozen=True)
class Separable:
    """A separable convolution with batch norm and ReLU, a layer among others.

    Args:
        width: channels of the output.
    """

    width: int
    stride: int = 1

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, in_channels: int) -> nn.Module:
        return SeparableNorm(in_channels, self.width, relu())


class SeparableNorm(nn.Module):
    """3x3 depthwise, 1x1 pointwise with nothing between them, batch norm, activation."""

    def __init__(self, in_channels: int, out_channels: int, act: nn.Module) -> None:
        super().__init__()
        self.depthwise = conv(in_channels, in_channels, 3, groups=in_channels)
        self.pointwise = conv(in_channels, out_channels, 1)
        self.bn = batch_norm(out_channels)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.bn(self.pointwise(self.depthwise(x))))
        return y
