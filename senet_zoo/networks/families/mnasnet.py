"""MnasNet-A1 (Tan et al., arXiv:1807.11626, figure 7).

=====  =======  ================================  ====
stage  output   layers                            gate
=====  =======  ================================  ====
1      112x112  3x3, 32, stride 2
2      112x112  3x3 depthwise, 16
3      56x56    2 of 6x, 3x3, 24, stride 2
4      28x28    3 of 3x, 5x5, 40, stride 2        yes
5      14x14    4 of 6x, 3x3, 80, stride 2
6      14x14    2 of 6x, 3x3, 112                 yes
7      7x7      3 of 6x, 5x5, 160, stride 2       yes
8      7x7      6x, 3x3, 320
       7x7      1x1, 1280
       1x1      mean, dropout 0.2, classifier
=====  =======  ================================  ====

A row is an inverted residual: its expansion, its depthwise convolution, its output; the stride is the first one's.
"""

from senet_zoo.networks.blocks.heads import ConvMean
from senet_zoo.networks.blocks.mobile import InvertedResidual
from senet_zoo.networks.blocks.pools import NoPool
from senet_zoo.networks.blocks.stems import ConvStem
from senet_zoo.networks.families.family import ANY, Family
from senet_zoo.networks.specs import SE, NetworkSpec, StageSpec
from senet_zoo.networks.squeeze_excite import Placement

FAMILY = Family(published_as=("timm_mnasnet", "pytorchcv"), dimensions=ANY)
A1 = SE(reduction=4, placement=Placement.INNER, stages=(4, 6, 7))
"""The gate that the search chose: inside the block, and in three of its seven stages."""


@FAMILY.register("se_mnasnet", "mnasnet", se=A1)
def mnasnet(se: SE | None) -> NetworkSpec:
    """MnasNet-A1.

    The search found the network together with its gates, in stages 4, 6 and 7; ``SE(stages=None)`` puts one into every
    block.

    Differs: the plain twin is A1 without its gates, not MnasNet-B1, which torchvision's ``mnasnet1_0`` is: a search of
    its own without gates, and another table. Dropout is torchvision's 0.2; timm's ``semnasnet_100`` has none.
    """
    return _network(32, (16, 24, 40, 80, 112, 160, 320), se)


@FAMILY.register("se_mnasnet_050", "mnasnet_050", se=A1)
def mnasnet_050(se: SE | None) -> NetworkSpec:
    """MnasNet-A1, half as wide, rounded to multiples of 8; the last 1x1 keeps its width.

    Source: timm's ``semnasnet_050``.
    """
    return _network(16, (8, 16, 24, 40, 56, 80, 160), se)


@FAMILY.register("se_mnasnet_075", "mnasnet_075", se=A1)
def mnasnet_075(se: SE | None) -> NetworkSpec:
    """MnasNet-A1, 0.75 times as wide, rounded to multiples of 8; the last 1x1 keeps its width.

    Source: timm's ``semnasnet_075``.
    """
    return _network(24, (16, 24, 32, 64, 88, 120, 240), se)


@FAMILY.register("se_mnasnet_140", "mnasnet_140", se=A1)
def mnasnet_140(se: SE | None) -> NetworkSpec:
    """MnasNet-A1, 1.4 times as wide, rounded to multiples of 8; the last 1x1 keeps its width.

    Source: timm's ``semnasnet_140``.
    """
    return _network(48, (24, 32, 56, 112, 160, 224, 448), se)


def _network(stem: int, widths: tuple[int, int, int, int, int, int, int], se: SE | None) -> NetworkSpec:
    stages = (
        _row(1, widths[0], expand=1),
        _row(2, widths[1], stride=2),
        _row(3, widths[2], kernel=5, expand=3, stride=2),
        _row(4, widths[3], stride=2),
        _row(2, widths[4]),
        _row(3, widths[5], kernel=5, stride=2),
        _row(1, widths[6]),
    )
    return NetworkSpec(ConvStem(stem, kernel=3, stride=2), NoPool(), stages, se, ConvMean(1280), dropout=0.2)


def _row(depth: int, width: int, *, kernel: int = 3, expand: int = 6, stride: int = 1) -> StageSpec:
    first = InvertedResidual(width, kernel, expand, stride)
    return StageSpec((first, *(InvertedResidual(width, kernel, expand),) * (depth - 1)))
