"""Statistics of gates in one pass over pictures: moments, histograms, measures, and sentences that describe them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from senet_zoo.networks.squeeze_excite import GATE_FUNCTIONS, SqueezeExcite

BINS = 64
EDGE = 0.05
"""Share of a gate's range, at either end, in which an activation counts as saturated."""
STILL = 0.01
"""A channel whose standard deviation over all pictures is below this share of the gate's range never moves."""
CONSTANT = 1e-6
"""A channel whose standard deviation is below this says the same of every picture, to six decimals."""
STEPS = ((0.14, "tells classes apart well"), (0.06, "tells classes apart"), (0.01, "tells classes apart weakly"))
"""Least eta squared above what chance gives; Cohen's small, medium and large effect."""


class Moments:
    """Mean and spread of a gate's activations in each class, of rows that come batch by batch.

    The memory that they take does not grow with the number of rows. All that is read is in float64 on the CPU.

    Source: Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979:
        Welford's update for a batch of rows instead of one.
    """

    def __init__(self, classes: int, channels: int, device: torch.device) -> None:
        self._count = torch.zeros(classes, 1, dtype=torch.float64, device=device)
        self._mean = torch.zeros(classes, channels, dtype=torch.float64, device=device)
        self._squares = torch.zeros_like(self._mean)

    def add(self, rows: Tensor, labels: Tensor) -> None:
        """Add (N, channels) rows of these classes, (N,)."""
        rows = rows.double()
        present, group = labels.unique(return_inverse=True)
        zeros = rows.new_zeros(len(present), rows.shape[1])
        count = rows.new_zeros(len(present), 1).index_add(0, group, rows.new_ones(len(rows), 1))
        mean = zeros.index_add(0, group, rows) / count
        squares = zeros.index_add(0, group, (rows - mean[group]) ** 2)

        before, total = self._count[present], self._count[present] + count
        step = mean - self._mean[present]
        self._squares[present] += squares + step**2 * before * count / total
        self._mean[present] += step * count / total
        self._count[present] = total

    @property
    def count(self) -> Tensor:
        """Rows of each class, (classes,), whole numbers."""
        return self._count[:, 0].long().cpu()

    @property
    def mean(self) -> Tensor:
        """Mean of each class and channel, (classes, channels); nan where the class has no row."""
        return torch.where(self._count > 0, self._mean, torch.nan).cpu()

    @property
    def squares(self) -> Tensor:
        """Sum of squared distances to `mean`, (classes, channels); 0 where the class has no row."""
        return self._squares.cpu()

    @property
    def std(self) -> Tensor:
        """Standard deviation of each class and channel over its rows, dividing by their number."""
        return (self.squares / self.count[:, None]).sqrt()

    @property
    def overall_mean(self) -> Tensor:
        """Mean over all rows, (channels,)."""
        seen = self.count > 0
        return (self.count[seen, None] * self.mean[seen]).sum(0) / self.count.sum()

    @property
    def within(self) -> Tensor:
        """Within-class sum of squares of each channel, (channels,)."""
        return self.squares.sum(0)

    @property
    def between(self) -> Tensor:
        """Between-class sum of squares of each channel, (channels,); with `within` it makes the total."""
        seen = self.count > 0
        return (self.count[seen, None] * (self.mean[seen] - self.overall_mean) ** 2).sum(0)

    @property
    def overall_std(self) -> Tensor:
        """Standard deviation over all rows, (channels,)."""
        return ((self.within + self.between) / self.count.sum()).sqrt()


@dataclass(frozen=True)
class GateRange:
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


def range_of(gate: SqueezeExcite) -> GateRange:
    """The limits of the gate's last function."""
    low, high = GATE_FUNCTIONS[gate.gate, gate.start](torch.tensor([-math.inf, math.inf])).tolist()
    return GateRange(low, high)


class Histogram:
    """Histogram of each channel of a gate over the gate's range, of rows that come batch by batch.

    Args:
        span: the gate's range, cut into `BINS` equal parts; what lies above the top of a gate without bound is in the
            last.
        channels: number of channels of a row.
        device: where rows are counted.
    """

    def __init__(self, span: GateRange, channels: int, device: torch.device) -> None:
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

    @property
    def bins(self) -> Tensor:
        """Activations of each channel in each bin, (channels, BINS)."""
        return self._bins.view(-1, BINS).cpu()

    @property
    def low(self) -> float:
        """Share of all activations that are saturated at the low end."""
        return float(self._ends[0].double() / self._bins.sum())

    @property
    def high(self) -> float:
        """Share of all activations that are saturated at the high end."""
        return float(self._ends[1].double() / self._bins.sum())

    @property
    def entropy(self) -> Tensor:
        """Shannon entropy of each channel's histogram in bits, (channels,): 0 in one bin, 6 spread over all 64."""
        shares = self.bins.double() / self.bins.sum(1, keepdim=True)
        entropy: Tensor = torch.special.entr(shares).sum(1) / math.log(2.0)
        return entropy


@dataclass(frozen=True, eq=False)
class GateExcitations:
    """What one gate said.

    Args:
        name: the paper's, such as ``SE_4_6``, or its module's.
        span: the values that it can take.
        moments: mean and spread of each class and channel.
        histogram: of each channel over all classes.
    """

    name: str
    span: GateRange
    moments: Moments
    histogram: Histogram

    @property
    def channels(self) -> int:
        """Channels of the map that it scales."""
        return self.moments.mean.shape[1]


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
            follows from the class. None where no channel moves, and without classes to tell apart.
        separability_by_chance: what it is on average where classes mean nothing: (classes - 1) / (pictures - 1). None
            without classes to tell apart.
        entropy: Shannon entropy of a channel's histogram over 64 equal bins of the range, in bits, averaged over the
            channels: 0 where each keeps to one bin, 6 where all bins are as frequent. None for one picture.
        still: channels that never move: standard deviation over all pictures below 1 % of the range. None for one
            picture.
        within_class: standard deviation around the class's own mean, pooled over the classes, averaged over
            the channels. None for one picture.

    Source: eta squared, Fisher, Statistical Methods for Research Workers, 1925. With K classes and N pictures, the F of
        one-way analysis of variance is (eta² / (K - 1)) / ((1 - eta²) / (N - K)).
    """

    mean: float
    saturated: float
    saturated_low: float
    saturated_high: float
    separability: float | None
    separability_by_chance: float | None
    entropy: float | None
    still: int | None
    within_class: float | None


def measures(gate: GateExcitations) -> Measures:
    """The measures of one gate."""
    moments, histogram = gate.moments, gate.histogram
    pictures, classes = int(moments.count.sum()), int((moments.count > 0).sum())
    moving = moments.overall_std > CONSTANT
    several, compared = pictures > 1, classes > 1
    still = int((moments.overall_std < STILL * (gate.span.top - gate.span.low)).sum())
    return Measures(
        mean=float(moments.overall_mean.mean()),
        saturated=histogram.low + histogram.high,
        saturated_low=histogram.low,
        saturated_high=histogram.high,
        separability=float(eta_squared(moments)[moving].mean()) if compared and moving.any() else None,
        separability_by_chance=(classes - 1) / (pictures - 1) if compared else None,
        entropy=float(histogram.entropy.mean()) if several else None,
        still=still if several else None,
        within_class=float((moments.within / pictures).sqrt().mean()) if several else None,
    )


def is_constant(gate: GateExcitations) -> bool:
    """Whether a gate says the same of several pictures."""
    return int(gate.moments.count.sum()) > 1 and not bool((gate.moments.overall_std > CONSTANT).any())


def eta_squared(moments: Moments) -> torch.Tensor:
    """Between-class by total sum of squares of each channel, (channels,); nan where nothing varies."""
    return moments.between / (moments.between + moments.within)


def describe_gate(gate: GateExcitations, found: Measures) -> str:
    """The measures of a gate as one sentence.

    Source: Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, for where eta squared is small.
    """
    if is_constant(gate):
        return f"{gate.name} says the same of every picture, to six decimals."
    ends = [
        f"{share:.0%} of its activations are saturated near its {end} end"
        for share, end in ((found.saturated_low, "low"), (found.saturated_high, "high"))
        if share >= 0.005
    ]
    saturated = " and ".join(ends) or "hardly any activation is saturated"
    if found.still is None:
        means = gate.moments.overall_mean
        most, least = int(means.argmax()), int(means.argmin())
        return (
            f"{gate.name} opens channel {most} most ({means[most]:.2f}) and channel {least} least "
            f"({means[least]:.2f}); {saturated}."
        )
    still = {0: "every channel moves", gate.channels: "no channel moves by much"}.get(
        found.still, f"{found.still} of its {gate.channels} channels never move"
    )
    if found.separability is None or found.separability_by_chance is None:
        return f"In {gate.name} {still}; {saturated}."
    above = found.separability - found.separability_by_chance
    telling = next((phrase for least_above, phrase in STEPS if above >= least_above), "hardly tells classes apart")
    return f"{gate.name} {telling}; {still}; {saturated}."


def describe_network(gates: Sequence[GateExcitations], found: Sequence[Measures]) -> tuple[str, ...]:
    """What stands out among the gates of a network, in a few sentences."""
    names = [gate.name for gate in gates]
    chance = found[0].separability_by_chance
    telling = sorted((m.separability, name) for name, m in zip(names, found, strict=True) if m.separability is not None)
    sentences = []
    if telling and chance is not None:
        (low, least), (high, most) = telling[0], telling[-1]
        sentences.append(
            f"Classes are told apart best by {most} (eta\N{SUPERSCRIPT TWO} {high:.2f}) and least by {least} "
            f"({low:.2f}); chance gives {chance:.3f}."
        )
    share, name = max((m.saturated, name) for name, m in zip(names, found, strict=True))
    sentences.append(f"{name} is saturated most: {share:.1%} of its activations.")
    constant = [gate.name for gate in gates if is_constant(gate)]
    if constant:
        sentences.append(f"The same of every picture, to six decimals: {', '.join(constant)}.")
    return tuple(sentences)
