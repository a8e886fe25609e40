"""Excitations as rows and as one document.

A folder of everything that was found: numbers, figures and a page, written aside and moved when all is there.
"""

import csv
import json
import math
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from senet_zoo.analysis.excitation.classes import ClassName
from senet_zoo.analysis.excitation.excite import Excitations
from senet_zoo.analysis.excitation.figure import Line, check_matplotlib, draw_classes, draw_spread, sampled, shown_gates
from senet_zoo.analysis.excitation.measures import in_words, measures, overview
from senet_zoo.analysis.excitation.page import write_page
from senet_zoo.errors import DataError, UsageError

ALL = "(all)"
"""Stands for a class where the figures are those over all pictures."""


def write_csv(file: Path, found: Excitations, names: Sequence[str], channels: int | None) -> None:
    """A row for each gate, class and channel: its mean and standard deviation over so many pictures.

    Args:
        file: the CSV; a class without picture has an empty mean and spread.
        found: what is written.
        names: of the classes.
        channels: evenly spaced ones of each gate, None for all.
    """
    with file.open("w", newline="", encoding="utf-8") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("gate", "class", "channel", "mean", "std", "count"))
        for gate in found.gates:
            chosen, moments = sampled(gate.channels, channels), gate.moments
            groups = [(ALL, moments.overall_mean, moments.overall_std, int(moments.count.sum()))]
            groups += zip(names, moments.mean, moments.std, moments.count.tolist(), strict=True)
            for name, mean, std, count in groups:
                picked = zip(chosen, _written(mean[list(chosen)]), _written(std[list(chosen)]), strict=True)
                writer.writerows((gate.name, name, channel, m, s, count) for channel, m, s in picked)


def summary(found: Excitations, names: Sequence[str]) -> dict[str, object]:
    """The measures of every gate as a document of plain values.

    Args:
        found: what is summed up.
        names: of the classes.
    """
    numbers = [measures(gate) for gate in found.gates]
    rows = [
        {
            "gate": gate.name,
            "channels": gate.channels,
            "range": [gate.span.low, gate.span.high if math.isfinite(gate.span.high) else None],
            **asdict(own),
            "in_words": in_words(gate, own),
        }
        for gate, own in zip(found.gates, numbers, strict=True)
    ]
    return {
        "pictures": sum(found.count),
        "classes": [{"name": name, "pictures": count} for name, count in zip(names, found.count, strict=True)],
        "in_words": overview(found.gates, numbers),
        "gates": rows,
        "unreadable": list(found.unreadable),
    }


def write_json(file: Path, document: dict[str, object]) -> None:
    """One document, indented."""
    file.write_text(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _written(values: Tensor) -> list[str]:
    return ["" if math.isnan(value) else f"{value:.6f}" for value in values.tolist()]


@dataclass(frozen=True, eq=False)
class Report:
    """What a report is made of.

    Args:
        network: name of the weights.
        data: what the user called it.
        found: what the gates said.
        names: of the data's classes.
        chosen: labels of the classes that are drawn.
        channels: evenly spaced ones of each gate, None for all.
    """

    network: str
    data: str
    found: Excitations
    names: Sequence[ClassName]
    chosen: Sequence[int]
    channels: int | None

    @property
    def document(self) -> dict[str, object]:
        """What ``summary.json`` holds."""
        return {"weights": self.network, "data": self.data, **summary(self.found, self.shown)}

    @property
    def lines(self) -> list[Line]:
        """The classes that are drawn.

        Raises:
            DataError: one of them has no picture.
        """
        absent = [self.names[label].shown for label in self.chosen if not self.found.count[label]]
        if absent:
            raise DataError(f"a class to draw needs a picture that can be read, and {', '.join(absent)} has none")
        return [Line(label, self.shown[label]) for label in self.chosen]

    @property
    def shown(self) -> list[str]:
        """A name for each class of the data that is no other's."""
        shown = [each.shown for each in self.names]  # ImageNet has two classes named crane
        return [f"{name} ({each.number})" if shown.count(name) > 1 else name
                for name, each in zip(shown, self.names, strict=True)]  # fmt: skip


def check_folder(folder: Path) -> None:
    """Refuse, before any work is done, a report that could not be written.

    Raises:
        UsageError: ``folder`` is a file, its parent cannot be written, or matplotlib is missing.
    """
    check_matplotlib()
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
    found, lines, channels = report.found, report.lines, report.channels
    panels = shown_gates([gate.name for gate in found.gates])
    with _scratch(folder) as part:
        write_csv(part / "excitations.csv", found, report.shown, channels)
        write_json(part / "summary.json", report.document)
        write_page(part / "index.html", f"{report.network} on {report.data}", found, panels, lines, channels)
        draw_classes([part / "classes.png", part / "classes.svg"], found, panels, lines, channels)
        draw_spread([part / "spread.png", part / "spread.svg"], found, panels, lines, channels)
        files = tuple(sorted(path.name for path in part.iterdir()))
        if folder.is_dir():
            for name in files:
                (part / name).replace(folder / name)
        else:
            part.rename(folder)
    return files


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
