"""AlexNet in one tower (Krizhevsky, One weird trick for parallelizing CNNs, arXiv:1404.5997).

======  ======================
output  layers
======  ======================
55x55   11x11, 64, stride 4
27x27   max pool; 5x5, 192
13x13   max pool; 3x3, 384
13x13   3x3, 256
13x13   3x3, 256
6x6     max pool
1x1     4096, 4096, classifier
======  ======================

Pools are 3x3 of stride 2; every convolution has a bias and a ReLU. Stages, and so gates, are numbered from 1, as in
conv1 to conv5; the sixth is the last pool alone.
"""

from senet_zoo.networks.blocks.convolution import Convolution
from senet_zoo.networks.blocks.heads import FullyConnected
from senet_zoo.networks.blocks.layer_specs import Pool, Ungated
from senet_zoo.networks.blocks.pools import MaxWindow, NoPool
from senet_zoo.networks.families.family import Family
from senet_zoo.networks.specs import SE, NetworkSpec, NoStem, StageSpec

FAMILY = Family(published_as=("torchvision_chain", "pytorchcv"))


@FAMILY.register("se_alexnet", "alexnet")
def alexnet(se: SE | None) -> NetworkSpec:
    """AlexNet in one tower.

    Differs: the widths are torchvision's, without local response normalisation, where the network of 2012 has two
    towers of 48 to 192 maps. The gates are not in the paper; their place is inferred from VGG's: after the ReLU of each
    convolution, before the pool.
    """
    pool = MaxWindow(3)
    layers = (
        Convolution(64, kernel=11, shrink=4, padding=2),
        Convolution(192, kernel=5, pool=pool),
        Convolution(384, pool=pool),
        Convolution(256),
        Convolution(256),
        Ungated(Pool(pool)),
    )
    stages = tuple(StageSpec((layer,)) for layer in layers)
    head = FullyConnected(grid=6, widths=(4096, 4096))
    return NetworkSpec(NoStem(), NoPool(), stages, se, head, dropout=0.5)
