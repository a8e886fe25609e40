"""Training curves and the confusion matrix as pictures, for people; the figures themselves are in metrics.csv."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from torch import Tensor

from senet_zoo.training.progress import EpochRow

MOST_NAMED = 40  # classes whose names fit beside a matrix


def plot_curves(file: Path, history: Sequence[EpochRow], kept: int) -> None:
    """Loss, accuracy and learning rate by epoch, with a line at the epoch that was kept."""
    from matplotlib.figure import Figure

    epochs = [row.epoch for row in history]
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    loss, top1, rate = figure.subplots(1, 3)
    loss.plot(epochs, [row.loss for row in history], marker=".", label="training")
    loss.plot(epochs, [row.val_loss for row in history], marker=".", label="validation")
    top1.plot(epochs, [row.top1 for row in history], marker=".", label="training")
    top1.plot(epochs, [row.val_top1 for row in history], marker=".", label="validation")
    rate.plot(epochs, [row.rate for row in history], marker=".")
    for axes, title in ((loss, "loss"), (top1, "top-1 accuracy, %"), (rate, "learning rate")):
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.axvline(kept, color="grey", linewidth=0.8, linestyle=":")
        axes.grid(alpha=0.3)
    loss.legend()
    figure.savefig(file, dpi=110, metadata={"Software": None})


def plot_confusion(
    file: Path | BinaryIO, confusion: Tensor, classes: Sequence[str], columns: Sequence[str] | None = None
) -> None:
    """Share of each class's pictures (row) that each class (column) was given.

    Args:
        file: a PNG.
        confusion: counts, (classes, columns).
        classes: names of the rows.
        columns: names of the columns; those of the rows by default.
    """
    from matplotlib.figure import Figure

    named = len(classes) <= MOST_NAMED
    side = max(4.0, 0.34 * len(classes) + 2.0) if named else 12.0
    shares = confusion / confusion.sum(1, keepdim=True).clamp(min=1)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares.numpy(), cmap="Blues", vmin=0.0, vmax=1.0)
    figure.colorbar(image, ax=axes, shrink=0.8)
    axes.set_xlabel("first class of the network")
    axes.set_ylabel("true class")
    if named:
        columns = classes if columns is None else columns
        axes.set_xticks(range(len(columns)), [_plain(name) for name in columns], rotation=90)
        axes.set_yticks(range(len(classes)), [_plain(name) for name in classes])
    figure.savefig(file, dpi=110, metadata={"Software": None})


def _plain(name: str) -> str:
    """A class's name on one short line, which matplotlib does not read as a formula."""
    text = " ".join(name.split()).replace("$", r"\$")
    return text if len(text) <= 24 else f"{text[:23]}\N{HORIZONTAL ELLIPSIS}"
