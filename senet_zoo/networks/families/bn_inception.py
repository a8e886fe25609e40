"""BN-Inception as the authors of SENet released it (the paper, table 2).

=======  ==================================================================================
output   layers
=======  ==================================================================================
112x112  7x7, 64, stride 2
56x56    3x3 max pool, stride 2; 1x1, 64; 3x3, 192
28x28    3x3 max pool, stride 2; 3a: 64 + 64 + 96 + 32; 3b: 64 + 96 + 96 + 64
14x14    3c, stride 2: 160 + 96 + 320; 4a: 224 + 96 + 128 + 128; 4b: 192 + 128 + 128 + 128;
         4c: 160 + 160 + 160 + 128; 4d: 96 + 192 + 192 + 128
7x7      4e, stride 2: 192 + 256 + 608; 5a: 352 + 320 + 224 + 128; 5b: 352 + 320 + 224 + 128
1x1      mean, classifier
=======  ==================================================================================

A module concatenates a 1x1; a 1x1 and a 3x3; a 1x1 and two 3x3; a 3x3 mean (max in 5b) and a 1x1. Those of stride 2
have no 1x1 branch, and pass on their max-pooled input. Rows are stages 1 to 5: 3c and 4e belong to the row of their
output.

Source: Ioffe and Szegedy, Batch Normalization, arXiv:1502.03167, figure 5; the prototxt of the authors' released
SE-BN-Inception, https://github.com/hujie-frank/SENet.

Differs: no convolution has a bias, where pytorchcv's and Cadene's have one before each batch norm. Maps of odd size
work, see `HalvingMaxPool`.
"""

from senet_zoo.networks.blocks.inception import Inception
from senet_zoo.networks.blocks.layer_specs import Conv, LayerSpec, Pool, Ungated, chain, concat
from senet_zoo.networks.blocks.pools import HalvingMaxPool, MaxPool, MeanPool
from senet_zoo.networks.blocks.stems import ConvStem
from senet_zoo.networks.families.family import Family
from senet_zoo.networks.specs import SE, NetworkSpec, StageSpec

FAMILY = Family(published_as=("caffe",))


@FAMILY.register("se_bn_inception", "bn_inception")
def bn_inception(se: SE | None) -> NetworkSpec:
    """BN-Inception (table 2)."""
    stages = (
        StageSpec((Ungated(chain(Conv(64), Conv(192, 3))),)),
        StageSpec((
            Inception(chain(_POOL, _module(64, 64, 64, 64, 96, _MEAN, 32))),
            Inception(_module(64, 64, 96, 64, 96, _MEAN, 64)),
        )),
        StageSpec((
            Inception(_reduction(128, 160, 64, 96)),
            Inception(_module(224, 64, 96, 96, 128, _MEAN, 128)),
            Inception(_module(192, 96, 128, 96, 128, _MEAN, 128)),
            Inception(_module(160, 128, 160, 128, 160, _MEAN, 128)),
            Inception(_module(96, 128, 192, 160, 192, _MEAN, 128)),
        )),
        StageSpec((
            Inception(_reduction(128, 192, 192, 256)),
            Inception(_module(352, 192, 320, 160, 224, _MEAN, 128)),
            Inception(_module(352, 192, 320, 192, 224, _MAX, 128)),
        )),
    )  # fmt: skip
    return NetworkSpec(ConvStem(64, kernel=7, stride=2), MaxPool(padding=0), stages, se)


def _module(
    one: int, three_reduce: int, three: int, double_reduce: int, double: int, pool: LayerSpec, pooled: int
) -> LayerSpec:
    """A module of stride 1 by the columns of the table."""
    return concat(
        Conv(one),
        chain(Conv(three_reduce), Conv(three, 3)),
        chain(Conv(double_reduce), Conv(double, 3), Conv(double, 3)),
        chain(pool, Conv(pooled)),
    )


def _reduction(three_reduce: int, three: int, double_reduce: int, double: int) -> LayerSpec:
    """A module of stride 2."""
    return concat(
        chain(Conv(three_reduce), Conv(three, 3, stride=2)),
        chain(Conv(double_reduce), Conv(double, 3), Conv(double, 3, stride=2)),
        Pool(HalvingMaxPool()),
    )


_POOL = Pool(MaxPool(padding=0))
_MEAN = Pool(MeanPool(counts_padding=True))
_MAX = Pool(MaxPool(stride=1))
