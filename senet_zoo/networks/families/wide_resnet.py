"""Wide residual networks for 32x32 pictures (Zagoruyko and Komodakis, arXiv:1605.07146, table 1).

======  ====================================
output  WRN-d-k, d = 6n + 4
======  ====================================
32x32   3x3, 16
32x32   n of [3x3, 16k; 3x3, 16k]
16x16   n of [3x3, 32k; 3x3, 32k], stride 2
8x8     n of [3x3, 64k; 3x3, 64k], stride 2
1x1     bn, relu, mean, classifier
======  ====================================

The units are pre-activation: norm and ReLU stand before each convolution except the first of all.

Differs: no dropout between a unit's convolutions, as in the row that the SENet paper compares with.
"""

from senet_zoo.networks.blocks.heads import NormMean
from senet_zoo.networks.blocks.pools import NoPool
from senet_zoo.networks.blocks.preactivation import PreBasic
from senet_zoo.networks.blocks.stems import BareStem
from senet_zoo.networks.families.family import ANY, Family, three_stages
from senet_zoo.networks.specs import SE, NetworkSpec

FAMILY = Family(published_as=("pytorchcv",), dimensions=ANY)


@FAMILY.register("se_wrn16_8", "wrn16_8")
def wrn16_8(se: SE | None) -> NetworkSpec:
    """WRN-16-8 for 32x32 pictures (the paper, tables 4 and 5)."""
    return _network(n=2, k=8, se=se)


@FAMILY.register("se_wrn28_10", "wrn28_10")
def wrn28_10(se: SE | None) -> NetworkSpec:
    """WRN-28-10 for 32x32 pictures.

    Differs: gated, it is not in the paper.
    """
    return _network(n=4, k=10, se=se)


def _network(n: int, k: int, se: SE | None) -> NetworkSpec:
    stages = three_stages(n, lambda planes, stride: PreBasic(k * planes, stride))
    return NetworkSpec(BareStem(16), NoPool(), stages, se, head=NormMean(), num_classes=10, input_size=32)
