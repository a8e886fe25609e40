"""MobileNet v1, width 1.0 (Howard et al., arXiv:1704.04861, table 1).

=======  ==============================
output   layers
=======  ==============================
112x112  3x3, 32, stride 2
112x112  64
56x56    128, stride 2; 128
28x28    256, stride 2; 256
14x14    512, stride 2; 5 of 512
7x7      1024, stride 2; 1024
1x1      mean, classifier
=======  ==============================

Each number is the width of a depthwise separable block.
"""

from senet_zoo.networks.blocks.mobile import DepthwiseSeparable as Block
from senet_zoo.networks.blocks.pools import NoPool
from senet_zoo.networks.blocks.stems import ConvStem
from senet_zoo.networks.families.family import ANY, Family
from senet_zoo.networks.specs import SE, NetworkSpec, StageSpec

FAMILY = Family(published_as=("pytorchcv",), dimensions=ANY)


@FAMILY.register("se_mobilenet", "mobilenet")
def mobilenet(se: SE | None) -> NetworkSpec:
    """MobileNet v1 1.0 (the paper, table 3).

    Differs: ReLU and symmetric padding, where TensorFlow's and timm's ``mobilenetv1_100`` have ReLU6.
    """
    stages = (
        StageSpec((Block(64),)),
        StageSpec((Block(128, stride=2), Block(128))),
        StageSpec((Block(256, stride=2), Block(256))),
        StageSpec((Block(512, stride=2), *(Block(512),) * 5)),
        StageSpec((Block(1024, stride=2), Block(1024))),
    )
    return NetworkSpec(ConvStem(32, kernel=3, stride=2), NoPool(), stages, se)
