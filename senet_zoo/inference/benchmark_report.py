"""What a benchmark measured, as values that print as a table, and as files that `benchmarks/report.py` reads."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from senet_zoo.support.files import atomic_file
from senet_zoo.support.timing import Rounds, Spread


@dataclass(frozen=True)
class Row:
    """A candidate.

    Args:
        model: its name in its library.
        candidate: how it is run.
        rate: pictures a second.
        ratio: times that it is as fast as the candidate that the sheet is based on.
        gate: times that it takes as long as its plain twin, treated alike; None where there is no gate or no twin.
        figures: others by name and unit, such as ``peak MiB``.
    """

    model: str
    candidate: str
    rate: Spread
    ratio: Spread
    gate: Spread | None
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Sheet:
    """Candidates that were measured in turns, in one run.

    Args:
        title: what they did.
        machine: where, and with which versions and threads.
        base: the candidate that ratios are to.
        rounds: how many count, and how many were disturbed.
        rows: the candidates.
    """

    title: str
    machine: Mapping[str, str | int]
    base: str
    rounds: str
    rows: tuple[Row, ...]

    def table(self) -> list[list[str]]:
        """Cells, the line of heads first."""
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
        return "\n".join([words(self.machine), f"{self.title}, {self.rounds}", "", *lines])


def _short(value: float) -> str:
    """Three digits or more."""
    return f"{value:.{1 if value >= 10 else 2 if value >= 1 else 3}f}"


def row_of(
    rounds: Rounds,
    key: str,
    *,
    names: tuple[str, str],
    base: str,
    plain: str | None,
    pictures: int,
    figures: Mapping[str, float] | None = None,
) -> Row:
    """The row of a candidate of `interleaved`.

    Args:
        rounds: of `interleaved`.
        key: the candidate's there.
        names: of the model, and of how it is run.
        base: key of the candidate that the ratio is to.
        plain: key of the plain twin; None, or one that was not measured, for no gate's cost.
        pictures: in a turn.
        figures: others.
    """
    gate = rounds.ratio(key, plain) if plain in rounds.seconds and plain is not None else None
    return Row(*names, rounds.rate(key, pictures), rounds.ratio(base, key), gate, figures or {})


def words(machine: Mapping[str, str | int]) -> str:
    """The machine on one line."""
    return ", ".join(f"{name} {value}" for name, value in machine.items())


def document(command: str, sheets: Sequence[Sheet]) -> dict[str, object]:
    """What a file of results holds: sheets, the command that made them, and the date."""
    date = datetime.now(UTC).date().isoformat()
    return {"command": command, "date": date, "sheets": [dataclasses.asdict(sheet) for sheet in sheets]}


def save(path: Path, command: str, sheets: Sequence[Sheet]) -> None:
    """Write such a file.

    Raises:
        OSError: it cannot be written.
    """
    with atomic_file(path) as file:
        file.write((json.dumps(document(command, sheets), indent=1) + "\n").encode())


def sheets_in(document: Mapping[str, Any]) -> list[Sheet]:
    """The sheets of such a document.

    Raises:
        KeyError, TypeError: it is none.
    """

    def row(found: dict[str, Any]) -> Row:
        gate = found["gate"]
        spreads = {"rate": Spread(**found["rate"]), "ratio": Spread(**found["ratio"])}
        return Row(**found | spreads | {"gate": gate and Spread(**gate)})

    return [Sheet(**each | {"rows": tuple(map(row, each["rows"]))}) for each in document["sheets"]]
