"""What a run has reached, epoch by epoch.

What a run says while it runs: a bar on a terminal, plain lines elsewhere, always on standard error.
"""

import csv
import io
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TextIO


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


LINE_EVERY = 30.0  # seconds between two lines within an epoch, where there is no bar


class Progress:
    """A bar with pictures a second, time left, loss and accuracy; in a pipe a line an epoch and one now and then.

    Args:
        stream: where it is written; standard error by default.
        silent: write nothing, as all processes but the first of a run do.
    """

    def __init__(self, stream: TextIO | None = None, *, silent: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._silent = silent
        self._bar = None
        self._last = 0.0

    def say(self, line: str) -> None:
        """Print a line, above the bar where there is one."""
        if self._bar is not None:
            self._bar.write(line, file=self._stream)
        elif not self._silent:
            print(line, file=self._stream, flush=True)

    def begin(self, epoch: int, epochs: int, pictures: int, done: int) -> None:
        """Start an epoch, counted from 1, of so many pictures, some of them done before an interruption."""
        self._epoch, self._epochs, self._pictures, self._seen = epoch, epochs, pictures, done
        self._start, self._done, self._last = time.perf_counter(), done, time.perf_counter()
        if not self._silent and self._stream.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=pictures,
                initial=done,
                desc=f"epoch {epoch}/{epochs}",
                unit=" pictures",
                file=self._stream,
                leave=False,
                dynamic_ncols=True,
            )

    def advance(self, pictures: int, loss: float, top1: float) -> None:
        """Count the pictures of a step; ``loss`` and ``top1`` (percent) are those of the epoch so far."""
        self._seen += pictures
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {loss:.3f}, top-1 {top1:.1f} %", refresh=False)
            self._bar.update(pictures)
        elif time.perf_counter() - self._last > LINE_EVERY:
            self._last = time.perf_counter()
            speed = (self._seen - self._done) / (self._last - self._start)
            left = (self._pictures - self._seen) / speed
            self.say(
                f"epoch {self._epoch}/{self._epochs}: {self._seen} of {self._pictures} pictures, {speed:.1f} a second, "
                f"{left:.0f} s left, loss {loss:.3f}, top-1 {top1:.1f} %"
            )

    def end(self, row: EpochRow) -> None:
        """Print an epoch's figures."""
        self.close()
        self.say(
            f"epoch {row.epoch}/{self._epochs}: loss {row.loss:.4f}, top-1 {row.top1:.2f} %, validation loss "
            f"{row.val_loss:.4f}, top-1 {row.val_top1:.2f} %, rate {row.rate:.3g}, {row.images_per_second:.1f} "
            f"pictures a second, {row.seconds:.1f} s"
        )

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
