"""What a run says while it runs: a bar on a terminal, plain lines elsewhere, always on standard error."""

import sys
import time
from collections.abc import Mapping
from typing import TextIO

from senet_zoo.support.terminal import visible_lines

LINE_EVERY = 30.0  # seconds between two lines, where there is no bar


class Progress:
    """A bar with speed, time left, loss and accuracy; in a pipe a line a measurement, and one now and then.

    Args:
        stream: where it is written; standard error by default.
        silent: write nothing, as all processes of a run do except the first.
        first: a line that stands above all others; a run that fails before it says anything leaves it out.
    """

    def __init__(self, stream: TextIO | None = None, *, silent: bool = False, first: str | None = None) -> None:
        self._stream = stream or sys.stderr
        self._silent = silent
        self._first_line = first
        self._bar = None

    def say(self, line: str) -> None:
        """Print a line, above the bar where there is one."""
        self._begin_with_first_line()
        line = visible_lines(line)
        if self._bar is not None:
            self._bar.write(line, file=self._stream)
        elif not self._silent:
            print(line, file=self._stream, flush=True)

    def _begin_with_first_line(self) -> None:
        line, self._first_line = self._first_line, None
        if line is not None:
            self.say(line)

    def skip(self, known: dict[int, str], found: Mapping[int, str]) -> None:
        """Name each picture that cannot be read when it is first met, and add it, by its index, to ``known``."""
        for index in sorted(found.keys() - known.keys()):
            known[index] = found[index]
            self.say(f"skipped: {found[index]}")

    def begin(self, title: str, total: int, done: int, unit: str = "pictures") -> None:
        """Start a bar over ``total`` units, ``done`` of them before an interruption."""
        self._begin_with_first_line()
        self.close()
        self._title, self._total, self._unit = title, total, unit
        self._seen = self._first = done
        self._start = self._last = time.perf_counter()
        if not self._silent and self._stream.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total,
                initial=done,
                desc=title,
                unit=f" {unit}",
                file=self._stream,
                leave=False,
                dynamic_ncols=True,
            )

    def advance(self, count: int, loss: float, top1: float | None = None) -> None:
        """Count what a step did; ``loss`` and ``top1`` (percent) are means since the last measurement."""
        self._seen += count
        figures = f"loss {loss:.3f}" + ("" if top1 is None else f", top-1 {top1:.1f} %")
        if self._bar is not None:
            self._bar.set_postfix_str(figures, refresh=False)
            self._bar.update(count)
        elif time.perf_counter() - self._last > LINE_EVERY:
            self._last = time.perf_counter()
            speed = (self._seen - self._first) / (self._last - self._start)
            left = (self._total - self._seen) / speed
            self.say(
                f"{self._title}: {self._seen} of {self._total} {self._unit}, {speed:.1f} a second, {left:.0f} s left, "
                f"{figures}"
            )

    def end(self, row: object) -> None:
        """Remove the bar, and print what was measured."""
        self.close()
        self.say(f"{self._title}: {row}")

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
