"""An evaluation as files: the results of each class as CSV, and the confusion matrix as CSV or PNG."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from senet_zoo.errors import UsageError
from senet_zoo.evaluation.metrics import Evaluation
from senet_zoo.support.files import atomic_file
from senet_zoo.weights.foreign_files import MARK

if TYPE_CHECKING:
    from torch import Tensor

MOST_NAMED = 40  # classes whose names fit beside a matrix


def write_per_class(path: Path, evaluation: Evaluation) -> None:
    """Write a CSV with a row for each class; what is not known is empty.

    Raises:
        UsageError: the file cannot be written.
    """
    rows = ((each.name, each.count, each.top1, each.top5, each.loss) for each in evaluation.classes)
    _write(path, lambda file: file.write(_csv(("class", "pictures", "top1", "top5", "loss"), rows)))


def write_confusion(path: Path, evaluation: Evaluation) -> None:
    """Write the confusion matrix: its counts as ``.csv``, or the share of each count in its row as ``.png``.

    Raises:
        UsageError: the file cannot be written, or ends in neither; or matplotlib is missing for a ``.png``.
    """
    import torch

    names = tuple(each.name for each in evaluation.classes)
    write_counts(path, torch.tensor(evaluation.confusion), names, evaluation.columns)


def write_counts(
    path: Path, confusion: "Tensor", classes: Sequence[str], columns: Sequence[str], counted: str = "pictures"
) -> None:
    """Write a matrix of counts by true class (row) and said class (column), as `write_confusion`.

    Args:
        path: of a ``.csv`` or ``.png``.
        confusion: (classes, columns).
        classes: names of the rows.
        columns: names of the columns.
        counted: what is counted.

    Raises:
        UsageError: as `write_confusion`.
    """
    check_confusion(path)
    if path.suffix.lower() == ".png":
        _write(path, lambda file: plot_confusion(file, confusion, classes, columns, counted))
    else:
        rows = ((name, *counts) for name, counts in zip(classes, confusion.tolist(), strict=True))
        _write(path, lambda file: file.write(_csv(("class", *columns), rows)))


def check_confusion(path: Path) -> None:
    """Refuse, before any work is done, a file that `write_confusion` could not write.

    Raises:
        UsageError: it ends in neither ``.csv`` nor ``.png``, or matplotlib is missing for the latter.
    """
    if path.suffix.lower() not in (".csv", ".png"):
        raise UsageError(f"confusion is written as .csv or .png, got {str(path)!r}")
    if path.suffix.lower() == ".png":
        require_matplotlib(str(path), ", or write a .csv")


def require_matplotlib(what: str, way_out: str = "") -> None:
    """Refuse, before any work is done, a figure that could not be drawn.

    Raises:
        UsageError: matplotlib is missing.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"{what} is drawn by matplotlib, which is missing: pip install 'senet-zoo[train]'{way_out}"
        ) from error


def plot_confusion(
    file: Path | BinaryIO,
    confusion: "Tensor",
    classes: Sequence[str],
    columns: Sequence[str] | None = None,
    counted: str = "pictures",
) -> None:
    """Draw a confusion matrix: how many of each class's pictures (row) were predicted as each class (column).

    The colour is the share of the row. Where the names fit, so do the numbers, which are left out where they are 0.

    Args:
        file: the PNG to write.
        confusion: numbers of pictures, (classes, columns).
        classes: names of the rows.
        columns: names of the columns; by default those of the rows.
        counted: what is counted.
    """
    from matplotlib.figure import Figure

    named = len(classes) <= MOST_NAMED
    side = max(4.0, 0.34 * len(classes) + 2.0) if named else 12.0
    shares = confusion / confusion.sum(1, keepdim=True).clamp(min=1)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares.numpy(), cmap="Blues", vmin=0.0, vmax=1.0)
    figure.colorbar(image, ax=axes, shrink=0.8, label=f"share of the true label's {counted}")
    axes.set_xlabel("predicted label")
    axes.set_ylabel("true label")
    right, pictures = int(confusion.trace()), int(confusion.sum())
    if counted == "pictures" and (columns is None or tuple(columns) == tuple(classes)):
        axes.set_title(f"top-1 {100.0 * right / max(pictures, 1):.2f} % of {pictures:,} pictures")
    if named:
        for row, column in confusion.nonzero().tolist():
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{int(confusion[row, column])}", ha="center", va="center", color=colour, fontsize=7)
        columns = classes if columns is None else columns
        axes.set_xticks(range(len(columns)), [plot_label(name) for name in columns], rotation=90)
        axes.set_yticks(range(len(classes)), [plot_label(name) for name in classes])
    figure.savefig(file, dpi=110, metadata={"Software": MARK})


def _csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue().encode()


def _write(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    try:
        with atomic_file(path) as file:
            fill(file)
    except OSError as error:
        raise UsageError(f"{path} must be a file that can be written, and is not: {error}; name another") from error


def plot_label(name: str) -> str:
    """A class's name on one line of at most 24 characters, which matplotlib does not read as a formula."""
    text = " ".join(name.split()).replace("$", r"\$")
    return text if len(text) <= 24 else f"{text[:23]}\N{HORIZONTAL ELLIPSIS}"
