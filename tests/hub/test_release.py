"""Release files: a torch file becomes safetensors once, after its hash was checked, and never runs code."""

import hashlib
import io
import os
import zipfile

import pytest
import safetensors.torch
import torch
from hub.places import leftovers

from senet_zoo.errors import WeightsCorrupted, WeightsMismatch, WeightsNotFound, WeightsUnavailable, WeightsUnsafe
from senet_zoo.formats import safetensors as tensor_files
from senet_zoo.weights import release
from senet_zoo.weights.download import locate
from senet_zoo.weights.rows import ReleaseFile


def saved(value: object, old: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=not old)
    return file.getvalue()


@pytest.fixture
def publish(hub, row):
    """Publish bytes as a release file; gives the row that names it."""

    def add(content: bytes, prefix: str | None = None):
        prefix = prefix or hashlib.sha256(content).hexdigest()[:8]
        name = f"net-{prefix}.pth"
        hub.files[name] = content
        return row(ReleaseFile(f"{hub.url}/files/{name}", prefix, None, "native"))

    return add


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before PyTorch 1.6"])
@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "wrapped"])
def test_a_release_is_fetched_once_and_kept_as_safetensors(hub, publish, tensors, cache, old, wrapped):
    row = publish(saved({"state_dict": tensors, "epoch": 3} if wrapped else tensors, old))
    located = locate(row)
    header = tensor_files.check(located.path)
    back = tensor_files.read(located.path, header)
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)
    assert header.metadata["source"] == row.sources[0].url
    assert leftovers(cache) == []
    hub.log.clear()
    assert locate(row) == located
    assert hub.log == []


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("net.pth", content)
    return file.getvalue()


@pytest.mark.parametrize("packed", [True, False], ids=["zip", "plain"])
def test_a_release_may_be_proven_by_the_sha1_of_its_torch_file(hub, row, tensors, cache, packed):
    content = saved(tensors)
    name = "net-1234.pth.zip" if packed else "net-1234.pth"
    hub.files[name] = zipped(content) if packed else content
    sha1 = hashlib.sha1(content).hexdigest()
    located = locate(row(ReleaseFile(f"{hub.url}/files/{name}", None, None, "native", sha1)))
    assert tensor_files.check(located.path).tensors.keys() == tensors.keys()
    assert leftovers(cache) == []


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (lambda content: zipped(content[:-1] + b"?"), "two downloads gave [0-9a-f]{40} and"),
        (lambda content: content, "sha1 of .* must be"),
        (lambda content: b"no archive", r"no archive of one file \(BadZipFile\)"),
    ],
    ids=["other bytes", "not packed", "no archive"],
)
def test_a_release_of_another_sha1_is_refused(hub, row, tensors, cache, content, found):
    right = saved(tensors)
    hub.files["net-1234.pth.zip"] = content(right)
    sha1 = hashlib.sha1(right).hexdigest()
    with pytest.raises(WeightsCorrupted, match=found):
        locate(row(ReleaseFile(f"{hub.url}/files/net-1234.pth.zip", None, None, "native", sha1)))
    assert leftovers(cache) == []


KINDS = {
    "data parallel": lambda tensors: saved({"state_dict": {f"module.{key}": value for key, value in tensors.items()}}),
    "inside a zip archive": lambda tensors: zipped(saved(tensors)),
    "safetensors": safetensors.torch.save,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_release_of_any_kind_that_convert_reads_is_kept_under_the_same_names(publish, tensors, cache, kind):
    located = locate(publish(KINDS[kind](tensors)))
    back = tensor_files.read(located.path, tensor_files.check(located.path))
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)
    assert leftovers(cache) == []


def test_a_release_without_tensors_is_named_by_its_address(publish, cache):
    row = publish(saved({"epoch": 3}))
    with pytest.raises(
        WeightsMismatch, match=r"/files/net-.*\.pth must hold tensors by name.*it holds \['epoch'\]"
    ) as e:
        locate(row)
    assert ".part" not in str(e.value)
    assert leftovers(cache) == []


def test_a_kept_file_that_was_altered_is_made_again(hub, publish, tensors):
    row = publish(saved(tensors))
    located = locate(row)
    good = located.path.read_bytes()
    located.path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert locate(row).path.read_bytes() == good


def test_a_release_with_another_hash_is_never_opened(hub, publish, cache, monkeypatch):
    row = publish(b"not what was published", prefix="00000000")
    monkeypatch.setattr(torch, "load", lambda *a, **k: pytest.fail("opened before its hash was checked"))
    with pytest.raises(WeightsCorrupted, match=r"(?s)must start with 00000000, but two downloads gave .*weights="):
        locate(row)
    assert sum("/files/" in path for _, path, _ in hub.log) == 2
    assert leftovers(cache) == []
    assert not list(cache.rglob("*.safetensors"))


def test_a_pickle_that_wants_to_run_code_runs_nothing(hub, publish, tmp_path, cache):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    row = publish(saved({"weight": Payload()}))
    with pytest.raises(WeightsUnsafe, match="must hold tensors only, but wants to run code"):
        locate(row)
    assert not (tmp_path / "ran").exists()
    assert leftovers(cache) == []


FAULTS = {
    "404": ({"status": 404}, WeightsNotFound, "has no such file .HTTP 404"),
    "503": ({"status": 503}, WeightsUnavailable, "failed .HTTP 503.; try again later"),
    "429": ({"status": 429}, WeightsUnavailable, "limits the rate"),
    "cut": ({"cut": 50}, WeightsUnavailable, "broke off"),
    "flip": ({"flip": 0.5}, WeightsCorrupted, "must start with"),
    "loop": ({"status": 302, "headers": {"Location": "/files/x"}}, WeightsUnavailable, "broke off .*redirect"),
}


@pytest.mark.parametrize(("what", "error", "message"), FAULTS.values(), ids=list(FAULTS))
def test_each_failure_has_its_error_and_leaves_nothing(hub, publish, tensors, cache, what, error, message):
    row = publish(saved(tensors))
    hub.fault("file", **what)
    with pytest.raises(error, match=f"(?s){message}"):
        locate(row)
    assert leftovers(cache) == []
    assert not list(cache.rglob("*.safetensors"))
    hub.faults.clear()
    assert locate(row).path.exists()


def test_a_connection_that_is_cut_once_is_made_again(hub, publish, tensors):
    row = publish(saved(tensors))
    hub.fault("file", cut=50, times=2)
    assert locate(row).path.exists()


def test_a_server_that_says_nothing_is_given_the_time_that_the_user_set(hub, publish, tensors, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.05)
    hub.fault("file", stall=0.5)
    with pytest.raises(WeightsUnavailable, match=r"did not answer in time.*HF_HUB_DOWNLOAD_TIMEOUT"):
        locate(publish(saved(tensors)))


def test_a_cache_that_cannot_be_made_has_its_error(hub, publish, tensors, cache):
    cache.write_text("in the way")
    with pytest.raises(WeightsUnavailable, match=r"releases did not take the file.*SENET_ZOO_CACHE"):
        locate(publish(saved(tensors)))


def test_a_disk_that_alters_what_is_kept_is_noticed(hub, publish, tensors, monkeypatch):
    write = tensor_files.write

    def alter(path, *rest):
        sha256 = write(path, *rest)
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        return sha256

    row = publish(saved(tensors))
    with monkeypatch.context() as patch:
        patch.setattr(tensor_files, "write", alter)
        with pytest.raises(WeightsCorrupted, match=r"the sha256 of .*safetensors must be"):
            locate(row)
    located = locate(row)
    assert torch.equal(tensor_files.read(located.path, located.header)["classifier.bias"], tensors["classifier.bias"])


def test_a_release_that_never_ends_is_stopped(hub, publish, tensors, cache, monkeypatch):
    monkeypatch.setattr(release, "MOST_BYTES", 100)
    with pytest.raises(WeightsCorrupted, match="must have 100 bytes at most"):
        locate(publish(saved(tensors)))
    assert leftovers(cache) == []


def test_a_dead_server_is_named(row, cache):
    with pytest.raises(WeightsUnavailable, match=r"(?s)http://127.0.0.1:9/files/a-12345678.pth cannot be reached"):
        locate(row(ReleaseFile("http://127.0.0.1:9/files/a-12345678.pth", "12345678", None, "native")))
