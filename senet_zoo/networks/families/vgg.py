"""VGG with batch normalisation (Simonyan and Zisserman, arXiv:1409.1556, table 1; the paper, table 2).

=======  ===============  ===============  ===============  ===============
output   VGG-11           VGG-13           VGG-16           VGG-19
=======  ===============  ===============  ===============  ===============
224x224  64               2 of 64          2 of 64          2 of 64
112x112  128              2 of 128         2 of 128         2 of 128
56x56    2 of 256         2 of 256         3 of 256         4 of 256
28x28    2 of 512         2 of 512         3 of 512         4 of 512
14x14    2 of 512         2 of 512         3 of 512         4 of 512
7x7      max pool         max pool         max pool         max pool
1x1      4096, 4096       4096, 4096       4096, 4096       4096, 4096
=======  ===============  ===============  ===============  ===============

Each number is the width of a 3x3 convolution with bias, batch norm and ReLU; a 2x2 max pool stands before every stage
except the first. Stages, and so gates, are numbered from 1, as in conv1 to conv5; the sixth is the last pool alone. The
gate follows the ReLU of each convolution, and where a pool follows too, it comes before the pool (inferred).
"""

from senet_zoo.networks.blocks.convolution import Convolution
from senet_zoo.networks.blocks.heads import FullyConnected
from senet_zoo.networks.blocks.layer_specs import Pool, Ungated
from senet_zoo.networks.blocks.pools import MaxWindow, NoPool
from senet_zoo.networks.dimensions import batch_norm
from senet_zoo.networks.families.family import ANY, Family
from senet_zoo.networks.specs import SE, NetworkSpec, NoStem, PoolSpec, StageSpec

FAMILY = Family(published_as=("torchvision_chain", "timm_vgg", "pytorchcv"), dimensions=ANY)


@FAMILY.register("se_vgg11", "vgg11_bn")
def vgg11(se: SE | None) -> NetworkSpec:
    """VGG-11 with batch normalisation."""
    return _network((1, 1, 2, 2, 2), se)


@FAMILY.register("se_vgg13", "vgg13_bn")
def vgg13(se: SE | None) -> NetworkSpec:
    """VGG-13 with batch normalisation."""
    return _network((2, 2, 2, 2, 2), se)


@FAMILY.register("se_vgg16", "vgg16_bn")
def vgg16(se: SE | None) -> NetworkSpec:
    """VGG-16 with batch normalisation (the paper, table 2)."""
    return _network((2, 2, 3, 3, 3), se)


@FAMILY.register("se_vgg19", "vgg19_bn")
def vgg19(se: SE | None) -> NetworkSpec:
    """VGG-19 with batch normalisation."""
    return _network((2, 2, 4, 4, 4), se)


_NO_POOL, _POOL = NoPool(), MaxWindow(2)


def _network(depths: tuple[int, int, int, int, int], se: SE | None) -> NetworkSpec:
    pools: tuple[PoolSpec, ...] = (_NO_POOL, _POOL, _POOL, _POOL, _POOL)
    stages = (
        StageSpec((_convolution(width, pool), *(_convolution(width, _NO_POOL),) * (depth - 1)))
        for depth, width, pool in zip(depths, (64, 128, 256, 512, 512), pools, strict=True)
    )
    head = FullyConnected(grid=7, widths=(4096, 4096))
    return NetworkSpec(NoStem(), _NO_POOL, (*stages, StageSpec((Ungated(Pool(_POOL)),))), se, head, dropout=0.5)


def _convolution(width: int, pool: PoolSpec) -> Convolution:
    return Convolution(width, pool=pool, norm=batch_norm)
