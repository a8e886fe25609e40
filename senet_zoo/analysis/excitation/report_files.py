"""The folder of a report: numbers, figures and a page, moved to its place when all of them are written."""

import csv
import json
import math
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from senet_zoo.analysis.excitation.figure import draw_classes, draw_spread
from senet_zoo.analysis.excitation.page import write_page
from senet_zoo.analysis.excitation.report import Report
from senet_zoo.errors import UsageError
from senet_zoo.evaluation.tables import require_matplotlib

ALL = "(all)"
"""Stands for a class where the figures are those over all pictures."""


def check_folder(folder: Path) -> None:
    """Refuse, before any work is done, a report that could not be written.

    Raises:
        UsageError: ``folder`` is a file, its parent cannot be written, or matplotlib is missing.
    """
    require_matplotlib("the paper's figure")
    with _scratch(folder):
        pass


def write_report(folder: Path, report: Report) -> tuple[str, ...]:
    """Write ``excitations.csv``, ``summary.json``, ``index.html``, and ``classes`` and ``spread`` as PNG and SVG.

    Args:
        folder: made if it is not there; files of these names in it are replaced, others stay.
        report: what is written.

    Returns:
        The names of the files.

    Raises:
        UsageError: the folder cannot be written.
        DataError: a class to draw has no picture.
    """
    with _scratch(folder) as part:
        _write_csv(part / "excitations.csv", report)
        document = json.dumps(report.document, indent=2, ensure_ascii=False, allow_nan=False)
        (part / "summary.json").write_text(document + "\n", encoding="utf-8")
        write_page(part / "index.html", report)
        draw_classes([part / "classes.png", part / "classes.svg"], report)
        draw_spread([part / "spread.png", part / "spread.svg"], report)
        files = tuple(sorted(path.name for path in part.iterdir()))
        if folder.is_dir():
            for name in files:
                (part / name).replace(folder / name)
        else:
            part.rename(folder)
    return files


def _write_csv(file: Path, report: Report) -> None:
    """A row for each gate, class and channel; a class without picture has an empty mean and std."""
    with file.open("w", newline="", encoding="utf-8") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("gate", "class", "channel", "mean", "std", "count"))
        for gate in report.found.gates:
            chosen, moments = report.channels_of(gate), gate.moments
            groups = [(ALL, moments.overall_mean, moments.overall_std, int(moments.count.sum()))]
            groups += zip(report.class_names, moments.mean, moments.std, moments.count.tolist(), strict=True)
            for name, mean, std, count in groups:
                columns = zip(chosen, _written(mean[chosen]), _written(std[chosen]), strict=True)
                writer.writerows((gate.name, name, channel, m, s, count) for channel, m, s in columns)


def _written(values: Tensor) -> list[str]:
    return ["" if math.isnan(value) else f"{value:.6f}" for value in values.tolist()]


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A hidden folder beside ``folder`` that does not outlive the block."""
    folder = folder.absolute()
    if folder.exists() and not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise UsageError(f"a report goes into a folder that can be written, and {folder} is none: name another (-o)")
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.part")
    try:
        part.mkdir(parents=True)
        yield part
    except OSError as error:
        raise UsageError(f"{folder} must be a folder that can be written, and is not: {error}; name another") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
