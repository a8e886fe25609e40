"""The bytes that were verified are the bytes that are used, and nothing vouches for them but what may be believed."""

import json
import os
import stat
from pathlib import Path

import pytest
import safetensors.torch
import torch

import senet_zoo
from senet_zoo.errors import SenetZooError, UsageError, WeightsCorrupted, WeightsNotFound, WeightsUnavailable
from senet_zoo.formats import safetensors as files
from senet_zoo.support import memory
from senet_zoo.weights import file_hashes, verify
from senet_zoo.weights.convert import convert
from senet_zoo.weights.download import locate
from senet_zoo.weights.rows import HubFile, ReleaseFile

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def altered(path: Path) -> None:
    """Other values under the same header, written in place."""
    content = bytearray(path.read_bytes())
    for place in (4_001, 20_001):
        content[-place] ^= 0x7F
    with path.open("r+b") as file:
        file.write(content)


@pytest.fixture
def file(tmp_path, cache) -> Path:
    path = tmp_path / "live.safetensors"
    path.write_bytes(senet_zoo.download("se_resnet20.cifar10").path.read_bytes())
    return path


@pytest.mark.parametrize("what_happens", [altered, lambda path: os.truncate(path, 100), Path.unlink])
def test_a_loaded_network_stays_as_it_is_whatever_happens_to_its_file(file, what_happens):
    for load in (
        lambda: senet_zoo.create_model("se_resnet20", weights=file),
        lambda: senet_zoo.load_checkpoint("se_resnet20", file),
    ):
        model = load()
        before = model(X)
        content = file.read_bytes()
        what_happens(file)
        assert torch.equal(model(X), before)
        file.write_bytes(content)


def test_tensors_are_mapped_on_request_with_the_same_values(file, monkeypatch):
    expected = senet_zoo.create_model("se_resnet20", weights=file)(X)
    header = files.check(file)
    monkeypatch.setenv("SENET_ZOO_MMAP", "1")
    assert torch.equal(senet_zoo.create_model("se_resnet20", weights=file)(X), expected)
    mapped = files.read(file, header)
    assert {tensor.data_ptr() - header.starts[name] for name, tensor in mapped.items() if tensor.numel()}.__len__() == 1
    monkeypatch.setenv("SENET_ZOO_MMAP", "yes")
    with pytest.raises(UsageError, match="SENET_ZOO_MMAP must be 0 or 1, got 'yes'"):
        files.read(file, header)


@pytest.mark.parametrize("mmap", ["0", "1"])
def test_every_dtype_and_shape_is_read_as_the_formats_own_library_reads_it(tmp_path, monkeypatch, mmap):
    monkeypatch.setenv("SENET_ZOO_MMAP", mmap)
    tensors = {
        "half": torch.randn(3).half(),  # six bytes: what follows does not begin at a multiple of eight
        "brain": torch.randn(5, 1).bfloat16(),
        "single": torch.randn(2, 3, 1, 1),
        "double": torch.randn(2).double(),
        "count": torch.tensor(7),
        "empty": torch.zeros(0, 4),
    }
    path = tmp_path / "all.safetensors"
    safetensors.torch.save_file(tensors, path)
    found = files.read(path, files.check(path))
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(found[name], tensor)


def test_a_link_that_is_turned_between_hash_and_reading_loads_nothing_wrong(file, tmp_path, monkeypatch):
    """A stranger turns a link to and fro at the worst moments: while the file is hashed, and while it is read."""
    link, bad = tmp_path / "dir" / "se_resnet20" / "cifar10" / "model.safetensors", tmp_path / "bad"
    link.parent.mkdir(parents=True)
    bad.write_bytes(file.read_bytes())
    altered(bad)
    monkeypatch.setenv("SENET_ZOO_WEIGHTS_DIR", str(tmp_path / "dir"))

    def turn(target: Path) -> None:
        link.unlink(missing_ok=True)
        link.symlink_to(target)

    right = senet_zoo.create_model("se_resnet20.cifar10", pretrained=True).state_dict()
    for name, module in (("digest", file_hashes), ("check", files), ("read", files)):
        real = getattr(module, name)
        for first, then in ((bad, file), (file, bad)):

            def between(*arguments, real=real, first=first, then=then):
                turn(then)
                try:
                    return real(*arguments)
                finally:
                    turn(first)

            file_hashes._stamped_here.clear()
            turn(first)
            with monkeypatch.context() as patch:
                patch.setattr(module, name, between)
                try:
                    loaded = senet_zoo.create_model("se_resnet20.cifar10", pretrained=True).state_dict()
                except SenetZooError:
                    continue
            assert all(torch.equal(loaded[key], tensor) for key, tensor in right.items()), (name, first.name)


def test_files_of_two_disks_are_two_files_even_if_their_inodes_agree(file):
    first = files.state_of(file.stat())
    other = files.state_of(os.stat_result((*file.stat()[:2], file.stat().st_dev + 1, *file.stat()[3:])))
    assert (first.inode, first.size) == (other.inode, other.size)
    assert first != other


def test_a_saved_folder_whose_tensors_were_altered_is_refused_at_every_door(tmp_path, cache):
    folder = tmp_path / "run"
    senet_zoo.save_pretrained(senet_zoo.create_model("se_resnet20", pretrained=True), folder)
    senet_zoo.from_pretrained(folder)
    altered(folder / "model.safetensors")
    for load in (
        lambda: senet_zoo.from_pretrained(folder),
        lambda: senet_zoo.create_model("se_resnet20", weights=folder, num_classes=3),
    ):
        with pytest.raises(
            WeightsCorrupted, match=r"sha256 of .*must be .*config\.json beside it says so; save or copy"
        ):
            load()


def in_folder(folder: Path, model: str, tag: str, content: bytes) -> Path:
    path = folder / model / tag / "model.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def folder(tmp_path, cache, monkeypatch) -> Path:
    place = tmp_path / "weights"
    place.mkdir()
    monkeypatch.setenv("SENET_ZOO_WEIGHTS_DIR", str(place))
    return place


UNPINNED = (
    HubFile("org/net", None, "model.safetensors", None, None, "native"),
    ReleaseFile("https://127.0.0.1:9/net-12345678.pth", "12345678", None, "native"),
)


@pytest.mark.parametrize("source", UNPINNED, ids=["hub", "release"])
def test_a_file_that_nothing_vouches_for_has_no_published_name(folder, row, content, source, monkeypatch, no_waiting):
    monkeypatch.setenv("SENET_ZOO_HUB", "http://127.0.0.1:9")
    path = in_folder(folder, "se_resnet20", "test", content)
    with pytest.raises(WeightsCorrupted, match=r"(?s)nothing names that of .*--to DIR makes such a kit.*weights="):
        locate(row(source))
    sums = folder / "SHA256SUMS"
    sums.write_text(f"{file_hashes.digest(path)}  se_resnet20/test/model.safetensors\n")
    assert locate(row(source)).path == path
    path.write_bytes(content[:-1] + b"\0")
    with pytest.raises(WeightsCorrupted, match=r"must be .*copy the file again"):
        locate(row(source))
    sums.write_text(f"{file_hashes.digest(path)}  se_resnet20/other/model.safetensors\n")
    with pytest.raises(WeightsCorrupted, match="nothing names that of"):
        locate(row(source))


def test_what_a_hub_once_said_of_a_file_vouches_for_its_copy(folder, hub, unpinned, content):
    located = locate(unpinned)
    path = in_folder(folder, "se_resnet20", "test", content)
    assert locate(unpinned).path == path
    path.write_bytes(content[:-1] + b"\0")
    assert locate(unpinned) == located  # the right file of the cache


def test_sums_do_not_outvote_the_manifest(folder, published, content, no_waiting, hub):
    path = in_folder(folder, "se_resnet20", "test", content[:-1] + b"\0")
    (folder / "SHA256SUMS").write_text(f"{file_hashes.digest(path)}  se_resnet20/test/model.safetensors\n")
    assert locate(published).path != path


def test_a_folder_that_is_not_there_is_named_and_nothing_else_is_loaded(tmp_path, cache, monkeypatch):
    (tmp_path / "plain").write_text("a file")
    for place in ("kti", "plain", "~nosuchuser7/kit"):
        monkeypatch.setenv("SENET_ZOO_WEIGHTS_DIR", place if place[0] == "~" else str(tmp_path / place))
        with pytest.raises(UsageError, match=place):
            senet_zoo.create_model("se_resnet20", pretrained=True)


@pytest.fixture
def hashed(monkeypatch) -> list:
    """Files that were hashed."""
    found, digest = [], file_hashes.digest
    monkeypatch.setattr(file_hashes, "digest", lambda file: found.append(file) or digest(file))
    return found


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("what", ["file", "folder", "cache", "world-writable file", "world-writable folder"])
def test_a_stamp_that_another_user_may_have_written_is_not_believed(published, hub, cache, hashed, what):
    locate(published)
    hashed.clear()
    (stamp,) = (cache / "verified").iterdir()
    place = {"file": stamp, "folder": stamp.parent, "cache": cache}.get(what.removeprefix("world-writable "))
    if what.startswith("world"):
        place.chmod(stat.S_IMODE(place.stat().st_mode) | stat.S_IWOTH)
    else:
        os.chown(place, 65534, 65534)
    file_hashes._stamped_here.clear()
    locate(published)
    assert len(hashed) == 1


def test_a_stamp_of_ones_own_for_another_hash_proves_nothing(published, hub, cache, content, hashed):
    """Whoever may rename files, but not write them, gives the stamp of one file the name of another's."""
    path = locate(published).path.resolve()
    (stamp,) = (cache / "verified").iterdir()
    bad = "0" * 64
    file_hashes._stamped_here.clear()
    stamp.rename(stamp.with_name(stamp.name.replace(published.sources[0].sha256, bad)))
    with pytest.raises(WeightsCorrupted, match=f"must be {bad}"):
        file_hashes.verify(path, bad, None)


def test_stamps_and_pins_are_believed_whatever_the_users_umask(unpinned, hub, cache, hashed):
    umask = os.umask(0)
    try:
        first = locate(unpinned)
    finally:
        os.umask(umask)
    for path in (cache, *(cache / name for name in ("pins", "verified"))):
        path.chmod(0o775)
    hashed.clear()
    hub.log.clear()
    file_hashes._stamped_here.clear()
    assert locate(unpinned) == first
    assert (hashed, hub.log) == ([], [])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_pin_of_another_user_is_asked_for_again(unpinned, hub, cache, content):
    locate(unpinned)
    (pin,) = (cache / "pins").iterdir()
    pin.write_text(json.dumps({**json.loads(pin.read_text()), "revision": "e" * 40}))
    os.chown(pin, 65534, 65534)
    assert locate(unpinned).revision == "c" * 40


@pytest.mark.parametrize("error", [RuntimeError("DefaultCPUAllocator: can't allocate memory: 12 bytes"), MemoryError()])
def test_too_little_memory_has_its_error_and_other_faults_stay_what_they_are(error):
    with (
        pytest.raises(WeightsUnavailable, match="too little memory for the tensors"),
        memory.enough_memory("the tensors"),
    ):
        raise error
    with pytest.raises(RuntimeError, match="a bug"), memory.enough_memory("the tensors"):
        raise RuntimeError("a bug")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes by name on this system")
def test_what_is_no_plain_file_is_refused_at_once(tmp_path, cache):
    os.mkfifo(tmp_path / "pipe.safetensors")
    for path, kind in ((tmp_path / "pipe.safetensors", "pipe"), (Path("/dev/zero"), "device")):
        with pytest.raises(WeightsUnavailable, match=kind):
            senet_zoo.create_model("se_resnet20", weights=path)


@pytest.mark.parametrize("name", ["~nosuchuser7/x", "x\0y", "n" * 5000, "x/" * 3000 + "y", "\udc80/\ud800"])
def test_a_name_that_no_file_can_have_has_a_typed_error(name, cache):
    for call in (
        lambda: senet_zoo.create_model("se_resnet20", weights=name),
        lambda: senet_zoo.from_pretrained(name),
    ):
        with pytest.raises((UsageError, WeightsNotFound, WeightsUnavailable)):
            call()


def test_without_a_home_the_error_says_what_to_set(monkeypatch, cache):
    for name in ("SENET_ZOO_CACHE", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def nobody(*_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    with pytest.raises(UsageError, match="set HOME, or SENET_ZOO_CACHE"):
        senet_zoo.create_model("se_resnet20", weights="hf://org/net")
    assert senet_zoo.create_model("se_resnet20", pretrained=True).weights.name == "se_resnet20.cifar10"


@pytest.mark.parametrize("read", ["load_checkpoint", "into a network", "convert", "convert a link"])
def test_a_saved_file_named_by_itself_is_the_one_that_its_config_speaks_of(tmp_path, cache, read):
    saved = tmp_path / "run"
    senet_zoo.save_pretrained(senet_zoo.create_model("se_resnet20", pretrained=True), saved)
    path = saved / "model.safetensors"
    if read == "convert a link":
        link = tmp_path / "linked"
        link.symlink_to(saved)
        path = link / "model.safetensors"
    reads = {
        "load_checkpoint": lambda: senet_zoo.load_checkpoint("se_resnet20", path),
        "into a network": lambda: senet_zoo.load_checkpoint(senet_zoo.create_model("se_resnet20"), path),
    }
    act = reads.get(read, lambda: convert(path, tmp_path / "out.safetensors"))
    act()
    altered(path)
    with pytest.raises(WeightsCorrupted, match=r"sha256 of .*must be .*config\.json beside it says so"):
        act()


def test_a_saved_folder_whose_name_is_not_utf_8_reads_back(tmp_path, cache):
    folder = tmp_path / os.fsdecode(b"caf\xe9 run")
    model = senet_zoo.create_model("se_resnet20", pretrained=True)
    try:
        senet_zoo.save_pretrained(model, folder)
    except SenetZooError:
        pytest.skip("this file system takes UTF-8 only")
    for load in (
        lambda: senet_zoo.from_pretrained(folder),
        lambda: senet_zoo.create_model("se_resnet20", weights=str(folder)),
        lambda: senet_zoo.load_checkpoint("se_resnet20", folder / "model.safetensors"),
    ):
        assert torch.equal(load()(X), model(X))
    assert senet_zoo.verify(folder).ok


def test_a_file_that_is_written_to_while_it_is_verified_is_no_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    senet_zoo.save_pretrained(senet_zoo.create_model("se_resnet20", pretrained=True), tmp_path / "run")
    file = tmp_path / "run" / "model.safetensors"
    hashed = verify.digest

    def swapped(path: Path) -> str:
        sha256 = hashed(path)
        file.write_bytes(file.read_bytes())
        return sha256

    monkeypatch.setattr(verify, "digest", swapped)
    assert not senet_zoo.verify(tmp_path / "run").ok
