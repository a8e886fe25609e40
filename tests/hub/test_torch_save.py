"""Files of torch.save give what PyTorch's own reader gives, and never run, wait or fill the memory."""

import argparse
import collections
import datetime
import decimal
import functools
import io
import os
import pathlib
import pickle
import re
import time
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from senet_zoo.errors import SenetZooError, WeightsCorrupted, WeightsMismatch, WeightsUnsafe
from senet_zoo.formats import torch_save
from senet_zoo.formats.containers import read_container
from senet_zoo.formats.torch_pickle import StoredTensor
from senet_zoo.formats.torch_save import MOST_DIRECTORY_BYTES, read_torch

BASE = torch.arange(24, dtype=torch.float32)
TENSORS = {
    "whole": BASE.reshape(2, 3, 4),
    "a view of it": BASE.reshape(2, 3, 4)[1].t(),
    "its end": BASE[20:],
    "every second": BASE[::2],
    "expanded": torch.tensor(0.5).expand(3, 4),
    "scalar": torch.tensor(7),
    "empty": torch.zeros(0, 3),
    "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "parameter": nn.Parameter(torch.randn(3)),
    **{
        str(dtype): torch.ones(3).to(dtype)
        for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int8, torch.uint8)
    },
    "uint16": torch.ones(3, dtype=torch.uint16),
    "bool": torch.tensor([True, False]),
    "float8": torch.ones(2).to(torch.float8_e4m3fn),
}
FORMS = {"zip": True, "before PyTorch 1.6": False}


def save(path: Path, content: object, form: str = "zip") -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=FORMS[form])
    return path


@pytest.mark.parametrize("form", FORMS)
def test_tensors_are_those_that_pytorch_reads(form: str, tmp_path: Path) -> None:
    tensors = {name: value for name, value in TENSORS.items() if form == "zip" or name not in ("uint16", "float8")}
    path = save(tmp_path / "a.pth", collections.OrderedDict(tensors), form)
    with read_torch(path) as saved:
        assert isinstance(saved.content, dict)
        ours, theirs = saved.read(saved.content), torch.load(path, weights_only=True)
    assert [*ours] == [*theirs]
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype
        assert ours[name].stride() == value.stride() or not value.numel()
        assert torch.equal(ours[name].view(torch.uint8) if "float8" in name else ours[name].float(),
                           value.view(torch.uint8) if "float8" in name else value.float()), name  # fmt: skip
    assert ours["whole"].untyped_storage().data_ptr() == ours["its end"].untyped_storage().data_ptr()


class Config:
    """A user's own settings, a plain object."""

    def __init__(self) -> None:
        self.lr = 0.1


class Settings(dict):
    """A dictionary of a class of its own, as Lightning keeps hyperparameters."""


INERT = {
    "Namespace": argparse.Namespace(lr=0.1, data=pathlib.Path("/data")),
    "SimpleNamespace": types.SimpleNamespace(lr=0.1),
    "range": range(3),
    "pattern": re.compile("a+"),
    "NumPy scalar": np.float64(0.5),
    "NumPy array": np.arange(3),
    "NumPy generator": np.random.default_rng(0).bit_generator.state,
    "NumPy's state": np.random.RandomState(0),
    "path": pathlib.PurePosixPath("/data/run"),
    "defaultdict": collections.defaultdict(list, {"loss": [1.0]}),
    "Counter": collections.Counter("abc"),
    "deque": collections.deque([1.0], maxlen=20),
    "date": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    "interval": datetime.timedelta(seconds=3),
    "decimal": decimal.Decimal("0.1"),
    "set": {1, 2},
    "frozenset": frozenset({"a"}),
    "complex": 1j,
    "device": torch.device("cuda:0"),
    "dtype": torch.bfloat16,
    "size": torch.Size([1, 2]),
    "version": torch.__version__,
    "own class": Config(),
    "own dictionary": Settings(lr=0.1),
    "optimizer": torch.optim.Adam([nn.Parameter(torch.zeros(2))]).state_dict(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", INERT)
def test_data_beside_the_weights_is_passed_over(kind: str, form: str, tmp_path: Path) -> None:
    path = save(tmp_path / "last.pth.tar", {"extra": INERT[kind], "state_dict": {"w": torch.ones(2)}}, form)
    assert read_container(path).tensors["w"].tolist() == [1.0, 1.0]


def test_a_dictionary_of_a_class_of_its_own_gives_its_tensors(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", {"state_dict": Settings(w=torch.ones(2))})
    assert read_container(path).tensors["w"].tolist() == [1.0, 1.0]


class Runs:
    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[object, ...]:
        return self.call


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("function", "said"),
    [
        (os.system, r"(posix|nt)\.system"),
        (eval, r"(__builtin__|builtins)\.eval"),
        (getattr, r"(__builtin__|builtins)\.getattr"),
        (functools.partial, r"functools\.partial"),
        (pickle.loads, r"_?pickle\.loads"),
        (torch.hub.load, r"torch\.hub\.load"),
        (torch.load, r"torch\.serialization\.load"),
    ],
)
def test_code_is_not_run_and_named(function: object, said: str, form: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save(
        {"state_dict": {"w": torch.ones(2)}, "extra": [Runs(function, "x")]},
        path,
        _use_new_zipfile_serialization=FORMS[form],
    )
    with pytest.raises(WeightsUnsafe, match=rf"wants to run code; nothing of it was run\. It calls {said}\."):
        read_container(path)


def archive(path: Path, pickled: bytes, *records: tuple[str, bytes], packed: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", packed) as zipped:
        for name, content in (("data.pkl", pickled), ("version", b"3"), ("byteorder", b"little"), *records):
            zipped.writestr(f"a/{name}", content)
    return path


def test_a_name_cannot_move_the_terminals_cursor(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.pth", b"\x80\x04\x8c\x02os\x8c\x08\x1b[31mred\x93)R.")
    with pytest.raises(WeightsUnsafe, match=r"It calls os\.\?\[31mred\.") as caught:
        read_container(path)
    assert str(caught.value).isprintable()


def nested(depth: int) -> bytes:
    """A tuple of twice the same tuple, again and again; its hash takes 2**depth steps."""
    return b"K\x01q\x00" + b"".join(b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(depth))


BOMBS = {
    "a nested key": b"\x80\x02}" + nested(60) + b"K\x01s.",
    "a nested item of a set": b"\x80\x04\x8f(" + nested(60) + b"\x90.",
    "a nested frozen set": b"\x80\x04(" + nested(60) + b"\x91.",
    "a nested argument": b"\x80\x02c__builtin__\nset\n(" + nested(60) + b"e\x85R.",
    "pairs again and again": b"\x80\x02](" + b"h\x00h\x00\x86" * 2 + b"e.",
    "a length beyond the file": b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"abc",
    "a number of a million digits": b"\x80\x02\x8b" + (2**20).to_bytes(4, "little") + bytes(2**20) + b".",
    "many instructions": b"\x80\x02" + b"N" * 2_000_000,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_file_takes_no_time(bomb: str, tmp_path: Path) -> None:
    start = time.process_time()
    with pytest.raises(SenetZooError):
        read_container(archive(tmp_path / "a.pth", BOMBS[bomb]))
    assert time.process_time() - start < 5


def test_what_is_unpacked_counts(tmp_path: Path) -> None:
    save(tmp_path / "a.pth", {"w": torch.zeros(2**22)})
    with zipfile.ZipFile(tmp_path / "a.pth") as good:
        records = [(each.filename.partition("/")[2], good.read(each)) for each in good.infolist()]
    names = ("data.pkl", "version", "byteorder")
    content = dict(records)
    deflated = archive(
        tmp_path / "b.pth",
        content["data.pkl"],
        *[record for record in records if record[0] not in names],
        packed=zipfile.ZIP_DEFLATED,
    )
    assert deflated.stat().st_size < 2**17
    assert torch.load(deflated, weights_only=True)["w"].shape == (2**22,)  # PyTorch unpacks it
    with pytest.raises(WeightsUnsafe, match=r"never compresses, but a record .* would grow from"):
        read_container(deflated)
    with zipfile.ZipFile(tmp_path / "c.pth.zip", "w", zipfile.ZIP_DEFLATED) as outer:
        outer.write(tmp_path / "a.pth", "a.pth")
    with pytest.raises(WeightsUnsafe, match="would grow from"):
        read_container(tmp_path / "c.pth.zip")


def test_an_optimizers_state_is_never_read(tmp_path: Path) -> None:
    """Its storages are cut out of the file, and the weights load all the same."""
    weight = torch.ones(3)
    save(tmp_path / "a.pth", {"state_dict": {"w": weight}, "optimizer": {"state": {0: {"momentum": torch.ones(9)}}}})
    with zipfile.ZipFile(tmp_path / "a.pth") as whole, zipfile.ZipFile(tmp_path / "b.pth", "w") as cut:
        for each in whole.infolist():
            if not each.filename.endswith("data/1"):
                cut.writestr(each, whole.read(each))
    assert torch.equal(read_container(tmp_path / "b.pth").tensors["w"], weight)


def test_more_bytes_than_a_network_has_are_not_taken(tmp_path: Path) -> None:
    save(tmp_path / "a.pth", {"w": torch.zeros(1).expand(2**30)})
    with pytest.raises(WeightsUnsafe, match="bytes at most"):
        read_container(tmp_path / "a.pth")
    save(tmp_path / "b.pth", {"w": torch.zeros(4)})
    with zipfile.ZipFile(tmp_path / "b.pth", "a") as zipped:
        for index in range(MOST_DIRECTORY_BYTES // 60):
            zipped.writestr(f"archive/{index:020}", b"")
    with pytest.raises(WeightsUnsafe, match="list of records"):
        read_container(tmp_path / "b.pth")


def test_a_tensor_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    tensor = StoredTensor(None, torch.float32, (2,), (1,), 0)
    save(tmp_path / "a.pth", {"w": torch.arange(4.0)})
    with read_torch(tmp_path / "a.pth") as saved:
        assert isinstance(saved.content, dict)
        storage = saved.content["w"].storage
        for offset, shape, stride in ((3, (2,), (1,)), (0, (5,), (1,)), (0, (2, 2), (4, 1)), (0, (2,), (2**40,))):
            with pytest.raises(WeightsCorrupted, match="reaches beyond its 4 stored values"):
                saved.read({"w": StoredTensor(storage, tensor.dtype, shape, stride, offset)})


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("how", ["replaced", "written in place"])
def test_the_numbers_are_those_of_the_file_that_was_opened(form: str, how: str, tmp_path: Path) -> None:
    """Or none are used: what takes the file's name meanwhile is never read in its place."""
    path = save(tmp_path / "a.pth", {"w": torch.ones(5)}, form)
    other = save(tmp_path / "b.pth", {"w": torch.full((5,), 7.0)}, form)
    with pytest.raises(WeightsCorrupted, match="changed while it was read"), read_torch(path) as saved:  # noqa: PT012
        assert isinstance(saved.content, dict)
        if how == "replaced":
            other.replace(path)
            assert saved.read(saved.content)["w"].tolist() == [1.0] * 5
        else:
            path.write_bytes(other.read_bytes())


UNREADABLE = {
    "meta": (lambda: torch.zeros(2, device="meta"), "has no values: it was saved from the meta device"),
    "sparse": (lambda: torch.eye(2).to_sparse(), "is sparse"),
    "compressed": (lambda: torch.eye(2).to_sparse_csr(), "is sparse"),
    "conjugated": (lambda: torch.ones(2, dtype=torch.complex64).conj(), "class of its own"),
}


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_is_no_plain_tensor_is_said(kind: str, tmp_path: Path) -> None:
    make, said = UNREADABLE[kind]
    with pytest.raises(WeightsMismatch, match=f"but w of .* {said}"):
        read_container(save(tmp_path / "a.pth", {"w": make(), "v": torch.ones(1)}))


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_a_quantised_tensor_is_said(tmp_path: Path) -> None:
    quantised = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    with pytest.raises(WeightsMismatch, match=r"but w of .* is quantised"):
        read_container(save(tmp_path / "a.pth", {"w": quantised}))


@pytest.mark.parametrize("form", FORMS)
def test_a_whole_network_is_named_for_what_it_is(form: str, tmp_path: Path) -> None:
    for content in (nn.Linear(2, 2), {"model": nn.Linear(2, 2), "epoch": 3}):
        path = tmp_path / "a.pth"
        torch.save(content, path, _use_new_zipfile_serialization=FORMS[form])
        with pytest.raises(WeightsUnsafe, match=r"holds a whole torch\.nn\.modules\.linear\.Linear, .*state_dict"):
            read_container(path)


@pytest.mark.parametrize("form", FORMS)
def test_every_truncation_has_its_error(form: str, tmp_path: Path) -> None:
    whole = save(tmp_path / "a.pth", {"w": torch.arange(64.0), "b": torch.ones(3)}, form).read_bytes()
    for length in range(2, len(whole), 23):
        (tmp_path / "a.pth").write_bytes(whole[:length])
        with pytest.raises((WeightsCorrupted, WeightsMismatch), match=r"a\.pth"):
            read_container(tmp_path / "a.pth")


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_program_is_no_damaged_file(tmp_path: Path) -> None:
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(tmp_path / "net.pt")
    with pytest.raises(WeightsMismatch, match=r"TorchScript .* torch\.jit\.load .* state_dict"):
        read_container(tmp_path / "net.pt")
    exported = io.BytesIO()
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), exported)
    (tmp_path / "net.pt2").write_bytes(exported.getvalue())
    with pytest.raises(WeightsMismatch, match=r"torch\.export\.load"):
        read_container(tmp_path / "net.pt2")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_that_torch_writes_is_read(protocol: int, tmp_path: Path) -> None:
    content = {"state_dict": {"w": torch.ones(2)}, "args": argparse.Namespace(a={1}), "best": np.float32(0.5)}
    torch.save(content, tmp_path / "a.pth", pickle_protocol=protocol)
    assert read_container(tmp_path / "a.pth").tensors["w"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("most", [10**6, 500])  # bytes of a pickle that are looked at
@pytest.mark.parametrize("content", [{"w": torch.ones(2)}, {"model": {"w": np.ones(2**10)}}, {"epoch": 3}])
def test_a_plain_pickle_is_named_for_what_it_is(
    content: object, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_save, "MOST_PICKLE_BYTES", most)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(WeightsMismatch, match="is a plain pickle"):
        read_container(tmp_path / "a.pkl")


def test_arrays_are_named_for_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(WeightsMismatch, match=r"holds arrays of NumPy; save .*torch\.from_numpy"):
        read_container(save(tmp_path / "a.pth", {"w": np.ones(2, np.float32), "b": np.ones(3, np.float32)}))


def test_two_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.pth", {"net": {"a.w": torch.ones(1)}, "net.a": {"w": torch.zeros(1)}})
    with pytest.raises(WeightsMismatch, match=r"two tensors of the name net\.a\.w"):
        read_container(tmp_path / "a.pth")


def test_a_file_without_checksums_is_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        save(tmp_path / "a.pth", {"w": torch.arange(3.0)})
    finally:
        torch.serialization.set_crc32_options(True)
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        assert archive.testzip() is not None
    assert read_container(tmp_path / "a.pth").tensors["w"].tolist() == [0.0, 1.0, 2.0]
