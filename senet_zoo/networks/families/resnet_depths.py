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

FAMILY = Family(published_as=("pytorchcv", "keras_seresnet"), dimensions=ANY)


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


ROWS: tuple[tuple[str, str, str, Build], ...] = (
    ("se_resnet10b", "resnet10b", "ResNet-10 of basic units, B form", _imagenet(four_stages((1, 1, 1, 1), Basic))),
    ("se_resnet12b", "resnet12b", "ResNet-12 of basic units, B form", _imagenet(four_stages((2, 1, 1, 1), Basic))),
    ("se_resnet14b", "resnet14b", "ResNet-14 of basic units, B form", _imagenet(four_stages((2, 2, 1, 1), Basic))),
    ("se_resnet16b", "resnet16b", "ResNet-16 of basic units, B form", _imagenet(four_stages((2, 2, 2, 1), Basic))),
    ("se_resnet26b", "resnet26b", "ResNet-26 of basic units, B form", _imagenet(four_stages((3, 3, 3, 3), Basic))),
    ("se_resnetbc14b", "resnetbc14b", "ResNet-14 of bottlenecks, B form",
     _imagenet(four_stages((1, 1, 1, 1), _spatial))),
    ("se_resnetbc26b", "resnetbc26b", "ResNet-26 of bottlenecks, B form",
     _imagenet(four_stages((2, 2, 2, 2), _spatial))),
    ("se_resnetbc38b", "resnetbc38b", "ResNet-38 of bottlenecks, B form",
     _imagenet(four_stages((3, 3, 3, 3), _spatial))),
    ("se_resnet50a", "resnet50a", "ResNet-50, A form", _imagenet(four_stages((3, 4, 6, 3), _reducing))),
    ("se_resnet101a", "resnet101a", "ResNet-101, A form", _imagenet(four_stages((3, 4, 23, 3), _reducing))),
    ("se_resnet152a", "resnet152a", "ResNet-152, A form", _imagenet(four_stages((3, 8, 36, 3), _reducing))),
    ("senet16b", "net16b", "A SENet-154 of 16 layers and half its inner width, B form", _senet_network((1, 1, 1, 1))),
    ("senet28b", "net28b", "A SENet-154 of 28 layers and half its inner width, B form", _senet_network((2, 2, 2, 2))),
    ("se_preresnet10", "preresnet10", "Pre-activation ResNet-10 of basic units",
     _preactivated(four_stages((1, 1, 1, 1), PreBasic))),
    ("se_preresnet12", "preresnet12", "Pre-activation ResNet-12 of basic units",
     _preactivated(four_stages((2, 1, 1, 1), PreBasic))),
    ("se_preresnet14", "preresnet14", "Pre-activation ResNet-14 of basic units",
     _preactivated(four_stages((2, 2, 1, 1), PreBasic))),
    ("se_preresnet16", "preresnet16", "Pre-activation ResNet-16 of basic units",
     _preactivated(four_stages((2, 2, 2, 1), PreBasic))),
    ("se_preresnet26", "preresnet26", "Pre-activation ResNet-26 of basic units",
     _preactivated(four_stages((3, 3, 3, 3), PreBasic))),
    ("se_preresnetbc14b", "preresnetbc14b", "Pre-activation ResNet-14 of bottlenecks, B form",
     _preactivated(four_stages((1, 1, 1, 1), _pre_bottleneck))),
    ("se_preresnetbc26b", "preresnetbc26b", "Pre-activation ResNet-26 of bottlenecks, B form",
     _preactivated(four_stages((2, 2, 2, 2), _pre_bottleneck))),
    ("se_preresnetbc38b", "preresnetbc38b", "Pre-activation ResNet-38 of bottlenecks, B form",
     _preactivated(four_stages((3, 3, 3, 3), _pre_bottleneck))),
    ("se_preresnet50b", "preresnet50b", "Pre-activation ResNet-50 of bottlenecks, B form",
     _preactivated(four_stages((3, 4, 6, 3), _pre_bottleneck))),
    ("se_preresnet101b", "preresnet101b", "Pre-activation ResNet-101 of bottlenecks, B form",
     _preactivated(four_stages((3, 4, 23, 3), _pre_bottleneck))),
    ("se_preresnet152b", "preresnet152b", "Pre-activation ResNet-152 of bottlenecks, B form",
     _preactivated(four_stages((3, 8, 36, 3), _pre_bottleneck))),
    ("se_resnet164", "resnet164", "ResNet-164 of bottlenecks for 32x32 pictures", _cifar(three_stages(18, _spatial))),
    ("se_resnet272", "resnet272", "ResNet-272 of bottlenecks for 32x32 pictures", _cifar(three_stages(30, _spatial))),
    ("se_resnet542", "resnet542", "ResNet-542 of bottlenecks for 32x32 pictures", _cifar(three_stages(60, _spatial))),
    ("se_preresnet20_cv", "preresnet20_cv", "Pre-activation ResNet-20 for 32x32 pictures, cv form",
     _cifar(three_stages(3, PreBasic))),
    ("se_preresnet56_cv", "preresnet56_cv", "Pre-activation ResNet-56 for 32x32 pictures, cv form",
     _cifar(three_stages(9, PreBasic))),
    ("se_preresnet110_cv", "preresnet110_cv", "Pre-activation ResNet-110 for 32x32 pictures, cv form",
     _cifar(three_stages(18, PreBasic))),
    ("se_preresnet164_cv", "preresnet164_cv", "Pre-activation ResNet-164 of bottlenecks for 32x32 pictures, cv form",
     _cifar(three_stages(18, _pre_bottleneck))),
    ("se_preresnet272_cv", "preresnet272_cv", "Pre-activation ResNet-272 of bottlenecks for 32x32 pictures, cv form",
     _cifar(three_stages(30, _pre_bottleneck))),
    ("se_preresnet542_cv", "preresnet542_cv", "Pre-activation ResNet-542 of bottlenecks for 32x32 pictures, cv form",
     _cifar(three_stages(60, _pre_bottleneck))),
)  # fmt: skip
"""Gated name, plain name, what it is, and its spec."""

for _row in ROWS:
    FAMILY.row(*_row)
