"""safetensors files: distrusted before they are opened, and written the same way every time.

A file is 8 bytes (the header's length, little-endian), a JSON header and the tensors' bytes. The format's own reader
accepts headers of 100 MB, half a million empty tensors and names that stand twice; `check` does not.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from math import prod
from mmap import ACCESS_COPY, mmap
from os import fstat
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

import safetensors.torch
import torch
from torch import Tensor

from senet_zoo.errors import WeightsCorrupted, WeightsNotFound, WeightsUnavailable, WeightsUnsafe
from senet_zoo.support import settings
from senet_zoo.support.files import FileState, atomic_file, disk_error, open_file, state_of
from senet_zoo.support.json_fields import no_duplicates
from senet_zoo.support.memory import enough_memory

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
}
DTYPE_BYTES = {name: dtype.itemsize for name, dtype in DTYPES.items()}
MOST_HEADER_BYTES = 2**20  # SENet-154 needs 0.15 MB
MOST_TENSORS = 5000  # SENet-154 has 1200
MOST_DIMENSIONS = 8
MOST_VALUES = 2**48


@dataclass(frozen=True)
class TensorInfo:
    """What the header says of one tensor: dtype as the format spells it (``F32``), and shape."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    """A checked header.

    Args:
        tensors: by name.
        metadata: texts by name, which the file says of itself.
        state: what the file was like when it was checked; None where it lies elsewhere.
        starts: where the bytes of each tensor begin in the file.
    """

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    state: FileState | None = field(default=None, compare=False)
    starts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}), compare=False, repr=False)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes by name."""
        return {name: info.shape for name, info in self.tensors.items()}


def check(path: Path, size: int | None = None) -> Header:
    """Read the header of a safetensors file and check everything that can be checked without its tensors.

    Args:
        path: the file.
        size: bytes that it must have; None where that is not known.

    Raises:
        WeightsNotFound: there is no file.
        WeightsUnavailable: the system does not let it be read.
        WeightsCorrupted: truncated, too long, or no safetensors file at all; the message says what it looks like.
        WeightsUnsafe: a pickle, or a header made to exhaust memory or time.
    """
    with open_file(path, "one safetensors file") as file:
        found = fstat(file.fileno())
        return replace(_check(file, path, found.st_size, size), state=state_of(found))


def check_start(start: bytes, path: Path, size: int) -> Header:
    """`check` for a file that lies elsewhere.

    Args:
        start: its bytes up to the end of its header, or the first few where that is longer than a header may be.
        path: the file in words, for messages.
        size: bytes that all of it has.

    Raises:
        WeightsCorrupted, WeightsUnsafe: as `check`.
    """
    return _check(BytesIO(start), path, size, None)


def read(path: Path, header: Header, names: Collection[str] | None = None) -> dict[str, Tensor]:
    """The tensors of a checked file, on the CPU.

    They are copied, so that they stay what they are whatever happens to the file. With ``SENET_ZOO_MMAP=1`` they are
    mapped into memory instead: a page is read when it is first used, and who writes to the file changes them.
    `benchmarks/startup.py` measures both.

    Args:
        path: the file that was checked.
        header: what `check` returned for it.
        names: which tensors; None for all.

    Raises:
        WeightsCorrupted: the file changed since it was checked.
        WeightsUnavailable: there is too little memory.
    """
    wanted = {name: header.tensors[name] for name in (header.tensors if names is None else names)}
    take = _mapped if settings.maps_weights() else _copied
    try:
        with open_file(path, "one safetensors file") as file, enough_memory(f"the tensors of {path}"):
            # The descriptor that is read from is that of the checked file, whatever its name means by now.
            _require_unchanged(file, path, header)
            tensors = take(file, wanted, header)
            _require_unchanged(file, path, header)
    except (WeightsNotFound, WeightsUnavailable) as e:
        if isinstance(e.__cause__, MemoryError | RuntimeError):
            raise
        raise _changed(path, str(e)) from e
    return tensors


def _copied(file: BinaryIO, wanted: Mapping[str, TensorInfo], header: Header) -> dict[str, Tensor]:
    tensors = {}
    for name, info in wanted.items():
        tensor = tensors[name] = torch.empty(info.shape, dtype=DTYPES[info.dtype])
        if tensor.numel():
            content = memoryview(tensor.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type] # NumPy 1
            file.seek(header.starts[name])
            if file.readinto(content) != len(content):  # type: ignore[attr-defined]
                raise _changed(Path(file.name), "it has become shorter")
    return tensors


def _mapped(file: BinaryIO, wanted: Mapping[str, TensorInfo], header: Header) -> dict[str, Tensor]:
    content = mmap(file.fileno(), 0, access=ACCESS_COPY)  # the tensors keep it open
    tensors = {}
    for name, info in wanted.items():
        dtype, count = DTYPES[info.dtype], prod(info.shape)
        tensors[name] = (
            torch.frombuffer(content, dtype=dtype, count=count, offset=header.starts[name]).reshape(info.shape)
            if count
            else torch.empty(info.shape, dtype=dtype)
        )
    return tensors


def _require_unchanged(file: BinaryIO, path: Path, header: Header) -> None:
    if state_of(fstat(file.fileno())) != header.state:
        raise _changed(path, "another process wrote it")


def _changed(path: Path, how: str) -> WeightsCorrupted:
    return WeightsCorrupted(f"{path} changed between the check and the reading of its tensors: {how}; try again")


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Write a safetensors file, whole or not at all, with the same bytes for the same tensors every time.

    Returns:
        The sha256 of what was written, whatever the disk makes of it.

    Raises:
        WeightsUnavailable: the disk did not take it.
    """
    body = safetensors.torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    length = int.from_bytes(body[:8], "little")
    header = json.loads(body[8 : 8 + length])
    if metadata:
        header["__metadata__"] = dict(metadata)
    # The library orders metadata at random; sorted, the bytes and their sha256 are always the same.
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    sha256 = hashlib.sha256()
    try:
        with atomic_file(path) as file:
            for content in (len(text).to_bytes(8, "little") + text, memoryview(body)[8 + length :]):
                sha256.update(content)
                file.write(content)
    except OSError as e:
        raise disk_error(e, path.parent, "the path") from e
    return sha256.hexdigest()


def _check(file: BinaryIO, path: Path, actual: int, size: int | None) -> Header:
    start = file.read(64)
    length = int.from_bytes(start[:8], "little")
    if len(start) < 9 or start[8:9] != b"{":
        raise _not_safetensors(start, path)
    if length > MOST_HEADER_BYTES:
        raise WeightsUnsafe(
            f"a header may have {MOST_HEADER_BYTES} bytes at most, but that of {path} claims {length}; it is not "
            f"opened: fetch it from whoever made it"
        )
    if size is not None and actual != size:
        raise WeightsCorrupted(f"{path} must have {size} bytes, but has {actual}; fetch it again")
    if actual < 8 + length:
        raise _truncated(path, actual, 8 + length)
    file.seek(8)
    try:
        entries = json.loads(file.read(length).decode(), object_pairs_hook=no_duplicates)
    except (ValueError, RecursionError) as e:
        raise WeightsCorrupted(f"the header of {path} must be JSON with every name once: {e}; fetch it again") from e
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise WeightsCorrupted(f"the metadata of {path} must map texts to texts; fetch it again")
    try:
        "".join([*entries, *metadata, *metadata.values()]).encode()
    except UnicodeEncodeError as e:  # JSON can spell half a pair, \ud800, which the format's own reader refuses
        raise WeightsCorrupted(f"names and metadata of {path} must be texts: {e.reason}; fetch it again") from e
    if len(entries) > MOST_TENSORS:
        raise WeightsUnsafe(
            f"a file may hold {MOST_TENSORS} tensors at most, {path} names {len(entries)}; it is not opened: "
            f"fetch it from whoever made it"
        )
    read = {name: _tensor(entry, name, path) for name, entry in entries.items()}
    _check_contiguous([offsets for _, offsets in read.values()], actual - 8 - length, path, actual)
    return Header(
        MappingProxyType({name: info for name, (info, _) in read.items()}),
        MappingProxyType(metadata),
        starts=MappingProxyType({name: 8 + length + begin for name, (_, (begin, _)) in read.items()}),
    )


def _tensor(entry: object, name: str, path: Path) -> tuple[TensorInfo, tuple[int, int]]:
    where = f"tensor {name[:80]!r} of {path}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise WeightsCorrupted(f"{where} must have dtype, shape and data_offsets, and nothing else; fetch it again")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise WeightsCorrupted(
            f"{where} must be one of {', '.join(DTYPE_BYTES)}, not {str(dtype)[:20]}; convert the file"
        )
    if not _sizes(shape) or len(shape) > MOST_DIMENSIONS or not _sizes(offsets) or len(offsets) != 2:
        raise WeightsCorrupted(f"{where} must have a shape of whole numbers and two offsets; fetch it again")
    if prod(side or 1 for side in shape) >= MOST_VALUES:  # a side of 0 does not make up for others that overflow
        raise WeightsCorrupted(f"{where} must have less than {MOST_VALUES} values, not shape {shape}; fetch it again")
    begin, end = offsets
    if end - begin != prod(shape) * DTYPE_BYTES[dtype]:
        raise WeightsCorrupted(
            f"{where}: shape {shape} as {dtype} does not fill bytes {begin} to {end}; fetch it again"
        )
    return TensorInfo(dtype, tuple(shape)), (begin, end)


def _check_contiguous(offsets: list[tuple[int, int]], available: int, path: Path, actual: int) -> None:
    reached = 0
    for begin, end in sorted(offsets):
        if begin != reached:
            raise WeightsCorrupted(
                f"tensors of {path} must lie side by side, but one starts at byte {begin}, not {reached}"
            )
        reached = end
    if available < reached:
        raise _truncated(path, actual, actual + reached - available)
    if available > reached:
        raise WeightsCorrupted(f"{path} has {available - reached} bytes after its last tensor; fetch it again")


def _truncated(path: Path, actual: int, needed: int) -> WeightsCorrupted:
    return WeightsCorrupted(f"{path} is truncated: {actual} bytes of at least {needed}; fetch it again")


def _sizes(values: object) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < MOST_VALUES for value in values)


def _not_safetensors(start: bytes, path: Path) -> WeightsCorrupted | WeightsUnsafe:
    rule = f"weights must be a safetensors file, but {path} "
    if start.startswith(b"PK\x03\x04") or (start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")):
        return WeightsUnsafe(
            f"{rule}is a pickle, as torch.save writes it (.pth, .pt, .bin): opening one can run foreign code. Save its "
            f"tensors with safetensors.torch.save_file where you trust it"
        )
    if start.startswith(b"version https://git-lfs"):
        return WeightsCorrupted(f"{rule}is a git-lfs pointer to one; run git lfs pull in its repository")
    if start.lstrip()[:1] == b"<":
        return WeightsCorrupted(f"{rule}is an HTML page, perhaps of a login or a proxy; fetch the file itself")
    if not start:
        return WeightsCorrupted(f"{rule}is empty; fetch it again")
    return WeightsCorrupted(f"{rule}starts with {start[:12]!r}; name the right file, or fetch it again")
