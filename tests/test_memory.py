"""Memory: what is freed is used again, or given back."""

import gc
import os
import subprocess
import sys

import pytest

from senet_zoo.support.memory import uncollected

linux = pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is told, on Linux")

PAGES = """
import resource, torch
from senet_zoo.support.memory import keep_freed_memory
kept = keep_freed_memory()
def fresh():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(64, 256, 56, 56)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(kept, min([fresh() for _ in range(20)][10:]))  # the heap settles within a few maps
"""


def fresh_pages(**environment: str) -> tuple[str, int]:
    """Whether freed memory is kept in a process, and the fewest new pages that a later map of 196 MiB needs."""
    untuned = {key: value for key, value in os.environ.items() if "MALLOC" not in key and key != "GLIBC_TUNABLES"}
    done = subprocess.run(
        [sys.executable, "-c", PAGES], env=untuned | environment, capture_output=True, text=True, check=True
    )
    kept, pages = done.stdout.split()
    return kept, int(pages)


@linux
def test_large_maps_take_the_place_of_earlier_ones() -> None:
    kept, pages = fresh_pages()
    assert kept == "True"
    assert pages < 50


@linux
@pytest.mark.parametrize("tuning", ["MALLOC_MMAP_THRESHOLD_", pytest.param("GLIBC_TUNABLES", marks=pytest.mark.slow)])
def test_who_tunes_the_allocator_is_left_alone(tuning: str) -> None:
    kept, pages = fresh_pages(
        **{tuning: {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=1048576"}.get(tuning, "1048576")}
    )
    assert kept == "False"
    assert pages > 50


def test_collection_goes_on_as_it_was_before() -> None:
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
