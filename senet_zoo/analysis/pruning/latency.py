"""Two networks timed in turns."""

import math
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from torch import nn

from senet_zoo.errors import UsageError
from senet_zoo.turns import in_turns, timed

TURN = 0.05
"""Seconds that a turn takes at least, so that the clock and the loop do not count."""


@dataclass(frozen=True)
class Latency:
    """What a picture costs before and after, timed in turns so that a busy machine slows both.

    Args:
        before: milliseconds of a run of one picture, the median over the rounds.
        after: likewise.
        ratio: after to before, the median over the rounds.
        lower: first quartile of the rounds' ratios.
        upper: their third.
        rounds: how many count.
    """

    before: float
    after: float
    ratio: float
    lower: float
    upper: float
    rounds: int


@torch.inference_mode()
def interleaved(before: nn.Module, after: nn.Module, shape: tuple[int, int, int], rounds: int = 15) -> Latency:
    """Time two networks on one picture in eval mode, where their parameters lie.

    Args:
        before: a network that is pruned.
        after: what it became.
        shape: of the picture, (channels, height, width).
        rounds: in which each has its turn.

    Raises:
        UsageError: no rounds.
    """
    if rounds < 1:
        raise UsageError(f"timing takes at least one round, got {rounds}")
    like = next(before.parameters())
    x = torch.zeros(1, *shape, dtype=like.dtype, device=like.device)
    works = {"before": partial(before, x), "after": partial(after, x)}
    once = max(timed(work, x.device, repeats=2) / 2 for work in works.values())  # the first runs also warm up
    runs = max(1, math.ceil(TURN / once))
    measured = in_turns({name: partial(timed, work, x.device, runs) for name, work in works.items()}, rounds)
    ratio = measured.ratio("after", "before")
    first, second = (1000.0 * median(measured.seconds[name]) / runs for name in works)
    return Latency(first, second, ratio.median, ratio.lower, ratio.upper, len(measured))
