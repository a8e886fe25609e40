"""Pre-activation ResNets for ImageNet (He et al., arXiv:1603.05027; the tables are those of arXiv:1512.03385, table 1).

=======  ==========================  =======================
output   ResNet-18                   ResNet-200
=======  ==========================  =======================
112x112  7x7, 64, stride 2           7x7, 64, stride 2
56x56    3x3 max pool, stride 2      3x3 max pool, stride 2
56x56    2 of [3x3, 64; 3x3, 64]     3 of 64-64-256
28x28    2 of [3x3, 128; 3x3, 128]   24 of 128-128-512
14x14    2 of [3x3, 256; 3x3, 256]   36 of 256-256-1024
7x7      2 of [3x3, 512; 3x3, 512]   3 of 512-512-2048
1x1      bn, relu, mean, classifier  bn, relu, mean, classifier
=======  ==========================  =======================

A bottleneck a-b-c is 1x1, a; 3x3, b; 1x1, c. Bottlenecks shrink the map in the first 1x1, or in the B form in the 3x3.

Differs: the functions are pytorchcv's ``preresnet*`` and ``sepreresnet*``. The stem has its own norm and ReLU, and each
unit has another; He et al. give the first unit no second one, and Torch's ``preresnet.lua`` gives the first stage none.
The SENet authors published no gated network of this kind.
"""

from senet_zoo.networks.blocks.heads import NormMean
from senet_zoo.networks.blocks.pools import MaxPool
from senet_zoo.networks.blocks.preactivation import PreBasic, PreBottleneck
from senet_zoo.networks.blocks.residual import StrideAt
from senet_zoo.networks.blocks.stems import ConvStem
from senet_zoo.networks.families.family import Depths, Family, four_stages
from senet_zoo.networks.specs import SE, NetworkSpec, StageSpec

FAMILY = Family(published_as=("pytorchcv",))


@FAMILY.register("se_preresnet18", "preresnet18")
def preresnet18(se: SE | None) -> NetworkSpec:
    """Pre-activation ResNet-18."""
    return _network(four_stages((2, 2, 2, 2), PreBasic), se)


@FAMILY.register("se_preresnet34", "preresnet34")
def preresnet34(se: SE | None) -> NetworkSpec:
    """Pre-activation ResNet-34."""
    return _network(four_stages((3, 4, 6, 3), PreBasic), se)


@FAMILY.register("se_preresnet50", "preresnet50")
def preresnet50(se: SE | None) -> NetworkSpec:
    """Pre-activation ResNet-50."""
    return _network(_bottleneck((3, 4, 6, 3), StrideAt.REDUCE), se)


@FAMILY.register("se_preresnet101", "preresnet101")
def preresnet101(se: SE | None) -> NetworkSpec:
    """Pre-activation ResNet-101."""
    return _network(_bottleneck((3, 4, 23, 3), StrideAt.REDUCE), se)


@FAMILY.register("se_preresnet152", "preresnet152")
def preresnet152(se: SE | None) -> NetworkSpec:
    """Pre-activation ResNet-152."""
    return _network(_bottleneck((3, 8, 36, 3), StrideAt.REDUCE), se)


@FAMILY.register("se_preresnet200", "preresnet200")
def preresnet200(se: SE | None) -> NetworkSpec:
    """Pre-activation ResNet-200."""
    return _network(_bottleneck((3, 24, 36, 3), StrideAt.REDUCE), se)


@FAMILY.register("se_preresnet200b", "preresnet200b")
def preresnet200b(se: SE | None) -> NetworkSpec:
    """Pre-activation ResNet-200, B form.

    The nearest function here to the ResNet-200 of the paper's table 8: 21.7 % is the error of Torch's
    ``fb.resnet.torch``, whose pre-activation network has its stride in the 3x3.

    Differs: that one has no norm before the branches of its first stage, and one more behind each projection.
    """
    return _network(_bottleneck((3, 24, 36, 3), StrideAt.SPATIAL), se)


def _bottleneck(depths: Depths, stride_at: StrideAt) -> tuple[StageSpec, ...]:
    return four_stages(depths, lambda planes, stride: PreBottleneck(planes, 4 * planes, stride, stride_at))


def _network(stages: tuple[StageSpec, ...], se: SE | None) -> NetworkSpec:
    return NetworkSpec(ConvStem(64, kernel=7, stride=2), MaxPool(), stages, se, head=NormMean())
