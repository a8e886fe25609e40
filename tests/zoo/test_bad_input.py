"""Weights that are none of ours, or mean harm, at every door: one error with the way out, and nothing left over."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hub.conftest import cache, hub  # noqa: F401 (fixtures)
from hub.loopback import Loopback
from safetensors.torch import save
from torch import Tensor

import senet_zoo
from senet_zoo.errors import WeightsCorrupted, WeightsError, WeightsMismatch, WeightsUnsafe
from senet_zoo.tasks import push_to_hub
from senet_zoo.weights.convert import convert, load_checkpoint

NAME = "se_resnet20"
Tensors = dict[str, Tensor]


def spelt(header: bytes, body: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + body


def named_otherwise(good: Tensors) -> bytes:
    return save({name.replace(".", "/"): tensor for name, tensor in good.items()})


def half(good: Tensors) -> bytes:
    return save(dict(list(good.items())[: len(good) // 2]))


def twice_as_wide(good: Tensors) -> bytes:
    return save({name: torch.cat([tensor, tensor]) if tensor.ndim else tensor for name, tensor in good.items()})


def climbing(good: Tensors) -> bytes:
    return save({**good, "../../.ssh/authorized_keys": torch.zeros(1)})


def one_name_twice(good: Tensors) -> bytes:
    content = save(good)
    end = 8 + int.from_bytes(content[:8], "little")
    return spelt(content[8:end].rstrip()[:-1] + b',"a":{},"a":{}}', content[end:])


def half_a_million_empty(good: Tensors) -> bytes:
    entries = (b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % place for place in range(500_000))
    return spelt(b"{" + b",".join(entries) + b"}")


def ninety_megabytes(good: Tensors) -> bytes:
    return spelt(b"{" + b" " * 90_000_000 + b"}")


BAD: dict[str, tuple[Callable[[Tensors], bytes], type[WeightsError], str]] = {
    "wrong dialect": (
        named_otherwise,
        WeightsMismatch,
        "of one dialect.*does not know .*/.*Give a file whose names are",
    ),
    "half a checkpoint": (  # the names are looked at, or the sha256 that the folder's config has, whichever comes first
        half,
        WeightsError,
        "80 missing: .*build the network that they belong to|holds 82 tensors .*Name the network that they should be|"
        "must be [0-9a-f]{64}, but is ",
    ),
    "tensors of another width": (
        twice_as_wide,
        WeightsError,
        r"141 of another shape: .*\(32,\) instead of \(16,\)|holds 164 tensors .*Name the network that they should be|"
        "must be [0-9a-f]{64}, but is ",
    ),
    "a name that climbs": (climbing, WeightsMismatch, r"does not know \.\./\.\./\.ssh/authorized_keys"),
    "a name that stands twice": (one_name_twice, WeightsCorrupted, "every name once: the key 'a' .*fetch it again"),
    "500,000 empty tensors": (half_a_million_empty, WeightsUnsafe, "1048576 bytes at most.*from whoever made it"),
    "a header of 90 MB": (ninety_megabytes, WeightsUnsafe, "1048576 bytes at most.*claims 90000002.*not opened"),
}

DOORS: dict[str, Callable[[Path], object]] = {
    "create_model": lambda folder: senet_zoo.create_model(NAME, weights=folder / "model.safetensors"),
    "load_checkpoint": lambda folder: load_checkpoint(NAME, folder / "model.safetensors"),
    "convert": lambda folder: convert(folder / "model.safetensors", folder / "out.safetensors"),
    "from_pretrained": senet_zoo.from_pretrained,
    "push_to_hub": lambda folder: push_to_hub(folder, "org/net", token="hf_secret"),
}


def state(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def good() -> Tensors:
    return senet_zoo.create_model(NAME, pretrained=True).state_dict()


@pytest.mark.parametrize(("make", "error", "message"), BAD.values(), ids=list(BAD))
def test_bad_weights_have_one_error_and_leave_nothing(
    make: Callable[[Tensors], bytes],
    error: type[WeightsError],
    message: str,
    good: Tensors,
    hub: Loopback,  # noqa: F811
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"
    senet_zoo.save_pretrained(senet_zoo.create_model(NAME, pretrained=True), folder)
    (folder / "model.safetensors").write_bytes(make(good))
    before = state(tmp_path)
    for door, enter in DOORS.items():
        start = time.process_time()
        with pytest.raises(error, match=f"(?s){message}"):
            enter(folder)
        assert time.process_time() - start < 5, door
        assert state(tmp_path) == before, door
        assert (hub.log, hub.repos) == ([], {}), door


def test_a_pickle_of_too_many_tensors_is_not_used(tmp_path: Path) -> None:
    torch.save(dict.fromkeys(map(str, range(20_000)), torch.zeros(0)), tmp_path / "a.pth")
    with pytest.raises(WeightsUnsafe, match=r"5000 tensors at most, .*a\.pth has 20000.*state_dict\(\) alone"):
        convert(tmp_path / "a.pth", tmp_path / "out.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]
