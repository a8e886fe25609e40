"""`prune`: make a network smaller by what its gates say of labelled pictures, and measure it before and after."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Protocol

import torch
from torch import Tensor, nn

from senet_zoo.analysis import cost
from senet_zoo.analysis.pruning.activity import GateActivity, GateSelection, SpreadUnder, observe
from senet_zoo.analysis.pruning.channels import check_channels, cut_channels
from senet_zoo.analysis.pruning.gates import fold_gates
from senet_zoo.data.labelled import Labelled, Pictures, Unlabelled, subset
from senet_zoo.data.loader import LoadedBatch, load_batches
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import DataError, UsageError
from senet_zoo.evaluation import Evaluation, LogitNames, evaluate
from senet_zoo.networks.excitations import paper_names
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.specs import SE
from senet_zoo.networks.squeeze_excite import gates
from senet_zoo.networks.widths import widths_of
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
        top1: accuracy in percent on the measured pictures; None where there is none.
        loss: mean cross-entropy on them, in nats; None where there is none.
    """

    gates: int
    gate_parameters: int
    parameters: int
    multiply_adds: int
    top1: float | None
    loss: float | None


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


class Pruning(Protocol):
    """What is taken out of a network whose gates were observed."""

    def check(self, model: ConvNet) -> None:
        """Refuse a network before any picture is read."""
        ...

    def apply(self, model: ConvNet, activity: Sequence[GateActivity]) -> ConvNet:
        """The smaller network; ``model`` is left as it is."""
        ...


@dataclass(frozen=True)
class DropGates:
    """The gates that a selection chooses, replaced by their means."""

    selection: GateSelection

    def check(self, model: ConvNet) -> None:
        """Accept any network: which gates go is not known before they were observed."""

    def apply(self, model: ConvNet, activity: Sequence[GateActivity]) -> ConvNet:
        """The network without them; see `drop_gates`."""
        return fold_gates(model, activity, self.selection.names(activity))


@dataclass(frozen=True)
class RemoveChannels:
    """The channels of the residual sums with the lowest mean excitation."""

    share: float

    def check(self, model: ConvNet) -> None:
        """Refuse a network or a share; see `remove_channels`."""
        check_channels(model, self.share)

    def apply(self, model: ConvNet, activity: Sequence[GateActivity]) -> ConvNet:
        """The network without them; see `remove_channels`."""
        return cut_channels(model, activity, self.share)


def prune(
    model: ConvNet,
    pruning: Pruning,
    calibration: Labelled | Unlabelled,
    measured: Labelled | None,
    preprocessing: Preprocessing,
    logits: LogitNames,
    *,
    batch: int = 64,
    workers: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[ConvNet, PruneReport]:
    """Make a network smaller by what its gates say, and measure it before and after.

    A picture that cannot be read is left out and named in the report.

    Args:
        model: in eval mode; it is not changed.
        pruning: `DropGates` or `RemoveChannels`.
        calibration: pictures over which the gates are observed; their labels do not matter.
        measured: other pictures, which both networks are evaluated on; None leaves accuracy unknown.
        preprocessing: what the model's weights were trained with.
        logits: names of the network's logits.
        batch: pictures that the network sees at once.
        workers: processes that read pictures; 0 reads in this one.
        progress: called with the number of pictures after each batch: those of ``calibration`` once, and those of
            ``measured`` twice.

    Returns:
        The pruned network, which `save_pretrained` writes, and the report.

    Raises:
        UsageError: what `drop_gates`, `remove_channels` or the selection refuses, or a number out of range.
        DataError: no picture can be read, or a class that the network does not know.
        WeightsError: a gate or a logit is not finite.
    """
    pruning.check(model)
    unreadable: list[str] = []
    loader = load_batches(calibration, preprocessing.transforms(), batch, workers)
    activity = observe(model, _tensors(loader, progress, unreadable))
    calibrated_on = len(calibration) - len(unreadable)
    if calibrated_on == 1 and isinstance(pruning, DropGates) and isinstance(pruning.selection, SpreadUnder):
        raise UsageError(
            "a gate's spread is over two pictures or more, and one was there to calibrate on: give more pictures, or "
            "choose gates by their stages"
        )
    pruned = pruning.apply(model, activity)
    found = [
        None
        if measured is None
        else evaluate(each, measured, preprocessing, logits, batch=batch, workers=workers, progress=progress)
        for each in (model, pruned)
    ]
    if found[0]:
        unreadable += [each.error for each in found[0].unreadable]
    size = preprocessing.size
    assert pruned.spec.se is not None
    left = paper_names(pruned, pruned.spec.stage_numbers).values()
    report = PruneReport(
        gates=tuple(GateChange(gate.name, gate.spread, gate.name not in left) for gate in activity),
        maps=_maps(model, pruned),
        se=pruned.spec.se,
        before=_figures(model, size, found[0]),
        after=_figures(pruned, size, found[1]),
        latency=measure_latency(model, pruned, (model.in_channels, size, size)),
        calibrated_on=calibrated_on,
        measured_on=found[0].count if found[0] else 0,
        unreadable=tuple(unreadable),
    )
    return pruned, report


def calibration_split(data: Pictures, count: int, seed: int = 0) -> tuple[Pictures, Pictures]:
    """``count`` pictures to calibrate on, drawn at random, and all others; the same at every call, both in order.

    Raises:
        UsageError: none would be left on either side.
    """
    if not 1 <= count < len(data):
        raise UsageError(
            f"pictures are calibrated on or measured, never both: of {len(data)} at least 1 and at most "
            f"{len(data) - 1} can calibrate, got {count}"
        )
    drawn = set(torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:count].tolist())
    return subset(data, sorted(drawn)), subset(data, [index for index in range(len(data)) if index not in drawn])


def _tensors(loader: Iterable[LoadedBatch], progress: Callable[[int], None], unreadable: list[str]) -> Iterator[Tensor]:
    """Batches of pictures; why others cannot be read is added to ``unreadable``.

    Raises:
        DataError: no picture can be read.
    """
    read = 0
    for loaded in loader:
        read += len(loaded.indices)
        unreadable += [reason for _, reason in loaded.unreadable]
        if loaded.indices:
            yield torch.stack(loaded.tensors)
        progress(len(loaded))
    if not read:
        raise DataError(f"a picture must be readable, and none of {len(unreadable)} is: {unreadable[0]}")


def _maps(model: ConvNet, pruned: ConvNet) -> tuple[MapChange, ...]:
    numbers = model.spec.stage_numbers
    names = [f"stage {number}" for number in (numbers[0] - 1, *numbers)]  # the stem is stage 1
    pairs = zip(names, widths_of(model.spec), widths_of(pruned.spec), strict=True)
    return tuple(MapChange(name, before, after) for name, before, after in pairs if name != "stage 0")


def _figures(model: ConvNet, size: int, found: Evaluation | None) -> NetworkFigures:
    own = gates(model).values()
    return NetworkFigures(
        gates=len(own),
        gate_parameters=sum(map(cost.parameters, own)),
        parameters=cost.parameters(model),
        multiply_adds=cost.multiply_adds(model, size),
        top1=found.top1 if found else None,
        loss=found.loss if found else None,
    )
