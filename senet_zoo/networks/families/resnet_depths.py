"""Residual networks of other depths and forms than their papers', as pytorchcv trained them.

======  ===========  =============  ==================================
depth   units        blocks         here in the forms
======  ===========  =============  ==================================
10      basic        1, 1, 1, 1     B; pre-activation
12      basic        2, 1, 1, 1     B; pre-activation
14      basic        2, 2, 1, 1     B; pre-activation
16      basic        2, 2, 2, 1     B; pre-activation
26      basic        3, 3, 3, 3     B; pre-activation
bc 14   bottlenecks  1, 1, 1, 1     B; pre-activation, B
bc 26   bottlenecks  2, 2, 2, 2     B; pre-activation, B
bc 38   bottlenecks  3, 3, 3, 3     B; pre-activation, B
50      bottlenecks  3, 4, 6, 3     A; pre-activation, B
101     bottlenecks  3, 4, 23, 3    A; pre-activation, B
152     bottlenecks  3, 8, 36, 3    A; pre-activation, B
16      SENet-154's  1, 1, 1, 1     B, in 32 groups
28      SENet-154's  2, 2, 2, 2     B, in 32 groups
======  ===========  =============  ==================================

The A form shrinks the map in the first 1x1, as the authors' networks do, behind the padded max pool of the B form. The
last two are a small SENet-154 of half its inner width.

======  ===========  =====  ==================================
depth   units        n      for 32x32 pictures
======  ===========  =====  ==================================
164     bottlenecks  18     ResNet; pre-activation, ``cv``
272     bottlenecks  30     ResNet; pre-activation, ``cv``
542     bottlenecks  60     ResNet; pre-activation, ``cv``
20      basic        3      pre-activation, ``cv``
56      basic        9      pre-activation, ``cv``
110     basic        18     pre-activation, ``cv``
======  ===========  =====  ==================================

The ``cv`` form of a pre-activation network is that of pytorchcv's ``sepreresnet*_cifar10``: norm and ReLU behind the
stem, and none before the mean.

Source: pytorchcv 0.0.74, ``seresnet.py``, ``sepreresnet.py``, ``senet.py``, ``seresnet_cifar.py``,
``sepreresnet_cifar.py``.
"""

from senet_zoo.networks.blocks.heads import NormMean
from senet_zoo.networks.blocks.pools import MaxPool, NoPool
from senet_zoo.networks.blocks.preactivation import PreBasic, PreBottleneck
from senet_zoo.networks.blocks.residual import Basic, Bottleneck, Projection, StrideAt
from senet_zoo.networks.blocks.stems import ConvStem, DeepStem
from senet_zoo.networks.families.family import ANY, Build, Depths, Family, four_stages, three_stages
from senet_zoo.networks.specs import NetworkSpec, StageSpec

FAMILY = Family(published_as=("pytorchcv",), dimensions=ANY)

BASIC: dict[str, Depths] = {
    "10": (1, 1, 1, 1),
    "12": (2, 1, 1, 1),
    "14": (2, 2, 1, 1),
    "16": (2, 2, 2, 1),
    "26": (3, 3, 3, 3),
}
BOTTLENECK: dict[str, Depths] = {"bc14": (1, 1, 1, 1), "bc26": (2, 2, 2, 2), "bc38": (3, 3, 3, 3)}
LARGE: dict[str, Depths] = {"50": (3, 4, 6, 3), "101": (3, 4, 23, 3), "152": (3, 8, 36, 3)}
SENET: dict[str, Depths] = {"16": (1, 1, 1, 1), "28": (2, 2, 2, 2)}
BASIC_CIFAR = {"20": 3, "56": 9, "110": 18}
BOTTLENECK_CIFAR = {"164": 18, "272": 30, "542": 60}


def _imagenet(stages: tuple[StageSpec, ...]) -> Build:
    return lambda se: NetworkSpec(ConvStem(64, kernel=7, stride=2), MaxPool(), stages, se)


def _preactivated(stages: tuple[StageSpec, ...]) -> Build:
    return lambda se: NetworkSpec(ConvStem(64, kernel=7, stride=2), MaxPool(), stages, se, head=NormMean())


def _cifar(stages: tuple[StageSpec, ...]) -> Build:
    return lambda se: NetworkSpec(ConvStem(16, kernel=3, stride=1), NoPool(), stages, se, num_classes=10, input_size=32)


def _bottleneck(stride_at: StrideAt, planes: int, stride: int) -> Bottleneck:
    return Bottleneck(planes, planes, 4 * planes, stride, stride_at=stride_at)


def _spatial(planes: int, stride: int) -> Bottleneck:
    return _bottleneck(StrideAt.SPATIAL, planes, stride)


def _reducing(planes: int, stride: int) -> Bottleneck:
    return _bottleneck(StrideAt.REDUCE, planes, stride)


def _pre_bottleneck(planes: int, stride: int) -> PreBottleneck:
    return PreBottleneck(planes, 4 * planes, stride)


def _senet(planes: int, stride: int) -> Bottleneck:
    shortcut = Projection(kernel=1 if stride == 1 else 3)
    return Bottleneck(planes, 2 * planes, 4 * planes, stride, groups=32, shortcut=shortcut)


def _senet_network(depths: Depths) -> Build:
    stages = four_stages(depths, _senet)
    return lambda se: NetworkSpec(DeepStem((64, 64, 128)), MaxPool(), stages, se, dropout=0.2)


for _name, _depths in BASIC.items():
    FAMILY.row(f"se_resnet{_name}b", f"resnet{_name}b", f"ResNet-{_name} of basic units, B form",
               _imagenet(four_stages(_depths, Basic)))  # fmt: skip
for _name, _depths in BOTTLENECK.items():
    FAMILY.row(f"se_resnet{_name}b", f"resnet{_name}b", f"ResNet-{_name} of bottlenecks, B form",
               _imagenet(four_stages(_depths, _spatial)))  # fmt: skip
for _name, _depths in LARGE.items():
    FAMILY.row(f"se_resnet{_name}a", f"resnet{_name}a", f"ResNet-{_name}, A form",
               _imagenet(four_stages(_depths, _reducing)))  # fmt: skip
for _name, _depths in SENET.items():
    FAMILY.row(f"senet{_name}b", f"net{_name}b", f"A SENet-154 of {_name} layers, B form", _senet_network(_depths))
for _name, _depths in BASIC.items():
    FAMILY.row(f"se_preresnet{_name}", f"preresnet{_name}", f"Pre-activation ResNet-{_name} of basic units",
               _preactivated(four_stages(_depths, PreBasic)))  # fmt: skip
for _name, _depths in (BOTTLENECK | LARGE).items():
    FAMILY.row(f"se_preresnet{_name}b", f"preresnet{_name}b", f"Pre-activation ResNet-{_name} of bottlenecks, B form",
               _preactivated(four_stages(_depths, _pre_bottleneck)))  # fmt: skip
for _name, _n in BOTTLENECK_CIFAR.items():
    FAMILY.row(f"se_resnet{_name}", f"resnet{_name}", f"ResNet-{_name} of bottlenecks for 32x32 pictures",
               _cifar(three_stages(_n, _spatial)))  # fmt: skip
for _name, _n in BASIC_CIFAR.items():
    FAMILY.row(f"se_preresnet{_name}_cv", f"preresnet{_name}_cv",
               f"Pre-activation ResNet-{_name} for 32x32 pictures, cv form",
               _cifar(three_stages(_n, PreBasic)))  # fmt: skip
for _name, _n in BOTTLENECK_CIFAR.items():
    FAMILY.row(f"se_preresnet{_name}_cv", f"preresnet{_name}_cv",
               f"Pre-activation ResNet-{_name} of bottlenecks for 32x32 pictures, cv form",
               _cifar(three_stages(_n, _pre_bottleneck)))  # fmt: skip
