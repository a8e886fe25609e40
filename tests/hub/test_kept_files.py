"""What lies in the cache stays right or is noticed, whoever else writes there, and whoever is killed there."""

import os
import re
import time
from pathlib import Path

import pytest
import torch

from senet_zoo.errors import WeightsCorrupted, WeightsUnavailable
from senet_zoo.formats import safetensors
from senet_zoo.support.files import atomic_file
from senet_zoo.weights import file_hashes
from senet_zoo.weights.download import locate


def spoilt(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def replace(path: Path, content: bytes) -> None:
    """Another process puts another file in the place of this one."""
    other = path.with_name("other")
    other.write_bytes(content)
    other.replace(os.path.realpath(path))


def test_an_alteration_under_the_old_times_is_noticed(hub, published, content):
    path = locate(published).path
    file_hashes._stamped_here.clear()  # as in a new process
    before = path.stat()
    with path.open("r+b") as file:
        file.write(spoilt(content))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert locate(published).path.read_bytes() == content


def test_a_file_replaced_while_it_is_hashed_is_neither_loaded_nor_stamped(hub, published, content, monkeypatch):
    digest = file_hashes.digest

    def slow(file) -> str:
        sha256 = digest(file)
        replace(Path(file.name), spoilt(content))
        return sha256

    with monkeypatch.context() as patch:
        patch.setattr(file_hashes, "digest", slow)
        with pytest.raises(WeightsCorrupted, match=r"changed after its sha256 was checked.*try again"):
            locate(published)
    assert locate(published).path.read_bytes() == content


def test_a_file_replaced_after_it_was_verified_is_not_read(hub, published, content, tensors):
    located = locate(published)
    assert torch.equal(safetensors.read(located.path, located.header)["classifier.bias"], tensors["classifier.bias"])
    replace(located.path, spoilt(content))
    with pytest.raises(WeightsCorrupted, match=r"changed between the check and the reading.*try again"):
        safetensors.read(located.path, located.header)


def test_a_file_removed_while_it_is_checked_has_its_error(hub, published, monkeypatch):
    def removed(file) -> str:
        Path(file.name).unlink()
        return Path(file.name).read_text()

    monkeypatch.setattr(file_hashes, "digest", removed)
    with pytest.raises(WeightsUnavailable, match="another process removed it: try again"):
        locate(published)


@pytest.mark.parametrize("kind", ["published", "unpinned"])
def test_a_bad_file_goes_even_if_it_cannot_be_fetched_again(hub, kind, request, cache):
    row = request.getfixturevalue(kind)
    hub.fault("cdn", flip=0.5, times=1)
    hub.fault("cdn", status=404)
    with pytest.raises(WeightsUnavailable):
        locate(row)
    assert not [path for path in cache.rglob("*") if "snapshots" in path.parts and not path.is_dir()]


@pytest.mark.parametrize("place", ["", "hub"])
def test_a_file_in_the_place_of_the_cache_is_no_fault_of_the_network(hub, published, cache, place):
    (cache / place).parent.mkdir(exist_ok=True)
    (cache / place).write_text("in the way")
    with pytest.raises(WeightsUnavailable, match=r"hub did not take the file.*Not a directory.*SENET_ZOO_CACHE"):
        locate(published)


def test_a_part_of_a_killed_process_goes_a_day_later_and_others_stay(tmp_path):
    dead, live = (tmp_path / f".model.safetensors.{digit * 32}.part" for digit in "01")
    foreign = tmp_path / "draft.part"
    for path in (dead, live, foreign):
        path.write_text("half")
    two_days_ago = time.time() - 2 * 86400
    for path in (dead, foreign):
        os.utime(path, (two_days_ago, two_days_ago))
    with atomic_file(tmp_path / "next") as file:
        (part,) = set(tmp_path.iterdir()) - {dead, live, foreign}
        assert re.fullmatch(r"\.next\.[0-9a-f]{32}\.part", part.name)  # as the names above
        file.write(b"whole")
    assert set(tmp_path.iterdir()) == {live, foreign, tmp_path / "next"}


def test_a_load_tidies_folders_of_the_cache_that_it_does_not_write_to(hub, published, cache):
    dead = cache / "pins" / f".pin.json.{'0' * 32}.part"
    dead.parent.mkdir(parents=True, exist_ok=True)
    dead.write_text("half")
    two_days_ago = time.time() - 2 * 86400
    os.utime(dead, (two_days_ago, two_days_ago))
    locate(published)
    assert not dead.exists()
