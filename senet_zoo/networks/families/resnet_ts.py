"""timm's small ResNets with tiered stems and SiLU, and its ResNets whose gates have rounded hidden units.

=======  ==============================  ==============================
output   ResNeXt-26ts                    ResNet-33ts
=======  ==============================  ==============================
128x128  3x3, 24, stride 2;              3x3, 24, stride 2; 3x3, 32
         3x3, 32; 3x3, 64
64x64    3x3 max pool, stride 2          3x3, 64, stride 2
64x64    2 of 64-64-256                  2 of 64-64-256
32x32    2 of 128-128-512                3 of 128-128-512
16x16    2 of 256-256-1024               3 of 384-384-1536
8x8      2 of 512-512-2048               2 of 384-384-1536
8x8                                      1x1, 1280
1x1      mean, classifier                mean, classifier
=======  ==============================  ==============================

A bottleneck a-b-c is 1x1, a; 3x3, b, in ResNeXt-26ts in groups of 32 channels; 1x1, c. SiLU follows where a ResNet has
its ReLU, and the gate stands behind the 3x3, before the last 1x1.

Source: timm's ``byobnet.py``; Wightman et al., ResNet strikes back, arXiv:2110.00476, for the stem's idea ("T").
"""

from senet_zoo.networks.blocks.heads import ConvMean
from senet_zoo.networks.blocks.layer_specs import Chain, Conv, chain
from senet_zoo.networks.blocks.pools import MaxPool, NoPool
from senet_zoo.networks.blocks.residual import Basic, Bottleneck, RoundedGate
from senet_zoo.networks.blocks.stems import ConvStem
from senet_zoo.networks.families.family import Depths, Family, four_stages
from senet_zoo.networks.layers import silu
from senet_zoo.networks.specs import SE, NetworkSpec, StageSpec
from senet_zoo.networks.squeeze_excite import Placement

TIERED = Family(published_as=("timm_byobnet",))
ROUNDED = Family(published_as=("timm_resnet",))
INNER = SE(placement=Placement.INNER)


@TIERED.register("se_resnext26ts", "resnext26ts", se=INNER)
def resnext26ts(se: SE | None) -> NetworkSpec:
    """ResNeXt-26 with a tiered stem and SiLU, for pictures of 256 pixels."""
    stages = four_stages((2, 2, 2, 2), lambda planes, stride: _unit(planes, 4 * planes, stride, planes // 32))
    return NetworkSpec(_stem(last_stride=1), MaxPool(), stages, se, input_size=256)


@TIERED.register("se_resnet33ts", "resnet33ts", se=INNER)
def resnet33ts(se: SE | None) -> NetworkSpec:
    """ResNet-33 with a tiered stem and SiLU, for pictures of 256 pixels."""
    rows = ((2, 64, 1), (3, 128, 2), (3, 384, 2), (2, 384, 2))
    stages = tuple(
        StageSpec((_unit(planes, 4 * planes, stride), *(_unit(planes, 4 * planes, 1),) * (depth - 1)))
        for depth, planes, stride in rows
    )
    return NetworkSpec(_stem(last_stride=2), NoPool(), stages, se, ConvMean(1280, silu), input_size=256)


@ROUNDED.register_gated("se_resnet18b_round8", twin="resnet18b")
def resnet18b_round8(se: SE | None) -> NetworkSpec:
    """ResNet-18, B form, whose gates have 8, 8, 16 and 32 hidden units: timm's ``seresnet18``."""
    return _rounded((2, 2, 2, 2), se)


@ROUNDED.register_gated("se_resnet34b_round8", twin="resnet34b")
def resnet34b_round8(se: SE | None) -> NetworkSpec:
    """ResNet-34, B form, whose gates have 8, 8, 16 and 32 hidden units: timm's ``seresnet34``."""
    return _rounded((3, 4, 6, 3), se)


def _stem(last_stride: int) -> Chain:
    return chain(Conv(24, 3, 2, act=silu), Conv(32, 3, act=silu), Conv(64, 3, last_stride, act=silu))


def _unit(planes: int, out: int, stride: int, groups: int = 1) -> RoundedGate:
    return RoundedGate(Bottleneck(planes, planes, out, stride, groups, act=silu))


def _rounded(depths: Depths, se: SE | None) -> NetworkSpec:
    stages = four_stages(depths, lambda planes, stride: RoundedGate(Basic(planes, stride)))
    return NetworkSpec(ConvStem(64, kernel=7, stride=2), MaxPool(), stages, se)
