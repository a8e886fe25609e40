"""What the paper's figure shows of a network: which gates, and which of their channels."""

import re
from collections.abc import Sequence

import torch


def shown_gates(names: Sequence[str]) -> tuple[str, ...]:
    """The last gate of every stage, and the last three of the last stage: for SE-ResNet-50, the paper's six.

    Of gates without the paper's names, which were inserted, six from the first to the last, evenly spaced.

    Args:
        names: of the gates, first to last.

    Example:
        >>> shown_gates(["SE_2_1", "SE_2_2", "SE_2_3", "SE_3_1", "SE_3_2", "SE_3_3"])
        ('SE_2_3', 'SE_3_1', 'SE_3_2', 'SE_3_3')
    """
    stages: dict[str, list[str]] = {}
    for name in names:
        if paper := re.fullmatch(r"SE_(\d+)_.+", name):
            stages.setdefault(paper[1], []).append(name)
    if not stages:
        return tuple(names[i] for i in sampled(len(names), 6))
    *earlier, last = stages.values()
    return (*(gates[-1] for gates in earlier), *last[-3:])


def sampled(channels: int, most: int | None) -> tuple[int, ...]:
    """``most`` channels, evenly spaced, the first and the last among them; all where there are fewer, or for None.

    Example:
        >>> sampled(256, 4)
        (0, 85, 170, 255)
    """
    if most is None or most >= channels:
        return tuple(range(channels))
    return tuple(torch.linspace(0, channels - 1, most, dtype=torch.float64).round().long().tolist())
