"""Inception v4.

=======  ==============================================================================
output   layers
=======  ==============================================================================
147x147  3x3, 32, stride 2, V; 3x3, 32, V; 3x3, 64
71x71    max pool and 3x3, 96, stride 2, V; 64 to 96, V, and 64 through 7x7 to 96, V
35x35    3x3, 192, stride 2, V, and max pool; 4 of A, 384 channels
17x17    reduction A to 1024; 7 of B, 1024 channels
8x8      reduction B to 1536; 3 of C, 1536 channels
1x1      mean, dropout 0.2, classifier
=======  ==============================================================================

V is 'valid': without padding. Rows are stages 1 to 5.

Source: Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning,
arXiv:1602.07261, figures 3 to 9 and table 1.
"""

from senet_zoo.networks.blocks.inception import Inception
from senet_zoo.networks.blocks.paths import Keep, Ungated, concat, path
from senet_zoo.networks.blocks.pools import MeanPool, NoPool
from senet_zoo.networks.families.family import Family
from senet_zoo.networks.families.inception_steps import MAX, STEM, conv, reduction_a, valid
from senet_zoo.networks.specs import SE, NetworkSpec, StageSpec

FAMILY = Family(published_as=("timm_inception_v4", "pytorchcv"))


@FAMILY.register("se_inception_v4", "inception_v4")
def inception_v4(se: SE | None) -> NetworkSpec:
    """Inception v4.

    Differs: the gate is not in the paper; here it sits on the output of all sixteen modules behind the stem, the
    reductions among them, as in the authors' SE-BN-Inception. The order of 1x7 and 7x1, and of 1x3 and 3x1, is that of
    TensorFlow-Slim, timm and pytorchcv.
    """
    stages = (
        StageSpec((Ungated(_SECOND_STEM),)),
        StageSpec((Ungated(concat(valid(192, 3, stride=2), MAX)), *(Inception(_A),) * 4)),
        StageSpec((Inception(reduction_a(192, 224, 256, 384)), *(Inception(_B),) * 7)),
        StageSpec((Inception(_REDUCTION_B), *(Inception(_C),) * 3)),
    )
    return NetworkSpec(STEM, NoPool(), stages, se, dropout=0.2, input_size=299)


_MEAN = Keep(MeanPool(counts_padding=False))

_SECOND_STEM = path(
    concat(MAX, valid(96, 3, stride=2)),
    concat(
        path(conv(64), valid(96, 3)),
        path(conv(64), conv(64, (1, 7)), conv(64, (7, 1)), valid(96, 3)),
    ),
)
"""147x147 -> 71x71, 192: figure 3 but for its last concatenation, which opens stage 3."""

_A = concat(
    conv(96),
    path(conv(64), conv(96, 3)),
    path(conv(64), conv(96, 3), conv(96, 3)),
    path(_MEAN, conv(96)),
)
"""35x35, figure 4."""

_B = concat(
    conv(384),
    path(conv(192), conv(224, (1, 7)), conv(256, (7, 1))),
    path(conv(192), conv(192, (7, 1)), conv(224, (1, 7)), conv(224, (7, 1)), conv(256, (1, 7))),
    path(_MEAN, conv(128)),
)
"""17x17, figure 5."""

_REDUCTION_B = concat(
    path(conv(192), valid(192, 3, stride=2)),
    path(conv(256), conv(256, (1, 7)), conv(320, (7, 1)), valid(320, 3, stride=2)),
    MAX,
)
"""17x17 -> 8x8, figure 8."""

_FORK = concat(conv(256, (1, 3)), conv(256, (3, 1)))

_C = concat(
    conv(256),
    path(conv(384), _FORK),
    path(conv(384), conv(448, (3, 1)), conv(512, (1, 3)), _FORK),
    path(_MEAN, conv(256)),
)
"""8x8, figure 6."""
