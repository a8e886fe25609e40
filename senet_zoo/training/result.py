"""What `fit` returns: where the network lies, and how good it is."""

from dataclasses import dataclass
from pathlib import Path

from senet_zoo.training.metrics import History


@dataclass(frozen=True)
class TrainResult:
    """What came of a run.

    Args:
        folder: what `senet_zoo.from_pretrained` reads.
        model: name of the network.
        classes: in the order of the logits.
        history: every epoch.
        epoch: the one whose network was saved, counted from 1.
        best_epoch: the one of the highest validation accuracy.
        other: folder of the other network, ``best`` or ``last``, where the best epoch is not the last; else None.
        val_top1: percentage of the validation pictures that the saved network gets right.
        val_loss: its mean cross-entropy on them.
        val_pictures: their number.
        confusion: validation pictures by true class (row) and first class (column).
        unreadable: names of the pictures that were skipped.
        predict: the command that classifies pictures with it.
    """

    folder: Path
    model: str
    classes: tuple[str, ...]
    history: History
    epoch: int
    best_epoch: int
    other: Path | None
    val_top1: float
    val_loss: float
    val_pictures: int
    confusion: tuple[tuple[int, ...], ...]
    unreadable: tuple[str, ...]
    predict: str
