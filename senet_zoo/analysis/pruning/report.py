"""Two networks timed in turns.

What pruning did, as frozen values.
"""

import math
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from torch import nn

from senet_zoo.errors import UsageError
from senet_zoo.networks.specs import SE
from senet_zoo.support.timing import interleaved, timed

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
def measure_latency(before: nn.Module, after: nn.Module, shape: tuple[int, int, int], rounds: int = 15) -> Latency:
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
    measured = interleaved({name: partial(timed, work, x.device, runs) for name, work in works.items()}, rounds)
    ratio = measured.ratio("after", "before")
    first, second = (1000.0 * median(measured.seconds[name]) / runs for name in works)
    return Latency(first, second, ratio.median, ratio.lower, ratio.upper, len(measured))


@dataclass(frozen=True)
class Figures:
    """What a network has and costs, and what it scores.

    Args:
        gates: how many it has.
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
class GateFate:
    """One gate of the network as it was.

    Args:
        name: the paper's, such as ``SE_4_6``.
        spread: see `GateActivity.spread`.
        dropped: whether its mean stands in its place now.
    """

    name: str
    spread: float
    dropped: bool


@dataclass(frozen=True)
class MapFate:
    """One map between the network's parts.

    Args:
        name: whose output it is: ``stage 1`` is the stem.
        before: its channels.
        after: those that it has now.
    """

    name: str
    before: int
    after: int


@dataclass(frozen=True)
class PruneReport:
    """A network before and after.

    Args:
        gates: of the network as it was, first to last.
        maps: the stem's and each stage's.
        se: the gate of the pruned network, which says where it still sits, and its reduction.
        before: figures of the network as it was.
        after: of the pruned one.
        latency: of one picture, before and after.
        calibrated_on: pictures over which the gates were observed.
        measured_on: pictures that both networks were measured on; none of them was calibrated on.
        unreadable: why each picture that was left out could not be read.
    """

    gates: tuple[GateFate, ...]
    maps: tuple[MapFate, ...]
    se: SE
    before: Figures
    after: Figures
    latency: Latency
    calibrated_on: int
    measured_on: int
    unreadable: tuple[str, ...]

    @property
    def dropped(self) -> tuple[str, ...]:
        """Names of the gates that went."""
        return tuple(gate.name for gate in self.gates if gate.dropped)
