"""Inception v3, v4 and Inception-ResNet v1 and v2, which share a stem and a reduction.

=======  ==========================================================================
output   Inception v3
=======  ==========================================================================
147x147  3x3, 32, stride 2, V; 3x3, 32, V; 3x3, 64
71x71    3x3 max pool, stride 2; 1x1, 80; 3x3, 192, V
35x35    3x3 max pool, stride 2; A of 256, 288 and 288 channels
17x17    reduction to 768; B over 7x7 of 128, 160, 160 and 192 inner channels
8x8      reduction to 1280; C of 2048 channels, twice
1x1      mean, dropout 0.5, classifier
=======  ==========================================================================

=======  ==============================================================================
output   Inception v4
=======  ==============================================================================
147x147  3x3, 32, stride 2, V; 3x3, 32, V; 3x3, 64
71x71    max pool and 3x3, 96, stride 2, V; 64 to 96, V, and 64 through 7x7 to 96, V
35x35    3x3, 192, stride 2, V, and max pool; 4 of A, 384 channels
17x17    reduction A to 1024; 7 of B, 1024 channels
8x8      reduction B to 1536; 3 of C, 1536 channels
1x1      mean, dropout 0.2, classifier
=======  ==============================================================================

=======  ==========================================  ==========================================
output   Inception-ResNet v1                         Inception-ResNet v2
=======  ==========================================  ==========================================
147x147  3x3, 32, stride 2, V; 3x3, 32, V; 3x3, 64   the same
71x71    max pool; 1x1, 80; 3x3, 192, V              the same
35x35    3x3, 256, stride 2, V                       max pool; 96 + 64 + 96 + 64
35x35    5 of A, 256 channels                        10 of A, 320 channels
17x17    reduction A to 896; 10 of B                 reduction A to 1088; 20 of B
8x8      reduction B to 1792; 6 of C                 reduction B to 2080; 10 of C; 1x1, 1536
1x1      mean, dropout 0.2, classifier               the same
=======  ==========================================  ==========================================

V is 'valid': without padding. Rows are stages 1 to 5; both rows of 35x35 are stage 3. Each block of Inception-ResNet
scales its branch before the sum: A by 0.17, B by 0.10, C by 0.20, except the last C, which scales by 1 and has no ReLU
behind it. Its gate sits on the widened branch before it is scaled; its reductions carry none, because nothing is summed
there.

Source: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, arXiv:1512.00567, table 1 and figures
5 to 7 (v3); Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning,
arXiv:1602.07261, figures 3 to 9 (v4), 10 to 20 (Inception-ResNet), table 1 and section 3; torchvision's
``inception_v3`` for the widths of v3, which the paper does not print; TensorFlow-Slim's ``inception_resnet_v2`` and
facenet's ``inception_resnet_v1`` for the scales and the last C. The batch norms' epsilon is that of TensorFlow-Slim's
networks, of torchvision and timm.
"""

from senet_zoo.networks.blocks.heads import ConvolutionalAuxiliary
from senet_zoo.networks.blocks.inception import Inception, InceptionResidual
from senet_zoo.networks.blocks.layer_specs import Conv, LayerSpec, Pool, Ungated, chain, concat
from senet_zoo.networks.blocks.pools import MaxWindow, MeanPool, NoPool
from senet_zoo.networks.dimensions import Side
from senet_zoo.networks.families.family import Family
from senet_zoo.networks.layers import identity
from senet_zoo.networks.specs import SE, AuxiliarySpec, BlockSpec, NetworkSpec, StageSpec

INCEPTION_V3 = Family(published_as=("torchvision_inception", "pytorchcv"))
INCEPTION_V4 = Family(published_as=("timm_inception_v4", "pytorchcv"))
INCEPTION_RESNET = Family(published_as=("timm_inception_resnet", "pytorchcv"))

MAX = Pool(MaxWindow(3))


def conv(width: int, kernel: Side = 1) -> Conv:
    """Padded convolution of stride 1."""
    return Conv(width, kernel, eps=1e-3)


def valid(width: int, kernel: Side, stride: int = 1) -> Conv:
    """Convolution without padding, V in the figures."""
    return Conv(width, kernel, stride, padding=0, eps=1e-3)


STEM = chain(valid(32, 3, stride=2), valid(32, 3), conv(64, 3))
"""299x299 -> 147x147, 64."""

SECOND_STEM = chain(MAX, conv(80), valid(192, 3))
"""147x147 -> 71x71, 192; not in v4."""


def reduction_a(first: int, second: int, third: int, single: int) -> LayerSpec:
    """The first reduction, 35x35 -> 17x17, by the letters k, l, m, n of table 1: n, m and the input's channels."""
    return concat(valid(single, 3, stride=2), chain(conv(first), conv(second, 3), valid(third, 3, stride=2)), MAX)


# ------------------------------------------------------------------ Inception v3


_V3_MEAN = Pool(MeanPool(counts_padding=True))


def _v3_a(pooled: int) -> LayerSpec:
    """35x35, figure 5: 64 + 64 + 96 + the pooled branch."""
    return concat(
        conv(64),
        chain(conv(48), conv(64, 5)),
        chain(conv(64), conv(96, 3), conv(96, 3)),
        chain(_V3_MEAN, conv(pooled)),
    )


def _v3_b(width: int) -> LayerSpec:
    """17x17, figure 6: 7x7 convolutions taken apart, 192 channels from each branch."""
    return concat(
        conv(192),
        chain(conv(width), conv(width, (1, 7)), conv(192, (7, 1))),
        chain(conv(width), conv(width, (7, 1)), conv(width, (1, 7)), conv(width, (7, 1)), conv(192, (1, 7))),
        chain(_V3_MEAN, conv(192)),
    )


_V3_REDUCTION_B = concat(
    chain(conv(192), valid(320, 3, stride=2)),
    chain(conv(192), conv(192, (1, 7)), conv(192, (7, 1)), valid(192, 3, stride=2)),
    MAX,
)

_V3_FORK = concat(conv(384, (1, 3)), conv(384, (3, 1)))

_V3_C = concat(
    conv(320),
    chain(conv(384), _V3_FORK),
    chain(conv(448), conv(384, 3), _V3_FORK),
    chain(_V3_MEAN, conv(192)),
)
"""8x8, figure 7."""


@INCEPTION_V3.register("se_inception_v3", "inception_v3")
def inception_v3(se: SE | None) -> NetworkSpec:
    """Inception v3.

    In training a second classifier may branch off behind the last 17x17 module, its loss weighted 0.4, the weight of
    TensorFlow-Slim's training script: `senet_zoo.training.model`.

    torchvision's weights take pictures of mean and deviation 0.5 in each channel. Its builder makes them of ImageNet's
    inside the network (``transform_input=True``); here that is the preprocessing.

    Differs: the means count the zeros around the map, as in torchvision and pytorchcv, whose function this is;
    TensorFlow's do not. The gate is not in the paper; here it sits on the output of all eleven modules, the reductions
    among them, as in the authors' SE-BN-Inception.
    """
    stages = (
        StageSpec((Ungated(SECOND_STEM),)),
        StageSpec((Inception(chain(MAX, _v3_a(32))), Inception(_v3_a(64)), Inception(_v3_a(64)))),
        StageSpec(
            (Inception(reduction_a(64, 96, 96, 384)), *(Inception(_v3_b(width)) for width in (128, 160, 160, 192)))
        ),
        StageSpec((Inception(_V3_REDUCTION_B), Inception(_V3_C), Inception(_V3_C))),
    )
    auxiliary = (AuxiliarySpec(stage=4, block=5, head=ConvolutionalAuxiliary(), weight=0.4),)
    return NetworkSpec(STEM, NoPool(), stages, se, dropout=0.5, input_size=299, auxiliary=auxiliary)


# ------------------------------------------------------------------ Inception v4


_V4_MEAN = Pool(MeanPool(counts_padding=False))

_V4_SECOND_STEM = chain(
    concat(MAX, valid(96, 3, stride=2)),
    concat(
        chain(conv(64), valid(96, 3)),
        chain(conv(64), conv(64, (1, 7)), conv(64, (7, 1)), valid(96, 3)),
    ),
)
"""147x147 -> 71x71, 192: figure 3 except its last concatenation, which opens stage 3."""

_V4_A = concat(
    conv(96),
    chain(conv(64), conv(96, 3)),
    chain(conv(64), conv(96, 3), conv(96, 3)),
    chain(_V4_MEAN, conv(96)),
)
"""35x35, figure 4."""

_V4_B = concat(
    conv(384),
    chain(conv(192), conv(224, (1, 7)), conv(256, (7, 1))),
    chain(conv(192), conv(192, (7, 1)), conv(224, (1, 7)), conv(224, (7, 1)), conv(256, (1, 7))),
    chain(_V4_MEAN, conv(128)),
)
"""17x17, figure 5."""

_V4_REDUCTION_B = concat(
    chain(conv(192), valid(192, 3, stride=2)),
    chain(conv(256), conv(256, (1, 7)), conv(320, (7, 1)), valid(320, 3, stride=2)),
    MAX,
)
"""17x17 -> 8x8, figure 8."""

_V4_FORK = concat(conv(256, (1, 3)), conv(256, (3, 1)))

_V4_C = concat(
    conv(256),
    chain(conv(384), _V4_FORK),
    chain(conv(384), conv(448, (3, 1)), conv(512, (1, 3)), _V4_FORK),
    chain(_V4_MEAN, conv(256)),
)
"""8x8, figure 6."""


@INCEPTION_V4.register("se_inception_v4", "inception_v4")
def inception_v4(se: SE | None) -> NetworkSpec:
    """Inception v4.

    Differs: the gate is not in the paper; here it sits on the output of all sixteen modules behind the stem, the
    reductions among them, as in the authors' SE-BN-Inception. The order of 1x7 and 7x1, and of 1x3 and 3x1, is that of
    TensorFlow-Slim, timm and pytorchcv.
    """
    stages = (
        StageSpec((Ungated(_V4_SECOND_STEM),)),
        StageSpec((Ungated(concat(valid(192, 3, stride=2), MAX)), *(Inception(_V4_A),) * 4)),
        StageSpec((Inception(reduction_a(192, 224, 256, 384)), *(Inception(_V4_B),) * 7)),
        StageSpec((Inception(_V4_REDUCTION_B), *(Inception(_V4_C),) * 3)),
    )
    return NetworkSpec(STEM, NoPool(), stages, se, dropout=0.2, input_size=299)


# ------------------------------------------------------------------ Inception-ResNet


def _inception_resnet(
    stage3: tuple[BlockSpec, ...], stage4: tuple[BlockSpec, ...], stage5: tuple[BlockSpec, ...], se: SE | None
) -> NetworkSpec:
    stages = (Ungated(SECOND_STEM),), stage3, stage4, stage5
    return NetworkSpec(STEM, NoPool(), tuple(map(StageSpec, stages)), se, dropout=0.2, input_size=299)


def _res_a(second: int, third: int) -> LayerSpec:
    """35x35, figures 10 and 16: three branches, the last of 32, ``second`` and ``third`` channels."""
    return concat(conv(32), chain(conv(32), conv(32, 3)), chain(conv(32), conv(second, 3), conv(third, 3)))


def _res_cross(side: int, single: int, first: int, second: int, third: int) -> LayerSpec:
    """17x17 and 8x8, figures 11, 13, 17 and 19: a 1x1, and a ``side`` x ``side`` convolution taken apart."""
    return concat(conv(single), chain(conv(first), conv(second, (1, side)), conv(third, (side, 1))))


def _res_c(unit: LayerSpec, scaled: int) -> tuple[BlockSpec, ...]:
    """``scaled`` blocks of 8x8, and one more without scale and ReLU."""
    return (*(InceptionResidual(unit, scale=0.20),) * scaled, InceptionResidual(unit, scale=1.0, act=identity))


def _res_reduction_b(width: int, last: int) -> LayerSpec:
    """17x17 -> 8x8, figures 12 and 18: 384 + ``width`` + ``last`` + the input's channels."""
    return concat(
        chain(conv(256), valid(384, 3, stride=2)),
        chain(conv(256), valid(width, 3, stride=2)),
        chain(conv(256), conv(width, 3), valid(last, 3, stride=2)),
        MAX,
    )


_RES_MIXED_5B = concat(
    conv(96),
    chain(conv(48), conv(64, 5)),
    chain(conv(64), conv(96, 3), conv(96, 3)),
    chain(Pool(MeanPool(counts_padding=False)), conv(64)),
)
"""TensorFlow-Slim's first module of v2, 192 -> 320."""


@INCEPTION_RESNET.register("se_inception_resnet_v1", "inception_resnet_v1")
def inception_resnet_v1(se: SE | None) -> NetworkSpec:
    """Inception-ResNet v1.

    Differs: the paper has five C; the sixth, unscaled one is facenet's and pytorchcv's. Their head, made for faces,
    puts a layer of 512 features before the classifier; this is the paper's. The gate is not in any paper; it sits
    where `inception_resnet_v2` has it.
    """
    return _inception_resnet(
        (Ungated(valid(256, 3, stride=2)), *(InceptionResidual(_res_a(32, 32), scale=0.17),) * 5),
        (
            Ungated(reduction_a(192, 192, 256, 384)),
            *(InceptionResidual(_res_cross(7, 128, 128, 128, 128), scale=0.10),) * 10,
        ),
        (Ungated(_res_reduction_b(256, 256)), *_res_c(_res_cross(3, 192, 192, 192, 192), scaled=5)),
        se,
    )


@INCEPTION_RESNET.register("se_inception_resnet_v2", "inception_resnet_v2")
def inception_resnet_v2(se: SE | None) -> NetworkSpec:
    """Inception-ResNet v2 (the paper, table 2), as TensorFlow-Slim, timm and pytorchcv have it.

    Differs: the authors never published their SE network. The gate's place is inferred from their rule, on the branch's
    output before the sum. Their 11.75 billion multiply-adds fit no documented trunk; this one, of which public weights
    exist, has 13.16. TensorFlow-Slim's stem and first module are not those of figures 3 and 15.
    """
    return _inception_resnet(
        (Ungated(chain(MAX, _RES_MIXED_5B)), *(InceptionResidual(_res_a(48, 64), scale=0.17),) * 10),
        (
            Ungated(reduction_a(256, 256, 384, 384)),
            *(InceptionResidual(_res_cross(7, 192, 128, 160, 192), scale=0.10),) * 20,
        ),
        (
            Ungated(_res_reduction_b(288, 320)),
            *_res_c(_res_cross(3, 192, 192, 224, 256), scaled=9),
            Ungated(conv(1536)),
        ),
        se,
    )
