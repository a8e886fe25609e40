"""What a run has reached, epoch by epoch."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class EpochRow:
    """One epoch.

    Args:
        epoch: counted from 1.
        step: steps taken until its end, all epochs together.
        rate: learning rate of the classifier at its last step.
        loss: mean over its training pictures as they were augmented.
        top1: percentage of them whose first class was the right one, while the network was learning.
        val_loss: mean cross-entropy on the validation pictures, without smoothing or weights.
        val_top1: percentage of them whose first class is the right one.
        images_per_second: training pictures, all processes together.
        seconds: of the training, without the validation.
    """

    epoch: int
    step: int
    rate: float
    loss: float
    top1: float
    val_loss: float
    val_top1: float
    images_per_second: float
    seconds: float


History = tuple[EpochRow, ...]


def best(history: Sequence[EpochRow]) -> EpochRow:
    """The epoch of the highest validation accuracy, and of the lowest loss among those; the first of equals."""
    return max(history, key=lambda row: (row.val_top1, -row.val_loss, -row.epoch))


def as_csv(history: Sequence[EpochRow]) -> str:
    """A line of names and a line an epoch, every digit kept."""
    text = io.StringIO()
    names = [field.name for field in fields(EpochRow)]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([getattr(row, name) for name in names] for row in history)
    return text.getvalue()
