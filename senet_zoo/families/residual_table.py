"""The table that every ImageNet ResNet shares: four stages of 64, 128, 256 and 512 planes."""

from collections.abc import Callable

from senet_zoo.specs import BlockSpec, StageSpec

Depths = tuple[int, int, int, int]


def four_stages(depths: Depths, block: Callable[[int, int], BlockSpec]) -> tuple[StageSpec, ...]:
    """Stages of ``depths`` blocks; the first block of all but the first stage halves the map.

    Args:
        depths: blocks a stage.
        block: the block of given planes (64 to 512) and stride (1 or 2).

    Source: He et al., arXiv:1512.03385, table 1.
    """
    return tuple(
        StageSpec((block(planes, stride), *(block(planes, 1),) * (depth - 1)))
        for depth, planes, stride in zip(depths, (64, 128, 256, 512), (1, 2, 2, 2), strict=True)
    )


def grouped_width(planes: int, cardinality: int, base_width: int) -> int:
    """Channels of a grouped 3x3: ``cardinality`` groups of ``base_width`` channels at 64 planes, growing with them."""
    return planes * base_width // 64 * cardinality


def three_stages(depth: int, block: Callable[[int, int], BlockSpec]) -> tuple[StageSpec, ...]:
    """Stages of ``depth`` blocks for 32x32 pictures; the first block of all but the first stage halves the map.

    Args:
        depth: blocks a stage.
        block: the block of given planes (16, 32 or 64) and stride (1 or 2).

    Source: He et al., arXiv:1512.03385, section 4.2.
    """
    return tuple(
        StageSpec((block(planes, stride), *(block(planes, 1),) * (depth - 1)))
        for planes, stride in ((16, 1), (32, 2), (64, 2))
    )
