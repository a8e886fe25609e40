"""CifarNet: wide plain convolutions for 32x32 pictures, after airbench94 (Jordan, arXiv:2404.00498).

======  ==============================================
output  layers
======  ==============================================
31x31   2x2, 24, with bias; GELU
15x15   3x3, 64; max pool; 3x3, 64; gate
7x7     3x3, 192; max pool; 3x3, 192; gate
3x3     3x3, 192; max pool; 3x3, 192; gate
1x1     maximum, classifier
======  ==============================================

Each 3x3 is followed by batch norm and GELU, the pooled ones by their 2x2 pool first. Most of the arithmetic
lies in maps of 192 channels, which a processor multiplies faster than the narrow maps of a ResNet-20.
"""

from senet_zoo.networks.blocks.convolution import PooledPair
from senet_zoo.networks.blocks.heads import GlobalMax
from senet_zoo.networks.blocks.pools import NoPool
from senet_zoo.networks.blocks.stems import PatchStem
from senet_zoo.networks.families.family import Family
from senet_zoo.networks.specs import SE, NetworkSpec, StageSpec

FAMILY = Family()


@FAMILY.register("se_cifarnet", "cifarnet")
def cifarnet(se: SE | None) -> NetworkSpec:
    """CifarNet, airbench94's wide convolutions for 32x32 pictures.

    Differs: airbench94 has no gates; their place, behind the second norm of each pair, is this zoo's choice. It has 256
    channels where this has 192, and divides its logits by 9, which changes the classifier's start and its rate, but no
    function that it can have.
    """
    stages = tuple(StageSpec((PooledPair(width),)) for width in (64, 192, 192))
    return NetworkSpec(PatchStem(24), NoPool(), stages, se, GlobalMax(), num_classes=10, input_size=32)
