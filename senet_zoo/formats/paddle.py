"""PaddlePaddle's ``.pdparams``, read without Paddle: a pickle of numpy arrays by name.

A pickle is a program. Python's own reader looks up whatever the program names and calls it. The machine here carries
out only the instructions that dictionaries, lists, texts, numbers and arrays take, and knows five functions by name:
what they stand for is built here, from values that are checked first. Nothing is imported, and numpy is not called.

A `pickle.Unpickler` with a list of allowed names is not enough. It allocates whatever length or memory index a file
names before it reads on, sets attributes of what it looked up, takes any value as a key although the hash of a nested
tuple can take exponential time, and does not notice a key that stands twice.

Source: ``paddle.save`` of https://github.com/PaddlePaddle/Paddle, python/paddle/framework/io.py; Python's
``pickletools`` for the instructions; ``numpy.ndarray.__reduce__`` and ``numpy.dtype.__reduce__`` for the arrays.

Differs: protocols 0 and 1, written as text, are not read.
"""

import pickletools
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from senet_zoo.errors import WeightsCorrupted, WeightsUnsafe
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
_CONSTANTS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_TAKEN = {
    **dict.fromkeys(("TUPLE1", "APPEND", "BUILD"), 1),
    **dict.fromkeys(("TUPLE2", "SETITEM", "STACK_GLOBAL", "REDUCE"), 2),
    "TUPLE3": 3,
}
"""How many values an instruction takes from the stack."""
_TO_MARK = {"TUPLE", "APPENDS", "SETITEMS"}
_RUNS_CODE = {"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4"}


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
    machine = _Machine(path, len(content))
    try:
        if content[:1] != b"\x80":
            raise _Nonsense(f"it starts with {content[:8]!r}")
        for count, (instruction, argument, _) in enumerate(pickletools.genops(content)):
            if count == MOST_INSTRUCTIONS:
                raise WeightsUnsafe(
                    f"a pickle may have {MOST_INSTRUCTIONS} instructions at most, {path} has more; its reading was "
                    f"stopped"
                )
            machine.step(instruction.name, argument)
        return machine.result()
    except (_Nonsense, ValueError) as e:  # `pickletools` raises the latter
        raise WeightsCorrupted(
            f"{path} must be a whole pickle of numpy arrays, protocol 2 to 5: {str(e)[:200]}; it is truncated or of "
            f"another kind, fetch it again"
        ) from e


class _Nonsense(Exception):
    """An instruction that does not fit what came before it."""


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


class _Machine:
    """The stack and the memory of a pickle.

    Args:
        path: of the file, for messages.
        size: of the file; its arrays can hold no more bytes, unless one text stands for many of them.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._bytes_left = size
        self._pairs_left = MOST_INSTRUCTIONS
        self._stack: list[object] = []
        self._below: list[list[object]] = []  # stacks under the open marks
        self._memory: dict[object, object] = {}

    def step(self, instruction: str, argument: object) -> None:
        """Carry out one instruction."""
        if instruction in _RUNS_CODE:
            raise self._unsafe(f"has the instruction {instruction}, which makes other objects")
        items = self._to_mark() if instruction in _TO_MARK else self._take(_TAKEN.get(instruction, 0))
        match instruction:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                self._below.append(self._stack)
                self._stack = []
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                self._stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[instruction])
            case _ if instruction in _CONSTANTS:
                self._stack.append(argument)
            case "EMPTY_DICT":
                self._stack.append({})
            case "EMPTY_LIST":
                self._stack.append([])
            case "EMPTY_TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3" | "TUPLE":
                self._stack.append(tuple(items))
            case "BINPUT" | "LONG_BINPUT":
                self._memory[argument] = self._top()
            case "MEMOIZE":
                self._memory[len(self._memory)] = self._top()
            case "BINGET" | "LONG_BINGET":
                if argument not in self._memory:
                    raise _Nonsense(f"nothing was remembered as {argument}")
                self._stack.append(self._memory[argument])
            case "APPEND" | "APPENDS":
                target = self._top()
                if not isinstance(target, list):
                    raise _Nonsense("items are appended to a list only")
                target.extend(map(_finished, items))
            case "SETITEM" | "SETITEMS":
                _assign(self._top(), items)
            case "GLOBAL" | "STACK_GLOBAL":
                name = str(argument) if instruction == "GLOBAL" else " ".join(_texts(items))
                if name not in _FUNCTIONS:
                    raise self._unsafe(f"names {name.replace(' ', '.')[:80]}")
                self._stack.append(_Function(_FUNCTIONS[name]))
            case "REDUCE":
                self._stack.append(self._call(*items))
            case "BUILD":
                self._build(self._top(), items[0])
            case _:
                raise _Nonsense(f"the instruction {instruction} has no part in it")

    def result(self) -> object:
        """The one value that is left when the program has ended."""
        if len(self._stack) != 1 or self._below:
            raise _Nonsense("it ends within a container")
        return _finished(self._stack[0])

    def _take(self, count: int) -> list[object]:
        if len(self._stack) < count:
            raise _Nonsense("an instruction lacks its values")
        begin = len(self._stack) - count
        items = self._stack[begin:]
        del self._stack[begin:]
        return items

    def _to_mark(self) -> list[object]:
        if not self._below:
            raise _Nonsense("a container ends that did not begin")
        items, self._stack = self._stack, self._below.pop()
        return items

    def _top(self) -> object:
        if not self._stack:
            raise _Nonsense("an instruction lacks its value")
        return self._stack[-1]

    def _unsafe(self, what: str) -> WeightsUnsafe:
        return WeightsUnsafe(
            f"a pickle of weights may hold numpy arrays and plain containers only, but {self._path} {what}; nothing of "
            f"it was run. Give the file that the network's authors published"
        )

    def _call(self, function: object, arguments: object) -> object:
        match (function.means if isinstance(function, _Function) else None), arguments:
            case "dict", ():
                return {}
            case "dict", (list(pairs),):  # as Python 2 writes it
                if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
                    raise _Nonsense("a dictionary is made of pairs")
                self._pairs_left -= len(pairs)
                if self._pairs_left < 0:  # a list that is remembered can be called upon again and again
                    raise _Nonsense("its dictionaries hold more pairs than the file has")
                return _assign({}, [item for pair in pairs for item in pair])
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
                raise _Nonsense("a value is called that is no function")
            case means, _:
                raise _Nonsense(f"{means} is called with other values than numpy's")

    def _build(self, target: object, state: object) -> None:
        match target, state:
            case _DType(), (int(), str(order), None, None, None, *_):
                if order == ">":
                    raise _Nonsense("numbers are big-endian")
            case _Array(tensor=None), (int(), tuple(shape), _DType() as dtype, bool() | int() as fortran, data):
                if not isinstance(data, str | bytes):
                    raise _Nonsense("the numbers of an array must be bytes")
                target.tensor = self._tensor(data, dtype, shape, bool(fortran))
            case _:
                raise _Nonsense(f"{type(target).__name__.strip('_')} is built from another state than numpy's")

    def _tensor(self, data: str | bytes | bytearray, dtype: _DType, shape: tuple[object, ...], fortran: bool) -> Tensor:
        if dtype.kind not in DTYPES:
            raise _Nonsense(f"arrays must be of {', '.join(DTYPES)}, not {dtype.kind[:20]!r}")
        sides = [side for side in shape if type(side) is int and 0 <= side < 2**48]
        if len(sides) != len(shape) or len(shape) > MOST_DIMENSIONS:
            raise _Nonsense("the shape of an array must be a few whole numbers")
        wanted = prod(sides) * DTYPES[dtype.kind].itemsize
        if wanted != len(data):
            raise _Nonsense(f"shape {sides} of {dtype.kind} does not fill {len(data)} bytes")
        self._bytes_left -= wanted
        if self._bytes_left < 0:
            raise _Nonsense("its arrays hold more bytes than the file has")
        if not wanted:
            return torch.zeros(sides, dtype=DTYPES[dtype.kind])
        # Python 3 writes bytes as text in protocol 2; so does Python 2 in any.
        own = bytearray(data, "latin-1") if isinstance(data, str) else bytearray(data)
        flat = torch.frombuffer(own, dtype=DTYPES[dtype.kind])
        if not fortran:
            return flat.reshape(sides)
        return flat.reshape(sides[::-1]).permute(*reversed(range(len(sides)))).contiguous()


def _assign(target: object, items: list[object]) -> dict[str, object]:
    """Add items to a dictionary: key, value, key, value."""
    if not isinstance(target, dict) or len(items) % 2:
        raise _Nonsense("keys and values go into a dictionary only")
    for key, value in zip(_texts(items[::2]), items[1::2], strict=True):
        if key in target:
            raise _Nonsense(f"{key[:80]!r} stands twice")
        target[key] = _finished(value)
    return target


def _texts(values: list[object]) -> list[str]:
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) != len(values):
        raise _Nonsense("keys and names must be texts")
    return texts


def _finished(value: object) -> object:
    """An array's tensor, and any other value itself."""
    if not isinstance(value, _Array):
        return value
    if value.tensor is None:
        raise _Nonsense("an array has no numbers")
    return value.tensor
