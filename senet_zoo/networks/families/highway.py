"""Highway networks for 32x32 pictures (Srivastava et al., arXiv:1507.06228, tables 2 and 3).

======  ==========================================
output  Highway-19
======  ==========================================
32x32   32; 4 highway layers of 32
16x16   2x2 max pool; 80; 5 highway layers of 80
8x8     2x2 max pool; 128; 5 highway layers of 128
8x8     1x1, 100
1x1     mean, classifier
======  ==========================================

Each number is the width of a 3x3 convolution with bias and ReLU. This is the network of the authors' own file
(``cifar10-19layers`` of their repository), the one of table 3: 92.40 % on CIFAR-10 and 67.76 % on CIFAR-100, with
2,256,838 parameters, the table's 2.3 million.

Differs: the authors also drop a fifth of the pictures' values and of each pooled map in training; here the dropout is
that before the classifier. Of the paper's other rows, Highway A and C, only layers, parameters and accuracy are
published, not the widths, so that they have no name here; the ten-layer one reads digits of one channel.
"""

from senet_zoo.networks.blocks.convolution import Convolution
from senet_zoo.networks.blocks.highway import Highway
from senet_zoo.networks.blocks.layer_specs import BiasedConv, Ungated
from senet_zoo.networks.blocks.pools import MaxWindow, NoPool
from senet_zoo.networks.families.family import Family
from senet_zoo.networks.specs import SE, BlockSpec, NetworkSpec, NoStem, PoolSpec, StageSpec

FAMILY = Family()


@FAMILY.register("se_highway19", "highway19")
def highway19(se: SE | None) -> NetworkSpec:
    """Highway network of 19 layers for 32x32 pictures.

    Differs: the gates are not in the paper; their place is inferred: behind the ReLU of each 3x3 convolution, in a
    highway layer before its transform gate.
    """
    last = Ungated(BiasedConv(100))
    stages = (_stage(32, 4, NoPool()), _stage(80, 5, MaxWindow(2)), _stage(128, 5, MaxWindow(2), last))
    return NetworkSpec(NoStem(), NoPool(), stages, se, dropout=0.2, num_classes=10, input_size=32)


def _stage(width: int, depth: int, pool: PoolSpec, *last: BlockSpec) -> StageSpec:
    return StageSpec((Convolution(width, pool=pool), *(Highway(width),) * depth, *last))
