"""Auxiliary classifiers: what branches off inside a network while it trains.

`senet_zoo.training.auxiliary` puts them to work; a network never holds one.
"""

from dataclasses import dataclass

from torch import nn

from senet_zoo.blocks.steps import BiasedConv, Conv
from senet_zoo.specs import linear_classifier


@dataclass(frozen=True)
class DenseAuxiliary:
    """GoogLeNet's: 5x5 mean of stride 3, 1x1, two fully connected layers.

    Args:
        width: channels of the 1x1.
        hidden: units of the first fully connected layer.
        dropout: rate behind it.

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
