"""`PruneReport`: a network before and after pruning, with the latency of both."""

import math
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from torch import nn

from senet_zoo.errors import UsageError
from senet_zoo.networks.specs import SE
from senet_zoo.support.timing import interleaved, timed

LEAST_SECONDS = 0.05
"""Seconds of a turn at least, so that the clock and the loop do not count."""


@dataclass(frozen=True)
class Latency:
    """Time of a run with one picture, before and after; the two are timed in turns so that a busy machine slows both.

    Args:
        before: milliseconds before pruning, the median over the rounds.
        after: milliseconds after it, the median over the rounds.
        ratio: of after to before, the median over the rounds.
        lower: first quartile of the rounds' ratios.
        upper: third quartile of the rounds' ratios.
        rounds: number of rounds that count.
    """

    before: float
    after: float
    ratio: float
    lower: float
    upper: float
    rounds: int


@torch.inference_mode()
def measure_latency(before: nn.Module, after: nn.Module, shape: tuple[int, int, int], rounds: int = 15) -> Latency:
    """Time two networks on one picture in eval mode, where their parameters lie.

    Shape:
        ``shape`` is that of the picture, (channels, height, width).

    Raises:
        UsageError: fewer rounds than one.
    """
    if rounds < 1:
        raise UsageError(f"timing takes at least one round, got {rounds}")
    like = next(before.parameters())
    x = torch.zeros(1, *shape, dtype=like.dtype, device=like.device)
    works = {"before": partial(before, x), "after": partial(after, x)}
    once = max(timed(work, x.device, repeats=2) / 2 for work in works.values())  # the first runs also warm up
    runs = max(1, math.ceil(LEAST_SECONDS / once))
    measured = interleaved({name: partial(timed, work, x.device, runs) for name, work in works.items()}, rounds)
    ratio = measured.ratio("after", "before")
    first, second = (1000.0 * median(measured.seconds[name]) / runs for name in works)
    return Latency(first, second, ratio.median, ratio.lower, ratio.upper, len(measured))


@dataclass(frozen=True)
class NetworkFigures:
    """What a network has, costs and scores.

    Args:
        gates: number of gates.
        gate_parameters: trainable values in them.
        parameters: trainable values of the whole network.
        multiply_adds: of convolutions, fully connected layers and gates, for one picture.
        top1: accuracy in percent on the measured pictures.
        loss: mean cross-entropy on them, in nats.
    """

    gates: int
    gate_parameters: int
    parameters: int
    multiply_adds: int
    top1: float
    loss: float


@dataclass(frozen=True)
class GateChange:
    """A gate of the network before pruning.

    Args:
        name: the paper's, such as ``SE_4_6``.
        spread: see `GateActivity.spread`.
        dropped: whether its mean has taken its place.
    """

    name: str
    spread: float
    dropped: bool


@dataclass(frozen=True)
class MapChange:
    """Channels of a map before and after.

    Args:
        name: the part whose output it is; ``stage 1`` is the stem.
        before: its channels before pruning.
        after: its channels now.
    """

    name: str
    before: int
    after: int


@dataclass(frozen=True)
class PruneReport:
    """A network before and after pruning.

    Args:
        gates: the gates before pruning, first to last.
        maps: the outputs of the stem and of each stage.
        se: the gates of the pruned network: which stages and blocks have one, and their reduction.
        before: figures of the network before pruning.
        after: figures of the pruned network.
        latency: of one picture, before and after.
        calibrated_on: number of pictures over which the gates were observed.
        measured_on: number of other pictures, which both networks were evaluated on.
        unreadable: why each picture that was left out could not be read.
    """

    gates: tuple[GateChange, ...]
    maps: tuple[MapChange, ...]
    se: SE
    before: NetworkFigures
    after: NetworkFigures
    latency: Latency
    calibrated_on: int
    measured_on: int
    unreadable: tuple[str, ...]

    @property
    def dropped(self) -> tuple[str, ...]:
        """Names of the gates that were dropped."""
        return tuple(gate.name for gate in self.gates if gate.dropped)
