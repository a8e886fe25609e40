"""The learning rate over a run, as frozen values: a factor of the peak, by epoch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import cos, inf, pi
from typing import Protocol, Self


class Schedule(Protocol):
    """What the peak learning rate is multiplied by."""

    def factor(self, epoch: float, epochs: int, losses: Sequence[float]) -> float:
        """The factor at a moment.

        Args:
            epoch: counted from 0; fractions lie between two epochs.
            epochs: length of the run.
            losses: on the validation pictures, of every epoch that is over.
        """
        ...

    def stretched(self, by: float) -> Self:
        """The same schedule for a run ``by`` times as long."""
        ...


@dataclass(frozen=True)
class Steps:
    """Constant pieces.

    Args:
        pieces: ``(epoch from which it holds, factor)`` in ascending order, the first from epoch 0.
    """

    pieces: tuple[tuple[float, float], ...]

    def factor(self, epoch: float, epochs: int, losses: Sequence[float]) -> float:
        return next(factor for start, factor in reversed(self.pieces) if epoch >= start)

    def stretched(self, by: float) -> Self:
        return replace(self, pieces=tuple((start * by, factor) for start, factor in self.pieces))


@dataclass(frozen=True)
class Cosine:
    """Linear from a hundredth up to 1, then half a cosine to 0 at the end.

    Args:
        warmup: epochs until the peak.

    Source: Loshchilov and Hutter, SGDR, arXiv:1608.03983, without restarts.
    """

    warmup: float = 0.0

    def factor(self, epoch: float, epochs: int, losses: Sequence[float]) -> float:
        if epoch < self.warmup:
            return 0.01 + 0.99 * epoch / self.warmup
        return 0.5 * (1.0 + cos(pi * (epoch - self.warmup) / (epochs - self.warmup)))

    def stretched(self, by: float) -> Self:
        return replace(self, warmup=self.warmup * by)


@dataclass(frozen=True)
class OneCycle:
    """Half a cosine from 1/25 up to 1, and half a cosine down to 0.

    Args:
        rise: share of the run until the peak, above 0 and below 1.

    Source: Smith and Topin, Super-Convergence, arXiv:1708.07120; the start is that of torch's OneCycleLR.
    """

    rise: float = 0.3

    def factor(self, epoch: float, epochs: int, losses: Sequence[float]) -> float:
        share = epoch / epochs
        if share < self.rise:
            return 0.04 + 0.96 * 0.5 * (1.0 - cos(pi * share / self.rise))
        return 0.5 * (1.0 + cos(pi * (share - self.rise) / (1.0 - self.rise)))

    def stretched(self, by: float) -> Self:
        return self


@dataclass(frozen=True)
class Plateau:
    """Constant, divided by 10 whenever the validation loss has not fallen for some epochs.

    Args:
        patience: epochs without a new lowest loss that are borne.
    """

    patience: int

    def factor(self, epoch: float, epochs: int, losses: Sequence[float]) -> float:
        lowest, waited, drops = inf, 0, 0
        for loss in losses:
            lowest, waited = (loss, 0) if loss < lowest else (lowest, waited + 1)
            if waited > self.patience:
                waited, drops = 0, drops + 1
        return 0.1**drops

    def stretched(self, by: float) -> Self:
        return replace(self, patience=max(1, round(self.patience * by)))
