"""A gate in a few numbers."""

from dataclasses import dataclass

import torch

from senet_zoo.analysis.excitation.excite import GateExcitations
from senet_zoo.analysis.excitation.moments import Moments

STILL = 0.01
"""A channel whose standard deviation over all pictures is below this share of the gate's range never moves."""
CONSTANT = 1e-6
"""A channel whose standard deviation is below this says the same of every picture, to six decimals."""


@dataclass(frozen=True)
class Measures:
    """A gate in numbers.

    Args:
        mean: of all activations.
        saturated: share of activations within 5 % of the gate's range of either end: for a sigmoid, below 0.05 or above
            0.95.
        saturated_low: those of them at the low end.
        saturated_high: those at the high end.
        separability: eta squared, the share of the variance that lies between the classes (between-class by total sum
            of squares), averaged over the channels that move at all: 0 where classes look alike, 1 where a channel
            follows from the class. None where no channel moves.
        separability_by_chance: what it is on average where classes mean nothing: (classes - 1) / (pictures - 1).
        entropy: Shannon entropy of a channel's histogram over 64 equal bins of the range, in bits, averaged over the
            channels: 0 where each keeps to one bin, 6 where all levels are as frequent.
        still: channels that never move: standard deviation over all pictures below 1 % of the range.
        within_class: standard deviation around the class's own mean, pooled over the classes, averaged over
            the channels.

    Source: eta squared, Fisher, Statistical Methods for Research Workers, 1925. With K classes and N pictures, the F of
        one-way analysis of variance is (eta² / (K - 1)) / ((1 - eta²) / (N - K)).
    """

    mean: float
    saturated: float
    saturated_low: float
    saturated_high: float
    separability: float | None
    separability_by_chance: float
    entropy: float
    still: int
    within_class: float


def measures(gate: GateExcitations) -> Measures:
    """The numbers of one gate."""
    moments, levels = gate.moments, gate.levels
    pictures, classes = int(moments.count.sum()), int((moments.count > 0).sum())
    moving = moments.overall_std > CONSTANT
    return Measures(
        mean=float(moments.overall_mean.mean()),
        saturated=levels.low + levels.high,
        saturated_low=levels.low,
        saturated_high=levels.high,
        separability=float(eta_squared(moments)[moving].mean()) if moving.any() else None,
        separability_by_chance=(classes - 1) / (pictures - 1),
        entropy=float(levels.entropy.mean()),
        still=int((moments.overall_std < STILL * (gate.span.top - gate.span.low)).sum()),
        within_class=float((moments.within / pictures).sqrt().mean()),
    )


def eta_squared(moments: Moments) -> torch.Tensor:
    """Between-class by total sum of squares of each channel, (channels,); nan where nothing varies."""
    return moments.between / (moments.between + moments.within)
