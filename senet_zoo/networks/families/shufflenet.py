"""ShuffleNet v1, 1x with 3 groups (Zhang et al., arXiv:1707.01083, table 1).

=======  ======================
output   layers
=======  ======================
112x112  3x3, 24, stride 2
56x56    3x3 max pool, stride 2
28x28    240, stride 2; 3 of 240
14x14    480, stride 2; 7 of 480
7x7      960, stride 2; 3 of 960
1x1      mean, classifier
=======  ======================

Each number is the width of a shuffle unit.
"""

from senet_zoo.networks.blocks.mobile import Shuffle
from senet_zoo.networks.blocks.pools import MaxPool
from senet_zoo.networks.blocks.stems import ConvStem
from senet_zoo.networks.families.family import ANY, Family
from senet_zoo.networks.specs import SE, NetworkSpec, StageSpec

FAMILY = Family(published_as=("pytorchcv",), dimensions=ANY)


@FAMILY.register("se_shufflenet", "shufflenet")
def shufflenet(se: SE | None) -> NetworkSpec:
    """ShuffleNet v1 1x, 3 groups (the paper, table 3).

    Differs: the authors never said where their gate sits. It is inferred: on the branch's output in all 16 units,
    before the sum or concatenation, the one place that fits both the printed parameters and the paper's rule.
    """
    return NetworkSpec(
        ConvStem(24, kernel=3, stride=2),
        MaxPool(),
        (_stage(240, 4, reduce_groups=1), _stage(480, 8), _stage(960, 4)),
        se,
    )


def _stage(width: int, depth: int, reduce_groups: int = 3) -> StageSpec:
    first = Shuffle(width, groups=3, reduce_groups=reduce_groups, stride=2)
    return StageSpec((first, *(Shuffle(width, groups=3, reduce_groups=3),) * (depth - 1)))
