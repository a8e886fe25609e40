"""What Python's collector and the system's allocator are told of work whose memory is known better here."""

import ctypes
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
KEPT = 1 << 30
"""Bytes of freed memory that `keep_freed_memory` leaves to the process."""


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection: a full one takes 0.1 s beside torch, and the objects of a large network set one off."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def given_back() -> Iterator[None]:
    """After the block the system gets back what was freed in it, where the allocator is glibc's, which keeps it."""
    try:
        yield
    finally:
        gc.collect()  # graphs and their modules hold each other
        trim = _glibc("malloc_trim")
        if trim:
            trim(0)


def keep_freed_memory() -> bool:
    """Let this process use the memory of freed maps again, up to `KEPT`; says whether that could be arranged.

    glibc maps every block of more than 32 MiB anew and unmaps it when it is freed: the system then clears fresh pages
    for each large map of a network, which takes a good part of a batch's time on a CPU. Where the environment tunes
    glibc (``MALLOC_...``, ``GLIBC_TUNABLES``), and with other allocators, nothing is changed.
    """
    tuned = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    mallopt = None if tuned else _glibc("mallopt")
    return bool(mallopt and mallopt(_MMAP_THRESHOLD, KEPT) and mallopt(_TRIM_THRESHOLD, KEPT))


def _glibc(name: str) -> Callable[..., int] | None:
    """A function of glibc's allocator; None where another C library is in its place."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
