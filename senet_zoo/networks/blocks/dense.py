"""DenseNet's units: the dense layer, which adds maps to all before it, and the transition between two stages.

Source: Huang et al., Densely Connected Convolutional Networks, arXiv:1608.06993, section 3.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from senet_zoo.errors import SpecError
from senet_zoo.networks.dimensions import average_pool, batch_norm, conv
from senet_zoo.networks.layers import relu
from senet_zoo.networks.specs import SE, only_gate
from senet_zoo.networks.squeeze_excite import Placement


@dataclass(frozen=True)
class DenseLayer:
    """BN-ReLU-1x1, BN-ReLU-3x3, the gate over the new maps; then they join all maps before them.

    Args:
        growth: k, the number of new maps.
        bottleneck: maps of the 1x1, in multiples of k.

    Differs: the SENet authors define no SE-DenseNet. Its gate's place is inferred: a dense layer is the transformation
    that the paper gates, and its maps are new ones, so the gate has k // r hidden units. Others gate the concatenation
    (soeaver), or once a stage (titu1994).
    """

    growth: int = 32
    bottleneck: int = 4
    stride: int = 1

    def out_channels(self, in_channels: int) -> int:
        return in_channels + self.growth

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        if drop_path > 0.0:
            raise SpecError("stochastic depth drops residual branches and DenseNet sums nothing; drop_path must be 0")
        gate = only_gate(se, Placement.STANDARD, self.growth, "a dense layer")
        return DenseLayerBlock(in_channels, self.growth, self.bottleneck * self.growth, gate)


class DenseLayerBlock(nn.Module):
    """``concat(x, gate(H(x)))``. Shape: (N, in_channels, H, W) -> (N, in_channels + growth, H, W)."""

    def __init__(self, in_channels: int, growth: int, bottleneck: int, gate: nn.Module) -> None:
        super().__init__()
        self.conv1 = NormConv(in_channels, bottleneck, 1)
        self.conv2 = NormConv(bottleneck, growth, 3)
        self.se = gate

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.se(self.conv2(self.conv1(x)))), dim=1)


@dataclass(frozen=True)
class Transition:
    """BN-ReLU-1x1 to half the maps, then a 2x2 average pool; no gate."""

    stride: int = 2

    def out_channels(self, in_channels: int) -> int:
        return in_channels // 2

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        conv = NormConv(in_channels, self.out_channels(in_channels), 1)
        return TransitionBlock(conv, average_pool(self.stride, self.stride))


class TransitionBlock(nn.Module):
    """``pool(conv(x))``; an odd map loses its last row and column."""

    def __init__(self, conv: nn.Module, pool: nn.Module) -> None:
        super().__init__()
        self.conv1 = conv
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.pool(self.conv1(x))
        return y


class NormConv(nn.Module):
    """Batch normalisation, ReLU, then a convolution without bias: the pre-activated order."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.bn = batch_norm(in_channels)
        self.act = relu()
        self.conv = conv(in_channels, out_channels, kernel)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(self.act(self.bn(x)))
        return y
