"""Two networks timed in turn."""

import statistics
import time
from dataclasses import dataclass

import torch
from torch import nn

from senet_zoo.errors import UsageError

LEAST_SECONDS = 0.05  # of one timing, so that the clock and the loop do not count


@dataclass(frozen=True)
class Latency:
    """What a picture costs before and after, timed in turn so that a busy machine slows both.

    Args:
        before: milliseconds of a run of one picture, the median over the rounds.
        after: likewise.
        ratio: after to before, the median over the rounds.
        lowest, highest: of the rounds' ratios.
        rounds: how many there were.
    """

    before: float
    after: float
    ratio: float
    lowest: float
    highest: float
    rounds: int


@torch.inference_mode()
def interleaved(before: nn.Module, after: nn.Module, shape: tuple[int, int, int], rounds: int = 15) -> Latency:
    """Time two networks on one picture in eval mode, where their parameters lie.

    Args:
        before: a network that is pruned.
        after: what it became.
        shape: of the picture, (channels, height, width).
        rounds: each times one after the other.

    Raises:
        UsageError: no rounds.
    """
    if rounds < 1:
        raise UsageError(f"timing takes at least one round, got {rounds}")
    like = next(before.parameters())
    x = torch.zeros(1, *shape, dtype=like.dtype, device=like.device)
    once = max(_seconds(model, x, 2) / 2 for model in (before, after))  # the first runs also warm up
    runs = max(1, round(LEAST_SECONDS / once))
    pairs = [(_seconds(before, x, runs) / runs, _seconds(after, x, runs) / runs) for _ in range(rounds)]
    ratios = [second / first for first, second in pairs]
    return Latency(
        before=1000.0 * statistics.median(first for first, _ in pairs),
        after=1000.0 * statistics.median(second for _, second in pairs),
        ratio=statistics.median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        rounds=rounds,
    )


def _seconds(model: nn.Module, x: torch.Tensor, runs: int) -> float:
    _wait(x)
    start = time.perf_counter()
    for _ in range(runs):
        model(x)
    _wait(x)
    return time.perf_counter() - start


def _wait(x: torch.Tensor) -> None:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
