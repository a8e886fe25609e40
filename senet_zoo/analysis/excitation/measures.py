"""Measures of a gate, such as saturation and class separability, and sentences that describe them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from senet_zoo.analysis.excitation.excite import GateExcitations
from senet_zoo.analysis.excitation.statistics import Moments

STILL = 0.01
"""A channel whose standard deviation over all pictures is below this share of the gate's range never moves."""
CONSTANT = 1e-6
"""A channel whose standard deviation is below this says the same of every picture, to six decimals."""
STEPS = ((0.14, "tells classes apart well"), (0.06, "tells classes apart"), (0.01, "tells classes apart weakly"))
"""Least eta squared above what chance gives; Cohen's small, medium and large effect."""


@dataclass(frozen=True)
class Measures:
    """Numbers of one gate.

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
            channels: 0 where each keeps to one bin, 6 where all bins are as frequent.
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
    """The measures of one gate."""
    moments, histogram = gate.moments, gate.histogram
    pictures, classes = int(moments.count.sum()), int((moments.count > 0).sum())
    moving = moments.overall_std > CONSTANT
    return Measures(
        mean=float(moments.overall_mean.mean()),
        saturated=histogram.low + histogram.high,
        saturated_low=histogram.low,
        saturated_high=histogram.high,
        separability=float(eta_squared(moments)[moving].mean()) if moving.any() else None,
        separability_by_chance=(classes - 1) / (pictures - 1),
        entropy=float(histogram.entropy.mean()),
        still=int((moments.overall_std < STILL * (gate.span.top - gate.span.low)).sum()),
        within_class=float((moments.within / pictures).sqrt().mean()),
    )


def eta_squared(moments: Moments) -> torch.Tensor:
    """Between-class by total sum of squares of each channel, (channels,); nan where nothing varies."""
    return moments.between / (moments.between + moments.within)


def describe_gate(gate: GateExcitations, found: Measures) -> str:
    """The measures of a gate as one sentence.

    Source: Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, for where eta squared is small.
    """
    if found.separability is None:
        return f"{gate.name} says the same of every picture, to six decimals."
    above = found.separability - found.separability_by_chance
    telling = next((phrase for least, phrase in STEPS if above >= least), "hardly tells classes apart")
    still = {0: "every channel moves", gate.channels: "no channel moves by much"}.get(
        found.still, f"{found.still} of its {gate.channels} channels never move"
    )
    ends = [
        f"{share:.0%} of its activations are saturated near its {end} end"
        for share, end in ((found.saturated_low, "low"), (found.saturated_high, "high"))
        if share >= 0.005
    ]
    return f"{gate.name} {telling}; {still}; {' and '.join(ends) or 'hardly any activation is saturated'}."


def describe_network(gates: Sequence[GateExcitations], found: Sequence[Measures]) -> tuple[str, ...]:
    """What stands out among the gates of a network, in a few sentences."""
    names = [gate.name for gate in gates]
    telling = sorted((m.separability, name) for name, m in zip(names, found, strict=True) if m.separability is not None)
    sentences = []
    if telling:
        (low, least), (high, most) = telling[0], telling[-1]
        sentences.append(
            f"Classes are told apart best by {most} (eta\N{SUPERSCRIPT TWO} {high:.2f}) and least by {least} "
            f"({low:.2f}); chance gives {found[0].separability_by_chance:.3f}."
        )
    share, name = max((m.saturated, name) for name, m in zip(names, found, strict=True))
    sentences.append(f"{name} is saturated most: {share:.1%} of its activations.")
    constant = [name for name, m in zip(names, found, strict=True) if m.separability is None]
    if constant:
        sentences.append(f"The same of every picture, to six decimals: {', '.join(constant)}.")
    return tuple(sentences)
