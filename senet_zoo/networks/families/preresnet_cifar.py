"""Pre-activation ResNets for 32x32 pictures (He et al., arXiv:1603.05027), the baselines of the paper's CIFAR tables.

======  =================================  ========================
output  basic units, depth 6n + 2          bottlenecks, depth 9n + 2
======  =================================  ========================
32x32   3x3, 16                            3x3, 16
32x32   n of [3x3, 16; 3x3, 16]            n of 16-16-64
16x16   n of [3x3, 32; 3x3, 32], stride 2  n of 32-32-128, stride 2
8x8     n of [3x3, 64; 3x3, 64], stride 2  n of 64-64-256, stride 2
1x1     bn, relu, mean, classifier         bn, relu, mean, classifier
======  =================================  ========================

A bottleneck a-b-c is 1x1, a; 3x3, b; 1x1, c. Norm and ReLU stand before each convolution but the first of all.

Differs: shortcuts that change shape are 1x1 projections of the normalised map, as in the authors' Torch file and in
pytorchcv. Bottlenecks shrink the map in the 3x3, as in pytorchcv; the Torch file has the stride in the first 1x1. A
gated network is the plain one with gates; pytorchcv's ``sepreresnet*_cifar10`` also normalise the stem's map and not
the last one, and are other functions. The paper does not print the reduction; 16 is presumed.
"""

from senet_zoo.networks.blocks.heads import NormMean
from senet_zoo.networks.blocks.pools import NoPool
from senet_zoo.networks.blocks.preactivation import BareStem, PreBasic, PreBottleneck
from senet_zoo.networks.families.family import Family, three_stages
from senet_zoo.networks.specs import SE, NetworkSpec, StageSpec

FAMILY = Family(published_as=("pytorchcv",))


@FAMILY.register("se_preresnet20", "preresnet20")
def preresnet20(se: SE | None) -> NetworkSpec:
    """Pre-activation ResNet-20 for 32x32 pictures."""
    return _network(_basic(3), se)


@FAMILY.register("se_preresnet56", "preresnet56")
def preresnet56(se: SE | None) -> NetworkSpec:
    """Pre-activation ResNet-56 for 32x32 pictures."""
    return _network(_basic(9), se)


@FAMILY.register("se_preresnet110", "preresnet110")
def preresnet110(se: SE | None) -> NetworkSpec:
    """Pre-activation ResNet-110 for 32x32 pictures (the paper, tables 4 and 5).

    Differs: the first unit's identity carries the stem's bare map, as in pytorchcv; He et al. (appendix) activate it
    before the paths part.
    """
    return _network(_basic(18), se)


@FAMILY.register("se_preresnet164", "preresnet164")
def preresnet164(se: SE | None) -> NetworkSpec:
    """Pre-activation ResNet-164 for 32x32 pictures (the paper, tables 4 and 5)."""
    return _network(three_stages(18, lambda planes, stride: PreBottleneck(planes, 4 * planes, stride)), se)


def _basic(n: int) -> tuple[StageSpec, ...]:
    return three_stages(n, PreBasic)


def _network(stages: tuple[StageSpec, ...], se: SE | None) -> NetworkSpec:
    return NetworkSpec(BareStem(16), NoPool(), stages, se, head=NormMean(), num_classes=10, input_size=32)
