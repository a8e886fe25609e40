"""SE-ResNet, SE-ResNeXt and SENet-154 as their authors released them (the paper, table 1 and appendix).

=======  =======================  ==========================  ==================================
output   ResNet-50                ResNeXt-50 32x4d            SENet-154
=======  =======================  ==========================  ==================================
112x112  7x7, 64, stride 2        7x7, 64, stride 2           3x3, 64, stride 2; 3x3, 64; 3x3, 128
56x56    3x3 max pool, stride 2   3x3 max pool, stride 2      3x3 max pool, stride 2
56x56    3 of 64-64-256           3 of 128-128-256 (32)       3 of 128-256-256 (64)
28x28    4 of 128-128-512         4 of 256-256-512 (32)       8 of 256-512-512 (64)
14x14    6 of 256-256-1024        6 of 512-512-1024 (32)      36 of 512-1024-1024 (64)
7x7      3 of 512-512-2048        3 of 1024-1024-2048 (32)    3 of 1024-2048-2048 (64)
1x1      mean, classifier         mean, classifier            mean, dropout 0.2, classifier
=======  =======================  ==========================  ==================================

A bottleneck a-b-c is 1x1, a; 3x3, b (in groups); 1x1, c. The pool is Caffe's: unpadded, its last window over the edge.
ResNets shrink the map in the first 1x1, ResNeXts and SENet-154 in the 3x3, as the released files do.
"""

from senet_zoo.networks.blocks.pools import MaxPool
from senet_zoo.networks.blocks.residual import Basic, Bottleneck, Projection, StrideAt
from senet_zoo.networks.blocks.stems import ConvStem, DeepStem
from senet_zoo.networks.families.family import Depths, Family, four_stages, grouped_width
from senet_zoo.networks.layers import relu
from senet_zoo.networks.specs import SE, NetworkSpec, StageSpec

FAMILY = Family(published_as=("cadene", "caffe"))


@FAMILY.register("se_resnet18", "resnet18")
def resnet18(se: SE | None) -> NetworkSpec:
    """ResNet-18.

    Differs: not the authors' network, but the form in which public weights exist: timm's ``legacy_seresnet18``, with a
    ReLU between the last batch norm and the gate. The plain twin has no gate, and so no such ReLU.
    """
    return _network(_basic((2, 2, 2, 2)), se)


@FAMILY.register("se_resnet34", "resnet34")
def resnet34(se: SE | None) -> NetworkSpec:
    """ResNet-34.

    Differs: not the authors' network, but the form in which public weights exist: timm's ``legacy_seresnet34``, with a
    ReLU between the last batch norm and the gate. The plain twin has no gate, and so no such ReLU.
    """
    return _network(_basic((3, 4, 6, 3)), se)


@FAMILY.register("se_resnet50", "resnet50")
def resnet50(se: SE | None) -> NetworkSpec:
    """ResNet-50 (table 1)."""
    return _network(_bottleneck((3, 4, 6, 3)), se)


@FAMILY.register("se_resnet101", "resnet101")
def resnet101(se: SE | None) -> NetworkSpec:
    """ResNet-101 (table 2)."""
    return _network(_bottleneck((3, 4, 23, 3)), se)


@FAMILY.register("se_resnet152", "resnet152")
def resnet152(se: SE | None) -> NetworkSpec:
    """ResNet-152 (table 2)."""
    return _network(_bottleneck((3, 8, 36, 3)), se)


@FAMILY.register("se_resnet200", "resnet200")
def resnet200(se: SE | None) -> NetworkSpec:
    """ResNet-200, this form at the depth of table 8.

    Differs: the ResNet-200 that table 8 compares with is the pre-activation network; see ``preresnet200b``.
    """
    return _network(_bottleneck((3, 24, 36, 3)), se)


@FAMILY.register("se_resnext26_32x4d", "resnext26_32x4d")
def resnext26_32x4d(se: SE | None) -> NetworkSpec:
    """ResNeXt-26 with 32 groups of 4.

    Differs: not in the paper; timm's ``legacy_seresnext26_32x4d``.
    """
    return _network(_resnext((2, 2, 2, 2)), se)


@FAMILY.register("se_resnext50_32x4d", "resnext50_32x4d")
def resnext50_32x4d(se: SE | None) -> NetworkSpec:
    """ResNeXt-50 with 32 groups of 4 (table 1)."""
    return _network(_resnext((3, 4, 6, 3)), se)


@FAMILY.register("se_resnext101_32x4d", "resnext101_32x4d")
def resnext101_32x4d(se: SE | None) -> NetworkSpec:
    """ResNeXt-101 with 32 groups of 4 (table 2)."""
    return _network(_resnext((3, 4, 23, 3)), se)


@FAMILY.register("se_resnext101_64x4d", "resnext101_64x4d")
def resnext101_64x4d(se: SE | None) -> NetworkSpec:
    """ResNeXt-101 with 64 groups of 4 (the plain one in table 8)."""
    return _network(_resnext((3, 4, 23, 3), cardinality=64), se)


@FAMILY.register("senet154", "net154")
def senet154(se: SE | None) -> NetworkSpec:
    """SENet-154, a modified ResNeXt-152 64x4d (appendix); ``net154`` is its plain twin.

    The first 1x1 of each bottleneck is half as wide, the stem is deep, and shortcuts that halve the map are 3x3.
    """

    def block(planes: int, stride: int) -> Bottleneck:
        shortcut = Projection(kernel=1 if stride == 1 else 3)
        return Bottleneck(2 * planes, 4 * planes, 4 * planes, stride, groups=64, shortcut=shortcut)

    stages = four_stages((3, 8, 36, 3), block)
    return NetworkSpec(DeepStem((64, 64, 128)), MaxPool(padding=0), stages, se, dropout=0.2)


def _network(stages: tuple[StageSpec, ...], se: SE | None) -> NetworkSpec:
    return NetworkSpec(ConvStem(64, kernel=7, stride=2), MaxPool(padding=0), stages, se)


def _basic(depths: Depths) -> tuple[StageSpec, ...]:
    return four_stages(depths, lambda planes, stride: Basic(planes, stride, before_gate=relu))


def _bottleneck(depths: Depths) -> tuple[StageSpec, ...]:
    return four_stages(
        depths, lambda planes, stride: Bottleneck(planes, planes, 4 * planes, stride, stride_at=StrideAt.REDUCE)
    )


def _resnext(depths: Depths, cardinality: int = 32) -> tuple[StageSpec, ...]:
    def block(planes: int, stride: int) -> Bottleneck:
        width = grouped_width(planes, cardinality, base_width=4)
        return Bottleneck(width, width, 4 * planes, stride, groups=cardinality)

    return four_stages(depths, block)
