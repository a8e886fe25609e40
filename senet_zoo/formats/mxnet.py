"""MXNet's ``.params``, as Gluon saves networks: a list of arrays and their names, read without MXNet.

==========  =======================================================================================================
file        0x112 (8 bytes), 0 (8), number of arrays (8), arrays, number of names (8), names
array       magic (4), storage (4, since version 2), axes (4), each side (8), device (4 + 4), type (4), values
array, old  axes (4), each side (4), device (4 + 4), type (4), values
name        length (8), bytes
==========  =======================================================================================================

All numbers are little-endian. Dense arrays alone are read.

Source: https://github.com/apache/mxnet, src/ndarray/ndarray.cc, ``NDArray::Save`` and ``NDArray::Load``.
"""

import struct
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from senet_zoo.errors import WeightsCorrupted, WeightsUnsafe
from senet_zoo.formats.safetensors import MOST_DIMENSIONS, MOST_TENSORS
from senet_zoo.support.files import read_whole

MAGIC = struct.pack("<QQ", 0x112, 0)
_VERSION_1, _VERSIONS = 0xF993FAC8, (0xF993FAC8, 0xF993FAC9, 0xF993FACA)
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.uint8, torch.int32, torch.int8, torch.int64)
_MOST_NAME_BYTES = 1000


def read_params(path: Path) -> dict[str, Tensor]:
    """The arrays of a ``.params`` under its own names, on the CPU.

    Raises:
        WeightsNotFound: there is no file.
        WeightsUnavailable: the system does not let it be read.
        WeightsCorrupted: truncated, or no such file; or it holds arrays without names.
        WeightsUnsafe: more arrays than a network has.
    """
    reader = _Reader(read_whole(path, "a .params file"), path)
    if reader.take(len(MAGIC)) != MAGIC:
        raise reader.corrupted("it does not start as one does")
    arrays = [reader.array() for _ in range(reader.count("arrays"))]
    names = [reader.name() for _ in range(reader.count("names"))]
    if not arrays or len(names) != len(arrays) or len(set(names)) != len(names):
        raise reader.corrupted(f"it has {len(arrays)} arrays and {len(set(names))} names; each array needs its own")
    if reader.left:
        raise reader.corrupted(f"{reader.left} bytes follow its last name")
    return {name.removeprefix("arg:").removeprefix("aux:"): array for name, array in zip(names, arrays, strict=True)}


class _Reader:
    """Takes numbers, arrays and names out of a file's bytes, none of them beyond the end."""

    def __init__(self, content: bytes, path: Path) -> None:
        self._content = memoryview(content)
        self._path = path

    @property
    def left(self) -> int:
        return len(self._content)

    def corrupted(self, why: str) -> WeightsCorrupted:
        return WeightsCorrupted(
            f"{self._path} must be a whole .params file of MXNet, but {why}; it is truncated or of another kind: fetch "
            f"it again"
        )

    def take(self, size: int) -> memoryview:
        if size > self.left:
            raise self.corrupted(f"{size} bytes should follow where {self.left} are left")
        taken, self._content = self._content[:size], self._content[size:]
        return taken

    def numbers(self, form: str) -> tuple[int, ...]:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))

    def count(self, what: str) -> int:
        (count,) = self.numbers("Q")
        if count > MOST_TENSORS:
            raise WeightsUnsafe(
                f"a file may hold {MOST_TENSORS} {what} at most, {self._path} says {count}; it is not read on"
            )
        return count

    def name(self) -> str:
        (length,) = self.numbers("Q")
        if length > _MOST_NAME_BYTES:
            raise WeightsUnsafe(f"a name may have {_MOST_NAME_BYTES} bytes at most, {self._path} has one of {length}")
        try:
            return bytes(self.take(length)).decode()
        except UnicodeDecodeError as e:
            raise self.corrupted("a name is no UTF-8") from e

    def array(self) -> Tensor:
        (first,) = self.numbers("I")
        axes, side = first, "I"
        if first in _VERSIONS:
            storage = 0 if first == _VERSION_1 else self.numbers("i")[0]
            if storage:
                raise self.corrupted(f"an array is sparse (storage {storage}), which no network's is")
            (axes,), side = self.numbers("i"), "q"
        if not 1 <= axes <= MOST_DIMENSIONS:
            raise self.corrupted(f"an array has {axes} axes")
        shape = self.numbers(side * axes)
        _, _, kind = self.numbers("iii")
        if not 0 <= kind < len(_DTYPES) or min(shape) < 1:
            raise self.corrupted(f"an array has the type {kind} and the shape {shape}")
        values = self.take(prod(shape) * _DTYPES[kind].itemsize)
        return torch.frombuffer(bytearray(values), dtype=_DTYPES[kind]).reshape(shape)
