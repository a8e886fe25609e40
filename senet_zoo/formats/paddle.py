"""PaddlePaddle's ``.pdparams``, read without Paddle: a pickle of numpy arrays by name.

`senet_zoo.formats.pickles` runs nothing of it. Here are the five functions that it may name: what they stand for is
built here, from values that are checked first. numpy is not called.

Source: ``paddle.save`` of https://github.com/PaddlePaddle/Paddle, python/paddle/framework/io.py;
``numpy.ndarray.__reduce__`` and ``numpy.dtype.__reduce__`` for the arrays.
"""

from math import prod
from pathlib import Path

import torch
from torch import Tensor

from senet_zoo.errors import WeightsCorrupted, WeightsUnsafe
from senet_zoo.formats.pickles import Name, NotReadable, PickleMachine, TooLong
from senet_zoo.formats.safetensors import MOST_DIMENSIONS, MOST_TENSORS
from senet_zoo.support.files import read_whole

MOST_INSTRUCTIONS = 2**16  # SENet-154's 1000 arrays of 34 need half
DTYPES = {"f8": torch.float64, "f4": torch.float32, "f2": torch.float16, "i8": torch.int64, "i4": torch.int32}

_SECOND_NAMES = "StructuredToParameterName@@"  # a table of other names for the same arrays
_FUNCTIONS = {
    "collections OrderedDict": "dict",
    "_codecs encode": "encode",
    "__builtin__ bytes": "bytes",
    "numpy dtype": "dtype",
    "numpy ndarray": "ndarray",
    "numpy.core.multiarray _reconstruct": "array",
    "numpy._core.multiarray _reconstruct": "array",
    "numpy.core.numeric _frombuffer": "buffer",
    "numpy._core.numeric _frombuffer": "buffer",
}


def read_paddle(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.pdparams`` under its own names, laid out as PyTorch has them, on the CPU.

    Paddle's Linear keeps its weight as (in, out): every matrix is transposed to (out, in). Convolutions and vectors are
    the same in both.

    Raises:
        WeightsNotFound: there is no file.
        WeightsUnavailable: the system does not let it be read.
        WeightsCorrupted: truncated, or not a .pdparams.
        WeightsUnsafe: it would make anything but arrays and plain containers, or has more arrays than a network.
    """
    values = _read_pickle(read_whole(path, "a .pdparams file"), path)
    if not isinstance(values, dict):
        raise WeightsCorrupted(
            f"{path} must hold arrays by name, but holds a {type(values).__name__}; name the right file"
        )
    tensors = {name: value for name, value in values.items() if name != _SECOND_NAMES}
    if len(tensors) > MOST_TENSORS:
        raise WeightsUnsafe(
            f"a file may hold {MOST_TENSORS} tensors at most, {path} has {len(tensors)}; it is not used"
        )
    others = [name for name, value in tensors.items() if not isinstance(value, Tensor)]
    if others or not tensors:
        what = f"{others[0][:80]!r} is a {type(tensors[others[0]]).__name__}" if others else "there is none"
        raise WeightsCorrupted(f"{path} must hold arrays by name, but {what}; name the file of parameters (.pdparams)")
    return {name: value.t().contiguous() if value.ndim == 2 else value for name, value in tensors.items()}


def _read_pickle(content: bytes, path: Path) -> object:
    """The value of a pickle, with a tensor in the place of every array."""
    try:
        if content[:1] != b"\x80":
            raise NotReadable(f"it starts with {content[:8]!r}")
        return _Machine(path, len(content)).run(content)
    except TooLong as e:
        raise WeightsUnsafe(
            f"a pickle may have {MOST_INSTRUCTIONS} instructions at most, {path} has more; its reading was stopped"
        ) from e
    except (NotReadable, ValueError) as e:  # `pickletools` raises the latter
        raise WeightsCorrupted(
            f"{path} must be a whole pickle of numpy arrays, protocol 2 to 5: {str(e)[:200]}; it is truncated or of "
            f"another kind, fetch it again"
        ) from e


class _Function:
    """A function or class that the pickle may name."""

    def __init__(self, means: str) -> None:
        self.means = means


class _DType:
    """A numpy dtype; the order of its bytes follows its making."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


class _Array:
    """A numpy array whose shape and numbers are still to come."""

    tensor: Tensor | None = None


class _Machine(PickleMachine):
    """A pickle of numpy arrays.

    Args:
        path: of the file, for messages.
        size: of the file; its arrays can hold no more bytes, unless one text stands for many of them.
    """

    def __init__(self, path: Path, size: int) -> None:
        super().__init__(MOST_INSTRUCTIONS)
        self._path = path
        self._bytes_left = size

    def find(self, name: str) -> object:
        if name not in _FUNCTIONS:
            raise self._unsafe(f"names {Name(name)}")
        return _Function(_FUNCTIONS[name])

    def make(self, kind: object, instruction: str) -> object:
        raise self._unsafe(f"has the instruction {instruction}, which makes other objects")

    def persistent(self, value: object) -> object:
        raise self._unsafe("has the instruction BINPERSID, which makes other objects")

    def finished(self, value: object) -> object:
        """An array's tensor, and any other value itself."""
        if not isinstance(value, _Array):
            return value
        if value.tensor is None:
            raise NotReadable("an array has no numbers")
        return value.tensor

    def _unsafe(self, what: str) -> WeightsUnsafe:
        return WeightsUnsafe(
            f"a pickle of weights may hold numpy arrays and plain containers only, but {self._path} {what}; nothing of "
            f"it was run. Give the file that the network's authors published"
        )

    def call(self, function: object, arguments: object) -> object:
        match (function.means if isinstance(function, _Function) else None), arguments:
            case "dict", ():
                return {}
            case "dict", (list(pairs),):  # as Python 2 writes it
                return self.dictionary(pairs)
            case "encode", (str(text), "latin1"):
                return text
            case "bytes", ():
                return ""
            case "dtype", (str(kind), *_):
                return _DType(kind)
            case "array", (_Function(means="ndarray"), _, _):
                return _Array()
            case "buffer", (bytes() | bytearray() as data, _DType() as dtype, tuple(shape), str(order)):
                return self._tensor(data, dtype, shape, order == "F")
            case None, _:
                raise NotReadable("a value is called that is no function")
            case means, _:
                raise NotReadable(f"{means} is called with other values than numpy's")

    def build(self, target: object, state: object) -> None:
        match target, state:
            case _DType(), (int(), str(order), None, None, None, *_):
                if order == ">":
                    raise NotReadable("numbers are big-endian")
            case _Array(tensor=None), (int(), tuple(shape), _DType() as dtype, bool() | int() as fortran, data):
                if not isinstance(data, str | bytes):
                    raise NotReadable("the numbers of an array must be bytes")
                target.tensor = self._tensor(data, dtype, shape, bool(fortran))
            case _:
                raise NotReadable(f"{type(target).__name__.strip('_')} is built from another state than numpy's")

    def _tensor(self, data: str | bytes | bytearray, dtype: _DType, shape: tuple[object, ...], fortran: bool) -> Tensor:
        if dtype.kind not in DTYPES:
            raise NotReadable(f"arrays must be of {', '.join(DTYPES)}, not {dtype.kind[:20]!r}")
        sides = [side for side in shape if type(side) is int and 0 <= side < 2**48]
        if len(sides) != len(shape) or len(shape) > MOST_DIMENSIONS:
            raise NotReadable("the shape of an array must be a few whole numbers")
        wanted = prod(sides) * DTYPES[dtype.kind].itemsize
        if wanted != len(data):
            raise NotReadable(f"shape {sides} of {dtype.kind} does not fill {len(data)} bytes")
        self._bytes_left -= wanted
        if self._bytes_left < 0:
            raise NotReadable("its arrays hold more bytes than the file has")
        if not wanted:
            return torch.zeros(sides, dtype=DTYPES[dtype.kind])
        # Python 3 writes bytes as text in protocol 2; so does Python 2 in any.
        own = bytearray(data, "latin-1") if isinstance(data, str) else bytearray(data)
        flat = torch.frombuffer(own, dtype=DTYPES[dtype.kind])
        if not fortran:
            return flat.reshape(sides)
        return flat.reshape(sides[::-1]).permute(*reversed(range(len(sides)))).contiguous()
