"""Hints to Python's garbage collector and to the system's allocator."""

import ctypes
import gc
import linecache
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from senet_zoo.errors import WeightsUnavailable

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
KEPT = 1 << 30
"""Bytes of freed memory that the process keeps after `keep_freed_memory`."""


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection: the objects of a large network set off a full one, which takes 0.1 s beside torch."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def enough_memory(what: str) -> Iterator[None]:
    """Give it its typed error if the system has no memory for what the block takes.

    Raises:
        WeightsUnavailable: it has not; PyTorch says so by a plain RuntimeError.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as e:
        text = str(e)
        if isinstance(e, RuntimeError) and "allocate memory" not in text and "not enough memory" not in text:
            raise
        raise WeightsUnavailable(
            f"there is too little memory for {what}; close other programs, or load on a machine with more"
        ) from e


@contextmanager
def release_memory() -> Iterator[None]:
    """Release what rewriting a network by torch.fx needed: freed memory, which glibc would keep, and source texts.

    torch.fx keeps the source text of all code that it generates as long as the process lives, about 80 KB for each
    rewritten network. Without it tracebacks through that code show no lines.
    """
    before = set(linecache.cache)
    try:
        yield
    finally:
        _forget_generated_sources(before)
        gc.collect()  # graphs and their modules refer to each other
        trim = _glibc("malloc_trim")
        if trim:
            trim(0)


def keep_freed_memory() -> bool:
    """Let this process use the memory of freed maps again, up to 1 GiB. Returns whether that is possible.

    glibc maps every block of more than 32 MiB anew and unmaps it when it is freed. The system then clears fresh pages
    for each large map of a network, which takes a good part of a batch's time on a CPU. Call it once, at the start of a
    program. It changes nothing if the environment tunes glibc (``MALLOC_...``, ``GLIBC_TUNABLES``), or with another
    allocator.
    """
    tuned = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    mallopt = None if tuned else _glibc("mallopt")
    return bool(mallopt and mallopt(_MMAP_THRESHOLD, KEPT) and mallopt(_TRIM_THRESHOLD, KEPT))


def _forget_generated_sources(before: set[str]) -> None:
    from torch.fx import graph_module

    sources = getattr(getattr(graph_module, "_loader", None), "eval_cache", {})
    for name in [name for name in list(linecache.cache) if name.startswith("<eval_with_key>") and name not in before]:
        linecache.cache.pop(name, None)
        sources.pop(name, None)


def _glibc(name: str) -> Callable[..., int] | None:
    """A function of glibc's allocator; None with another C library."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
