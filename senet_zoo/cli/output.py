"""How commands print: tables, JSON, progress, and names that cannot break a line."""

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any, TextIO

from senet_zoo.support.terminal import visible, visible_lines


class VisibleStream:
    """Standard output without what a terminal obeys: whatever a command prints, lines and tabs are all it does there.

    Args:
        stream: where the text goes.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write it, escaped."""
        return self._stream.write(visible_lines(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def on_terminal() -> bool:
    """Whether a person reads standard output, and not a pipe."""
    return sys.stdout.isatty()


def print_json(value: object) -> None:
    """One JSON document; dataclasses become objects, enums their values."""
    print(json.dumps(value, indent=2, default=_plain, allow_nan=False))


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their widest cell, two spaces apart, under a line of heads."""
    lines = [[visible(cell) for cell in line] for line in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_problem(command: str, problem: object) -> None:
    """One line on standard error, such as of what a command had to leave out."""
    print(f"senet-zoo {command}: {visible_lines(str(problem))}", file=sys.stderr)


def print_problems(command: str, problems: Iterable[object]) -> None:
    """One line of each."""
    for problem in problems:
        print_problem(command, problem)


LONG = 60.0  # seconds of work that are announced


class TimeAhead:
    """Says once, when the second batch is done, how long the rest will take, if that is long.

    Args:
        total: number of pictures.
        what: of them all, such as ``10000 pictures, 144 crops each``.
        clock: gives seconds.
    """

    def __init__(self, total: int, what: str, clock: Callable[[], float] = time.perf_counter) -> None:
        self._total, self._what, self._clock = total, what, clock
        self._done = self._first = 0
        self._start: float | None = None

    def update(self, pictures: int) -> None:
        """Count a batch."""
        self._done += pictures
        if self._start is None:  # workers start with the first batch
            self._start, self._first = self._clock(), self._done
        elif self._first and self._done > self._first:
            left = (self._total - self._done) * (self._clock() - self._start) / (self._done - self._first)
            self._first = 0
            if left > LONG:
                print(f"{self._what}: about {_duration(left)} ahead", file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.0f} hours"


def progress_bar(total: int, *, hidden: bool = False) -> Any:
    """A bar of tqdm over pictures, shown on a terminal only."""
    from tqdm import tqdm

    return tqdm(total=total, unit=" pictures", disable=True if hidden else None, leave=False)


def percent(share: float) -> str:
    """A share of 1 as a percentage with one decimal, such as ``97.3%``."""
    return f"{share:.1%}"


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    return str(value)
