"""Layers as specs, which stand in a chain, side by side in a concatenation, as a stem, or in a block of a stage.

The Inception networks, GoogLeNet, VGG and AlexNet are laid from them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Protocol

import torch
from torch import Tensor, nn

from senet_zoo.networks.dimensions import Side, conv
from senet_zoo.networks.layers import ConvNorm, LocalResponseNorm, relu
from senet_zoo.networks.specs import SE, PoolSpec


class LayerSpec(Protocol):
    """A layer, or several: chains and concatenations are layers as well."""

    @property
    def stride(self) -> int: ...
    def out_channels(self, in_channels: int) -> int:
        """Channels of the output, given those of the input."""
        ...

    def build(self, in_channels: int) -> nn.Module:
        """The module over a map of ``in_channels`` channels."""
        ...


@dataclass(frozen=True)
class Conv:
    """Convolution, batch norm, ReLU.

    Args:
        width: channels of the output.
        kernel: side, or height and width.
        stride: stride of the convolution.
        padding: zeros on each side; by default what keeps an odd kernel centred.
        eps: epsilon of the batch norm.
        act: makes what takes the ReLU's place.
    """

    width: int
    kernel: Side = 1
    stride: int = 1
    padding: Side | None = None
    eps: float = 1e-5
    act: Callable[[], nn.Module] = relu

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, in_channels: int) -> nn.Module:
        return ConvNorm(
            in_channels, self.width, self.kernel, stride=self.stride, padding=self.padding, eps=self.eps, act=self.act()
        )


@dataclass(frozen=True)
class BiasedConv:
    """Centred convolution with a bias, ReLU: the layer of networks without batch norm.

    Args:
        width: channels of the output.
        kernel: side.
        stride: stride of the convolution.
    """

    width: int
    kernel: int = 1
    stride: int = 1

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, in_channels: int) -> nn.Module:
        layers = nn.Sequential()
        layers.add_module("conv", conv(in_channels, self.width, self.kernel, stride=self.stride, bias=True))
        layers.add_module("act", relu())
        return layers


@dataclass(frozen=True)
class Pool:
    """A pool among other layers.

    Args:
        pool: the pool.
    """

    pool: PoolSpec

    @property
    def stride(self) -> int:
        return self.pool.stride

    def out_channels(self, in_channels: int) -> int:
        return in_channels

    def build(self, in_channels: int) -> nn.Module:
        return self.pool.build()


@dataclass(frozen=True)
class LocalResponse:
    """Local response normalisation."""

    stride: int = 1

    def out_channels(self, in_channels: int) -> int:
        return in_channels

    def build(self, in_channels: int) -> nn.Module:
        return LocalResponseNorm()


@dataclass(frozen=True)
class Chain:
    """Layers, each over the output of the one before.

    Args:
        layers: in order.
    """

    layers: tuple[LayerSpec, ...]

    @property
    def stride(self) -> int:
        return prod(layer.stride for layer in self.layers)

    def out_channels(self, in_channels: int) -> int:
        for layer in self.layers:
            in_channels = layer.out_channels(in_channels)
        return in_channels

    def build(self, in_channels: int) -> nn.Module:
        modules = nn.Sequential()
        for layer in self.layers:
            modules.append(layer.build(in_channels))
            in_channels = layer.out_channels(in_channels)
        return modules


@dataclass(frozen=True)
class Concat:
    """Layers side by side over one input; their outputs are concatenated.

    Args:
        branches: in the order of the output's channels.
    """

    branches: tuple[LayerSpec, ...]

    @property
    def stride(self) -> int:
        return self.branches[0].stride

    def out_channels(self, in_channels: int) -> int:
        return sum(branch.out_channels(in_channels) for branch in self.branches)

    def build(self, in_channels: int) -> nn.Module:
        return Concatenation([branch.build(in_channels) for branch in self.branches])


class Concatenation(nn.Module):
    """``concat(branch(x) for each branch)``."""

    def __init__(self, branches: list[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def chain(*layers: LayerSpec) -> Chain:
    """The `Chain` of these layers."""
    return Chain(layers)


def concat(*branches: LayerSpec) -> Concat:
    """The `Concat` of these branches."""
    return Concat(branches)


@dataclass(frozen=True)
class LayerBlock:
    """What blocks that are made of one layer spec have in common.

    Args:
        unit: the block's layers.
    """

    unit: LayerSpec

    @property
    def stride(self) -> int:
        return self.unit.stride

    def out_channels(self, in_channels: int) -> int:
        return self.unit.out_channels(in_channels)


@dataclass(frozen=True)
class Ungated(LayerBlock):
    """Layers without a gate: beside gated units in a stage, or a stage of their own, such as a last pool."""

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        return self.unit.build(in_channels)
