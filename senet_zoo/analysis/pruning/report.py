"""What pruning did, as frozen values."""

from dataclasses import dataclass

from senet_zoo.analysis.pruning.latency import Latency
from senet_zoo.specs import SE


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
