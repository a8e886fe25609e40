"""DenseNet with bottlenecks and compression, growth 32 (Huang et al., arXiv:1608.06993, table 1).

=======  =======================  ============  ============  ============
output   DenseNet-121             169           201           264
=======  =======================  ============  ============  ============
112x112  7x7, 64, stride 2        7x7, 64       7x7, 64       7x7, 64
56x56    3x3 max pool, stride 2   max pool      max pool      max pool
56x56    6 layers, 256 maps       6, 256        6, 256        6, 256
28x28    12 layers, 512 maps      12, 512       12, 512       12, 512
14x14    24 layers, 1024 maps     32, 1280      48, 1792      64, 2304
7x7      16 layers, 1024 maps     32, 1664      32, 1920      48, 2688
1x1      BN, ReLU, mean,          same          same          same
         classifier
=======  =======================  ============  ============  ============

A layer is BN-ReLU-1x1, 128; BN-ReLU-3x3, 32, and its maps join all before them. A transition halves maps and sides at
the start of every stage except the first. The gate scales the 32 new maps of each layer (inferred; see `DenseLayer`).
"""

from senet_zoo.networks.blocks.dense import DenseLayer, Transition
from senet_zoo.networks.blocks.heads import NormMean
from senet_zoo.networks.blocks.pools import MaxPool
from senet_zoo.networks.blocks.stems import ConvStem
from senet_zoo.networks.families.family import ANY, Depths, Family
from senet_zoo.networks.specs import SE, NetworkSpec, StageSpec

FAMILY = Family(published_as=("torchvision_densenet", "pytorchcv"), dimensions=ANY)


@FAMILY.register("se_densenet121", "densenet121")
def densenet121(se: SE | None) -> NetworkSpec:
    """DenseNet-121."""
    return _network((6, 12, 24, 16), se)


@FAMILY.register("se_densenet169", "densenet169")
def densenet169(se: SE | None) -> NetworkSpec:
    """DenseNet-169."""
    return _network((6, 12, 32, 32), se)


@FAMILY.register("se_densenet201", "densenet201")
def densenet201(se: SE | None) -> NetworkSpec:
    """DenseNet-201."""
    return _network((6, 12, 48, 32), se)


@FAMILY.register("se_densenet264", "densenet264")
def densenet264(se: SE | None) -> NetworkSpec:
    """DenseNet-264 (the paper, table 8)."""
    return _network((6, 12, 64, 48), se)


def _network(depths: Depths, se: SE | None) -> NetworkSpec:
    first, *others = ((DenseLayer(growth=32),) * depth for depth in depths)
    stages = (StageSpec(first), *(StageSpec((Transition(), *layers)) for layers in others))
    return NetworkSpec(ConvStem(64, kernel=7, stride=2), MaxPool(), stages, se, NormMean())
