"""A reader is given hostile bytes, and has a second of processor time and 64 MiB of memory to say what they are."""

import ctypes
import gc
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from senet_zoo.errors import SenetZooError

MOST_SECONDS, MOST_MEGABYTES = 1.0, 64
MOST_CHARACTERS = 2000  # of a message; a longer one repeats the file to somebody who cannot read it
PROCESS = Path("/proc/self")  # Linux

_libc = ctypes.CDLL(None)


def judge(read: Callable[[Path], object], content: bytes) -> None:
    """Fail unless ``read`` gives a value or a short, typed error within the limits."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        with _limits():
            message = _message(read, Path(file.name))
    assert len(message) <= MOST_CHARACTERS, f"{len(message)} characters: {message[:300]}"


def _message(read: Callable[[Path], object], path: Path) -> str:
    try:
        read(path)
    except SenetZooError as e:
        return str(e)
    return ""


class _TooLong(BaseException):
    """Not an Exception, lest a reader take it for a damaged file."""


@contextmanager
def _limits() -> Iterator[None]:
    """Memory is what the process holds at most, PyTorch's tensors included, which tracemalloc does not see."""
    _libc.malloc_trim(0)  # what the last example left would hide what this one takes
    (PROCESS / "clear_refs").write_text("5")  # sets the greatest size back to the present one
    before = _megabytes("VmRSS")
    gc.freeze()  # the garbage collections of a reader shall not walk through what the tests before it left
    signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    try:
        yield
    except _TooLong as e:
        raise AssertionError(f"not done after {MOST_SECONDS:g} s") from e
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        gc.unfreeze()
    used = _megabytes("VmHWM") - before
    assert used <= MOST_MEGABYTES, f"it took {used:.0f} MiB"


def _stop(*_: object) -> None:
    raise _TooLong


def _megabytes(field: str) -> float:
    """``VmRSS``, what is held now, or ``VmHWM``, the most since it was set back."""
    lines = (PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024
