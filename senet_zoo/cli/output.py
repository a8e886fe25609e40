"""What all commands share when they print: tables for a terminal, JSON, and names that cannot break a line."""

import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from enum import Enum


def on_terminal() -> bool:
    """Whether a person reads standard output, and not a pipe."""
    return sys.stdout.isatty()


def print_json(value: object) -> None:
    """One JSON document; dataclasses become objects, enums their values."""
    print(json.dumps(value, indent=2, default=_plain, allow_nan=False))


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their widest cell, two spaces apart, under a line of heads."""
    lines = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def visible(path: str) -> str:
    """A file's name as it is, or quoted with escapes where it holds characters that cannot be shown."""
    return path if path.isprintable() else repr(path)


def percent(share: float) -> str:
    """A share of 1 as a percentage with one decimal, such as ``97.3%``."""
    return f"{share:.1%}"


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    return str(value)
