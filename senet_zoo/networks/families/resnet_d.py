"""The D form of the residual networks: B, a deep stem, and average-pooled shortcuts; and its 'aa' form.

The 'aa' (anti-aliased) form also shrinks the main path by averaging: a bottleneck of stride 2 keeps its 3x3 at stride
1 and pools after it, and the max pool after the stem becomes an average pool.

Source: He et al., Bag of Tricks, arXiv:1812.01187, figure 2c; Zhang, Making Convolutional Networks Shift-Invariant
Again, arXiv:1904.11486 (the idea of 'aa'); timm's ``resnet.py`` (the networks by these names).
"""

from senet_zoo.networks.blocks.pools import AveragePool, MaxPool
from senet_zoo.networks.blocks.residual import AveragedProjection, Bottleneck, StrideAt
from senet_zoo.networks.blocks.stems import DeepStem
from senet_zoo.networks.families.family import Depths, Family, four_stages, grouped_width
from senet_zoo.networks.specs import SE, NetworkSpec, StageSpec

FAMILY = Family(published_as=("timm_resnet", "paddle"))


@FAMILY.register("se_resnet50d", "resnet50d")
def resnet50d(se: SE | None) -> NetworkSpec:
    """ResNet-50, D form."""
    return NetworkSpec(_STEM, MaxPool(), _stages((3, 4, 6, 3)), se)


@FAMILY.register("se_resnet101d", "resnet101d")
def resnet101d(se: SE | None) -> NetworkSpec:
    """ResNet-101, D form."""
    return NetworkSpec(_STEM, MaxPool(), _stages((3, 4, 23, 3)), se)


@FAMILY.register("se_resnet152d", "resnet152d")
def resnet152d(se: SE | None) -> NetworkSpec:
    """ResNet-152, D form."""
    return NetworkSpec(_STEM, MaxPool(), _stages((3, 8, 36, 3)), se)


@FAMILY.register("se_resnext26d_32x4d", "resnext26d_32x4d")
def resnext26d_32x4d(se: SE | None) -> NetworkSpec:
    """ResNeXt-26 with 32 groups of 4, D form."""
    return NetworkSpec(_STEM, MaxPool(), _stages((2, 2, 2, 2), cardinality=32, base_width=4), se)


@FAMILY.register("se_resnext50d_32x4d", "resnext50d_32x4d")
def resnext50d_32x4d(se: SE | None) -> NetworkSpec:
    """ResNeXt-50 with 32 groups of 4, D form."""
    return NetworkSpec(_STEM, MaxPool(), _stages((3, 4, 6, 3), cardinality=32, base_width=4), se)


@FAMILY.register("se_resnext101d_32x8d", "resnext101d_32x8d")
def resnext101d_32x8d(se: SE | None) -> NetworkSpec:
    """ResNeXt-101 with 32 groups of 8, D form."""
    return NetworkSpec(_STEM, MaxPool(), _stages((3, 4, 23, 3), cardinality=32, base_width=8), se)


@FAMILY.register("se_resnextaa101d_32x8d", "resnextaa101d_32x8d")
def resnextaa101d_32x8d(se: SE | None) -> NetworkSpec:
    """ResNeXt-101 with 32 groups of 8, D form, anti-aliased."""
    stages = _stages((3, 4, 23, 3), cardinality=32, base_width=8, stride_at=StrideAt.POOL)
    return NetworkSpec(_STEM, AveragePool(), stages, se)


@FAMILY.register("se_resnextaa201d_32x8d", "resnextaa201d_32x8d")
def resnextaa201d_32x8d(se: SE | None) -> NetworkSpec:
    """ResNeXt-201 with 32 groups of 8, D form, anti-aliased, over a stem twice as wide."""
    stages = _stages((3, 24, 36, 4), cardinality=32, base_width=8, stride_at=StrideAt.POOL)
    return NetworkSpec(DeepStem((64, 64, 128)), AveragePool(), stages, se)


_STEM = DeepStem((32, 32, 64))


def _stages(
    depths: Depths, cardinality: int = 1, base_width: int = 64, stride_at: StrideAt = StrideAt.SPATIAL
) -> tuple[StageSpec, ...]:
    def block(planes: int, stride: int) -> Bottleneck:
        width = grouped_width(planes, cardinality, base_width)
        return Bottleneck(width, width, 4 * planes, stride, cardinality, stride_at, AveragedProjection())

    return four_stages(depths, block)
