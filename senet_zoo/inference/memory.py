"""Memory that work has freed, and that the process still holds."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def given_back() -> Iterator[None]:
    """After the block the system gets back what was freed in it, where the allocator can be asked: glibc's keeps it."""
    try:
        yield
    finally:
        gc.collect()  # graphs and their modules hold each other
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
        if trim is not None:
            trim(0)
