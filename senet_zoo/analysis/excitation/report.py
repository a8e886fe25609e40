"""A folder of everything that was found: numbers, figures and a page, written aside and moved when all is there."""

import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from senet_zoo.analysis.excitation.classes import ClassName
from senet_zoo.analysis.excitation.excite import Excitations
from senet_zoo.analysis.excitation.figure import Line, check_matplotlib, draw_classes, draw_spread
from senet_zoo.analysis.excitation.page import write_page
from senet_zoo.analysis.excitation.panels import shown_gates
from senet_zoo.analysis.excitation.tables import summary, write_csv, write_json
from senet_zoo.errors import DataError, UsageError


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
