"""What the measures say, in words."""

from collections.abc import Sequence

from senet_zoo.analysis.excitation.excite import GateExcitations
from senet_zoo.analysis.excitation.measures import Measures

STEPS = ((0.14, "tells classes apart well"), (0.06, "tells classes apart"), (0.01, "tells classes apart weakly"))
"""Least eta squared above what chance gives; Cohen's small, medium and large effect."""


def in_words(gate: GateExcitations, found: Measures) -> str:
    """The numbers of a gate as one sentence.

    Source: Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, for where eta squared is small.
    """
    if found.separability is None:
        return f"{gate.name} says the same of every picture, to six decimals."
    above = found.separability - found.separability_by_chance
    telling = next((words for least, words in STEPS if above >= least), "hardly tells classes apart")
    still = {0: "every channel moves", gate.channels: "no channel moves by much"}.get(
        found.still, f"{found.still} of its {gate.channels} channels never move"
    )
    ends = [
        f"{share:.0%} of its activations are saturated near its {end} end"
        for share, end in ((found.saturated_low, "low"), (found.saturated_high, "high"))
        if share >= 0.005
    ]
    return f"{gate.name} {telling}; {still}; {' and '.join(ends) or 'hardly any activation is saturated'}."


def overview(gates: Sequence[GateExcitations], found: Sequence[Measures]) -> tuple[str, ...]:
    """What stands out among the gates of a network, a sentence each."""
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
