"""What a detector's run says while it runs: a bar on a terminal, plain lines elsewhere, always on standard error."""

import sys
import time
from typing import TextIO

LINE_EVERY = 30.0  # seconds between two lines where there is no bar


class Progress:
    """Steps done, loss and time left.

    Args:
        stream: where it is written; standard error by default.
        silent: write nothing, as all processes but the first of a run do.
    """

    def __init__(self, stream: TextIO | None = None, *, silent: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._silent = silent
        self._bar = None

    def say(self, line: str) -> None:
        """Print a line, above the bar where there is one."""
        if self._bar is not None:
            self._bar.write(line, file=self._stream)
        elif not self._silent:
            print(line, file=self._stream, flush=True)

    def begin(self, steps: int, done: int) -> None:
        """Start a run of so many steps, some of them done before an interruption."""
        self._steps, self._first = steps, done
        self._start = self._last = time.perf_counter()
        if not self._silent and self._stream.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=steps, initial=done, unit=" steps", file=self._stream, leave=False, dynamic_ncols=True
            )

    def advance(self, step: int, loss: float) -> None:
        """A step is done; ``loss`` is the mean since the last measurement."""
        now = time.perf_counter()
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
            self._bar.update(step - self._bar.n)
        elif now - self._last > LINE_EVERY:
            self._last = now
            left = (now - self._start) / (step - self._first) * (self._steps - step)
            self.say(f"step {step} of {self._steps}: loss {loss:.4f}, {left:.0f} s left")

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
