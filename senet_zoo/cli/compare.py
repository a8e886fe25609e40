"""``senet-zoo compare``: networks side by side."""

import argparse
import shutil
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from senet_zoo.cli.output import on_terminal, print_json, print_table
from senet_zoo.cli.parser import positive
from senet_zoo.errors import UsageError

if TYPE_CHECKING:
    from senet_zoo.analysis.info import Compared

SUMMARY = "print what networks cost, side by side"
DESCRIPTION = """\
Print what networks have and cost for one picture, side by side, with each
figure's ratio to the first network's, and the best top-1 accuracy that is known
of their weights. Nothing is downloaded.

With --recipes and no names, print what the gate gives in published weights of
one recipe: the top-1 accuracies of a gated network and of its plain twin, which
one publisher trained alike and somebody measured at the same size.

Multiply-adds are those of convolutions and fully connected layers. Memory is
that of all maps that layers write, in float32."""
EXAMPLE = """\
senet-zoo compare se_resnet50 resnet50 se_resnext50_32x4d
  senet-zoo compare --recipes"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="models or saved folders; the first is what the others are measured by"
    )
    parser.add_argument("--recipes", action="store_true", help="published pairs of one recipe, from the manifest")
    parser.add_argument("--size", type=positive, metavar="PIXELS", help="side of the picture; default: each one's own")


def run(arguments: argparse.Namespace) -> int:
    if arguments.recipes:
        return _recipes(arguments)
    if not arguments.names:
        raise UsageError("the following arguments are required: NAME, or --recipes")
    from senet_zoo.analysis.info import compare

    rows = compare(arguments.names, arguments.size)
    if arguments.json:
        print_json(rows)
        return 0
    columns = [_column(row, first=number == 0) for number, row in enumerate(rows)]
    for number, group in enumerate(_groups(columns)):
        if number:
            print()
        head, *lines = zip(_FACTS, *group, strict=True)
        print_table(head, lines)
    return 0


def _recipes(arguments: argparse.Namespace) -> int:
    from senet_zoo.analysis.recipes import recipe_pairs

    if arguments.names or arguments.size is not None:
        raise UsageError("--recipes prints all pairs of the manifest, and takes neither names nor --size; drop them")
    pairs = recipe_pairs()
    if arguments.json:
        print_json(pairs)
        return 0
    print_table(
        ("gated", "top-1", "plain", "top-1", "points", "px", "measured by"),
        [
            (
                pair.gated,
                f"{pair.gated_top1:.2f}",
                pair.plain,
                f"{pair.plain_top1:.2f}",
                f"{pair.difference:+.2f}",
                str(pair.size),
                f"{pair.who.partition(',')[0]}, {pair.dataset}",
            )
            for pair in pairs
        ],
    )
    return 0


_FACTS = (
    "",
    "picture",
    "parameters",
    "multiply-adds",
    "memory",
    "gates",
    "  parameters",
    "top-1",
    "  weights",
    "  pictures",
    "  measured by",
)


def _column(row: "Compared", *, first: bool) -> tuple[str, ...]:
    def with_ratio(figure: str, ratio: float) -> str:
        return figure if first else f"{figure} x{ratio:.3f}"

    accuracy = ("-", "-", "-", "-")
    if row.accuracy is not None:
        metric = row.accuracy.metric
        who = "us" if metric.measured_by_us else metric.who.partition(",")[0]
        weights = row.accuracy.weights
        tag = "its own" if weights == row.name else weights.partition(".")[2]
        accuracy = (f"{metric.value:.2f}%", tag, f"{metric.dataset}, {metric.size} px", who)
    return (
        row.name,
        f"{row.size}x{row.size}",
        with_ratio(f"{row.parameters:,}", row.parameters_ratio),
        with_ratio(f"{row.multiply_adds:,}", row.multiply_adds_ratio),
        with_ratio(f"{row.activation_memory / 2**20:.1f} MiB", row.activation_memory_ratio),
        f"{row.gates}" if row.gates else "-",
        f"{row.gate_parameters:,}" if row.gates else "-",
        *accuracy,
    )


def _groups(columns: Sequence[tuple[str, ...]]) -> Iterator[list[tuple[str, ...]]]:
    """Groups of columns that fit the terminal, each with at least one; a pipe gets all in one."""
    room = shutil.get_terminal_size().columns - max(map(len, _FACTS)) if on_terminal() else None
    group: list[tuple[str, ...]] = []
    left = room or 0
    for column in columns:
        left -= max(map(len, column)) + 2
        if group and room is not None and left < 0:
            yield group
            group, left = [], room - max(map(len, column)) - 2
        group.append(column)
    yield group
