"""`prune`: from a network and labelled pictures to a smaller one, both measured."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from senet_zoo.analysis import cost
from senet_zoo.analysis.excitation.excite import batches
from senet_zoo.analysis.pruning.activity import GateActivity, Selection, observe
from senet_zoo.analysis.pruning.channels import check_channels, cut_channels
from senet_zoo.analysis.pruning.gates import fold_gates
from senet_zoo.analysis.pruning.report import Figures, GateFate, MapFate, PruneReport, measure_latency
from senet_zoo.data.labelled import Labelled, subset
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import UsageError
from senet_zoo.evaluation import Evaluation, Logits, evaluate
from senet_zoo.networks.excitations import paper_names
from senet_zoo.networks.gate import gates
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.widths import widths_of


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
    """The gates that a selection chooses, replaced by their means.

    Args:
        selection: of gates.
    """

    selection: Selection

    def check(self, model: ConvNet) -> None:
        """Nothing is known before the gates were observed."""

    def apply(self, model: ConvNet, activity: Sequence[GateActivity]) -> ConvNet:
        """The network without them; see `drop_gates`."""
        return fold_gates(model, activity, self.selection.names(activity))


@dataclass(frozen=True)
class RemoveChannels:
    """The channels of the residual sums with the lowest mean excitation.

    Args:
        share: of each sum's channels.
    """

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
    calibration: Labelled,
    measured: Labelled,
    preprocessing: Preprocessing,
    logits: Logits,
    *,
    batch: int = 64,
    workers: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[ConvNet, PruneReport]:
    """Make a network smaller by what its gates say, and measure it before and after.

    A picture that cannot be read is left out and named in the report.

    Args:
        model: in eval mode; it is left as it is.
        pruning: what goes.
        calibration: pictures over which the gates are observed; their labels are not looked at.
        measured: other pictures, which both networks are measured on.
        preprocessing: that of the model's weights.
        logits: what the network tells apart.
        batch: pictures that the network sees at once.
        workers: processes that decode pictures; 0 decodes in this one.
        progress: told the number of pictures after each batch: those of ``calibration`` once, of ``measured`` twice.

    Returns:
        The pruned network, which `save_pretrained` writes, and the report.

    Raises:
        UsageError: what `drop_gates`, `remove_channels` or the selection refuses, or a number out of range.
        DataError: no picture can be read, or a class that the network does not know.
        WeightsError: a gate or a logit is not finite.
    """
    if batch < 1 or workers < 0:
        raise UsageError(f"batch must be at least 1 and workers at least 0, got {batch} and {workers}")
    pruning.check(model)
    unreadable: list[str] = []
    activity = observe(model, _pictures(calibration, preprocessing, batch, workers, progress, unreadable))
    calibrated_on = len(calibration) - len(unreadable)
    pruned = pruning.apply(model, activity)
    found = [
        evaluate(each, measured, preprocessing, logits, batch=batch, workers=workers, progress=progress)
        for each in (model, pruned)
    ]
    unreadable += [each.error for each in found[0].unreadable]
    size = preprocessing.size
    assert pruned.spec.se is not None
    left = paper_names(pruned, pruned.spec.stage_numbers).values()
    report = PruneReport(
        gates=tuple(GateFate(gate.name, gate.spread, gate.name not in left) for gate in activity),
        maps=_maps(model, pruned),
        se=pruned.spec.se,
        before=_figures(model, size, found[0]),
        after=_figures(pruned, size, found[1]),
        latency=measure_latency(model, pruned, (model.in_channels, size, size)),
        calibrated_on=calibrated_on,
        measured_on=found[0].count,
        unreadable=tuple(unreadable),
    )
    return pruned, report


def set_apart(data: Labelled, count: int, seed: int = 0) -> tuple[Labelled, Labelled]:
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


def _pictures(
    data: Labelled,
    preprocessing: Preprocessing,
    batch: int,
    workers: int,
    progress: Callable[[int], None],
    unreadable: list[str],
) -> Iterator[Tensor]:
    """Batches of those that can be read; why the others cannot is added to ``unreadable``."""
    for loaded in batches(data, preprocessing, batch, workers):
        pictures = [picture for _, picture in loaded if isinstance(picture, Tensor)]
        unreadable += [picture for _, picture in loaded if isinstance(picture, str)]
        if pictures:
            yield torch.stack(pictures)
        progress(len(loaded))


def _maps(model: ConvNet, pruned: ConvNet) -> tuple[MapFate, ...]:
    numbers = model.spec.stage_numbers
    names = [f"stage {number}" for number in (numbers[0] - 1, *numbers)]  # the stem is stage 1
    pairs = zip(names, widths_of(model.spec), widths_of(pruned.spec), strict=True)
    return tuple(MapFate(name, before, after) for name, before, after in pairs if name != "stage 0")


def _figures(model: ConvNet, size: int, found: Evaluation) -> Figures:
    own = gates(model).values()
    return Figures(
        gates=len(own),
        gate_parameters=sum(map(cost.parameters, own)),
        parameters=cost.parameters(model),
        multiply_adds=cost.multiply_adds(model, size),
        top1=found.top1,
        loss=found.loss,
    )
