"""SE-ResNet, SE-ResNeXt and SENet-154 in the form of their authors, and in the B and D forms of the same tables.

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

A bottleneck a-b-c is 1x1, a; 3x3, b (in groups); 1x1, c. The forms differ in a few layers, and each is another
function:

========  ==========================  =============================  ============================
form      stem                        max pool                       map shrinks in
========  ==========================  =============================  ============================
released  7x7                         unpadded, last window over     the first 1x1 (ResNet), the
                                      the edge, as in Caffe          3x3 (ResNeXt, SENet-154)
B (v1.5)  7x7                         padded by 1                    the 3x3
D         3x3, 32; 3x3, 32; 3x3, 64   padded by 1                    the 3x3; shortcuts average
aa        as D                        2x2 average                    a 2x2 average after the 3x3
========  ==========================  =============================  ============================

The B form skips no pixel; it is what torchvision's ``resnet50``, timm's ``seresnet50`` and mmpretrain train. 'aa' is
anti-aliased.

Source: the paper, table 1 and appendix (released); He et al., Bag of Tricks for Image Classification, arXiv:1812.01187,
figures 2a (B) and 2c (D); Zhang, Making Convolutional Networks Shift-Invariant Again, arXiv:1904.11486 (the idea of
'aa'); timm's ``resnet.py`` (the D and aa networks by these names). Its
``seresnetaa50d`` has no weights, and no name here.
"""

from collections.abc import Callable

from torch import nn

from senet_zoo.networks.blocks.pools import AveragePool, MaxPool
from senet_zoo.networks.blocks.residual import AveragedProjection, Basic, Bottleneck, Projection, Shortcut, StrideAt
from senet_zoo.networks.blocks.stems import ConvStem, DeepStem
from senet_zoo.networks.families.family import ANY, Depths, Family, four_stages, grouped_width
from senet_zoo.networks.layers import identity, relu
from senet_zoo.networks.specs import SE, NetworkSpec, StageSpec

RELEASED = Family(published_as=("cadene", "caffe", "monai", "vggface2", "gluon_senet"), dimensions=ANY)
B_FORM = Family(
    published_as=(
        *("timm_resnet", "pytorchcv", "mmpretrain", "moskomule", "nvidia", "paddle", "transformers"),
        *("gluon", "keras_seresnext"),
    ),
    dimensions=ANY,
)
D_FORM = Family(published_as=("timm_resnet", "pytorchcv", "paddle", "gluon"), dimensions=ANY)

_PROJECTION = Projection()
_D_STEM = DeepStem((32, 32, 64))
_TIERED_STEM = DeepStem((24, 32, 64))


def _basic(depths: Depths, before_gate: Callable[[], nn.Module] = identity) -> tuple[StageSpec, ...]:
    return four_stages(depths, lambda planes, stride: Basic(planes, stride, before_gate=before_gate))


def _bottleneck(
    depths: Depths,
    groups: int = 1,
    base_width: int = 64,
    stride_at: StrideAt = StrideAt.SPATIAL,
    shortcut: Shortcut = _PROJECTION,
) -> tuple[StageSpec, ...]:
    def block(planes: int, stride: int) -> Bottleneck:
        width = grouped_width(planes, groups, base_width)
        return Bottleneck(width, width, 4 * planes, stride, groups, stride_at, shortcut)

    return four_stages(depths, block)


def averaged(
    depths: Depths, groups: int = 1, base_width: int = 64, stride_at: StrideAt = StrideAt.SPATIAL
) -> tuple[StageSpec, ...]:
    """The D form's stages: bottlenecks whose shortcuts are averaged."""
    return _bottleneck(depths, groups, base_width, stride_at, AveragedProjection())


def _senet154_stages() -> tuple[StageSpec, ...]:
    def block(planes: int, stride: int) -> Bottleneck:
        shortcut = Projection(kernel=1 if stride == 1 else 3)
        return Bottleneck(2 * planes, 4 * planes, 4 * planes, stride, groups=64, shortcut=shortcut)

    return four_stages((3, 8, 36, 3), block)


def _released(stages: tuple[StageSpec, ...], se: SE | None) -> NetworkSpec:
    return NetworkSpec(ConvStem(64, kernel=7, stride=2), MaxPool(padding=0), stages, se)


def _b_form(stages: tuple[StageSpec, ...], se: SE | None) -> NetworkSpec:
    return NetworkSpec(ConvStem(64, kernel=7, stride=2), MaxPool(padding=1), stages, se)


def _d_form(stages: tuple[StageSpec, ...], se: SE | None) -> NetworkSpec:
    return NetworkSpec(_D_STEM, MaxPool(padding=1), stages, se)


# ------------------------------------------------------------------ as the authors released them


@RELEASED.register("se_resnet18", "resnet18")
def resnet18(se: SE | None) -> NetworkSpec:
    """ResNet-18.

    Differs: not the authors' network, but the form in which public weights exist: timm's ``legacy_seresnet18``, with a
    ReLU between the last batch norm and the gate. The plain twin has no gate, and so no such ReLU.
    """
    return _released(_basic((2, 2, 2, 2), before_gate=relu), se)


@RELEASED.register("se_resnet34", "resnet34")
def resnet34(se: SE | None) -> NetworkSpec:
    """ResNet-34.

    Differs: not the authors' network, but the form in which public weights exist: timm's ``legacy_seresnet34``, with a
    ReLU between the last batch norm and the gate. The plain twin has no gate, and so no such ReLU.
    """
    return _released(_basic((3, 4, 6, 3), before_gate=relu), se)


@RELEASED.register("se_resnet50", "resnet50")
def resnet50(se: SE | None) -> NetworkSpec:
    """ResNet-50 (table 1)."""
    return _released(_bottleneck((3, 4, 6, 3), stride_at=StrideAt.REDUCE), se)


@RELEASED.register("se_resnet101", "resnet101")
def resnet101(se: SE | None) -> NetworkSpec:
    """ResNet-101 (table 2)."""
    return _released(_bottleneck((3, 4, 23, 3), stride_at=StrideAt.REDUCE), se)


@RELEASED.register("se_resnet152", "resnet152")
def resnet152(se: SE | None) -> NetworkSpec:
    """ResNet-152 (table 2)."""
    return _released(_bottleneck((3, 8, 36, 3), stride_at=StrideAt.REDUCE), se)


@RELEASED.register("se_resnet200", "resnet200")
def resnet200(se: SE | None) -> NetworkSpec:
    """ResNet-200, this form at the depth of table 8.

    Differs: the ResNet-200 that table 8 compares with is the pre-activation network, ``preresnet200_torch``.
    """
    return _released(_bottleneck((3, 24, 36, 3), stride_at=StrideAt.REDUCE), se)


@RELEASED.register("se_resnext26_32x4d", "resnext26_32x4d")
def resnext26_32x4d(se: SE | None) -> NetworkSpec:
    """ResNeXt-26 with 32 groups of 4.

    Differs: not in the paper; timm's ``legacy_seresnext26_32x4d``.
    """
    return _released(_bottleneck((2, 2, 2, 2), groups=32, base_width=4), se)


@RELEASED.register("se_resnext50_32x4d", "resnext50_32x4d")
def resnext50_32x4d(se: SE | None) -> NetworkSpec:
    """ResNeXt-50 with 32 groups of 4 (table 1)."""
    return _released(_bottleneck((3, 4, 6, 3), groups=32, base_width=4), se)


@RELEASED.register("se_resnext101_32x4d", "resnext101_32x4d")
def resnext101_32x4d(se: SE | None) -> NetworkSpec:
    """ResNeXt-101 with 32 groups of 4 (table 2)."""
    return _released(_bottleneck((3, 4, 23, 3), groups=32, base_width=4), se)


@RELEASED.register("se_resnext101_64x4d", "resnext101_64x4d")
def resnext101_64x4d(se: SE | None) -> NetworkSpec:
    """ResNeXt-101 with 64 groups of 4 (the plain one in table 8)."""
    return _released(_bottleneck((3, 4, 23, 3), groups=64, base_width=4), se)


@RELEASED.register("senet154", "net154")
def senet154(se: SE | None) -> NetworkSpec:
    """SENet-154, a modified ResNeXt-152 64x4d (appendix); ``net154`` is its plain twin.

    The first 1x1 of each bottleneck is half as wide, the stem is deep, and shortcuts that halve the map are 3x3.
    """
    return NetworkSpec(DeepStem((64, 64, 128)), MaxPool(padding=0), _senet154_stages(), se, dropout=0.2)


# ------------------------------------------------------------------ B form


@B_FORM.register("se_resnet18b", "resnet18b")
def resnet18b(se: SE | None) -> NetworkSpec:
    """ResNet-18, B form.

    Differs: the gate of 64 channels has 4 hidden units; timm's ``seresnet18`` rounds them up to 8.
    """
    return _b_form(_basic((2, 2, 2, 2)), se)


@B_FORM.register("se_resnet34b", "resnet34b")
def resnet34b(se: SE | None) -> NetworkSpec:
    """ResNet-34, B form.

    Differs: the gate of 64 channels has 4 hidden units; timm's ``seresnet34`` rounds them up to 8.
    """
    return _b_form(_basic((3, 4, 6, 3)), se)


@B_FORM.register("se_resnet50b", "resnet50b")
def resnet50b(se: SE | None) -> NetworkSpec:
    """ResNet-50, B form."""
    return _b_form(_bottleneck((3, 4, 6, 3)), se)


@B_FORM.register("se_resnet101b", "resnet101b")
def resnet101b(se: SE | None) -> NetworkSpec:
    """ResNet-101, B form."""
    return _b_form(_bottleneck((3, 4, 23, 3)), se)


@B_FORM.register("se_resnet152b", "resnet152b")
def resnet152b(se: SE | None) -> NetworkSpec:
    """ResNet-152, B form."""
    return _b_form(_bottleneck((3, 8, 36, 3)), se)


@B_FORM.register("se_resnext50b_32x4d", "resnext50b_32x4d")
def resnext50b_32x4d(se: SE | None) -> NetworkSpec:
    """ResNeXt-50 with 32 groups of 4, B form."""
    return _b_form(_bottleneck((3, 4, 6, 3), groups=32, base_width=4), se)


@B_FORM.register("se_resnext101b_32x4d", "resnext101b_32x4d")
def resnext101b_32x4d(se: SE | None) -> NetworkSpec:
    """ResNeXt-101 with 32 groups of 4, B form."""
    return _b_form(_bottleneck((3, 4, 23, 3), groups=32, base_width=4), se)


@B_FORM.register("se_resnext101b_64x4d", "resnext101b_64x4d")
def resnext101b_64x4d(se: SE | None) -> NetworkSpec:
    """ResNeXt-101 with 64 groups of 4, B form."""
    return _b_form(_bottleneck((3, 4, 23, 3), groups=64, base_width=4), se)


@B_FORM.register("se_resnext101b_32x8d", "resnext101b_32x8d")
def resnext101b_32x8d(se: SE | None) -> NetworkSpec:
    """ResNeXt-101 with 32 groups of 8, B form."""
    return _b_form(_bottleneck((3, 4, 23, 3), groups=32, base_width=8), se)


@B_FORM.register("senet154b", "net154b")
def senet154b(se: SE | None) -> NetworkSpec:
    """SENet-154 with a padded max pool; ``net154b`` is its plain twin.

    Differs: no dropout unless asked for, as in timm's ``senet154``.
    """
    return NetworkSpec(DeepStem((64, 64, 128)), MaxPool(padding=1), _senet154_stages(), se)


# ------------------------------------------------------------------ D form, and its anti-aliased form


@D_FORM.register("se_resnet50d", "resnet50d")
def resnet50d(se: SE | None) -> NetworkSpec:
    """ResNet-50, D form."""
    return _d_form(averaged((3, 4, 6, 3)), se)


@D_FORM.register("se_resnet50t", "resnet50t")
def resnet50t(se: SE | None) -> NetworkSpec:
    """ResNet-50, D form with a tiered stem: each of its convolutions is wider than the last."""
    return NetworkSpec(_TIERED_STEM, MaxPool(padding=1), averaged((3, 4, 6, 3)), se)


@D_FORM.register("se_resnet101d", "resnet101d")
def resnet101d(se: SE | None) -> NetworkSpec:
    """ResNet-101, D form."""
    return _d_form(averaged((3, 4, 23, 3)), se)


@D_FORM.register("se_resnet152d", "resnet152d")
def resnet152d(se: SE | None) -> NetworkSpec:
    """ResNet-152, D form."""
    return _d_form(averaged((3, 8, 36, 3)), se)


@D_FORM.register("se_resnet200d", "resnet200d")
def resnet200d(se: SE | None) -> NetworkSpec:
    """ResNet-200, D form."""
    return _d_form(averaged((3, 24, 36, 3)), se)


@D_FORM.register("se_resnet269d", "resnet269d")
def resnet269d(se: SE | None) -> NetworkSpec:
    """ResNet-269, D form."""
    return _d_form(averaged((3, 30, 48, 8)), se)


@D_FORM.register("se_resnext26d_32x4d", "resnext26d_32x4d")
def resnext26d_32x4d(se: SE | None) -> NetworkSpec:
    """ResNeXt-26 with 32 groups of 4, D form."""
    return _d_form(averaged((2, 2, 2, 2), groups=32, base_width=4), se)


@D_FORM.register("se_resnext26t_32x4d", "resnext26t_32x4d")
def resnext26t_32x4d(se: SE | None) -> NetworkSpec:
    """ResNeXt-26 with 32 groups of 4, D form with the tiered stem of ``resnet50t``."""
    stages = averaged((2, 2, 2, 2), groups=32, base_width=4)
    return NetworkSpec(_TIERED_STEM, MaxPool(padding=1), stages, se)


@D_FORM.register("se_resnext50d_32x4d", "resnext50d_32x4d")
def resnext50d_32x4d(se: SE | None) -> NetworkSpec:
    """ResNeXt-50 with 32 groups of 4, D form."""
    return _d_form(averaged((3, 4, 6, 3), groups=32, base_width=4), se)


@D_FORM.register("se_resnext101d_32x8d", "resnext101d_32x8d")
def resnext101d_32x8d(se: SE | None) -> NetworkSpec:
    """ResNeXt-101 with 32 groups of 8, D form."""
    return _d_form(averaged((3, 4, 23, 3), groups=32, base_width=8), se)


@D_FORM.register("se_resnextaa101d_32x8d", "resnextaa101d_32x8d")
def resnextaa101d_32x8d(se: SE | None) -> NetworkSpec:
    """ResNeXt-101 with 32 groups of 8, D form, anti-aliased."""
    stages = averaged((3, 4, 23, 3), groups=32, base_width=8, stride_at=StrideAt.POOL)
    return NetworkSpec(_D_STEM, AveragePool(), stages, se)


@D_FORM.register("se_resnextaa201d_32x8d", "resnextaa201d_32x8d")
def resnextaa201d_32x8d(se: SE | None) -> NetworkSpec:
    """ResNeXt-201 with 32 groups of 8, D form, anti-aliased, over a stem twice as wide."""
    stages = averaged((3, 24, 36, 4), groups=32, base_width=8, stride_at=StrideAt.POOL)
    return NetworkSpec(DeepStem((64, 64, 128)), AveragePool(), stages, se)
