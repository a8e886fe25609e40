"""How commands print: tables, JSON, progress, and names that cannot break a line."""

import dataclasses
import json
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any, TextIO

from senet_zoo.support.terminal import visible, visible_lines


class Style(Enum):
    """How words stand out on a terminal."""

    HEAD = "1"  # bold
    GOOD = "32"  # green
    BAD = "31"  # red


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

    def write_styled(self, text: str, style: "Style") -> int:
        """Write it, escaped, between the codes of a style."""
        return self._stream.write(f"\x1b[{style.value}m{visible_lines(text)}\x1b[0m")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def on_terminal() -> bool:
    """Whether a person reads standard output, and not a pipe."""
    return sys.stdout.isatty()


def _in_colour(stream: "TextIO | VisibleStream") -> bool:
    """Whether words may be coloured: on a terminal that obeys, unless NO_COLOR says no (https://no-color.org)."""
    is_terminal: bool = stream.isatty()
    return is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def print_styled(text: str, style: Style | None) -> None:
    """A line, in a style where colours are wanted."""
    if style is not None and isinstance(sys.stdout, VisibleStream) and _in_colour(sys.stdout):
        sys.stdout.write_styled(text, style)
        print()
    else:
        print(text)


def print_folded(text: str, start: str = "", style: Style | None = None) -> None:
    """A line that begins with ``start``; where it is longer than a terminal, it goes on below, as far in as ``start``.

    A word that is longer than the terminal, such as an address, stays whole.
    """
    columns = shutil.get_terminal_size().columns
    if on_terminal() and len(start) + len(text) > columns:
        room = max(columns - len(start), LEAST_WIDTH)
        lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
        text = f"\n{' ' * len(start)}".join(lines)
    print_styled(f"{start}{text}".rstrip(), style)


def print_json(value: object) -> None:
    """One JSON document; dataclasses become objects, enums their values."""
    print(json.dumps(value, indent=2, default=_plain, allow_nan=False))


def print_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], style: Callable[[Sequence[str]], Style | None] = lambda _: None
) -> None:
    """Columns as wide as their widest cell, two spaces apart, under a line of heads; the last is folded on a terminal.

    Args:
        head: of the columns.
        rows: cells.
        style: of a row, by its cells.
    """
    lines = [[visible(cell) for cell in line] for line in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for number, line in enumerate(lines):
        start = "".join(f"{cell:{width}}  " for cell, width in zip(line[:-1], widths[:-1], strict=True))
        print_folded(line[-1], start, style(line) if number else Style.HEAD if any(line) else None)


def print_problem(command: str, problem: object) -> None:
    """One line on standard error, such as of what a command had to leave out."""
    print_error(f"senet-zoo {command}", str(problem))


def print_error(program: str, message: str) -> None:
    """One line on standard error behind the program's name, which is red where colours are wanted."""
    name = f"\x1b[{Style.BAD.value}m{program}:\x1b[0m" if _in_colour(sys.stderr) else f"{program}:"
    print(f"{name} {visible_lines(message)}", file=sys.stderr)


def print_problems(command: str, problems: Iterable[object]) -> None:
    """One line of each."""
    for problem in problems:
        print_problem(command, problem)


LEAST_WIDTH = 20  # of a column that is folded
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
