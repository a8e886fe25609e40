"""Inception v3.

=======  ==========================================================================
output   layers
=======  ==========================================================================
147x147  3x3, 32, stride 2, V; 3x3, 32, V; 3x3, 64
71x71    3x3 max pool, stride 2; 1x1, 80; 3x3, 192, V
35x35    3x3 max pool, stride 2; A of 256, 288 and 288 channels
17x17    reduction to 768; B over 7x7 of 128, 160, 160 and 192 inner channels
8x8      reduction to 1280; C of 2048 channels, twice
1x1      mean, dropout 0.5, classifier
=======  ==========================================================================

V is 'valid': without padding. Rows are stages 1 to 5.

Source: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, arXiv:1512.00567, table 1 and figures
5 to 7; torchvision's ``inception_v3`` for the widths, which the paper does not print.
"""

from senet_zoo.networks.blocks.heads import ConvolutionalAuxiliary
from senet_zoo.networks.blocks.inception import Inception
from senet_zoo.networks.blocks.paths import Keep, Step, Ungated, concat, path
from senet_zoo.networks.blocks.pools import MeanPool, NoPool
from senet_zoo.networks.families.family import Family
from senet_zoo.networks.families.inception_steps import MAX, SECOND_STEM, STEM, conv, reduction_a, valid
from senet_zoo.networks.specs import SE, AuxiliarySpec, NetworkSpec, StageSpec

FAMILY = Family(published_as=("torchvision_inception", "pytorchcv"))


@FAMILY.register("se_inception_v3", "inception_v3")
def inception_v3(se: SE | None) -> NetworkSpec:
    """Inception v3.

    In training a second classifier may branch off behind the last 17x17 module, its loss weighted 0.4, the weight of
    TensorFlow-Slim's training script: `senet_zoo.training.auxiliary`.

    torchvision's weights take pictures of mean and deviation 0.5 in each channel. Its builder makes them of ImageNet's
    inside the network (``transform_input=True``); here that is the preprocessing.

    Differs: the means count the zeros around the map, as in torchvision and pytorchcv, whose function this is;
    TensorFlow's do not. The gate is not in the paper; here it sits on the output of all eleven modules, the reductions
    among them, as in the authors' SE-BN-Inception.
    """
    stages = (
        StageSpec((Ungated(SECOND_STEM),)),
        StageSpec((Inception(path(MAX, _a(32))), Inception(_a(64)), Inception(_a(64)))),
        StageSpec((Inception(reduction_a(64, 96, 96, 384)), *(Inception(_b(width)) for width in (128, 160, 160, 192)))),
        StageSpec((Inception(_REDUCTION_B), Inception(_C), Inception(_C))),
    )
    auxiliary = (AuxiliarySpec(stage=4, block=5, head=ConvolutionalAuxiliary(), weight=0.4),)
    return NetworkSpec(STEM, NoPool(), stages, se, dropout=0.5, input_size=299, auxiliary=auxiliary)


_MEAN = Keep(MeanPool(counts_padding=True))


def _a(pooled: int) -> Step:
    """35x35, figure 5: 64 + 64 + 96 + the pooled branch."""
    return concat(
        conv(64),
        path(conv(48), conv(64, 5)),
        path(conv(64), conv(96, 3), conv(96, 3)),
        path(_MEAN, conv(pooled)),
    )


def _b(width: int) -> Step:
    """17x17, figure 6: 7x7 convolutions taken apart, 192 channels from each branch."""
    return concat(
        conv(192),
        path(conv(width), conv(width, (1, 7)), conv(192, (7, 1))),
        path(conv(width), conv(width, (7, 1)), conv(width, (1, 7)), conv(width, (7, 1)), conv(192, (1, 7))),
        path(_MEAN, conv(192)),
    )


_REDUCTION_B = concat(
    path(conv(192), valid(320, 3, stride=2)),
    path(conv(192), conv(192, (1, 7)), conv(192, (7, 1)), valid(192, 3, stride=2)),
    MAX,
)

_FORK = concat(conv(384, (1, 3)), conv(384, (3, 1)))

_C = concat(
    conv(320),
    path(conv(384), _FORK),
    path(conv(448), conv(384, 3), _FORK),
    path(_MEAN, conv(192)),
)
"""8x8, figure 7."""
