"""Files of ``torch.save``, read without running anything in them: the zip of today and the form before PyTorch 1.6.

`senet_zoo.formats.pickles` reads the pickle, and no part of PyTorch's own reader is used. What describes a tensor
becomes a `StoredTensor`, whose numbers are read once it is chosen: an optimizer's state, or a second copy of the
weights, is never loaded. Data that training scripts keep beside the weights, such as ``argparse.Namespace``, NumPy
scalars and paths, become `Bystander`s without content. A file that calls anything else is refused, and the name of what
it calls is said.

Source: ``torch/serialization.py`` and ``torch/_utils.py`` of https://github.com/pytorch/pytorch.
"""

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from senet_zoo.errors import WeightsCorrupted, WeightsMismatch, WeightsUnavailable, WeightsUnsafe
from senet_zoo.formats.pickles import Bystander, Name, NotReadable, PickleMachine, TooLong
from senet_zoo.formats.safetensors import MOST_DIMENSIONS, MOST_VALUES

MOST_BYTES = 2**31
MOST_INSTRUCTIONS = 2**19  # SENet-154 with its average and Adam's state has 140,000
MOST_DIRECTORY_BYTES = 2**23  # of a zip's list of records; one of SENet-154 with Adam's state has 0.4 MB
SUFFIXES = (".pth", ".pt", ".pkl", ".bin", ".tar", ".ckpt")

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_DTYPES = {
    **{f"torch {name}Storage": dtype for name, dtype in (
        ("Float", torch.float32), ("Double", torch.float64), ("Half", torch.float16), ("BFloat16", torch.bfloat16),
        ("Long", torch.int64), ("Int", torch.int32), ("Short", torch.int16), ("Char", torch.int8),
        ("Byte", torch.uint8), ("Bool", torch.bool), ("ComplexFloat", torch.complex64),
        ("ComplexDouble", torch.complex128),
    )},
    **{f"torch {name}": getattr(torch, name) for name in (
        "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "uint16", "uint32",
        "uint64", "bool", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2",
    )},
}  # fmt: skip
_UNTYPED = ("torch.storage UntypedStorage", "torch UntypedStorage")
_QUANTISED = "is quantised; give the network's float weights, from before it was quantised"
_SPARSE = "is sparse; save its to_dense()"
_META = "has no values: it was saved from the meta device; save the network once it is filled"
_SUBCLASS = "is of a class of its own, not a plain tensor; save plain ones"
_UNREADABLE = {
    "torch._utils _rebuild_qtensor": _QUANTISED,
    "torch._utils _rebuild_sparse_tensor": _SPARSE,
    "torch._utils _rebuild_sparse_csr_tensor": _SPARSE,
    "torch._utils _rebuild_meta_tensor_no_storage": _META,
    "torch._utils _rebuild_nested_tensor": "is nested; save plain tensors",
    "torch._utils _rebuild_wrapper_subclass": _SUBCLASS,
    "torch._utils _rebuild_device_tensor_from_numpy": "lies on a device of its own; save it with .cpu()",
    "torch._utils _rebuild_xla_tensor": "lies on a device of its own; save it with .cpu()",
    "torch.jit._pickle restore_type_tag": _SUBCLASS,
}
_INERT_MODULES = ("pathlib", "pathlib._local", "datetime", "decimal", "fractions", "uuid", "zoneinfo")
_INERT = {
    *(f"collections {name}" for name in ("defaultdict", "Counter", "deque")),
    *(f"{module} {name}" for module in ("__builtin__", "builtins") for name in (
        "set", "frozenset", "complex", "bytearray", "bytes", "slice", "range", "list", "tuple", "dict", "object",
    )),
    *(f"{module} {name}" for module in ("numpy.core.multiarray", "numpy._core.multiarray") for name in (
        "scalar", "_reconstruct",
    )),
    *(f"{module} _frombuffer" for module in ("numpy.core.numeric", "numpy._core.numeric")),
    *(f"numpy.random._pickle {name}" for name in (
        "__randomstate_ctor", "__generator_ctor", "__bit_generator_ctor",
    )),
    "numpy dtype", "numpy ndarray", "copy_reg _reconstructor", "copyreg _reconstructor",
    "torch device", "torch.serialization _get_layout", "torch Generator", "torch._C Generator",
}  # fmt: skip
"""What makes data and does nothing else; a value of it is passed over."""


@dataclass(frozen=True, eq=False)
class _Storage:
    key: str
    dtype: torch.dtype | None
    count: int


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor whose numbers still lie in the file.

    Args:
        storage: where; None where there are none.
        dtype: of its values.
        shape: of it.
        stride: steps in the storage from one index to the next.
        offset: of its first value in the storage.
        fault: why it cannot be used, as the end of a sentence; None where it can.
    """

    storage: _Storage | None
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    fault: str | None = None


@dataclass(frozen=True)
class SavedFile:
    """What a file of ``torch.save`` holds.

    Args:
        content: containers, numbers and texts; `StoredTensor` and `Bystander` stand for tensors and the rest.
        path: of the file.
        storages: reads a storage's bytes by its key; None where there is none.
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
                raise WeightsMismatch(
                    f"weights must be plain tensors of numbers, but {_shown(name)} of {self.path} {each.fault or _META}"
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

    def _flat(self, storage: _Storage, dtype: torch.dtype) -> Tensor:
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


def read_torch(path: Path) -> SavedFile:
    """What a file of ``torch.save`` holds, plain or the one such file in a zip archive.

    Raises:
        WeightsUnavailable: the system does not let it be read.
        WeightsCorrupted: it is damaged, or no file of ``torch.save``.
        WeightsUnsafe: it calls what only code needs, or is made to exhaust memory or time; nothing of it was run.
        WeightsMismatch: it is an archive of several files, or of a program.
    """
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                return _read_old(file, path)
        with path.open("rb") as file, _opened(file, path) as archive:
            if _record(archive, "data.pkl") is not None or _is_program(archive):
                return _read_zip(archive, path, lambda: path.open("rb"))
            inner = _member(archive, path)
        if zipfile.is_zipfile(io.BytesIO(inner)):
            with _opened(io.BytesIO(inner), path) as archive:
                return _read_zip(archive, path, lambda: io.BytesIO(inner))
        return _read_old(io.BytesIO(inner), path)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, UnicodeDecodeError) as e:
        raise _damaged(path, str(e)) from e
    except OSError as e:
        raise WeightsUnavailable(f"{path} cannot be read: {e}; check the file's permissions and its disk") from e


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


def _read_zip(archive: zipfile.ZipFile, path: Path, reopen: Callable[[], IO[bytes]]) -> SavedFile:
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
    if pickle.file_size > MOST_BYTES // 32:
        raise WeightsUnsafe(f"the pickle of {path} claims {pickle.file_size} bytes; it is not opened")
    content = _run(archive.read(pickle), path)
    if order is not None and order.file_size < 8 and archive.read(order) == b"big":
        raise WeightsCorrupted(f"{path} has big-endian numbers; save it again on a little-endian machine")

    def storage(key: str) -> bytearray | None:
        record = records.get(f"{folder}data/{key}")
        if record is None:
            return None
        with reopen() as file:  # without its checksum, which torch.save may leave out
            file.seek(record.header_offset + 26)
            extra = int.from_bytes(file.read(2), "little") + int.from_bytes(file.read(2), "little")
            file.seek(record.header_offset + 30 + extra)
            return _filled(file, record.file_size)

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
    if _run(file, path) != _MAGIC:
        raise _damaged(path, "it does not start as one; a plain pickle is not read, save its tensors with safetensors")
    if _run(file, path) != _PROTOCOL:
        raise _damaged(path, "it is of another version")
    system = _run(file, path)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise WeightsCorrupted(f"{path} has big-endian numbers; save it again on a little-endian machine")
    machine = _Machine(path)
    content = _run(file, path, machine)
    keys = _run(file, path)
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
    held = file.getvalue() if isinstance(file, io.BytesIO) else None

    def stored(key: str) -> bytearray | None:
        if key not in places:
            return None
        with path.open("rb") if held is None else io.BytesIO(held) as again:
            again.seek(places[key][0])
            return _filled(again, places[key][1])

    return SavedFile(content, path, stored)


def _size(file: IO[bytes]) -> int:
    here = file.tell()
    end = file.seek(0, io.SEEK_END)
    file.seek(here)
    return end


def _run(pickle: bytes | IO[bytes], path: Path, machine: "_Machine | None" = None) -> object:
    try:
        return (machine or _Machine(path)).run(pickle)
    except TooLong as e:
        raise WeightsUnsafe(
            f"a pickle may have {MOST_INSTRUCTIONS} instructions at most, {path} has more; save the network's "
            f"state_dict() alone"
        ) from e
    except (NotReadable, ValueError) as e:  # `pickletools` raises the latter
        raise _damaged(path, str(e)[:200]) from e


def _damaged(path: Path, why: str) -> WeightsCorrupted:
    return WeightsCorrupted(f"{path} must be a whole file of torch.save, but cannot be read: {why}; fetch it again")


class _Machine(PickleMachine):
    def __init__(self, path: Path) -> None:
        super().__init__(MOST_INSTRUCTIONS)
        self._path = path
        self.storages: dict[str, _Storage] = {}

    def find(self, name: str) -> object:
        return Name(name)

    def key(self, value: object) -> object:
        parts = value if isinstance(value, tuple) else (value,)
        if not all(part is None or isinstance(part, str | bytes | int | float | Bystander | Name) for part in parts):
            raise NotReadable("keys must be texts and numbers")  # the hash of a nested tuple can take for ever
        return value

    def make(self, kind: object, instruction: str) -> object:
        if not isinstance(kind, Name) or not instruction.startswith("NEWOBJ"):
            raise NotReadable(f"the instruction {instruction} has no part in it")
        return Bystander(str(kind))

    def build(self, target: object, state: object) -> None:
        pass  # of a bystander, or the names that an OrderedDict of tensors keeps beside them

    def persistent(self, value: object) -> object:
        match value:
            case ("storage", Name() as kind, str() | int() as key, _, int(count), *_) if 0 <= count < MOST_VALUES:
                if kind.text not in _DTYPES and kind.text not in _UNTYPED and not kind.text.startswith("torch Q"):
                    raise NotReadable(f"{kind} is no storage")
                storage = _Storage(str(key), _DTYPES.get(kind.text), count)
                return self.storages.setdefault(storage.key, storage)
            case ("module", Name() as kind, *_):
                return kind
        raise NotReadable("a value lies outside of it that is no storage")

    def call(self, function: object, arguments: object) -> object:
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise NotReadable("a value is called that is no function")
        module, _, _ = function.text.partition(" ")
        match function.text, arguments:
            case "collections OrderedDict", ():
                return {}
            case "collections OrderedDict", (list(pairs),):
                return self.dictionary(pairs)
            case "collections defaultdict", _:
                return {}
            case "torch Size", (tuple() | list() as sides,):
                return tuple(sides)
            case "_codecs encode", (str(text), "latin1"):
                return text
            case "torch._utils _rebuild_tensor", (_Storage() as storage, offset, shape, stride):
                return _stored(storage, storage.dtype, offset, shape, stride)
            case "torch._utils _rebuild_tensor_v2", (_Storage() as storage, offset, shape, stride, _, _, *rest):
                return _stored(storage, storage.dtype, offset, shape, stride, *rest)
            case "torch._utils _rebuild_tensor_v3", (
                _Storage() as storage, offset, shape, stride, _, _, Name() as dtype, *rest,
            ):  # fmt: skip
                return _stored(storage, _DTYPES.get(dtype.text), offset, shape, stride, *rest)
            case "torch._utils _rebuild_parameter" | "torch._utils _rebuild_parameter_with_state", (tensor, *_):
                return tensor
            case "torch.nn.parameter Parameter" | "torch.nn.parameter Buffer", (tensor, *_):
                return tensor
            case "torch._tensor _rebuild_from_type_v2", (Name() as inner, _, tuple() as inputs, _):
                return self.call(inner, inputs)
            case text, _ if text in _UNREADABLE:
                return StoredTensor(None, torch.uint8, (), (), 0, _UNREADABLE[text])
            case text, _ if text in _INERT or module in _INERT_MODULES or module == "numpy.dtypes":
                return Bystander(str(function))
        raise WeightsUnsafe(
            f"{self._path} must hold tensors only, but wants to run code; nothing of it was run. It calls {function}. "
            f"Save its state_dict() with safetensors where you trust it"
        )


def _stored(
    storage: _Storage, dtype: torch.dtype | None, offset: object, shape: object, stride: object, *rest: object
) -> StoredTensor:
    sides, steps = _sizes(shape), _sizes(stride)
    if sides is None or steps is None or len(sides) != len(steps) or type(offset) is not int or offset < 0:
        raise NotReadable("a tensor's shape must be a few whole numbers")
    odd = bool(rest) and isinstance(rest[0], dict) and any(rest[0].values())  # conjugated or negated
    fault = "has a type that is not read; save it as float32" if dtype is None else _SUBCLASS if odd else None
    return StoredTensor(storage, dtype or torch.uint8, sides, steps, offset, fault)


def _sizes(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, tuple | list) or len(value) > MOST_DIMENSIONS:
        return None
    sides = [side for side in value if type(side) is int and 0 <= side < MOST_VALUES]
    return tuple(sides) if len(sides) == len(value) and prod(side or 1 for side in sides) < MOST_VALUES else None


def _shown(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name[:120])
