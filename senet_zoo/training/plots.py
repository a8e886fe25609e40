"""Training curves as a picture, for people; the figures themselves are in metrics.csv."""

from collections.abc import Sequence
from pathlib import Path

from senet_zoo.training.progress import EpochRow


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
