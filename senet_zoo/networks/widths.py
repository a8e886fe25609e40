"""The channels of a network's maps, and residual networks with fewer of them.

All blocks of a stage write into one sum and read from it, so that a stage has one number of channels. Inside a block,
the reduction and the grouped convolutions keep their width.
"""

from dataclasses import replace
from itertools import pairwise

from senet_zoo.errors import SpecError
from senet_zoo.networks.blocks.preactivation import PreBasic, PreBottleneck
from senet_zoo.networks.blocks.residual import Basic, Bottleneck, UnconditionalProjection
from senet_zoo.networks.blocks.stems import BareStem, ConvStem, DeepStem
from senet_zoo.networks.specs import BlockSpec, NetworkSpec, StageSpec, StemSpec

Widths = tuple[int, ...]
"""Channels of the stem's map, then of each stage's: (16, 16, 32, 64) for ResNet-20."""


def widths_of(spec: NetworkSpec) -> Widths:
    """The channels of a network's maps, for pictures of three channels."""
    widths = [spec.stem.out_channels(3)]
    for stage in spec.stages:
        width = widths[-1]
        for block in stage.blocks:
            width = block.out_channels(width)
        widths.append(width)
    return tuple(widths)


def narrowed(spec: NetworkSpec, widths: Widths) -> NetworkSpec:
    """The architecture with fewer channels in the sums of its stages.

    Raises:
        SpecError: another number of stages, more channels than there are or none, blocks that are not residual units,
            or an identity shortcut that would become a projection, or the reverse.
    """
    own = widths_of(spec)
    if len(widths) != len(own) or not all(1 <= now <= before for now, before in zip(widths, own, strict=False)):
        raise SpecError(
            f"widths are those of the stem's map and of each stage's, at least 1 and at most {own}, got {widths}"
        )
    if widths == own:
        return spec
    stages = []
    for number, stage, before, now in zip(
        spec.stage_numbers, spec.stages, pairwise(own), pairwise(widths), strict=True
    ):
        _require_same_shortcut(number, stage, before, now)
        stages.append(StageSpec(tuple(_block(block, now[1]) for block in stage.blocks)))
    return replace(spec, stem=_stem(spec.stem, widths[0]), stages=tuple(stages))


def require_residual(spec: NetworkSpec) -> None:
    """Refuse a network without sums to take channels from.

    Raises:
        SpecError: its stem is not of convolutions, or a block is no residual unit.
    """
    _stem(spec.stem, 1)
    for block in (block for stage in spec.stages for block in stage.blocks):
        _block(block, 1)


def _require_same_shortcut(number: int, stage: StageSpec, before: tuple[int, int], now: tuple[int, int]) -> None:
    """Refuse widths under which the identity of the stage's first block becomes a projection, or the reverse."""
    same, first = before[0] == before[1], stage.blocks[0]
    if isinstance(first, Basic) and isinstance(first.shortcut, UnconditionalProjection):
        return
    if first.stride == 1 and same != (now[0] == now[1]):
        raise SpecError(
            f"stage {number} must have {'as many' if same else 'fewer or more'} channels {'as' if same else 'than'} "
            f"the map before it, for its first shortcut is {'the identity' if same else 'a projection'}; got {now[1]} "
            f"and {now[0]}. Choose other widths, or another share"
        )


def _block(block: BlockSpec, width: int) -> BlockSpec:
    match block:
        case Basic() | PreBasic():
            inner = block.inner or block.width
            return replace(block, width=width, inner=None if inner == width else inner)
        case Bottleneck() | PreBottleneck():
            return replace(block, out=width)
        case _:
            raise SpecError(
                f"channels go from residual units (the ResNets, ResNeXts, SENet-154, pre-activation and wide ResNets), "
                f"not from a {type(block).__name__}: choose such a network, or drop gates instead"
            )


def _stem(stem: StemSpec, width: int) -> StemSpec:
    match stem:
        case ConvStem() | BareStem():
            return replace(stem, width=width)
        case DeepStem():
            return replace(stem, widths=(*stem.widths[:-1], width))
        case _:
            raise SpecError(f"channels go from a stem of convolutions, not from a {type(stem).__name__}")
