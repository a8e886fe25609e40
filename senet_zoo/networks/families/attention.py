"""Residual Attention Networks (Wang et al., arXiv:1704.06904, table 2).

=======  =====================================  =====================================
output   Attention-56                           Attention-92
=======  =====================================  =====================================
112x112  7x7, 64, stride 2                      7x7, 64, stride 2
56x56    3x3 max pool, stride 2                 3x3 max pool, stride 2
56x56    64-64-256; 1 attention module          64-64-256; 1 attention module
28x28    128-128-512, stride 2; 1 module        128-128-512, stride 2; 2 modules
14x14    256-256-1024, stride 2; 1 module       256-256-1024, stride 2; 3 modules
7x7      3 of 512-512-2048, stride 2            3 of 512-512-2048, stride 2
1x1      bn, relu, mean, classifier             bn, relu, mean, classifier
=======  =====================================  =====================================

A unit a-b-c is a pre-activation bottleneck: 1x1, a; 3x3, b; 1x1, c. A module's hourglass goes down to 7x7 pixels.

Differs: the modules are pytorchcv's ``resattnet56`` and ``resattnet92``. The SENet authors have no gated network of
this kind; see `senet_zoo.networks.blocks.attention.Attention` for the gates' places.
"""

from senet_zoo.networks.blocks.attention import Attention
from senet_zoo.networks.blocks.heads import NormMean
from senet_zoo.networks.blocks.pools import MaxPool
from senet_zoo.networks.blocks.preactivation import PreBottleneck
from senet_zoo.networks.blocks.stems import ConvStem
from senet_zoo.networks.families.family import Family
from senet_zoo.networks.specs import SE, NetworkSpec, StageSpec

FAMILY = Family(published_as=("pytorchcv",))


@FAMILY.register("se_attention56", "attention56")
def attention56(se: SE | None) -> NetworkSpec:
    """Attention-56."""
    return _network((1, 1, 1), se)


@FAMILY.register("se_attention92", "attention92")
def attention92(se: SE | None) -> NetworkSpec:
    """Attention-92 (the SENet paper, table 8)."""
    return _network((1, 2, 3), se)


def _network(modules: tuple[int, int, int], se: SE | None) -> NetworkSpec:
    stages = [
        StageSpec((_unit(planes, stride), *(Attention(planes, depth),) * count))
        for count, planes, stride, depth in zip(modules, (64, 128, 256), (1, 2, 2), (3, 2, 1), strict=True)
    ]
    last = StageSpec((_unit(512, 2), _unit(512, 1), _unit(512, 1)))
    return NetworkSpec(ConvStem(64, kernel=7, stride=2), MaxPool(), (*stages, last), se, head=NormMean())


def _unit(planes: int, stride: int) -> PreBottleneck:
    return PreBottleneck(planes, 4 * planes, stride)
