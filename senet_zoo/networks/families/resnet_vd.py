"""PaddleClas' SE networks of version D that are no D form of timm's: another stem, or one projection more.

======================  ===========  ========================  =====================================
network                 stem         units                     shortcuts
======================  ===========  ========================  =====================================
SE_ResNet18_vd, 34_vd   32, 32, 64   basic, as in ResNet-18    averaged; the first unit projects, too
SE_ResNeXt50_vd_32x4d   64, 64, 128  as in ResNeXt-50 32x4d    averaged
SENet154_vd             64, 64, 128  3, 8, 36, 3 of 64 groups  averaged
======================  ===========  ========================  =====================================

SENet154_vd has less in common with SENet-154 than its name says: its first 1x1 is as wide as its 3x3, a ResNeXt-152
64x4d.

Source: https://github.com/PaddlePaddle/PaddleClas, ppcls/arch/backbone/model_zoo: se_resnet_vd.py and se_resnext_vd.py.
Its SE_ResNet50_vd is ``se_resnet50d``.
"""

from senet_zoo.networks.blocks.pools import MaxPool
from senet_zoo.networks.blocks.residual import AveragedProjection, Basic, UnconditionalProjection
from senet_zoo.networks.blocks.stems import DeepStem
from senet_zoo.networks.families.family import ANY, Depths, Family, four_stages
from senet_zoo.networks.families.resnet import averaged
from senet_zoo.networks.specs import SE, NetworkSpec, StageSpec

FAMILY = Family(published_as=("paddle",), dimensions=ANY)


@FAMILY.register("se_resnet18_vd", "resnet18_vd")
def resnet18_vd(se: SE | None) -> NetworkSpec:
    """PaddleClas' ResNet18_vd."""
    return _basic((2, 2, 2, 2), se)


@FAMILY.register("se_resnet34_vd", "resnet34_vd")
def resnet34_vd(se: SE | None) -> NetworkSpec:
    """PaddleClas' ResNet34_vd."""
    return _basic((3, 4, 6, 3), se)


@FAMILY.register("se_resnext50_vd_32x4d", "resnext50_vd_32x4d")
def resnext50_vd_32x4d(se: SE | None) -> NetworkSpec:
    """PaddleClas' SE_ResNeXt50_vd_32x4d.

    Differs: the plain twin is that network without its gates; PaddleClas' ResNeXt50_vd_32x4d has a narrower stem and is
    ``resnext50d_32x4d``.
    """
    return _grouped((3, 4, 6, 3), 32, se)


@FAMILY.register("senet154_vd", "net154_vd")
def senet154_vd(se: SE | None) -> NetworkSpec:
    """PaddleClas' SENet154_vd; ``net154_vd`` is its plain twin."""
    return _grouped((3, 8, 36, 3), 64, se)


def _basic(depths: Depths, se: SE | None) -> NetworkSpec:
    first, *stages = four_stages(depths, lambda planes, stride: Basic(planes, stride, AveragedProjection()))
    entry = StageSpec((Basic(64, shortcut=UnconditionalProjection()), *first.blocks[1:]))
    return NetworkSpec(DeepStem((32, 32, 64)), MaxPool(padding=1), (entry, *stages), se)


def _grouped(depths: Depths, groups: int, se: SE | None) -> NetworkSpec:
    return NetworkSpec(DeepStem((64, 64, 128)), MaxPool(padding=1), averaged(depths, groups, base_width=4), se)
