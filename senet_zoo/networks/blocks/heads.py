"""Heads that are more than a global mean, and auxiliary classifiers, which branch off inside a network in training.

`senet_zoo.training.model` attaches the auxiliary classifiers; a `ConvNet` never holds one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from senet_zoo.errors import SpecError
from senet_zoo.networks.blocks.layer_specs import BiasedConv, Conv
from senet_zoo.networks.dimensions import batch_norm, grid_fields, grid_pool, spatial_axes
from senet_zoo.networks.layers import ConvNorm, relu
from senet_zoo.networks.specs import linear_classifier


@dataclass(frozen=True)
class NoHead:
    """The last map itself, without classifier."""

    def num_features(self, channels: int) -> int:
        return channels

    def build(self, channels: int, dropout: float) -> nn.Module:
        return nn.Identity()

    def build_classifier(self, num_features: int, num_classes: int) -> nn.Module:
        if num_classes:
            raise SpecError(f"a network without head ends in a map and has no logits, got num_classes={num_classes}")
        return nn.Identity()


@dataclass(frozen=True)
class GlobalMax:
    """Global maximum, dropout: the end of networks whose last pool takes the whole map."""

    def num_features(self, channels: int) -> int:
        return channels

    def build(self, channels: int, dropout: float) -> nn.Module:
        return MaxHead(dropout)

    def build_classifier(self, num_features: int, num_classes: int) -> nn.Module:
        return linear_classifier(num_features, num_classes)


class MaxHead(nn.Module):
    """``dropout(max over H, W)``, or over whatever axes the network has."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.axes = spatial_axes()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.dropout(x.amax(self.axes))
        return y


@dataclass(frozen=True)
class NormMean:
    """Batch norm, ReLU, global mean, dropout: the end of networks whose units begin with the norm (pre-activation).

    Args:
        eps: epsilon of the batch norm.
    """

    eps: float = 1e-5

    def num_features(self, channels: int) -> int:
        return channels

    def build(self, channels: int, dropout: float) -> nn.Module:
        return NormMeanHead(channels, dropout, self.eps)

    def build_classifier(self, num_features: int, num_classes: int) -> nn.Module:
        return linear_classifier(num_features, num_classes)


class NormMeanHead(nn.Module):
    """``dropout(mean of relu(bn(x)))``."""

    def __init__(self, channels: int, dropout: float, eps: float) -> None:
        super().__init__()
        self.bn = batch_norm(channels, eps)
        self.act = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)
        self.axes = spatial_axes()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.dropout(self.act(self.bn(x)).mean(self.axes))
        return y


@dataclass(frozen=True)
class ConvMean:
    """1x1 convolution with batch norm and ReLU, global mean, dropout: the end of mobile networks of narrow maps.

    Args:
        width: channels of the convolution, and features of the picture.
        act: makes what takes the ReLU's place.
    """

    width: int
    act: Callable[[], nn.Module] = relu

    def num_features(self, channels: int) -> int:
        return self.width

    def build(self, channels: int, dropout: float) -> nn.Module:
        return ConvMeanHead(ConvNorm(channels, self.width, 1, act=self.act()), dropout)

    def build_classifier(self, num_features: int, num_classes: int) -> nn.Module:
        return linear_classifier(num_features, num_classes)


class ConvMeanHead(nn.Module):
    """``dropout(mean of conv(x))``."""

    def __init__(self, conv: nn.Module, dropout: float) -> None:
        super().__init__()
        self.conv1 = conv
        self.dropout = nn.Dropout(dropout)
        self.axes = spatial_axes()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.dropout(self.conv1(x).mean(self.axes))
        return y


@dataclass(frozen=True)
class FullyConnected:
    """The last map on a grid, then fully connected layers with ReLU and dropout: the end of AlexNet and VGG.

    Args:
        grid: side of the map that the first layer sees; pictures of another size are averaged to it.
        widths: units of the layers before the classifier.

    Differs: dropout follows both layers, as the papers have it; torchvision's AlexNet drops their inputs instead.
    """

    grid: int
    widths: tuple[int, ...]

    def num_features(self, channels: int) -> int:
        return self.widths[-1]

    def build(self, channels: int, dropout: float) -> nn.Module:
        return FullyConnectedHead(channels, self.grid, self.widths, dropout)

    def build_classifier(self, num_features: int, num_classes: int) -> nn.Module:
        return linear_classifier(num_features, num_classes)


class FullyConnectedHead(nn.Module):
    """``dropout(relu(W2 dropout(relu(W1 x))))``, x being the flattened grid."""

    def __init__(self, channels: int, grid: int, widths: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.pool = grid_pool(grid)
        self.layers, width = nn.Sequential(), channels * grid_fields(grid)
        for out in widths:
            self.layers.extend((nn.Linear(width, out), nn.ReLU(inplace=True), nn.Dropout(dropout)))
            width = out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(self.pool(x).flatten(1))
        return y


@dataclass(frozen=True)
class ClassMaps:
    """A map a class, by a 1x1 convolution and ReLU, each averaged to its logit: the end of Network in Network.

    Without classifier, the features are the means of the maps below.

    Source: Lin et al., Network In Network, arXiv:1312.4400, section 3.2.
    """

    def num_features(self, channels: int) -> int:
        return channels

    def build(self, channels: int, dropout: float) -> nn.Module:
        return nn.Dropout(dropout)

    def build_classifier(self, num_features: int, num_classes: int) -> nn.Module:
        return ClassMapClassifier(num_features, num_classes) if num_classes else SpatialMean()


class ClassMapClassifier(nn.Module):
    """``mean over H, W of relu(W x + b)``, computed at every pixel. Shape: (N, C, H, W) -> (N, num_classes)."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, num_classes
        self.weight = nn.Parameter(torch.empty(num_classes, in_features))
        self.bias = nn.Parameter(torch.empty(num_classes))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The start of `torch.nn.Linear`."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        bound = 1 / math.sqrt(self.in_features)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(F.linear(x.movedim(1, -1), self.weight, self.bias)).mean((1, 2))

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"


class SpatialMean(nn.Module):
    """Mean over H and W. Shape: (N, C, H, W) -> (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


@dataclass(frozen=True)
class DenseAuxiliary:
    """GoogLeNet's: 5x5 mean of stride 3, 1x1, two fully connected layers.

    Args:
        width: channels of the 1x1.
        hidden: units of the first fully connected layer.
        dropout: rate of the dropout behind that layer.

    Source: Szegedy et al., arXiv:1409.4842, section 5.

    Differs: the first fully connected layer reads 4x4 pixels, what the mean leaves of 14x14; maps of other sizes are
    averaged to 4x4.
    """

    width: int = 128
    hidden: int = 1024
    dropout: float = 0.7

    def build(self, channels: int, num_classes: int) -> nn.Module:
        return nn.Sequential(
            nn.AvgPool2d(5, 3),
            BiasedConv(self.width).build(channels),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(self.width * 4 * 4, self.hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(self.dropout),
            linear_classifier(self.hidden, num_classes),
        )


@dataclass(frozen=True)
class ConvolutionalAuxiliary:
    """Inception v3's: 5x5 mean of stride 3, 1x1, 5x5 without padding, global mean, one fully connected layer.

    Needs a map of at least 17x17 pixels.

    Args:
        width: channels of the 1x1.
        out: channels of the 5x5.

    Source: Szegedy et al., arXiv:1512.00567, figure 8; torchvision's ``inception_v3`` for the widths.
    """

    width: int = 128
    out: int = 768

    def build(self, channels: int, num_classes: int) -> nn.Module:
        return nn.Sequential(
            nn.AvgPool2d(5, 3),
            Conv(self.width, eps=1e-3).build(channels),
            Conv(self.out, 5, padding=0, eps=1e-3).build(self.width),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            linear_classifier(self.out, num_classes),
        )
