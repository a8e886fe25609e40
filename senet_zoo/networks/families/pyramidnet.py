"""PyramidNets: the width grows by the same share from unit to unit (Han et al., arXiv:1610.02915, table 1).

=======  ==========================================  =================================================
output   ImageNet, bottlenecks                       32x32 pictures
=======  ==========================================  =================================================
stem     7x7, 64, stride 2; 3x3 max pool, stride 2   3x3, 16
stages   four, as deep as ResNet's                   three of (d - 2) / 6 basic units, or (d - 2) / 9
                                                     bottlenecks
width    64 + alpha i / N in unit i of N             16 + alpha i / N
1x1      bn, relu, mean, classifier                  bn, relu, mean, classifier
=======  ==========================================  =================================================

Widths are rounded. A basic unit of width w is 3x3, w; 3x3, w, and a bottleneck 1x1, w; 3x3, w; 1x1, 4w. The first unit
of every stage except the first halves the map. Shortcuts have no weights: channels that they lack are zeros.

Differs: the SENet authors published no gated network of this kind. The gate sits where their residual networks have
it: on the branch's output, which here is a batch norm's.
"""

from collections.abc import Callable

from senet_zoo.networks.blocks.heads import NormMean
from senet_zoo.networks.blocks.layer_specs import Conv, chain
from senet_zoo.networks.blocks.pools import MaxPool, NoPool
from senet_zoo.networks.blocks.pyramidal import PyramidalBasic, PyramidalBottleneck
from senet_zoo.networks.blocks.stems import ConvStem
from senet_zoo.networks.families.family import ANY, Depths, Family
from senet_zoo.networks.layers import identity
from senet_zoo.networks.specs import SE, BlockSpec, NetworkSpec, StageSpec

FAMILY = Family(published_as=("pytorchcv",), dimensions=ANY)


def _stages(
    depths: tuple[int, ...], first: int, alpha: int, block: Callable[[int, int], BlockSpec]
) -> tuple[StageSpec, ...]:
    """Stages whose widths grow from ``first`` to ``first + alpha``; ``block`` makes one of a width and a stride."""
    stages, unit = [], 0
    for number, depth in enumerate(depths):
        blocks = []
        for position in range(depth):
            unit += 1
            width = round(first + alpha * unit / sum(depths))
            blocks.append(block(width, 2 if number and not position else 1))
        stages.append(StageSpec(tuple(blocks)))
    return tuple(stages)


def _bottleneck(width: int, stride: int) -> PyramidalBottleneck:
    return PyramidalBottleneck(width, 4 * width, stride)


def _imagenet(depths: Depths, alpha: int, se: SE | None) -> NetworkSpec:
    stages = _stages(depths, 64, alpha, _bottleneck)
    return NetworkSpec(ConvStem(64, kernel=7, stride=2), MaxPool(), stages, se, head=NormMean())


def _cifar(depth: int, alpha: int, block: Callable[[int, int], BlockSpec], se: SE | None) -> NetworkSpec:
    stages = _stages((depth,) * 3, 16, alpha, block)
    stem = chain(Conv(16, 3, act=identity))
    return NetworkSpec(stem, NoPool(), stages, se, head=NormMean(), num_classes=10, input_size=32)


# ------------------------------------------------------------------ ImageNet


@FAMILY.register("se_pyramidnet101_a360", "pyramidnet101_a360")
def pyramidnet101_a360(se: SE | None) -> NetworkSpec:
    """PyramidNet-101, alpha = 360."""
    return _imagenet((3, 4, 23, 3), 360, se)


@FAMILY.register("se_pyramidnet200_a300", "pyramidnet200_a300")
def pyramidnet200_a300(se: SE | None) -> NetworkSpec:
    """PyramidNet-200, alpha = 300."""
    return _imagenet((3, 24, 36, 3), 300, se)


@FAMILY.register("se_pyramidnet200_a450", "pyramidnet200_a450")
def pyramidnet200_a450(se: SE | None) -> NetworkSpec:
    """PyramidNet-200, alpha = 450: the one of the SENet paper's table 8.

    Differs: its authors trained it with a dropout of 0.5 and do not say where; give ``dropout=0.5`` for one before the
    classifier.
    """
    return _imagenet((3, 24, 36, 3), 450, se)


# ------------------------------------------------------------------ 32x32 pictures


@FAMILY.register("se_pyramidnet110_a48", "pyramidnet110_a48")
def pyramidnet110_a48(se: SE | None) -> NetworkSpec:
    """PyramidNet-110, alpha = 48, for 32x32 pictures."""
    return _cifar(18, 48, PyramidalBasic, se)


@FAMILY.register("se_pyramidnet110_a84", "pyramidnet110_a84")
def pyramidnet110_a84(se: SE | None) -> NetworkSpec:
    """PyramidNet-110, alpha = 84, for 32x32 pictures."""
    return _cifar(18, 84, PyramidalBasic, se)


@FAMILY.register("se_pyramidnet110_a270", "pyramidnet110_a270")
def pyramidnet110_a270(se: SE | None) -> NetworkSpec:
    """PyramidNet-110, alpha = 270, for 32x32 pictures."""
    return _cifar(18, 270, PyramidalBasic, se)


@FAMILY.register("se_pyramidnet164_a270", "pyramidnet164_a270")
def pyramidnet164_a270(se: SE | None) -> NetworkSpec:
    """PyramidNet-164, alpha = 270, with bottlenecks, for 32x32 pictures."""
    return _cifar(18, 270, _bottleneck, se)


@FAMILY.register("se_pyramidnet200_a240", "pyramidnet200_a240")
def pyramidnet200_a240(se: SE | None) -> NetworkSpec:
    """PyramidNet-200, alpha = 240, with bottlenecks, for 32x32 pictures."""
    return _cifar(22, 240, _bottleneck, se)


@FAMILY.register("se_pyramidnet236_a220", "pyramidnet236_a220")
def pyramidnet236_a220(se: SE | None) -> NetworkSpec:
    """PyramidNet-236, alpha = 220, with bottlenecks, for 32x32 pictures."""
    return _cifar(26, 220, _bottleneck, se)


@FAMILY.register("se_pyramidnet272_a200", "pyramidnet272_a200")
def pyramidnet272_a200(se: SE | None) -> NetworkSpec:
    """PyramidNet-272, alpha = 200, with bottlenecks, for 32x32 pictures."""
    return _cifar(30, 200, _bottleneck, se)
