"""What a benchmark measured: values that print as a table, and the JSON files that `benchmarks/report.py` reads."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from senet_zoo.support.files import atomic_file
from senet_zoo.support.machine import format_machine
from senet_zoo.support.timing import Rounds, Spread


@dataclass(frozen=True)
class BenchmarkRow:
    """A candidate: one model, run in one way.

    Args:
        model: its name in its library.
        candidate: how it is run.
        rate: pictures a second.
        ratio: how many times as fast it is as the report's base.
        gate: its time over that of its plain twin, run in the same way; None without a gate or a twin.
        figures: other figures by name and unit, such as ``peak MiB``.
    """

    model: str
    candidate: str
    rate: Spread
    ratio: Spread
    gate: Spread | None
    figures: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        rounds: Rounds,
        key: str,
        *,
        names: tuple[str, str],
        base: str,
        plain: str | None,
        pictures: int,
        figures: Mapping[str, float] | None = None,
    ) -> "BenchmarkRow":
        """The row of a candidate that was timed.

        Args:
            rounds: result of `senet_zoo.support.timing.interleaved`.
            key: the candidate's name there.
            names: of the model, and of the way it is run.
            base: name of the candidate that the ratio is to.
            plain: name of the plain twin; None, or one that was not timed, if there is no gate's cost.
            pictures: pictures in each round.
            figures: other figures.
        """
        gate = rounds.ratio(key, plain) if plain in rounds.seconds and plain is not None else None
        return cls(*names, rounds.rate(key, pictures), rounds.ratio(base, key), gate, figures or {})


@dataclass(frozen=True)
class BenchmarkReport:
    """Candidates that were timed in turns, in one run.

    Args:
        title: what they did.
        machine: where, with versions and threads.
        base: the candidate that ratios are to.
        rounds: how many count, and how many were disturbed.
        rows: the candidates.
    """

    title: str
    machine: Mapping[str, str | int]
    base: str
    rounds: str
    rows: tuple[BenchmarkRow, ...]

    def table(self) -> list[list[str]]:
        """Cells; the first line is the head."""
        figures = list(dict.fromkeys(name for row in self.rows for name in row.figures))
        head = ["model", "candidate", "pictures a second", f"times as fast as {self.base}", "gate's cost", *figures]
        lines = [
            [
                row.model,
                row.candidate,
                format(row.rate, ".2f" if row.rate.median < 100 else ".0f"),
                format(row.ratio, ".2f"),
                format(row.gate, ".3f") if row.gate else "-",
                *(_short(row.figures[name]) if name in row.figures else "-" for name in figures),
            ]
            for row in self.rows
        ]
        return [head, *lines]

    def __str__(self) -> str:
        table = self.table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, cells, widths)).rstrip() for cells in table]
        return "\n".join([format_machine(self.machine), f"{self.title}, {self.rounds}", "", *lines])


def _short(value: float) -> str:
    """Three digits or more."""
    return f"{value:.{1 if value >= 10 else 2 if value >= 1 else 3}f}"


def to_document(command: str, reports: Sequence[BenchmarkReport]) -> dict[str, object]:
    """The JSON document of reports, with the command that made them and the date."""
    date = datetime.now(UTC).date().isoformat()
    return {"command": command, "date": date, "sheets": [dataclasses.asdict(report) for report in reports]}


def save(path: Path, command: str, reports: Sequence[BenchmarkReport]) -> None:
    """Write such a document.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_file(path) as file:
        file.write((json.dumps(to_document(command, reports), indent=1) + "\n").encode())


def from_document(document: Mapping[str, Any]) -> list[BenchmarkReport]:
    """The reports of such a document.

    Raises:
        KeyError, TypeError: it is not such a document.
    """

    def row(found: dict[str, Any]) -> BenchmarkRow:
        gate = found["gate"]
        spreads = {"rate": Spread(**found["rate"]), "ratio": Spread(**found["ratio"])}
        return BenchmarkRow(**found | spreads | {"gate": gate and Spread(**gate)})

    return [BenchmarkReport(**each | {"rows": tuple(map(row, each["rows"]))}) for each in document["sheets"]]
