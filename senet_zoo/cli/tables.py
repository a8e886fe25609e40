"""``senet-zoo tables``: the paper's tables beside our own figures."""

import argparse
import csv
import dataclasses
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from senet_zoo.cli.output import on_terminal, print_json, print_table
from senet_zoo.cli.parser import near_misses
from senet_zoo.errors import UsageError

if TYPE_CHECKING:
    from senet_zoo.analysis.tables import ComputedRow, ComputedTable, Error, LayerTable, MeasuredError

SUMMARY = "print the paper's tables beside our own figures"
DESCRIPTION = """\
Print tables of the paper: its errors, parameters and GFLOPs, ours computed from
the networks, and whether the two agree:

  ratio      squeeze    gate       stages     placement  noSqueeze
  imagenet   mobile     cifar      layers

Without a name it prints all of them; in CSV all but layers, which has other
columns. On a terminal columns that do not fit are left out, in a pipe it is
Markdown with all of them. Errors are percentages of pictures, top-1/top-5;
G are billions of operations. Nothing is downloaded."""
EXAMPLE = """\
senet-zoo tables ratio placement
  senet-zoo tables --format csv"""

MARKDOWN, CSV, JSON = "markdown", "csv", "json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="tables; default: all")
    parser.add_argument("--format", choices=(MARKDOWN, CSV, JSON), help="of the output; default: as described above")


def run(arguments: argparse.Namespace) -> int:
    from senet_zoo.analysis.tables import LAYERS, NAMES, ComputedTable, compute

    form = JSON if arguments.json else arguments.format
    if arguments.json and arguments.format not in (None, JSON):
        raise UsageError(f"--json and --format {arguments.format} contradict each other; drop one of them")
    for name in arguments.names:
        if name not in NAMES:
            raise UsageError(
                f"no table is named {name!r}{near_misses(name, NAMES) or '; they are ' + ', '.join(NAMES)}"
            )
    names = list(dict.fromkeys(arguments.names)) or [name for name in NAMES if form != CSV or name != LAYERS]
    if form == CSV and LAYERS in names and len(names) > 1:
        raise UsageError(f"{LAYERS} has other columns than the other tables; print it as CSV on its own")
    tables = [table for name in names for table in compute(name)]
    if form == JSON:
        print_json(tables)
    elif form == CSV:
        _print_csv(tables)
    else:
        plain = form is None and on_terminal()
        for number, table in enumerate(tables):
            if number:
                print()
            if isinstance(table, ComputedTable):
                _print_computed(table, plain=plain)
            else:
                _print_layers(table, plain=plain)
    return 0


@dataclass(frozen=True)
class _Column:
    """A column of a table of figures.

    Args:
        head: of the column.
        cell: of a row; an empty one stands for nothing to say.
        rank: columns of the highest rank are the first to go where a terminal is too narrow.
    """

    head: str
    cell: "Callable[[ComputedRow], str]"
    rank: int = 0


def _columns(table: "ComputedTable") -> list[_Column]:
    """Columns that have a cell in at least one row; our numbers are counted as the printed ones beside them."""
    sizes = {row.size for row in table.rows}
    gflops = any(row.printed_gflops for row in table.rows)
    learnt = _Column("M learnt", lambda row: _number(row.parameters, ".3f", 1e6), rank=3)
    whole = _Column("M with stats", lambda row: _number(row.parameters_and_statistics, ".3f", 1e6), rank=3)
    ours, other = (whole, learnt) if _counts_statistics(table) else (learnt, whole)
    products = _Column("G mult-adds", lambda row: _number(row.multiply_adds, ".4f", 1e9), rank=2 if gflops else 0)
    operations = _Column("G ours", lambda row: _number(row.operations, ".4f", 1e9))
    every = [
        _Column("network", lambda row: row.label),
        _Column("px", lambda row: str(row.size or "") if len(sizes) > 1 else ""),
        _Column("error", lambda row: _error(row.error)),
        _Column("original error", lambda row: _error(row.original), rank=4),
        _Column("weights' error", lambda row: _measured(row.measured), rank=1),
        _Column("M paper", lambda row: row.printed_parameters or ""),
        _Column("M ours", ours.cell),
        _Column("M diff.", lambda row: _number(row.parameters_difference, "+.3f"), rank=5),
        other,
        _Column("G paper", lambda row: row.printed_gflops or ""),
        *([operations] if gflops else []),
        _Column("G diff.", lambda row: _number(row.gflops_difference, "+.4f"), rank=5),
        products,
        _Column("agrees", lambda row: "" if row.agrees is None else "yes" if row.agrees else "no"),
    ]
    return [column for column in every if any(map(column.cell, table.rows))]


def _counts_statistics(table: "ComputedTable") -> bool:
    from senet_zoo.analysis.paper import Reading

    return table.reading is Reading.ROUNDED and any(row.printed_parameters for row in table.rows)


def _print_computed(table: "ComputedTable", *, plain: bool) -> None:
    columns, notes = _columns(table), _notes(table)
    if not plain:
        heads = [column.head for column in columns]
        _print_markdown(table, heads, [[_escaped(column.cell(row)) for column in columns] for row in table.rows])
        print("\n" + "\n\n".join(map(_escaped, notes)))
        return
    width = shutil.get_terminal_size().columns
    while _width(columns, table.rows) > width and max(column.rank for column in columns):
        columns.remove(max(columns, key=lambda column: column.rank))
    print(f"{_title(table)}\n")
    print_table([column.head for column in columns], _aligned(columns, table.rows))
    print()
    for note in notes:
        print(textwrap.fill(note, width, subsequent_indent="  ", break_on_hyphens=False))


def _notes(table: "ComputedTable") -> list[str]:
    """How the figures are to be read, and why some do not agree."""
    printed = [row for row in table.rows if row.printed_parameters]
    reading = f"; the paper's are {table.reading.value}, and ours are beside them" if printed else ""
    notes = [f"M: millions of parameters{reading}."]
    if any(row.printed_gflops for row in table.rows):
        notes.append("G: billions of multiply-adds; ours and one operation for each pooled or summed element.")
    reasons: dict[str, list[str]] = {}
    for row in table.rows:
        if row.reason:
            reasons.setdefault(row.reason, []).append(row.label)
    notes += [f"{', '.join(labels)}: {reason}." for reason, labels in reasons.items()]
    weights = [f"{row.label} {_measured(row.measured)} ({row.measured.weights})" for row in table.rows if row.measured]
    return [*notes, *([f"Errors of published weights: {', '.join(weights)}."] if weights else [])]


def _print_layers(table: "LayerTable", *, plain: bool) -> None:
    heads = ["output", *table.networks]
    if not plain:
        rows = [[row.output, *("<br>".join(lines) for lines in row.layers)] for row in table.rows]
        _print_markdown(table, heads, rows)
        return
    lines: list[Sequence[str]] = []
    for row in table.rows:
        height = max(map(len, row.layers))
        outputs = [row.output, *[""] * (height - 1)]
        cells = [[*cell, *[""] * (height - len(cell))] for cell in row.layers]
        lines += [*zip(outputs, *cells, strict=True), ("",) * len(heads)]
    print(f"{_title(table)}\n")
    print_table(heads, lines[:-1])


def _print_markdown(table: "ComputedTable | LayerTable", heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines = [list(heads), ["---"] * len(heads), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print(f"### {_title(table)}\n")
    for line in lines:
        fill = "-" if line[0] == "---" else " "
        print("|", " | ".join(cell.ljust(width, fill) for cell, width in zip(line, widths, strict=True)), "|")


def _print_csv(tables: "Sequence[ComputedTable | LayerTable]") -> None:
    from senet_zoo.analysis.tables import ComputedTable

    writer = csv.writer(sys.stdout, lineterminator="\n")
    for number, table in enumerate(tables):
        if not isinstance(table, ComputedTable):
            writer.writerow(["output", *table.networks])
            writer.writerows([row.output, *("; ".join(lines) for lines in row.layers)] for row in table.rows)
            continue
        cells = [{"table": table.name, "source": table.source, **_flat(row)} for row in table.rows]
        if not number:
            writer.writerow(cells[0])
        writer.writerows(row.values() for row in cells)


def _flat(row: "ComputedRow") -> dict[str, object]:
    """The fields of a row in their order, each error as two."""
    flat: dict[str, object] = {}
    for field in dataclasses.fields(row):
        value = getattr(row, field.name)
        if field.name in ("error", "original"):
            start = "" if field.name == "error" else "original_"
            flat |= {f"{start}top1": value and value.top1, f"{start}top5": value and value.top5}
        elif field.name == "measured":
            flat |= {
                "weights": value and value.weights,
                "weights_top1": value and value.top1,
                "weights_top5": value and value.top5,
                "weights_measured_by_us": value and value.by_us,
            }
        else:
            flat[field.name] = value
    return flat


def _aligned(columns: Sequence[_Column], rows: "Sequence[ComputedRow]") -> list[list[str]]:
    cells = [[column.cell(row) or "-" for column in columns] for row in rows]
    for index, column in enumerate(columns):
        if column.head.startswith(("M ", "G ", "px")):
            width = max(len(column.head), *(len(line[index]) for line in cells))
            for line in cells:
                line[index] = line[index].rjust(width)
    return cells


def _width(columns: Sequence[_Column], rows: "Sequence[ComputedRow]") -> int:
    lines = [[column.head for column in columns], *_aligned(columns, rows)]
    return sum(max(map(len, column)) + 2 for column in zip(*lines, strict=True)) - 2


def _title(table: "ComputedTable | LayerTable") -> str:
    return f"{table.name}, {table.source}: {table.title}"


def _error(error: "Error | None") -> str:
    return "" if error is None else "/".join(filter(None, (error.top1, error.top5)))


def _measured(measured: "MeasuredError | None") -> str:
    if measured is None:
        return ""
    return f"{measured.top1:.2f}" if measured.top5 is None else f"{measured.top1:.2f}/{measured.top5:.2f}"


def _number(value: float | None, form: str, unit: float = 1.0) -> str:
    return "" if value is None else format(value / unit, form)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("_", "\\_")
