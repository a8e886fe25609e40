"""What a run measures: accuracy and loss on the validation pictures, the rows of metrics.csv, and the curves."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from senet_zoo.data.labelled import Labelled
from senet_zoo.data.loader import load_batches
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.data.volumes import VolumePreprocessing
from senet_zoo.errors import DataError, UsageError
from senet_zoo.networks.network import ConvNet
from senet_zoo.support.files import atomic_file
from senet_zoo.training.batches import LAYOUTS, Share, resumable
from senet_zoo.weights.foreign_files import MARK

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from accelerate import Accelerator


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

    def __str__(self) -> str:
        return (
            f"loss {self.loss:.4f}, top-1 {self.top1:.2f} %, validation loss {self.val_loss:.4f}, "
            f"top-1 {self.val_top1:.2f} %, rate {self.rate:.3g}, {self.images_per_second:.1f} pictures a second, "
            f"{self.seconds:.1f} s"
        )


History = tuple[EpochRow, ...]


def best(history: Sequence[EpochRow]) -> EpochRow:
    """The epoch of the highest validation accuracy, and of the lowest loss among those; the first of equals."""
    return max(history, key=lambda row: (row.val_top1, -row.val_loss, -row.epoch))


def as_csv(rows: "Sequence[DataclassInstance]") -> str:
    """A line of names and a line for each of at least one row, every digit kept."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(rows[0]))
    writer.writerows(map(astuple, rows))
    return text.getvalue()


def plot_curves(file: Path, history: Sequence[EpochRow], kept: int) -> None:
    """Loss, accuracy and learning rate by epoch: a dotted line at the epoch that was kept, and a ring at the best."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = [row.epoch for row in history]
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    loss, top1, rate = figure.subplots(1, 3)
    loss.plot(epochs, [row.loss for row in history], marker=".", label="training")
    loss.plot(epochs, [row.val_loss for row in history], marker=".", label="validation")
    top1.plot(epochs, [row.top1 for row in history], marker=".", label="training")
    top1.plot(epochs, [row.val_top1 for row in history], marker=".", label="validation")
    top = best(history)
    top1.plot([top.epoch], [top.val_top1], "o", markersize=9, fillstyle="none", color="black", label="best")
    rate.plot(epochs, [row.rate for row in history], marker=".")
    for axes, title in ((loss, "loss"), (top1, "top-1 accuracy, %"), (rate, "learning rate")):
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.axvline(kept, color="grey", linewidth=0.8, linestyle=":")
        axes.grid(alpha=0.3)
    loss.legend()
    top1.legend()
    figure.savefig(file, dpi=110, metadata={"Software": MARK})


def write_table(path: Path, head: tuple[str, str], values: Mapping[str, float | None]) -> None:
    """A number for each class as CSV; empty where there is none.

    Raises:
        UsageError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows((name, "" if value is None else f"{value:.4f}") for name, value in values.items())
    try:
        with atomic_file(path.expanduser()) as file:
            file.write(text.getvalue().encode(errors="backslashreplace"))
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error


@dataclass(frozen=True)
class LossRow:
    """The mean loss of a stretch of a run, and the step at its end."""

    step: int
    loss: float


def plot_steps(
    file: Path,
    losses: Sequence[LossRow],
    measured: Sequence[int],
    curves: Mapping[str, Sequence[float]],
    rate: Callable[[int], float],
) -> None:
    """Loss, measurements in percent and learning rate by step.

    Args:
        file: a picture.
        losses: of the run.
        measured: steps after which was measured.
        curves: what was measured then, by name.
        rate: learning rate of a step, counted from 0.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    loss, scores, speed = figure.subplots(1, 3)
    steps = [row.step for row in losses]
    loss.plot(steps, [row.loss for row in losses])
    for name, values in curves.items():
        scores.plot(measured, values, marker="o", label=name)
    scores.set_ylim(0, 100)
    scores.legend()
    speed.plot(steps, [rate(step - 1) for step in steps])
    for axes, title in ((loss, "training loss"), (scores, "validation, %"), (speed, "learning rate")):
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.set_xlim(0, steps[-1] if steps else 1)
        axes.grid(alpha=0.3)
    figure.savefig(file, dpi=110, metadata={"Software": MARK})


@dataclass(frozen=True, eq=False)
class ValidationScores:
    """What a network scored.

    Args:
        loss: mean cross-entropy.
        confusion: pictures by true class (row) and first class (column), (classes, classes).
        unreadable: indices of pictures that were left out.
    """

    loss: float
    confusion: Tensor
    unreadable: frozenset[int]

    @property
    def count(self) -> int:
        """Number of pictures measured."""
        return int(self.confusion.sum())

    @property
    def top1(self) -> float:
        """Percentage of pictures whose first class is the right one."""
        return 100.0 * int(self.confusion.trace()) / self.count


@torch.no_grad()
def validate(
    network: ConvNet,
    data: Labelled,
    preprocessing: Preprocessing | VolumePreprocessing,
    share: Share,
    batch: int,
    workers: int,
    accelerator: "Accelerator",
) -> ValidationScores:
    """Run the network, in eval mode, over all processes' shares of the pictures.

    Raises:
        DataError: none of them can be read.
    """
    from accelerate.utils import broadcast, gather_object

    network.eval()
    broadcast(list(network.buffers()))  # the first process's statistics are those that are saved
    classes, layout = network.num_classes, LAYOUTS[network.spec.dimensions.count]
    device = accelerator.device
    confusion = torch.zeros(classes * classes, dtype=torch.long, device=device)
    loss = torch.zeros((), device=device)
    unreadable: list[int] = []
    mine = range(share.rank, len(data), share.ranks)
    for each in resumable(load_batches(data, preprocessing.transforms(), batch, workers, mine)):
        unreadable += [index for index, _ in each.unreadable]
        if not each.indices:
            continue
        images = torch.stack(each.tensors).to(device, memory_format=layout, non_blocking=True)
        labels = torch.tensor([data.labels[index] for index in each.indices], device=device)
        logits = network(images)
        loss += F.cross_entropy(logits, labels, reduction="sum")
        confusion += torch.bincount(labels * classes + logits.argmax(1), minlength=classes * classes)
    confusion, loss = accelerator.reduce(confusion), accelerator.reduce(loss)
    left_out = frozenset(gather_object(unreadable))
    if not confusion.sum():
        raise DataError(f"a validation picture must be readable, and none of {len(data)} is: check the data")
    return ValidationScores(float(loss) / int(confusion.sum()), confusion.view(classes, classes).cpu(), left_out)
