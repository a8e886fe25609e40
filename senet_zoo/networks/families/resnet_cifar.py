"""ResNets for 32x32 pictures (He et al., arXiv:1512.03385, section 4.2).

===========  =================================  ======
output       layers                             6n + 2
===========  =================================  ======
32x32        3x3, 16                            1
32x32        n of [3x3, 16; 3x3, 16]            2n
16x16        n of [3x3, 32; 3x3, 32], stride 2  2n
8x8          n of [3x3, 64; 3x3, 64], stride 2  2n
1x1          global mean, classifier            1
===========  =================================  ======

Differs: shortcuts that change shape are 1x1 projections, as in pytorchcv, not the zero padding of the original's
option A.
"""

from senet_zoo.networks.blocks.pools import NoPool
from senet_zoo.networks.blocks.residual import Basic
from senet_zoo.networks.blocks.stems import ConvStem
from senet_zoo.networks.families.family import ANY, Family
from senet_zoo.networks.specs import SE, NetworkSpec, StageSpec

# chenyaofo's pytorch-cifar-models and moskomule's plain twins have torchvision's names, as timm's have.
FAMILY = Family(published_as=("pytorchcv", "moskomule", "timm_resnet"), dimensions=ANY)


@FAMILY.register("se_resnet20", "resnet20")
def resnet20(se: SE | None) -> NetworkSpec:
    """ResNet-20 for 32x32 pictures."""
    return _network(3, se)


@FAMILY.register("se_resnet32", "resnet32")
def resnet32(se: SE | None) -> NetworkSpec:
    """ResNet-32 for 32x32 pictures."""
    return _network(5, se)


@FAMILY.register("se_resnet44", "resnet44")
def resnet44(se: SE | None) -> NetworkSpec:
    """ResNet-44 for 32x32 pictures."""
    return _network(7, se)


@FAMILY.register("se_resnet56", "resnet56")
def resnet56(se: SE | None) -> NetworkSpec:
    """ResNet-56 for 32x32 pictures."""
    return _network(9, se)


@FAMILY.register("se_resnet110", "resnet110")
def resnet110(se: SE | None) -> NetworkSpec:
    """ResNet-110 for 32x32 pictures.

    Differs: the paper's CIFAR baseline of this depth is the pre-activation network; this is the original's order.
    """
    return _network(18, se)


def _network(n: int, se: SE | None) -> NetworkSpec:
    stages = (
        StageSpec((Basic(16),) * n),
        StageSpec((Basic(32, stride=2), *(Basic(32),) * (n - 1))),
        StageSpec((Basic(64, stride=2), *(Basic(64),) * (n - 1))),
    )
    return NetworkSpec(ConvStem(16, kernel=3, stride=1), NoPool(), stages, se, num_classes=10, input_size=32)
