"""timm's cross-stage Darknets, with and without gates (Wang et al., CSPNet, arXiv:1911.11929).

=======  ================================  ================================  ================================
output   CS3-Darknet-L                     CS3-Darknet-X                     CS3-EdgeNet-X
=======  ================================  ================================  ================================
128x128  3x3, 32, stride 2; 3x3, 64        3x3, 40, stride 2; 3x3, 80        3x3, 40, stride 2; 3x3, 80
64x64    128: 3 of 64-64                   160: 3 of 80-80                   160: 3 of 120-80
32x32    256: 6 of 128-128                 320: 7 of 160-160                 320: 7 of 240-160
16x16    512: 9 of 256-256                 640: 11 of 320-320                640: 11 of 480-320
8x8      1024: 3 of 512-512                1280: 3 of 640-640                1280: 3 of 960-640
1x1      mean, classifier                  mean, classifier                  mean, classifier
=======  ================================  ================================  ================================

Each row is a stage of stride 2 of so many channels, half of which pass the units: a-b is 1x1, a; 3x3, b in a Darknet,
and 3x3, a; 1x1, b in the EdgeNet. SiLU follows every convolution. The gate sits between the two convolutions, with
SiLU between its layers; its hidden units are a quarter of the channels in the L and the EdgeNet and a sixteenth in the
X, rounded to multiples of 8.

Source: timm's ``cspnet.py``: ``cs3sedarknet_l``, ``cs3sedarknet_x``, ``cs3se_edgenet_x`` and their plain twins. Its
``cs3sedarknet_xdw`` and ``sedarknet21`` have other stages and no weights, and no name here.
"""

from senet_zoo.networks.blocks.cross_stage import CrossStage, DarkUnit
from senet_zoo.networks.blocks.layer_specs import Conv, chain
from senet_zoo.networks.blocks.pools import NoPool
from senet_zoo.networks.families.family import Depths, Family
from senet_zoo.networks.layers import silu
from senet_zoo.networks.specs import SE, NetworkSpec, StageSpec
from senet_zoo.networks.squeeze_excite import Activation, Placement

FAMILY = Family(published_as=("timm_cspnet",))
SIXTEENTH = SE(placement=Placement.INNER, activation=Activation.SILU)
QUARTER = SE(reduction=4, placement=Placement.INNER, activation=Activation.SILU)


@FAMILY.register("se_cs3darknet_l", "cs3darknet_l", se=QUARTER)
def cs3darknet_l(se: SE | None) -> NetworkSpec:
    """Cross-stage Darknet, large, for pictures of 256 pixels."""
    return _network((32, 64), (128, 256, 512, 1024), (3, 6, 9, 3), se)


@FAMILY.register("se_cs3darknet_x", "cs3darknet_x", se=SIXTEENTH)
def cs3darknet_x(se: SE | None) -> NetworkSpec:
    """Cross-stage Darknet, extra large, for pictures of 256 pixels."""
    return _network((40, 80), (160, 320, 640, 1280), (3, 7, 11, 3), se)


@FAMILY.register("se_cs3edgenet_x", "cs3edgenet_x", se=QUARTER)
def cs3edgenet_x(se: SE | None) -> NetworkSpec:
    """Cross-stage EdgeNet, extra large, for pictures of 256 pixels."""
    return _network((40, 80), (160, 320, 640, 1280), (3, 7, 11, 3), se, edge=True)


def _network(
    stem: tuple[int, int], widths: Depths, depths: Depths, se: SE | None, *, edge: bool = False
) -> NetworkSpec:
    first, second = stem
    stages = tuple(
        StageSpec((CrossStage(width, _unit(width // 2, edge), depth),))
        for width, depth in zip(widths, depths, strict=True)
    )
    layers = chain(Conv(first, 3, 2, act=silu), Conv(second, 3, act=silu))
    return NetworkSpec(layers, NoPool(), stages, se, input_size=256)


def _unit(width: int, edge: bool) -> DarkUnit:
    return DarkUnit(width, width * 3 // 2, (3, 1)) if edge else DarkUnit(width, width)
