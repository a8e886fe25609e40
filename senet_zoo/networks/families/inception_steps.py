"""Steps that Inception v3, v4 and Inception-ResNet share.

Source: Szegedy et al., arXiv:1602.07261, figures 7 and 14, and section 3: a convolution marked V is 'valid', not
padded. The batch norms' epsilon is that of TensorFlow-Slim's networks, of torchvision and timm.
"""

from senet_zoo.networks.blocks.paths import Conv, Keep, Step, concat, path
from senet_zoo.networks.blocks.pools import MaxWindow
from senet_zoo.networks.layers import Side

MAX = Keep(MaxWindow(3))


def conv(width: int, kernel: Side = 1) -> Conv:
    """Padded convolution of stride 1."""
    return Conv(width, kernel, eps=1e-3)


def valid(width: int, kernel: Side, stride: int = 1) -> Conv:
    """Convolution without padding, V in the figures."""
    return Conv(width, kernel, stride, padding=0, eps=1e-3)


STEM = path(valid(32, 3, stride=2), valid(32, 3), conv(64, 3))
"""299x299 -> 147x147, 64."""

SECOND_STEM = path(MAX, conv(80), valid(192, 3))
"""147x147 -> 71x71, 192; not in v4."""


def reduction_a(first: int, second: int, third: int, single: int) -> Step:
    """The first reduction, 35x35 -> 17x17, by the letters k, l, m, n of table 1: n, m and the input's channels."""
    return concat(valid(single, 3, stride=2), path(conv(first), conv(second, 3), valid(third, 3, stride=2)), MAX)
