"""Which gates go, as values."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from senet_zoo.analysis.pruning.activity import GateActivity
from senet_zoo.errors import UsageError


class Selection(Protocol):
    """What chooses gates out of those that were observed."""

    def names(self, activity: Sequence[GateActivity]) -> tuple[str, ...]:
        """The gates that go, in order of definition."""
        ...


@dataclass(frozen=True)
class OfStages:
    """All gates of some stages.

    Args:
        stages: by number, as the paper counts.
    """

    stages: tuple[int, ...]

    def names(self, activity: Sequence[GateActivity]) -> tuple[str, ...]:
        """The gates that go, in order of definition.

        Raises:
            UsageError: a stage that carries no gate, or every stage that does.
        """
        gated = sorted({gate.block[0] for gate in activity if gate.block})
        none = [stage for stage in self.stages if stage not in gated]
        if none or not self.stages:
            raise UsageError(f"gates are in the stages {', '.join(map(str, gated))}, got {_words(self.stages)}")
        if set(gated) <= set(self.stages):
            raise UsageError(
                f"pruning leaves at least one gate, and stages {_words(self.stages)} have all {len(activity)}: choose "
                "fewer, or take the plain twin (the model's name without se_)"
            )
        return tuple(gate.name for gate in activity if gate.block and gate.block[0] in self.stages)


@dataclass(frozen=True)
class SpreadUnder:
    """The gates whose `GateActivity.spread` is under a threshold; several in a block only together.

    Args:
        threshold: in parts of the gate's mean.
    """

    threshold: float

    def names(self, activity: Sequence[GateActivity]) -> tuple[str, ...]:
        """The gates that go, in order of definition.

        Raises:
            UsageError: the threshold is no positive number, no gate is under it, or every gate is.
        """
        if not (math.isfinite(self.threshold) and self.threshold > 0.0):
            raise UsageError(f"a threshold must be a number above 0, got {self.threshold}")
        stay = {gate.block for gate in activity if gate.spread >= self.threshold}
        found = tuple(gate.name for gate in activity if gate.block not in stay)
        spreads = [gate.spread for gate in activity]
        if not found:
            raise UsageError(
                f"no gate has a spread under {self.threshold:g}, the smallest has {min(spreads):.3g}: raise the "
                "threshold"
            )
        if len(found) == len(activity):
            raise UsageError(
                f"pruning leaves at least one gate, and all {len(found)} have a spread under {self.threshold:g}: lower "
                f"it to {max(spreads):.3g} or less, or take the plain twin (the model's name without se_)"
            )
        return found


def _words(stages: tuple[int, ...]) -> str:
    return ", ".join(map(str, stages)) or "none"
