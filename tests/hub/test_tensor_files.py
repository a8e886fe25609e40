"""Files given as weights that are none, are damaged, or mean harm; and files written the same way every time."""

import errno
import hashlib
import io
import json
import os
import pickle
import zipfile

import pytest
import safetensors.torch
import torch
from hub.places import leftovers

from senet_zoo.errors import WeightsCorrupted, WeightsNotFound, WeightsUnavailable, WeightsUnsafe
from senet_zoo.formats.safetensors import TensorInfo, check, read, write


def spelt(header: object, body: bytes = b"") -> bytes:
    """A safetensors file with a header of our choice."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def tensor(begin: int, end: int, dtype: str = "F32", shape: object = None) -> dict:
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


def saved(**options) -> bytes:
    file = io.BytesIO()
    torch.save({"weight": torch.zeros(3)}, file, **options)
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.pkl", "x")
    return file.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 461488402\n"
BAD = {
    "HTML page": (b"<!DOCTYPE html><html><body>Please log in", WeightsCorrupted, "is an HTML page, perhaps of a login"),
    "HTML after blanks": (b"\n\n <html><head>", WeightsCorrupted, "is an HTML page"),
    "git-lfs pointer": (LFS, WeightsCorrupted, "is a git-lfs pointer.*git lfs pull"),
    "torch file": (saved(), WeightsUnsafe, "is a pickle.*safetensors.torch.save_file"),
    "old torch file": (saved(_use_new_zipfile_serialization=False), WeightsUnsafe, "is a pickle"),
    "pickle": (pickle.dumps({"a": 1}), WeightsUnsafe, "is a pickle"),
    "zip": (zipped(), WeightsUnsafe, "is a pickle"),
    "empty file": (b"", WeightsCorrupted, "is empty; fetch it again"),
    "error in JSON": (b'{"error":"not found"}', WeightsCorrupted, r"starts with b'\{\"error\":\"no'"),
    "picture": (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, WeightsCorrupted, "starts with b'.x89PNG.*name the right file"),
    "header too large": (
        spelt(b"{" + b" " * 2**20),
        WeightsUnsafe,
        "1048576 bytes at most, but that of .* claims 1048577",
    ),
    "header beyond the file": (spelt({})[:8] + b"{", WeightsCorrupted, "is truncated: 9 bytes of at least 10"),
    "half of the tensors": (spelt({"a": tensor(0, 8)}, b"\0" * 4), WeightsCorrupted, "is truncated"),
    "bytes at the end": (spelt({"a": tensor(0, 8)}, b"\0" * 9), WeightsCorrupted, "has 1 bytes after its last tensor"),
    "hole": (spelt({"a": tensor(4, 8)}, b"\0" * 8), WeightsCorrupted, "starts at byte 4, not 0"),
    "overlap": (spelt({"a": tensor(0, 8), "b": tensor(4, 8)}, b"\0" * 8), WeightsCorrupted, "side by side"),
    "name twice": (spelt(b'{"a": {}, "a": {}}'), WeightsCorrupted, "'a' stands twice"),
    "header that is no JSON": (spelt(b"{nonsense}"), WeightsCorrupted, "must be JSON"),
    "header that is no text": (spelt(b'{"\xff": 1}'), WeightsCorrupted, "must be JSON"),
    "deep header": (spelt(b'{"a":' + b"[" * 200_000), WeightsCorrupted, "must be JSON"),
    "too many tensors": (
        spelt({f"t{i}": tensor(0, 0) for i in range(5001)}),
        WeightsUnsafe,
        "5000 tensors at most, .* names 5001",
    ),
    "unknown dtype": (spelt({"a": tensor(0, 8, "U8", [8])}, b"\0" * 8), WeightsCorrupted, "must be one of F64.*not U8"),
    "shape that does not fill": (
        spelt({"a": tensor(0, 8, shape=[3])}, b"\0" * 8),
        WeightsCorrupted,
        "does not fill bytes",
    ),
    "negative shape": (spelt({"a": tensor(0, 8, shape=[-1, -2])}, b"\0" * 8), WeightsCorrupted, "whole numbers"),
    "shape of texts": (spelt({"a": tensor(0, 8, shape=["2"])}, b"\0" * 8), WeightsCorrupted, "whole numbers"),
    "huge shape": (spelt({"a": tensor(0, 8, shape=[2**62, 4])}, b"\0" * 8), WeightsCorrupted, "whole numbers"),
    "backward offsets": (spelt({"a": tensor(8, 0, shape=[0])}, b"\0" * 8), WeightsCorrupted, "does not fill"),
    "field too many": (spelt({"a": {**tensor(0, 8), "x": 1}}, b"\0" * 8), WeightsCorrupted, "and nothing else"),
    "tensor that is a list": (spelt({"a": [1]}), WeightsCorrupted, "must have dtype, shape and data_offsets"),
    "metadata of numbers": (spelt({"__metadata__": {"a": 1}}), WeightsCorrupted, "metadata .* texts to texts"),
}


@pytest.mark.parametrize(("content", "error", "message"), BAD.values(), ids=list(BAD))
def test_a_bad_file_is_named_for_what_it_is(tmp_path, content, error, message):
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    with pytest.raises(error, match=f"(?s){message}") as caught:
        check(file)
    assert str(file) in str(caught.value)


def test_every_truncation_of_a_real_file_is_refused(tmp_path, content):
    file = tmp_path / "model.safetensors"
    for length in range(0, len(content), 7):
        file.write_bytes(content[:length])
        with pytest.raises(WeightsCorrupted):
            check(file)


def test_a_pickle_is_not_opened(tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    file = tmp_path / "model.safetensors"
    file.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(WeightsUnsafe):
        check(file)
    assert not (tmp_path / "ran").exists()


def test_missing_file_and_folder_are_named(tmp_path):
    with pytest.raises(WeightsNotFound, match=r"there is no .*/none.safetensors"):
        check(tmp_path / "none.safetensors")
    with pytest.raises(WeightsNotFound, match="is a folder; name the file inside"):
        check(tmp_path)


def test_a_size_other_than_published_is_refused(tmp_path, content):
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    check(file, size=len(content))
    with pytest.raises(WeightsCorrupted, match=f"must have {len(content) + 1} bytes, but has {len(content)}"):
        check(file, size=len(content) + 1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64])
def test_what_safetensors_writes_is_read(tmp_path, dtype):
    file = tmp_path / "model.safetensors"
    tensors = {"b": torch.ones(2, 3).to(dtype), "a": torch.tensor(4).to(dtype), "empty": torch.zeros(0, 2).to(dtype)}
    safetensors.torch.save_file(tensors, file, metadata={"model": "net"})
    header = check(file)
    assert header.shapes == {"a": (), "b": (2, 3), "empty": (0, 2)}
    assert header.metadata == {"model": "net"}
    back = read(file, header)
    assert all(torch.equal(back[name], tensors[name]) and back[name].dtype == dtype for name in tensors)
    assert list(read(file, header, ["a"])) == ["a"]


def test_a_file_that_changed_after_its_check_is_an_error(tmp_path, content):
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    header = check(file)
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsCorrupted, match="changed between the check and the reading"):
        read(file, header)


def test_writing_twice_gives_the_same_bytes_that_safetensors_reads(tmp_path, tensors):
    metadata = {f"key{i}": "ü" * i for i in range(9)}
    hashes = set()
    for order in (1, -1):
        file = tmp_path / "model.safetensors"
        write(file, dict(list(tensors.items())[::order]), dict(list(metadata.items())[::order]))
        hashes.add(hashlib.sha256(file.read_bytes()).hexdigest())
    assert len(hashes) == 1
    assert check(file).metadata == metadata
    assert check(file).tensors["classifier.bias"] == TensorInfo("F32", (10,))
    with safetensors.safe_open(file, "pt") as opened:
        assert opened.metadata() == metadata
        assert all(torch.equal(opened.get_tensor(name), tensors[name]) for name in tensors)


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path, tensors, monkeypatch):
    file = tmp_path / "model.safetensors"
    write(file, tensors, {})
    before = file.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WeightsUnavailable, match=r"the disk is full: \d+ bytes are free under"):
        write(file, tensors, {"new": "1"})
    assert file.read_bytes() == before
    assert leftovers(tmp_path) == []
