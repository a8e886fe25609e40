"""Pre-activation ResNets, for ImageNet and for 32x32 pictures: the baselines of the paper's CIFAR tables.

=======  ==========================  ==========================
output   ResNet-18                   ResNet-200
=======  ==========================  ==========================
112x112  7x7, 64, stride 2           7x7, 64, stride 2
56x56    3x3 max pool, stride 2      3x3 max pool, stride 2
56x56    2 of [3x3, 64; 3x3, 64]     3 of 64-64-256
28x28    2 of [3x3, 128; 3x3, 128]   24 of 128-128-512
14x14    2 of [3x3, 256; 3x3, 256]   36 of 256-256-1024
7x7      2 of [3x3, 512; 3x3, 512]   3 of 512-512-2048
1x1      bn, relu, mean, classifier  bn, relu, mean, classifier
=======  ==========================  ==========================

======  =================================  ==========================
output  basic units, depth 6n + 2          bottlenecks, depth 9n + 2
======  =================================  ==========================
32x32   3x3, 16                            3x3, 16
32x32   n of [3x3, 16; 3x3, 16]            n of 16-16-64
16x16   n of [3x3, 32; 3x3, 32], stride 2  n of 32-32-128, stride 2
8x8     n of [3x3, 64; 3x3, 64], stride 2  n of 64-64-256, stride 2
1x1     bn, relu, mean, classifier         bn, relu, mean, classifier
======  =================================  ==========================

A bottleneck a-b-c is 1x1, a; 3x3, b; 1x1, c. Norm and ReLU stand before each convolution except the first of all, the
stem's. Bottlenecks for ImageNet shrink the map in the first 1x1, or in the B form in the 3x3.

Source: He et al., arXiv:1603.05027 (the unit); arXiv:1512.03385, table 1 (the tables for ImageNet).

Differs: for ImageNet, the functions are pytorchcv's ``preresnet*`` and ``sepreresnet*``. The stem has its own norm and
ReLU, and each unit has another; He et al. and Torch's ``preresnet.lua`` give the first unit no second one, and so does
``preresnet200_torch``. The SENet authors published no gated network of this kind.

Differs: for 32x32 pictures, shortcuts that change shape are 1x1 projections of the normalised map, as in the authors'
Torch file and in pytorchcv. Bottlenecks shrink the map in the 3x3, as in pytorchcv; the Torch file has the stride in
the first 1x1. A gated network is the plain one with gates; pytorchcv's ``sepreresnet*_cifar10`` also normalise the
stem's map and not the last one, and are other functions. The paper does not print the reduction; 16 is presumed.
"""

from senet_zoo.networks.blocks.heads import NormMean
from senet_zoo.networks.blocks.pools import MaxPool, NoPool
from senet_zoo.networks.blocks.preactivation import PreBasic, PreBottleneck, Unnormalised
from senet_zoo.networks.blocks.residual import StrideAt
from senet_zoo.networks.blocks.stems import BareStem, ConvStem
from senet_zoo.networks.families.family import ANY, Depths, Family, four_stages, three_stages
from senet_zoo.networks.specs import SE, NetworkSpec, StageSpec

FAMILY = Family(published_as=("pytorchcv",), dimensions=ANY)
TORCH = Family(dimensions=ANY)


def _bottleneck(depths: Depths, stride_at: StrideAt) -> tuple[StageSpec, ...]:
    return four_stages(depths, lambda planes, stride: PreBottleneck(planes, 4 * planes, stride, stride_at))


def _imagenet(stages: tuple[StageSpec, ...], se: SE | None) -> NetworkSpec:
    return NetworkSpec(ConvStem(64, kernel=7, stride=2), MaxPool(), stages, se, head=NormMean())


def _cifar(stages: tuple[StageSpec, ...], se: SE | None) -> NetworkSpec:
    return NetworkSpec(BareStem(16), NoPool(), stages, se, head=NormMean(), num_classes=10, input_size=32)


# ------------------------------------------------------------------ ImageNet


@FAMILY.register("se_preresnet18", "preresnet18")
def preresnet18(se: SE | None) -> NetworkSpec:
    """Pre-activation ResNet-18."""
    return _imagenet(four_stages((2, 2, 2, 2), PreBasic), se)


@FAMILY.register("se_preresnet34", "preresnet34")
def preresnet34(se: SE | None) -> NetworkSpec:
    """Pre-activation ResNet-34."""
    return _imagenet(four_stages((3, 4, 6, 3), PreBasic), se)


@FAMILY.register("se_preresnet50", "preresnet50")
def preresnet50(se: SE | None) -> NetworkSpec:
    """Pre-activation ResNet-50."""
    return _imagenet(_bottleneck((3, 4, 6, 3), StrideAt.REDUCE), se)


@FAMILY.register("se_preresnet101", "preresnet101")
def preresnet101(se: SE | None) -> NetworkSpec:
    """Pre-activation ResNet-101."""
    return _imagenet(_bottleneck((3, 4, 23, 3), StrideAt.REDUCE), se)


@FAMILY.register("se_preresnet152", "preresnet152")
def preresnet152(se: SE | None) -> NetworkSpec:
    """Pre-activation ResNet-152."""
    return _imagenet(_bottleneck((3, 8, 36, 3), StrideAt.REDUCE), se)


@FAMILY.register("se_preresnet200", "preresnet200")
def preresnet200(se: SE | None) -> NetworkSpec:
    """Pre-activation ResNet-200."""
    return _imagenet(_bottleneck((3, 24, 36, 3), StrideAt.REDUCE), se)


@FAMILY.register("se_preresnet200b", "preresnet200b")
def preresnet200b(se: SE | None) -> NetworkSpec:
    """Pre-activation ResNet-200, B form."""
    return _imagenet(_bottleneck((3, 24, 36, 3), StrideAt.SPATIAL), se)


@TORCH.register("se_preresnet200_torch", "preresnet200_torch")
def preresnet200_torch(se: SE | None) -> NetworkSpec:
    """Pre-activation ResNet-200 as Facebook trained it (the paper, table 8).

    The B form, whose first unit has no norm and ReLU of its own in front: those of the stem stand there.

    Source: ``preresnet.lua`` of https://github.com/facebookarchive/fb.resnet.torch at 7ac4a9f, whose ResNet-200 has the
    table's errors, 21.7 and 5.8 %. Revision 3beb17b, replaced on the day it came, is another function: no unit of its
    first stage has that norm, and each projection has one behind it.
    """
    first, *others = _bottleneck((3, 24, 36, 3), StrideAt.SPATIAL)
    unit, *rest = first.blocks
    return _imagenet((StageSpec((Unnormalised(unit), *rest)), *others), se)


# ------------------------------------------------------------------ 32x32 pictures


@FAMILY.register("se_preresnet20", "preresnet20")
def preresnet20(se: SE | None) -> NetworkSpec:
    """Pre-activation ResNet-20 for 32x32 pictures."""
    return _cifar(three_stages(3, PreBasic), se)


@FAMILY.register("se_preresnet56", "preresnet56")
def preresnet56(se: SE | None) -> NetworkSpec:
    """Pre-activation ResNet-56 for 32x32 pictures."""
    return _cifar(three_stages(9, PreBasic), se)


@FAMILY.register("se_preresnet110", "preresnet110")
def preresnet110(se: SE | None) -> NetworkSpec:
    """Pre-activation ResNet-110 for 32x32 pictures (the paper, tables 4 and 5).

    Differs: the first unit's identity carries the stem's bare map, as in pytorchcv; He et al. (appendix) activate it
    before the paths part.
    """
    return _cifar(three_stages(18, PreBasic), se)


@FAMILY.register("se_preresnet164", "preresnet164")
def preresnet164(se: SE | None) -> NetworkSpec:
    """Pre-activation ResNet-164 for 32x32 pictures (the paper, tables 4 and 5)."""
    return _cifar(three_stages(18, lambda planes, stride: PreBottleneck(planes, 4 * planes, stride)), se)
