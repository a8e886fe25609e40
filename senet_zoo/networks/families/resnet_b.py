"""The B form of the residual networks: stride in the 3x3, padded max pool (also called v1.5).

The tables are those of `senet_zoo.networks.families.resnet`; only two things differ, and each changes the function: a
bottleneck shrinks its map in the 3x3, so that no pixel is skipped, and the pool is padded by 1. It is what
torchvision's ``resnet50``, timm's ``seresnet50`` and mmpretrain train.

Source: He et al., Bag of Tricks for Image Classification, arXiv:1812.01187, figure 2a.
"""

from senet_zoo.networks.blocks.pools import MaxPool
from senet_zoo.networks.blocks.residual import Basic, Bottleneck, Projection
from senet_zoo.networks.blocks.stems import ConvStem, DeepStem
from senet_zoo.networks.families.family import Depths, Family, four_stages, grouped_width
from senet_zoo.networks.specs import SE, NetworkSpec, StageSpec

FAMILY = Family(published_as=("timm_resnet", "pytorchcv", "mmpretrain", "moskomule", "nvidia", "paddle"))


@FAMILY.register("se_resnet18b", "resnet18b")
def resnet18b(se: SE | None) -> NetworkSpec:
    """ResNet-18, B form.

    Differs: the gate of 64 channels has 4 hidden units; timm's ``seresnet18`` rounds them up to 8.
    """
    return _network(four_stages((2, 2, 2, 2), Basic), se)


@FAMILY.register("se_resnet34b", "resnet34b")
def resnet34b(se: SE | None) -> NetworkSpec:
    """ResNet-34, B form.

    Differs: the gate of 64 channels has 4 hidden units; timm's ``seresnet34`` rounds them up to 8.
    """
    return _network(four_stages((3, 4, 6, 3), Basic), se)


@FAMILY.register("se_resnet50b", "resnet50b")
def resnet50b(se: SE | None) -> NetworkSpec:
    """ResNet-50, B form."""
    return _network(_bottleneck((3, 4, 6, 3)), se)


@FAMILY.register("se_resnet101b", "resnet101b")
def resnet101b(se: SE | None) -> NetworkSpec:
    """ResNet-101, B form."""
    return _network(_bottleneck((3, 4, 23, 3)), se)


@FAMILY.register("se_resnet152b", "resnet152b")
def resnet152b(se: SE | None) -> NetworkSpec:
    """ResNet-152, B form."""
    return _network(_bottleneck((3, 8, 36, 3)), se)


@FAMILY.register("se_resnext50b_32x4d", "resnext50b_32x4d")
def resnext50b_32x4d(se: SE | None) -> NetworkSpec:
    """ResNeXt-50 with 32 groups of 4, B form."""
    return _network(_bottleneck((3, 4, 6, 3), cardinality=32, base_width=4), se)


@FAMILY.register("se_resnext101b_32x4d", "resnext101b_32x4d")
def resnext101b_32x4d(se: SE | None) -> NetworkSpec:
    """ResNeXt-101 with 32 groups of 4, B form."""
    return _network(_bottleneck((3, 4, 23, 3), cardinality=32, base_width=4), se)


@FAMILY.register("se_resnext101b_64x4d", "resnext101b_64x4d")
def resnext101b_64x4d(se: SE | None) -> NetworkSpec:
    """ResNeXt-101 with 64 groups of 4, B form."""
    return _network(_bottleneck((3, 4, 23, 3), cardinality=64, base_width=4), se)


@FAMILY.register("se_resnext101b_32x8d", "resnext101b_32x8d")
def resnext101b_32x8d(se: SE | None) -> NetworkSpec:
    """ResNeXt-101 with 32 groups of 8, B form."""
    return _network(_bottleneck((3, 4, 23, 3), cardinality=32, base_width=8), se)


@FAMILY.register("senet154b", "net154b")
def senet154b(se: SE | None) -> NetworkSpec:
    """SENet-154 with a padded max pool; ``net154b`` is its plain twin.

    Differs: no dropout unless asked for, as in timm's ``senet154``.
    """

    def block(planes: int, stride: int) -> Bottleneck:
        shortcut = Projection(kernel=1 if stride == 1 else 3)
        return Bottleneck(2 * planes, 4 * planes, 4 * planes, stride, groups=64, shortcut=shortcut)

    return NetworkSpec(DeepStem((64, 64, 128)), MaxPool(padding=1), four_stages((3, 8, 36, 3), block), se)


def _network(stages: tuple[StageSpec, ...], se: SE | None) -> NetworkSpec:
    return NetworkSpec(ConvStem(64, kernel=7, stride=2), MaxPool(padding=1), stages, se)


def _bottleneck(depths: Depths, cardinality: int = 1, base_width: int = 64) -> tuple[StageSpec, ...]:
    def block(planes: int, stride: int) -> Bottleneck:
        width = grouped_width(planes, cardinality, base_width)
        return Bottleneck(width, width, 4 * planes, stride, groups=cardinality)

    return four_stages(depths, block)
