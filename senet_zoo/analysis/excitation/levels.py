"""How often each channel of a gate is at which level: a histogram that fills as pictures pass."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from senet_zoo.layers import SqueezeExcite
from senet_zoo.layers.gating import GATE_FUNCTIONS

BINS = 64
EDGE = 0.05
"""Share of a gate's range, at either end, in which an activation counts as saturated."""


@dataclass(frozen=True)
class Range:
    """The values that a gate can take: 0 to 1 for a sigmoid; ``high`` is infinite for a ReLU."""

    low: float
    high: float

    @property
    def top(self) -> float:
        """Where the histogram ends; a gate without bound is shown up to twice the identity."""
        return self.high if math.isfinite(self.high) else 2.0

    @property
    def near_low(self) -> float:
        """Below this an activation is saturated: 0.05 for a sigmoid."""
        return self.low + EDGE * (self.top - self.low)

    @property
    def near_high(self) -> float:
        """Above this an activation is saturated: 0.95 for a sigmoid; infinite for a gate without bound."""
        return self.high - EDGE * (self.top - self.low)


def range_of(gate: SqueezeExcite) -> Range:
    """The limits of the gate's last function."""
    low, high = GATE_FUNCTIONS[gate.gate, gate.start](torch.tensor([-math.inf, math.inf])).tolist()
    return Range(low, high)


@dataclass(frozen=True, eq=False)
class Levels:
    """How a gate's activations are spread over its range.

    Args:
        bins: activations of each channel in each of `BINS` equal parts of the range, (channels, BINS); what lies above
            the top of a gate without bound is in the last.
        low: share of all activations that are saturated at the low end.
        high: likewise at the high end.
    """

    bins: Tensor
    low: float
    high: float

    @property
    def entropy(self) -> Tensor:
        """Shannon entropy of each channel's histogram in bits, (channels,): 0 in one bin, 6 spread over all 64."""
        shares = self.bins.double() / self.bins.sum(1, keepdim=True)
        entropy: Tensor = torch.special.entr(shares).sum(1) / math.log(2.0)
        return entropy


class RunningLevels:
    """`Levels` of rows that come batch by batch; the memory they take does not grow with the number of rows.

    Args:
        span: the gate's range.
        channels: of a row.
        device: where rows are counted.
    """

    def __init__(self, span: Range, channels: int, device: torch.device) -> None:
        self._span = span
        self._bins = torch.zeros(channels * BINS, dtype=torch.int64, device=device)
        self._ends = torch.zeros(2, dtype=torch.int64, device=device)
        self._first = BINS * torch.arange(channels, device=device)

    def add(self, rows: Tensor) -> None:
        """Count (N, channels) rows."""
        span = self._span
        share = (rows.double() - span.low) / (span.top - span.low)
        bins = (share * BINS).clamp(0, BINS - 1).long()  # (N, channels)
        self._bins += torch.bincount((self._first + bins).flatten(), minlength=len(self._bins))
        self._ends += torch.stack([(rows < span.near_low).sum(), (rows > span.near_high).sum()])

    def result(self) -> Levels:
        """What is known by now."""
        bins = self._bins.view(-1, BINS).cpu()
        low, high = (self._ends.double().cpu() / bins.sum()).tolist()
        return Levels(bins, low, high)
