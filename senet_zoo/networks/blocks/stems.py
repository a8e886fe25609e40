"""Stems: the first convolutions, which turn a picture into the first map."""

from dataclasses import dataclass

from torch import nn

from senet_zoo.networks.dimensions import conv, first_conv_sides
from senet_zoo.networks.layers import ConvNorm, gelu, relu


@dataclass(frozen=True)
class ConvStem:
    """One convolution.

    Args:
        width: channels of its map.
        kernel: side of the convolution: 7 for ResNet, 3 for small pictures and mobile networks.
        stride: stride of the convolution.
    """

    width: int
    kernel: int
    stride: int

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, in_channels: int) -> nn.Module:
        kernel, stride = first_conv_sides(self.kernel, self.stride)
        return nn.Sequential(ConvNorm(in_channels, self.width, kernel, stride=stride, act=relu()))


@dataclass(frozen=True)
class DeepStem:
    """Three 3x3 convolutions, the first of stride 2: half the arithmetic of a 7x7, as SENet-154 and the D form have it.

    Args:
        widths: channels of the three maps.

    Source: the paper, appendix; He et al., Bag of Tricks, figure 2b.
    """

    widths: tuple[int, int, int]
    stride: int = 2

    def out_channels(self, in_channels: int) -> int:
        return self.widths[-1]

    def build(self, in_channels: int) -> nn.Module:
        stem, width = nn.Sequential(), in_channels
        for out, (kernel, stride) in zip(self.widths, (first_conv_sides(3, self.stride), (3, 1), (3, 1)), strict=True):
            stem.append(ConvNorm(width, out, kernel, stride=stride, act=relu()))
            width = out
        return stem


@dataclass(frozen=True)
class BareStem:
    """One 3x3 convolution without norm and ReLU, for pre-activation units: the first of them normalises its map.

    Args:
        width: channels of its map.
    """

    width: int
    stride: int = 1

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, in_channels: int) -> nn.Module:
        stem, (kernel, stride) = nn.Sequential(), first_conv_sides(3, self.stride)
        stem.add_module("conv", conv(in_channels, self.width, kernel, stride=stride))
        return stem


@dataclass(frozen=True)
class PatchStem:
    """One unpadded convolution with bias and GELU: what it makes of each small patch of the picture.

    Without padding every patch lies inside the picture, so that filters can be computed from patches; the recipe
    ``cifar-speed`` does so.

    Args:
        width: channels of its map.
        kernel: side of the patches.
    """

    width: int
    kernel: int = 2
    stride: int = 1

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, in_channels: int) -> nn.Module:
        stem = nn.Sequential()
        stem.add_module("conv", conv(in_channels, self.width, self.kernel, padding=0, bias=True))
        stem.add_module("act", gelu())
        return stem
