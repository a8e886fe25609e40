"""``senet-zoo list``: the models, or the weights, with what they cost and how well they do."""

import argparse
import csv
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from senet_zoo.cli.output import on_terminal, print_json, print_problem, print_table
from senet_zoo.cli.parser import near_misses
from senet_zoo.errors import UsageError

if TYPE_CHECKING:
    from senet_zoo.analysis.listing import ListedModel

SUMMARY = "print the models or the weights, and what they cost"
DESCRIPTION = """\
Print models, or weights, in natural order: names in a pipe, a table on a
terminal. PATTERN is a part of a name (SE-ResNet50), or shell wildcards in
quotes; names that timm uses count. No match is exit status 1.

--columns takes, with commas between: name, top1, dataset, parameters,
multiply_adds, file_size, picture, license, labels, speed, weights; in a pipe
their values are whole. top1 is the best accuracy that is known, in percent;
MACs are multiply-adds; ~ stands before the size of a file that nobody has said,
computed from the parameters in float32; picture and px are a side in pixels;
speed and pics/s are pictures a second, one at once, where senet-zoo benchmark
measured it on this machine. --json has every column."""
EXAMPLE = """\
senet-zoo list 'se_resnet*' --pretrained
  senet-zoo list --weights --sort top1
  senet-zoo list mobile --columns name,parameters,multiply_adds"""

# Of each column: its head, and a row's cell.
COLUMNS: Mapping[str, tuple[str, "Callable[[ListedModel], str]"]] = {
    "name": ("name", lambda row: row.name),
    "top1": ("top-1", lambda row: "-" if row.top1 is None else f"{row.top1:.2f}"),
    "dataset": ("on", lambda row: row.dataset or "-"),
    "parameters": ("params", lambda row: f"{_three_digits(row.parameters / 1e6)}M"),
    "multiply_adds": ("MACs", lambda row: f"{_three_digits(row.multiply_adds / 1e9)}G"),
    "file_size": ("file", lambda row: _file_size(row.file_size, row.float32_size)),
    "picture": ("px", lambda row: str(row.picture)),
    "license": ("licence", lambda row: row.license or ("not known" if row.weights else "-")),
    "labels": ("labels", lambda row: row.labels or "-"),
    "speed": ("pics/s", lambda row: "-" if row.speed is None else _three_digits(row.speed)),
    "weights": ("weights", lambda row: ", ".join(name.partition(".")[2] for name in row.weights) or "-"),
}
USUAL = ("name", "top1", "parameters", "multiply_adds", "file_size", "picture", "license")
RIGHT = frozenset(["top1", "parameters", "multiply_adds", "file_size", "picture", "speed"])  # aligned at their ends


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pattern", nargs="?", default="*", metavar="PATTERN", help="a part of a name, or wildcards; default: all"
    )
    parser.add_argument("--pretrained", action="store_true", help="only models with published weights")
    parser.add_argument("--weights", action="store_true", help="weights (model.tag) instead of models")
    parser.add_argument(
        "--dims",
        type=int,
        choices=(1, 2, 3),
        default=2,
        help="models over signals (1) or volumes (3); default: pictures",
    )
    parser.add_argument("--sort", metavar="COLUMN", help="best accuracy, fastest, otherwise the smallest first")
    parser.add_argument("--columns", metavar="NAME,...", help="those printed; in a pipe with tabs between")


def run(arguments: argparse.Namespace) -> int:
    from senet_zoo.analysis.listing import list_rows

    _columns(arguments, [])  # refused before the table is made
    rows = list_rows(
        arguments.pattern,
        pretrained=arguments.pretrained,
        weights=arguments.weights,
        sort=arguments.sort,
        dims=arguments.dims,
    )
    wanted = _columns(arguments, rows)
    if arguments.json:
        print_json([asdict(row) | {"multiply_adds": row.multiply_adds} for row in rows])
    elif arguments.columns is None and not on_terminal():
        print("".join(f"{row.name}\n" for row in rows), end="")
    elif rows and on_terminal():
        _print_table(rows, wanted)
    elif rows:
        writer = csv.writer(sys.stdout, delimiter="\t", lineterminator="\n")
        writer.writerows([_plain(getattr(row, column)) for column in wanted] for row in rows)
    if not rows:
        from senet_zoo import list_models, list_weights

        near = near_misses(arguments.pattern, list_weights() if arguments.weights else list_models())
        print_problem("list", f"no name matches {arguments.pattern!r}{near or '; the wildcards are * ?'}")
        return 1
    return 0


def _columns(arguments: argparse.Namespace, rows: "list[ListedModel]") -> list[str]:
    if arguments.columns is None:
        columns = list(USUAL) if arguments.weights else [*USUAL[:-1], "weights"]
        return columns if all(row.speed is None for row in rows) else [*columns[:-1], "speed", columns[-1]]
    columns = [column.strip() for column in arguments.columns.split(",")]
    for column in columns:
        if column not in COLUMNS:
            raise UsageError(
                f"no column is named {column!r}{near_misses(column, COLUMNS) or '; they are ' + ', '.join(COLUMNS)}"
            )
    return columns


def _print_table(rows: "list[ListedModel]", columns: list[str]) -> None:
    cells = []
    for column in columns:
        head, cell = COLUMNS[column]
        lines = [head, *map(cell, rows)]
        if column == "weights" and len(columns) > 1:  # of several tags the default, so that the table stays narrow
            lines = [_shortened(line) for line in lines]
        width = max(map(len, lines))
        cells.append([line.rjust(width) if column in RIGHT else line for line in lines])
    table = list(zip(*cells, strict=True))
    print_table(table[0], table[1:])


def _three_digits(value: float) -> str:
    return f"{value:.{0 if value >= 99.95 else 1 if value >= 9.995 else 2}f}"


def _file_size(size: int | None, float32: int | None) -> str:
    if size is None and float32 is None:
        return "-"
    megabytes = (size or float32 or 0) / 1e6
    return f"{'~' if size is None else ''}{megabytes:.{0 if megabytes >= 9.95 else 1}f}MB"


def _plain(value: object) -> object:
    return "-" if value is None else ",".join(value) if isinstance(value, tuple) else value


def _shortened(tags: str) -> str:
    first, *others = tags.split(", ")
    return f"{first} +{len(others)}" if others else first
