"""Shake-Shake networks for 32x32 pictures (Gastaldi, arXiv:1705.07485, tables 1 and 2).

======  ==================================================  =======================================
output  26 2x96d                                            29 2x4x64d
======  ==================================================  =======================================
32x32   3x3, 16                                             3x3, 64
32x32   4 of two of [3x3, 96; 3x3, 96]                      3 of two of 256-256-256 (4)
16x16   4 of two of [3x3, 192; 3x3, 192], stride 2          3 of two of 512-512-512 (4), stride 2
8x8     4 of two of [3x3, 384; 3x3, 384], stride 2          3 of two of 1024-1024-1024 (4), stride 2
1x1     relu, mean, classifier                              mean, classifier
======  ==================================================  =======================================

A bottleneck a-b-c is 1x1, a; 3x3, b (in groups); 1x1, c. "Two of" are branches of one input, mixed by random numbers in
training; their mean is the unit's branch in eval mode.

Differs: the authors of the gate do not say where it sits. It is inferred: on the output of each branch, before the mix,
because each branch is a transformation of its own. Both networks are their author's Torch files'.
"""

from senet_zoo.networks.blocks.pools import NoPool
from senet_zoo.networks.blocks.residual import Bottleneck
from senet_zoo.networks.blocks.shake import Coefficient, RectifiedMean, Shake, ShakeBasic, ShakeBottleneck
from senet_zoo.networks.blocks.stems import ConvStem
from senet_zoo.networks.families.family import ANY, Family, three_stages
from senet_zoo.networks.specs import SE, NetworkSpec

FAMILY = Family(dimensions=ANY)


@FAMILY.register("se_shakeshake26_2x96d", "shakeshake26_2x96d")
def shakeshake26_2x96d(se: SE | None) -> NetworkSpec:
    """Shake-Shake-26 2x96d, Shake-Shake-Image, for CIFAR-10 (the paper, table 4).

    Differs: the stem's ReLU is the first one of the first unit in the author's file; all that reads that map rectifies
    it, so the function is the same.
    """
    stages = three_stages(4, lambda planes, stride: ShakeBasic(6 * planes, stride))
    return NetworkSpec(_stem(16), NoPool(), stages, se, head=RectifiedMean(), num_classes=10, input_size=32)


@FAMILY.register("se_shakeshake29_2x4x64d", "shakeshake29_2x4x64d")
def shakeshake29_2x4x64d(se: SE | None) -> NetworkSpec:
    """Shake-Shake-29 2x4x64d, a ResNeXt, Shake-Even-Image, for CIFAR-100 (the paper, table 5)."""

    def block(planes: int, stride: int) -> ShakeBottleneck:
        width = 16 * planes
        return ShakeBottleneck(Bottleneck(width, width, width, stride, groups=4), Shake(backward=Coefficient.EVEN))

    return NetworkSpec(_stem(64), NoPool(), three_stages(3, block), se, num_classes=100, input_size=32)


def _stem(width: int) -> ConvStem:
    return ConvStem(width, kernel=3, stride=1)
