"""Pools, each a `PoolSpec`; they differ in what their windows do at the edge of the map."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from senet_zoo.networks.dimensions import average_pool, max_pool
from senet_zoo.networks.specs import PoolSpec


@dataclass(frozen=True)
class NoPool:
    """Nothing between stem and stages, as in networks for small pictures."""

    stride: int = 1

    def build(self) -> nn.Module:
        return nn.Identity()


@dataclass(frozen=True)
class MaxPool:
    """3x3 max pool of stride 2.

    Args:
        padding: 1 as in torchvision, or 0 for Caffe's window, which is unpadded and may run over the far edge.
    """

    padding: int = 1
    stride: int = 2

    def build(self) -> nn.Module:
        return max_pool(3, self.stride, padding=self.padding, ceil_mode=self.padding == 0)


@dataclass(frozen=True)
class AveragePool:
    """2x2 average pool of stride 2, the pool of the 'aa' form."""

    stride: int = 2

    def build(self) -> nn.Module:
        return average_pool(self.stride, self.stride)


@dataclass(frozen=True)
class MaxWindow:
    """Max over square windows without padding; a window that would run over the far edge is left out.

    Args:
        side: of the window: 2 for VGG, 3 for AlexNet, whose windows overlap.
    """

    side: int
    stride: int = 2

    def build(self) -> nn.Module:
        return max_pool(self.side, self.stride)


@dataclass(frozen=True)
class PaddedAverage:
    """3x3 average pool of stride 2, padded by zeros that count."""

    stride: int = 2

    def build(self) -> nn.Module:
        return average_pool(3, self.stride, padding=1)


@dataclass(frozen=True)
class DroppedPool:
    """A pool and the dropout of its map.

    Args:
        pool: the pool.
        rate: rate of the dropout in training.
    """

    pool: PoolSpec
    rate: float

    @property
    def stride(self) -> int:
        return self.pool.stride

    def build(self) -> nn.Module:
        return nn.Sequential(self.pool.build(), nn.Dropout(self.rate))


@dataclass(frozen=True)
class MeanPool:
    """3x3 mean of stride 1.

    Args:
        counts_padding: whether the zeros around the map count at its edge.
    """

    counts_padding: bool
    stride: int = 1

    def build(self) -> nn.Module:
        return average_pool(3, self.stride, padding=1, count_include_pad=self.counts_padding)


@dataclass(frozen=True)
class HalvingMaxPool:
    """3x3 max pool of stride 2 that fits beside a padded convolution of stride 2.

    A window begins at every second pixel and may run over the far edge: Caffe's unpadded pool on even maps.

    Differs: on an odd map Caffe's pool gives one row fewer than the convolution beside it, and other libraries fail;
    here the last window begins at the last row.
    """

    stride: int = 2

    def build(self) -> nn.Module:
        return HalvingMax()


class HalvingMax(nn.Module):
    """The module of `HalvingMaxPool`. Shape: (N, C, H, W) -> (N, C, ceil(H / 2), ceil(W / 2))."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(F.pad(x, (0, 2, 0, 2), value=-torch.inf), 3, 2)
