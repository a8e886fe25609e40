"""GoogLeNet, the original: 5x5 branches, biases, local response normalisation, no batch norm.

=======  ==========================================================================
output   layers
=======  ==========================================================================
112x112  7x7, 64, stride 2
56x56    3x3 max pool, stride 2; LRN; 1x1, 64; 3x3, 192; LRN
28x28    3x3 max pool, stride 2; 3a: 64 + 128 + 32 + 32; 3b: 128 + 192 + 96 + 64
14x14    3x3 max pool, stride 2; 4a: 192 + 208 + 48 + 64; 4b: 160 + 224 + 64 + 64;
         4c: 128 + 256 + 64 + 64; 4d: 112 + 288 + 64 + 64; 4e: 256 + 320 + 128 + 128
7x7      3x3 max pool, stride 2; 5a: 256 + 320 + 128 + 128; 5b: 384 + 384 + 128 + 128
1x1      mean, dropout 0.4, classifier
=======  ==========================================================================

A module concatenates a 1x1; a 1x1 and a 3x3; a 1x1 and a 5x5; a 3x3 max pool and a 1x1. Rows are stages 1 to 5, so that
``SE(stages=(4,))`` gates 4a to 4e.

Source: Szegedy et al., Going Deeper with Convolutions, arXiv:1409.4842, table 1 and section 5; Caffe's
``bvlc_googlenet`` for what the paper leaves open: the constants and positions of LRN, and pools whose last window may
run over the edge.
"""

from senet_zoo.networks.blocks.heads import DenseAuxiliary
from senet_zoo.networks.blocks.inception import Inception
from senet_zoo.networks.blocks.layer_specs import BiasedConv as Conv
from senet_zoo.networks.blocks.layer_specs import LayerSpec, LocalResponse, Pool, Ungated, chain, concat
from senet_zoo.networks.blocks.pools import MaxPool
from senet_zoo.networks.families.family import Family
from senet_zoo.networks.specs import SE, AuxiliarySpec, NetworkSpec, StageSpec

FAMILY = Family()


@FAMILY.register("se_googlenet", "googlenet")
def googlenet(se: SE | None) -> NetworkSpec:
    """GoogLeNet, the original of 2014.

    In training two classifiers may branch off behind 4a and 4d, their losses weighted 0.3:
    `senet_zoo.training.model`.

    Differs: torchvision's ``googlenet`` is another network, with batch norm, and 3x3 where this has 5x5. The gate is
    not in the paper; here it sits on the output of all nine modules, as in the authors' SE-BN-Inception.
    """
    stages = (
        StageSpec((Ungated(chain(_LRN, Conv(64), Conv(192, 3), _LRN)),)),
        StageSpec((
            Inception(chain(_POOL, _module(64, 96, 128, 16, 32, 32))),
            Inception(_module(128, 128, 192, 32, 96, 64)),
        )),
        StageSpec((
            Inception(chain(_POOL, _module(192, 96, 208, 16, 48, 64))),
            Inception(_module(160, 112, 224, 24, 64, 64)),
            Inception(_module(128, 128, 256, 24, 64, 64)),
            Inception(_module(112, 144, 288, 32, 64, 64)),
            Inception(_module(256, 160, 320, 32, 128, 128)),
        )),
        StageSpec((
            Inception(chain(_POOL, _module(256, 160, 320, 32, 128, 128))),
            Inception(_module(384, 192, 384, 48, 128, 128)),
        )),
    )  # fmt: skip
    auxiliary = tuple(AuxiliarySpec(stage=4, block=block, head=DenseAuxiliary(), weight=0.3) for block in (1, 4))
    return NetworkSpec(Conv(64, 7, stride=2), MaxPool(padding=0), stages, se, dropout=0.4, auxiliary=auxiliary)


def _module(one: int, three_reduce: int, three: int, five_reduce: int, five: int, pooled: int) -> LayerSpec:
    """A module by the columns of table 1."""
    return concat(
        Conv(one),
        chain(Conv(three_reduce), Conv(three, 3)),
        chain(Conv(five_reduce), Conv(five, 5)),
        chain(Pool(MaxPool(stride=1)), Conv(pooled)),
    )


_LRN = LocalResponse()
_POOL = Pool(MaxPool(padding=0))
