"""Inception-ResNet v1 and v2.

=======  ==========================================  ==========================================
output   v1                                          v2
=======  ==========================================  ==========================================
147x147  3x3, 32, stride 2, V; 3x3, 32, V; 3x3, 64   the same
71x71    max pool; 1x1, 80; 3x3, 192, V              the same
35x35    3x3, 256, stride 2, V                       max pool; 96 + 64 + 96 + 64
35x35    5 of A, 256 channels                        10 of A, 320 channels
17x17    reduction A to 896; 10 of B                 reduction A to 1088; 20 of B
8x8      reduction B to 1792; 6 of C                 reduction B to 2080; 10 of C; 1x1, 1536
1x1      mean, dropout 0.2, classifier               the same
=======  ==========================================  ==========================================

V is 'valid': without padding. Rows are stages 1 to 5, both of 35x35 being stage 3. Each block scales its branch before
the sum: A by 0.17, B by 0.10, C by 0.20, but the last C by 1, with no ReLU behind it. The gate sits on the widened
branch before it is scaled; reductions carry none, for nothing is summed there.

Source: Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning,
arXiv:1602.07261, figures 10 to 20 and table 1; TensorFlow-Slim's ``inception_resnet_v2`` and facenet's
``inception_resnet_v1`` for the scales and the last C.
"""

from torch import nn

from senet_zoo.networks.blocks.inception import InceptionResidual
from senet_zoo.networks.blocks.paths import Keep, Step, Ungated, concat, path
from senet_zoo.networks.blocks.pools import MeanPool, NoPool
from senet_zoo.networks.families.family import Family
from senet_zoo.networks.families.inception_steps import MAX, SECOND_STEM, STEM, conv, reduction_a, valid
from senet_zoo.networks.specs import SE, BlockSpec, NetworkSpec, StageSpec

FAMILY = Family(published_as=("timm_inception_resnet", "pytorchcv"))


@FAMILY.register("se_inception_resnet_v1", "inception_resnet_v1")
def inception_resnet_v1(se: SE | None) -> NetworkSpec:
    """Inception-ResNet v1.

    Differs: the paper has five C; the sixth, unscaled one is facenet's and pytorchcv's. Their head, made for faces,
    puts a layer of 512 features before the classifier; this is the paper's. The gate is not in any paper; it sits
    where `inception_resnet_v2` has it.
    """
    return _network(
        (Ungated(valid(256, 3, stride=2)), *(InceptionResidual(_a(32, 32), scale=0.17),) * 5),
        (
            Ungated(reduction_a(192, 192, 256, 384)),
            *(InceptionResidual(_cross(7, 128, 128, 128, 128), scale=0.10),) * 10,
        ),
        (Ungated(_reduction_b(256, 256)), *_c(_cross(3, 192, 192, 192, 192), scaled=5)),
        se,
    )


@FAMILY.register("se_inception_resnet_v2", "inception_resnet_v2")
def inception_resnet_v2(se: SE | None) -> NetworkSpec:
    """Inception-ResNet v2 (the paper, table 2), as TensorFlow-Slim, timm and pytorchcv have it.

    Differs: the authors never published their SE network. The gate's place is inferred from their rule, on the branch's
    output before the sum. Their 11.75 billion multiply-adds fit no documented trunk; this one, of which public weights
    exist, has 13.16. TensorFlow-Slim's stem and first module are not those of figures 3 and 15.
    """
    return _network(
        (Ungated(path(MAX, _MIXED_5B)), *(InceptionResidual(_a(48, 64), scale=0.17),) * 10),
        (
            Ungated(reduction_a(256, 256, 384, 384)),
            *(InceptionResidual(_cross(7, 192, 128, 160, 192), scale=0.10),) * 20,
        ),
        (Ungated(_reduction_b(288, 320)), *_c(_cross(3, 192, 192, 224, 256), scaled=9), Ungated(conv(1536))),
        se,
    )


def _network(
    stage3: tuple[BlockSpec, ...], stage4: tuple[BlockSpec, ...], stage5: tuple[BlockSpec, ...], se: SE | None
) -> NetworkSpec:
    stages = (Ungated(SECOND_STEM),), stage3, stage4, stage5
    return NetworkSpec(STEM, NoPool(), tuple(map(StageSpec, stages)), se, dropout=0.2, input_size=299)


def _a(second: int, third: int) -> Step:
    """35x35, figures 10 and 16: three branches, the last of 32, ``second`` and ``third`` channels."""
    return concat(conv(32), path(conv(32), conv(32, 3)), path(conv(32), conv(second, 3), conv(third, 3)))


def _cross(side: int, single: int, first: int, second: int, third: int) -> Step:
    """17x17 and 8x8, figures 11, 13, 17 and 19: a 1x1, and a ``side`` x ``side`` convolution taken apart."""
    return concat(conv(single), path(conv(first), conv(second, (1, side)), conv(third, (side, 1))))


def _c(unit: Step, scaled: int) -> tuple[BlockSpec, ...]:
    """``scaled`` blocks of 8x8, and one more without scale and ReLU."""
    return (*(InceptionResidual(unit, scale=0.20),) * scaled, InceptionResidual(unit, scale=1.0, act=nn.Identity))


def _reduction_b(width: int, last: int) -> Step:
    """17x17 -> 8x8, figures 12 and 18: 384 + ``width`` + ``last`` + the input's channels."""
    return concat(
        path(conv(256), valid(384, 3, stride=2)),
        path(conv(256), valid(width, 3, stride=2)),
        path(conv(256), conv(width, 3), valid(last, 3, stride=2)),
        MAX,
    )


_MIXED_5B = concat(
    conv(96),
    path(conv(48), conv(64, 5)),
    path(conv(64), conv(96, 3), conv(96, 3)),
    path(Keep(MeanPool(counts_padding=False)), conv(64)),
)
"""TensorFlow-Slim's first module of v2, 192 -> 320."""
