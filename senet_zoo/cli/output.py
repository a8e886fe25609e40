"""How commands print: tables, JSON, progress, and names that cannot break a line."""

import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any


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


def print_problems(command: str, problems: Iterable[object]) -> None:
    """Name on standard error what a command had to leave out."""
    for problem in problems:
        print(f"senet-zoo {command}: {problem}", file=sys.stderr)


def progress_bar(total: int, *, hidden: bool = False) -> Any:
    """A bar of tqdm over pictures, shown on a terminal only."""
    from tqdm import tqdm

    return tqdm(total=total, unit=" pictures", disable=True if hidden else None, leave=False)


def visible(path: str) -> str:
    """A file's name as it is, or quoted with escapes if it has characters that cannot be shown."""
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
