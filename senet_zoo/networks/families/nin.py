"""Network in Network for 32x32 pictures (Lin et al., arXiv:1312.4400, section 4).

======  ============================================
output  layers
======  ============================================
32x32   5x5, 192; 1x1, 160; 1x1, 96
16x16   3x3 max pool; 5x5, 192; 1x1, 192; 1x1, 192
8x8     3x3 average pool; 3x3, 192; 1x1, 192
8x8     1x1, one map a class
1x1     mean
======  ============================================

Pools have stride 2, and dropout 0.5 follows each. Every convolution has a bias and a ReLU, that of the class maps too.
"""

from senet_zoo.networks.blocks.convolution import PixelPerceptron
from senet_zoo.networks.blocks.heads import ClassMaps
from senet_zoo.networks.blocks.pools import DroppedPool, MaxPool, NoPool, PaddedAverage
from senet_zoo.networks.families.family import Family
from senet_zoo.networks.specs import SE, NetworkSpec, NoStem, StageSpec

FAMILY = Family(published_as=("pytorchcv",))


@FAMILY.register("se_nin", "nin")
def nin(se: SE | None) -> NetworkSpec:
    """Network in Network for 32x32 pictures.

    Differs: the gates are not in the paper, and their place is inferred: at the end of each mlpconv layer. The third
    ends in the maps of the classes, which carry none: 10 // 16 leaves no hidden unit, and a gate there would mix the
    logits. Its gate lies one convolution earlier, on the 192 maps that the class maps are made from.
    ``create_model(dropout=...)`` drops those maps; the dropout behind the pools is part of the network.
    """
    layers = (
        PixelPerceptron((192, 160, 96), kernel=5),
        PixelPerceptron((192, 192, 192), kernel=5, pool=DroppedPool(MaxPool(), rate=0.5)),
        PixelPerceptron((192, 192), kernel=3, pool=DroppedPool(PaddedAverage(), rate=0.5)),
    )
    stages = tuple(StageSpec((layer,)) for layer in layers)
    return NetworkSpec(NoStem(), NoPool(), stages, se, ClassMaps(), num_classes=10, input_size=32)
