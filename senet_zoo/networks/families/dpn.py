"""Dual Path Networks (Chen et al., arXiv:1707.01629, table 1).

=======  ==================  ====================  ====================  ====================  =====================
output   DPN-68              DPN-92 (32)           DPN-98 (40)           DPN-107 (50)          DPN-131 (40)
=======  ==================  ====================  ====================  ====================  =====================
112x112  3x3, 10, stride 2   7x7, 64, stride 2     7x7, 96, stride 2     7x7, 128, stride 2    7x7, 128, stride 2
56x56    3x3 max pool        3x3 max pool          3x3 max pool          3x3 max pool          3x3 max pool
56x56    3 of 128-64 +16     3 of 96-256 +16       3 of 160-256 +16      4 of 200-256 +20      4 of 160-256 +16
28x28    4 of 256-128 +32    4 of 192-512 +32      6 of 320-512 +32      8 of 400-512 +64      8 of 320-512 +32
14x14    12 of 512-256 +32   20 of 384-1024 +24    20 of 640-1024 +32    20 of 800-1024 +64    28 of 640-1024 +32
7x7      3 of 1024-512 +64   3 of 768-2048 +128    3 of 1280-2048 +128   3 of 1600-2048 +128   3 of 1280-2048 +128
1x1      bn, relu, mean, classifier
=======  ==================  ====================  ====================  ====================  =====================

A unit a-b +k is 1x1, a; 3x3, a in groups (32 in DPN-68); 1x1, b + k: b channels are summed and k appended. Every stage
except the first halves the map.

Source: the authors' MXNet files, https://github.com/cypw/DPNs, settings/.

Differs: timm's ``dpn*`` put an ELU before the mean, where its authors and pytorchcv have a ReLU; its ``mx_in1k``
weights are the authors'. pytorchcv's take the mean of mean and maximum at the end, the authors' own test for larger
pictures. DPN-68b is another network and not here.
"""

from senet_zoo.networks.blocks.dual_path import EPS, DualPath
from senet_zoo.networks.blocks.heads import NormMean
from senet_zoo.networks.blocks.layer_specs import Conv
from senet_zoo.networks.blocks.pools import MaxPool
from senet_zoo.networks.families.family import ANY, Depths, Family
from senet_zoo.networks.specs import SE, NetworkSpec, StageSpec

FAMILY = Family(published_as=("timm_dpn", "pytorchcv"), dimensions=ANY)

Growths = tuple[int, int, int, int]


@FAMILY.register("se_dpn68", "dpn68")
def dpn68(se: SE | None) -> NetworkSpec:
    """DPN-68."""
    return _network(Conv(10, 3, stride=2, eps=EPS), 128, 64, (3, 4, 12, 3), (16, 32, 32, 64), 32, se)


@FAMILY.register("se_dpn92", "dpn92")
def dpn92(se: SE | None) -> NetworkSpec:
    """DPN-92."""
    return _network(Conv(64, 7, stride=2, eps=EPS), 96, 256, (3, 4, 20, 3), (16, 32, 24, 128), 32, se)


@FAMILY.register("se_dpn98", "dpn98")
def dpn98(se: SE | None) -> NetworkSpec:
    """DPN-98."""
    return _network(Conv(96, 7, stride=2, eps=EPS), 160, 256, (3, 6, 20, 3), (16, 32, 32, 128), 40, se)


@FAMILY.register("se_dpn107", "dpn107")
def dpn107(se: SE | None) -> NetworkSpec:
    """DPN-107."""
    return _network(Conv(128, 7, stride=2, eps=EPS), 200, 256, (4, 8, 20, 3), (20, 64, 64, 128), 50, se)


@FAMILY.register("se_dpn131", "dpn131")
def dpn131(se: SE | None) -> NetworkSpec:
    """DPN-131 (the SENet paper, table 8)."""
    return _network(Conv(128, 7, stride=2, eps=EPS), 160, 256, (4, 8, 28, 3), (16, 32, 32, 128), 40, se)


def _network(
    stem: Conv, reduce: int, width: int, depths: Depths, growths: Growths, groups: int, se: SE | None
) -> NetworkSpec:
    """``reduce`` and ``width`` are those of the first stage, and double from stage to stage."""
    stages = []
    for number, (depth, growth) in enumerate(zip(depths, growths, strict=True)):
        a, b = reduce * 2**number, width * 2**number
        first = DualPath(a, b, growth, groups, stride=2 if number else 1, projects=True)
        stages.append(StageSpec((first, *(DualPath(a, b, growth, groups),) * (depth - 1))))
    return NetworkSpec(stem, MaxPool(), tuple(stages), se, head=NormMean(eps=EPS))
