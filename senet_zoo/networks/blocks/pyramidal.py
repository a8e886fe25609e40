"""Pyramidal units: every unit is a little wider than the one before, and its shortcut is padded with zeros.

::

    pad(pool(x)) + gate(bn(conv(relu(bn(conv(bn(x)))))))

No ReLU stands before the first convolution and none follows the sum; a batch norm ends the branch.

Source: Han et al., Deep Pyramidal Residual Networks, arXiv:1610.02915, figure 6d; its authors' Torch file
``addpyramidnet.lua``. The gate's places are inferred from the SENet paper's figure 5.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from senet_zoo.networks.blocks.residual import ResidualBlock, ResidualGate, average_pool
from senet_zoo.networks.dimensions import batch_norm, spatial_axes
from senet_zoo.networks.layers import ConvNorm, relu
from senet_zoo.networks.specs import SE, gate_at
from senet_zoo.networks.squeeze_excite import Placement


@dataclass(frozen=True)
class PyramidalBasic:
    """Two 3x3 convolutions.

    Args:
        width: channels of both, and of the output; at least those of the input.
        stride: of the first convolution.
    """

    width: int
    stride: int = 1

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        return ResidualBlock(
            branch={
                "norm1": batch_norm(in_channels),
                "conv1": ConvNorm(in_channels, self.width, 3, stride=self.stride, act=relu()),
                "se": gate_at(se, Placement.INNER, self.width),
                "conv2": ConvNorm(self.width, self.width, 3),
            },
            gate=ResidualGate.of(se, in_channels, self.width),
            shortcut=PaddedShortcut(in_channels, self.width, self.stride),
            drop_path=drop_path,
            act=nn.Identity,
        )


@dataclass(frozen=True)
class PyramidalBottleneck:
    """1x1 reduce, 3x3, 1x1 increase.

    Args:
        width: channels of the first 1x1 and of the 3x3.
        out: channels of the last 1x1, and of the output; at least those of the input.
        stride: of the 3x3.
    """

    width: int
    out: int
    stride: int = 1

    def out_channels(self, in_channels: int) -> int:
        return self.out

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        return ResidualBlock(
            branch={
                "norm1": batch_norm(in_channels),
                "conv1": ConvNorm(in_channels, self.width, 1, act=relu()),
                "conv2": ConvNorm(self.width, self.width, 3, stride=self.stride, act=relu()),
                "se": gate_at(se, Placement.INNER, self.width),
                "conv3": ConvNorm(self.width, self.out, 1),
            },
            gate=ResidualGate.of(se, in_channels, self.out),
            shortcut=PaddedShortcut(in_channels, self.out, self.stride),
            drop_path=drop_path,
            act=nn.Identity,
        )


class PaddedShortcut(nn.Module):
    """Average pool of ``stride``, then channels of zeros behind those of the input.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.pool = average_pool(stride)
        self.added = out_channels - in_channels
        self.padding = (0, 0) * len(spatial_axes()) + (0, self.added)

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(self.pool(x), self.padding)

    def extra_repr(self) -> str:
        return f"added={self.added}"
