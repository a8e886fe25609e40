"""`prune`: from a network and labelled pictures to the network without some of its gates, measured before and after."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from senet_zoo.analysis import cost
from senet_zoo.analysis.excitation.pictures import batches
from senet_zoo.analysis.pruning.activity import observe
from senet_zoo.analysis.pruning.drop import fold_gates
from senet_zoo.analysis.pruning.latency import interleaved
from senet_zoo.analysis.pruning.report import Figures, GateFate, PruneReport
from senet_zoo.analysis.pruning.selection import Selection
from senet_zoo.errors import UsageError
from senet_zoo.layers import gates
from senet_zoo.network import ConvNet
from senet_zoo.preprocessing import Preprocessing
from senet_zoo.training.data import Labelled, subset
from senet_zoo.training.evaluation import Evaluation, Logits, evaluate


def prune(
    model: ConvNet,
    selection: Selection,
    calibration: Labelled,
    measured: Labelled,
    preprocessing: Preprocessing,
    logits: Logits,
    *,
    batch: int = 64,
    workers: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[ConvNet, PruneReport]:
    """Drop the gates that a selection chooses, and measure the network before and after.

    A picture that cannot be read is left out and named in the report.

    Args:
        model: in eval mode; it is left as it is.
        selection: which gates go.
        calibration: pictures whose mean gates take their place; their labels are not looked at.
        measured: other pictures, which both networks are measured on.
        preprocessing: that of the model's weights.
        logits: what the network tells apart.
        batch: pictures that the network sees at once.
        workers: processes that decode pictures; 0 decodes in this one.
        progress: told the number of pictures after each batch: those of ``calibration`` once, of ``measured`` twice.

    Returns:
        The pruned network, which `save_pretrained` writes, and the report.

    Raises:
        UsageError: what the selection or `drop_gates` refuses, or a number out of range.
        DataError: no picture can be read, or a class that the network does not know.
        WeightsError: a gate or a logit is not finite.
    """
    if batch < 1 or workers < 0:
        raise UsageError(f"batch must be at least 1 and workers at least 0, got {batch} and {workers}")
    unreadable: list[str] = []
    activity = observe(model, _pictures(calibration, preprocessing, batch, workers, progress, unreadable))
    calibrated_on = len(calibration) - len(unreadable)
    names = selection.names(activity)
    pruned = fold_gates(model, activity, names)
    found = [
        evaluate(each, measured, preprocessing, logits, batch=batch, workers=workers, progress=progress)
        for each in (model, pruned)
    ]
    unreadable += [each.error for each in found[0].unreadable]
    size = preprocessing.size
    assert pruned.spec.se is not None
    report = PruneReport(
        gates=tuple(GateFate(gate.name, gate.spread, gate.name in names) for gate in activity),
        se=pruned.spec.se,
        before=_figures(model, size, found[0]),
        after=_figures(pruned, size, found[1]),
        latency=interleaved(model, pruned, (model.in_channels, size, size)),
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
