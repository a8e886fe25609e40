"""The pickle of a file of ``torch.save``: tensors become `StoredTensor`, and nothing is called.

Data that training scripts keep beside the weights, such as ``argparse.Namespace``, NumPy scalars and paths, become
`Bystander`s. A pickle that calls anything else is refused, and the name of what it calls is said.

Source: ``torch/_utils.py`` and ``torch/serialization.py`` of https://github.com/pytorch/pytorch.
"""

from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch

from senet_zoo.errors import WeightsMismatch, WeightsUnsafe
from senet_zoo.formats.pickles import Bystander, Name, NotReadable, PickleMachine
from senet_zoo.formats.safetensors import MOST_DIMENSIONS, MOST_VALUES

MOST_INSTRUCTIONS = 2**19  # SENet-154 with its average and Adam's state has 140,000

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
NO_VALUES = "has no values: it was saved from the meta device; save the network once it is filled"
_SUBCLASS = "is of a class of its own, not a plain tensor; save plain ones"
_UNREADABLE = {
    "torch._utils _rebuild_qtensor": _QUANTISED,
    "torch._utils _rebuild_sparse_tensor": _SPARSE,
    "torch._utils _rebuild_sparse_csr_tensor": _SPARSE,
    "torch._utils _rebuild_meta_tensor_no_storage": NO_VALUES,
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
        "set", "frozenset", "complex", "bytearray", "bytes", "slice", "range", "xrange", "list", "tuple", "dict",
        "object",
    )),
    *(f"{module} {name}" for module in ("numpy.core.multiarray", "numpy._core.multiarray") for name in (
        "scalar", "_reconstruct",
    )),
    *(f"{module} _frombuffer" for module in ("numpy.core.numeric", "numpy._core.numeric")),
    *(f"numpy.random._pickle {name}" for name in (
        "__randomstate_ctor", "__generator_ctor", "__bit_generator_ctor",
    )),
    "types SimpleNamespace", "re _compile",
    "numpy dtype", "numpy ndarray", "copy_reg _reconstructor", "copyreg _reconstructor",
    "torch device", "torch.serialization _get_layout", "torch Generator", "torch._C Generator",
}  # fmt: skip
"""What makes data and does nothing else; a value of it is passed over."""


@dataclass(frozen=True, eq=False)
class Storage:
    """Numbers that lie in the file under a key; of no type where each tensor says its own."""

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

    storage: Storage | None
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    fault: str | None = None


class TorchMachine(PickleMachine):
    """A pickle of tensors.

    Args:
        path: of the file, for messages.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(MOST_INSTRUCTIONS)
        self._path = path
        self.storages: dict[str, Storage] = {}

    def find(self, name: str) -> object:
        """The name itself."""
        return Name(name)

    def key(self, value: object) -> object:
        """A text, a number or a flat tuple of them."""
        parts = value if isinstance(value, tuple) else (value,)
        if not all(part is None or isinstance(part, str | bytes | int | float | Bystander | Name) for part in parts):
            raise NotReadable("keys must be texts and numbers")  # the hash of a nested tuple can take for ever
        return value

    def make(self, kind: object, instruction: str) -> object:
        """A bystander of that class."""
        if not isinstance(kind, Name) or not instruction.startswith("NEWOBJ"):
            raise NotReadable(f"the instruction {instruction} has no part in it")
        return Bystander(str(kind))

    def build(self, target: object, state: object) -> None:
        """Nothing: a bystander's state is of no use, nor what an OrderedDict of tensors keeps beside them."""

    def persistent(self, value: object) -> object:
        """A storage, or the class of a network that is saved whole."""
        match value:
            case ("storage", _, _, _, _, tuple(), *_):
                raise NotReadable("it keeps views of storages, as PyTorch before 0.2 did")
            case ("storage", Name() as kind, str() | int() as key, _, int(count), *_) if 0 <= count < MOST_VALUES:
                if kind.text not in _DTYPES and kind.text not in _UNTYPED and not kind.text.startswith("torch Q"):
                    raise NotReadable(f"{kind} is no storage")
                storage = Storage(str(key), _DTYPES.get(kind.text), count)
                return self.storages.setdefault(storage.key, storage)
            case ("module", Name() as kind, *_):
                return kind
        raise NotReadable("a value lies outside of it that is no storage")

    def call(self, function: object, arguments: object) -> object:
        """A tensor, a container or a bystander.

        Raises:
            WeightsUnsafe: the function may be code.
            WeightsMismatch: it is what a plain pickle of tensors calls.
        """
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
            case "torch._utils _rebuild_tensor", (Storage() as storage, offset, shape, stride):
                return _stored(storage, storage.dtype, offset, shape, stride)
            case "torch._utils _rebuild_tensor_v2", (Storage() as storage, offset, shape, stride, _, _, *rest):
                return _stored(storage, storage.dtype, offset, shape, stride, *rest)
            case "torch._utils _rebuild_tensor_v3", (
                Storage() as storage, offset, shape, stride, _, _, Name() as dtype, *rest,
            ):  # fmt: skip
                return _stored(storage, _DTYPES.get(dtype.text), offset, shape, stride, *rest)
            case "torch._utils _rebuild_parameter" | "torch._utils _rebuild_parameter_with_state", (tensor, *_):
                return tensor
            case "torch.nn.parameter Parameter" | "torch.nn.parameter Buffer", (tensor, *_):
                return tensor
            case "torch._tensor _rebuild_from_type_v2", (Name() as inner, _, tuple() as inputs, _):
                return self.call(inner, inputs)
            case "torch.storage _load_from_bytes", _:
                raise WeightsMismatch(
                    f"{self._path} is a plain pickle of tensors, not a file of torch.save, and is not read; save them "
                    f"with torch.save or safetensors"
                )
            case text, _ if text in _UNREADABLE:
                return StoredTensor(None, torch.uint8, (), (), 0, _UNREADABLE[text])
            case text, _ if text in _INERT or module in _INERT_MODULES or module == "numpy.dtypes":
                return Bystander(str(function))
        raise WeightsUnsafe(
            f"{self._path} must hold tensors only, but wants to run code; nothing of it was run. It calls {function}. "
            f"Save its state_dict() with safetensors where you trust it"
        )


def _stored(
    storage: Storage, dtype: torch.dtype | None, offset: object, shape: object, stride: object, *rest: object
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
