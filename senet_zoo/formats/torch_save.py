"""Files of ``torch.save``, read without running anything in them: the zip of today and the form before PyTorch 1.6.

The numbers of a tensor are read once it is chosen: an optimizer's state, or a second copy of the weights, is never
loaded. All of it comes through one descriptor, so that what is read is of one file, whatever its name means by then.

``torch.load(weights_only=True)`` is not used, because what it leaves open must be settled before it is called, and that
takes nearly all of this reader. It unpacks a megabyte into a gigabyte, reads all storages of a file from before PyTorch
1.6, follows a key of nested tuples for as long as its depth says (28 levels, 437 bytes: 5 s, and twice that for one
more), keeps the last of two tensors of one name, and refuses a class that no list names, such as a user's own settings,
with advice to run the file.

Source: ``torch/serialization.py`` of https://github.com/pytorch/pytorch.
"""

import io
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, BinaryIO

import torch
from torch import Tensor

from senet_zoo.errors import WeightsCorrupted, WeightsMismatch, WeightsUnsafe
from senet_zoo.formats.pickles import NotReadable, TooLong
from senet_zoo.formats.torch_pickle import MOST_INSTRUCTIONS, NO_VALUES, Storage, StoredTensor, TorchMachine
from senet_zoo.support.files import FileState, open_file, state_of

MOST_BYTES = 2**31
MOST_PICKLE_BYTES = 2**26  # without the numbers of tensors, which lie elsewhere
MOST_DIRECTORY_BYTES = 2**23  # of a zip's list of records; one of SENet-154 with Adam's state has 0.4 MB
SUFFIXES = (".pth", ".pt", ".pkl", ".bin", ".tar", ".ckpt")

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


@dataclass(frozen=True)
class SavedFile:
    """What a file of ``torch.save`` holds.

    Args:
        content: containers, numbers and texts; `StoredTensor` and `Bystander` stand for tensors and the rest.
        path: of the file.
        storages: reads a storage's bytes by its key; None where there is none. The file must still be open.
    """

    content: object
    path: Path
    storages: Callable[[str], bytearray | None]

    def read(self, chosen: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
        """The tensors, on the CPU; those that share a storage share memory.

        Raises:
            WeightsMismatch: one is not a plain tensor.
            WeightsUnsafe: they have more bytes than any network.
            WeightsCorrupted: the file lacks some of their numbers.
        """
        if sum(prod(each.shape) * each.dtype.itemsize for each in chosen.values()) > MOST_BYTES:
            raise WeightsUnsafe(f"tensors may have {MOST_BYTES} bytes at most, those of {self.path} claim more")
        read: dict[str, Tensor] = {}
        flat: dict[tuple[str, torch.dtype], Tensor] = {}
        for name, each in chosen.items():
            if each.fault is not None or each.storage is None:
                fault = each.fault or NO_VALUES
                raise WeightsMismatch(
                    f"weights must be plain tensors of numbers, but {_shown(name)} of {self.path} {fault}"
                )
            key = (each.storage.key, each.dtype)
            if key not in flat:
                flat[key] = self._flat(each.storage, each.dtype)
            reach = each.offset + sum((side - 1) * step for side, step in zip(each.shape, each.stride, strict=True))
            if prod(each.shape) and reach >= flat[key].numel():
                raise WeightsCorrupted(
                    f"{_shown(name)} of {self.path} reaches beyond its {flat[key].numel()} stored values; fetch it "
                    f"again"
                )
            read[name] = (
                flat[key].as_strided(each.shape, each.stride, each.offset)
                if prod(each.shape)
                else torch.zeros(each.shape, dtype=each.dtype)
            )
        return read

    def _flat(self, storage: Storage, dtype: torch.dtype) -> Tensor:
        data = self.storages(storage.key)
        stored = (storage.dtype or torch.uint8).itemsize
        if data is None or len(data) < storage.count * stored:
            has = "none" if data is None else f"{len(data)} bytes"
            raise WeightsCorrupted(
                f"{self.path} must have {storage.count * stored} bytes for storage {storage.key[:20]!r}, but has "
                f"{has}; it is truncated, fetch it again"
            )
        whole = len(data) // dtype.itemsize
        return torch.frombuffer(data, dtype=dtype, count=whole) if whole else torch.zeros(0, dtype=dtype)


@contextmanager
def read_torch(path: Path) -> Iterator[SavedFile]:
    """What a file of ``torch.save`` holds, plain or the one such file in a zip archive; open as long as the block runs.

    Raises:
        WeightsUnavailable: the system does not let it be read.
        WeightsCorrupted: it is damaged, no file of ``torch.save``, or was written to meanwhile.
        WeightsUnsafe: it calls what only code needs, or is made to exhaust memory or time; nothing of it was run.
        WeightsMismatch: it is an archive of several files, or of a program.
    """
    with open_file(path, "a file of torch.save") as file:
        before = _state(file)
        try:
            saved = _read(file, path)
        except (zipfile.BadZipFile, NotImplementedError, EOFError, UnicodeDecodeError) as e:
            raise _damaged(path, str(e)) from e
        yield saved
        if _state(file) != before:
            raise WeightsCorrupted(f"{path} changed while it was read: another process wrote it; try again")


def _state(file: BinaryIO) -> FileState:
    return state_of(os.fstat(file.fileno()))


def _read(file: IO[bytes], path: Path) -> SavedFile:
    if not zipfile.is_zipfile(file):
        file.seek(0)
        return _read_old(file, path)
    with _opened(file, path) as archive:
        if _record(archive, "data.pkl") is not None or _is_program(archive):
            return _read_zip(archive, path, file)
        inner = io.BytesIO(_member(archive, path))
    if not zipfile.is_zipfile(inner):
        inner.seek(0)
        return _read_old(inner, path)
    with _opened(inner, path) as archive:
        return _read_zip(archive, path, inner)


def _opened(file: IO[bytes], path: Path) -> zipfile.ZipFile:
    """The archive, unless the list of its records alone would take seconds to read."""
    end = file.seek(0, io.SEEK_END)
    file.seek(max(0, end - 2**16 - 22))
    tail = file.read()
    start = tail.rfind(b"PK\5\6")
    if start >= 0 and int.from_bytes(tail[start + 12 : start + 16], "little") > MOST_DIRECTORY_BYTES:
        raise WeightsUnsafe(
            f"the list of records of {path} may have {MOST_DIRECTORY_BYTES} bytes at most, but has more"
        )
    return zipfile.ZipFile(file)


def _record(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo | None:
    """The record of that name in the archive's one folder, or outside of any."""
    found = (each for each in archive.infolist() if each.filename.rpartition("/")[2] == name)
    return next((each for each in found if each.filename.count("/") <= 1), None)


def _is_program(archive: zipfile.ZipFile) -> bool:
    names = archive.namelist()
    return any(name.partition("/")[2].startswith(("code/", "constants.pkl")) for name in names) or any(
        name.rpartition("/")[2] in ("archive_format", "model.json") for name in names
    )


def _member(archive: zipfile.ZipFile, path: Path) -> bytes:
    """The one file of tensors in an archive, as pytorchcv has it."""
    names = [each.filename for each in archive.infolist()]
    for kind, is_kind in (
        ("a Keras model", any(name.endswith("model.weights.h5") for name in names)),
        ("an archive of NumPy arrays (.npz)", bool(names) and all(name.endswith(".npy") for name in names)),
    ):
        if is_kind:
            raise WeightsMismatch(
                f"{path} is {kind}, which is not read; load it with its own library and save the tensors with "
                f"safetensors"
            )
    inside = [each for each in archive.infolist() if each.filename.lower().endswith(SUFFIXES)]
    if len(inside) != 1:
        raise WeightsMismatch(
            f"an archive must hold exactly one file of torch.save, but {path} holds {len(inside)}; unpack it and name "
            f"the file"
        )
    if inside[0].file_size > MOST_BYTES:
        raise WeightsUnsafe(
            f"a file may have {MOST_BYTES} bytes at most, but that in {path} claims {inside[0].file_size}; it is not "
            f"opened"
        )
    # What is unpacked is held in memory: a small file must not claim it all.
    if inside[0].file_size > 64 * inside[0].compress_size + 2**20:
        raise WeightsUnsafe(
            f"weights hardly shrink when they are packed, but {path} would grow from {inside[0].compress_size} to "
            f"{inside[0].file_size} bytes; it is not opened"
        )
    with archive.open(inside[0]) as member:
        return member.read(inside[0].file_size)


def _read_zip(archive: zipfile.ZipFile, path: Path, file: IO[bytes]) -> SavedFile:
    if _is_program(archive):
        raise WeightsMismatch(
            f"{path} is a TorchScript or torch.export archive, a program and not only its tensors. Where you trust it, "
            f"load it with torch.jit.load or torch.export.load and save its state_dict() with safetensors"
        )
    pickle = _record(archive, "data.pkl")
    assert pickle is not None, "asked before"
    folder = pickle.filename.removesuffix("data.pkl")
    order = _record(archive, "byteorder")
    records = {each.filename: each for each in archive.infolist()}
    packed = next((each for each in records.values() if each.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None:
        raise WeightsUnsafe(
            f"torch.save never compresses, but a record of {path} would grow from {packed.compress_size} to "
            f"{packed.file_size} bytes; it is not opened: fetch the file that its authors published"
        )
    if pickle.file_size > MOST_PICKLE_BYTES:
        raise WeightsUnsafe(f"the pickle of {path} claims {pickle.file_size} bytes; it is not opened")

    def raw(record: zipfile.ZipInfo) -> bytearray | None:
        file.seek(record.header_offset + 26)  # without its checksum, which torch.save may leave out
        extra = int.from_bytes(file.read(2), "little") + int.from_bytes(file.read(2), "little")
        file.seek(record.header_offset + 30 + extra)
        return _filled(file, record.file_size)

    content = _run(bytes(raw(pickle) or b""), path)
    if order is not None and order.file_size < 8 and bytes(raw(order) or b"") == b"big":
        raise WeightsCorrupted(f"{path} has big-endian numbers; save it again on a little-endian machine")

    def storage(key: str) -> bytearray | None:
        record = records.get(f"{folder}data/{key}")
        return None if record is None else raw(record)

    return SavedFile(content, path, storage)


def _filled(file: IO[bytes], size: int) -> bytearray | None:
    """The next ``size`` bytes, as long as the file has them."""
    here = file.tell()
    if size > file.seek(0, io.SEEK_END) - here:
        return None
    file.seek(here)
    data = bytearray(size)
    file.readinto(data)  # type: ignore[attr-defined]  # both kinds of file have it
    return data


def _read_old(file: IO[bytes], path: Path) -> SavedFile:
    """A file from before PyTorch 1.6: pickles one after another, then the storages."""
    # Of a copy: what a pickle claims to hold is not asked of memory before it is there.
    raw = file.read(MOST_PICKLE_BYTES)
    start = io.BytesIO(raw)
    goes_on = len(raw) == MOST_PICKLE_BYTES and raw.startswith(b"\x80")  # so that it would seem to be cut
    if (goes_on and _MAGIC.to_bytes(10, "little") not in raw[:64]) or _run(start, path) != _MAGIC:
        raise WeightsMismatch(
            f"{path} is a plain pickle, not a file of torch.save, and is not read; if PaddlePaddle wrote it, end its "
            "name in .pdparams, otherwise save its tensors with safetensors"
        )
    if _run(start, path) != _PROTOCOL:
        raise _damaged(path, "it is of another version")
    system = _run(start, path)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise WeightsCorrupted(f"{path} has big-endian numbers; save it again on a little-endian machine")
    machine = TorchMachine(path)
    content = _run(start, path, machine)
    keys = _run(start, path)
    file.seek(start.tell())
    places: dict[str, tuple[int, int]] = {}
    end = _size(file)
    for key in keys if isinstance(keys, list) else []:
        count = int.from_bytes(file.read(8), "little")
        storage = machine.storages.get(str(key))
        size = count * (storage.dtype or torch.uint8).itemsize if storage is not None else -1
        if not 0 <= size <= end - file.tell():
            raise _damaged(path, f"storage {str(key)[:20]!r} of {count} values does not fit into it")
        places[str(key)] = (file.tell(), size)
        file.seek(size, io.SEEK_CUR)

    def stored(key: str) -> bytearray | None:
        if key not in places:
            return None
        file.seek(places[key][0])
        return _filled(file, places[key][1])

    return SavedFile(content, path, stored)


def _size(file: IO[bytes]) -> int:
    here = file.tell()
    end = file.seek(0, io.SEEK_END)
    file.seek(here)
    return end


def _run(pickle: bytes | IO[bytes], path: Path, machine: TorchMachine | None = None) -> object:
    try:
        return (machine or TorchMachine(path)).run(pickle)
    except TooLong as e:
        raise WeightsUnsafe(
            f"a pickle may have {MOST_INSTRUCTIONS} instructions at most, {path} has more; save the network's "
            f"state_dict() alone"
        ) from e
    except (NotReadable, ValueError) as e:  # `pickletools` raises the latter
        raise _damaged(path, str(e)[:200]) from e


def _damaged(path: Path, why: str) -> WeightsCorrupted:
    return WeightsCorrupted(f"{path} must be a whole file of torch.save, but cannot be read: {why}; fetch it again")


def _shown(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name[:120])
