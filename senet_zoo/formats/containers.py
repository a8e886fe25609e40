"""Files of tensors of any kind that other libraries write, opened without running anything that is in them.

What `senet_zoo.load_checkpoint` and ``senet-zoo convert`` read; `senet_zoo.create_model` opens safetensors files only.
A reader is chosen by a file's first bytes, or by its suffix where those say nothing.
"""

import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from torch import Tensor

from senet_zoo.errors import WeightsCorrupted, WeightsMismatch, WeightsNotFound, WeightsUnavailable, WeightsUnsafe
from senet_zoo.formats import keras, mxnet, safetensors, shards
from senet_zoo.formats.caffe import read_caffe
from senet_zoo.formats.dialects import Dialect
from senet_zoo.formats.dialects.caffe import CAFFE
from senet_zoo.formats.dialects.paddle import PADDLE
from senet_zoo.formats.keras import read_keras
from senet_zoo.formats.mxnet import read_params
from senet_zoo.formats.paddle import read_paddle
from senet_zoo.formats.pickles import Bystander
from senet_zoo.formats.prefixes import select
from senet_zoo.formats.torch_pickle import StoredTensor
from senet_zoo.formats.torch_save import MOST_BYTES, SavedFile, read_torch
from senet_zoo.support.files import FileState

__all__ = ["MOST_BYTES", "Contents", "read_container"]

_MOST_DEPTH = 4
_MASKED = ("_orig", "_mask")  # of torch.nn.utils.prune
_OTHERS = {
    "a model of Keras 3": (b"", (".keras",)),
    "an ONNX graph": (b"", (".onnx",)),
    "a TensorFlow Lite model": (b"", (".tflite",)),
    "a file of msgpack, as Flax writes it": (b"", (".msgpack",)),
    "a file of Lua Torch": (b"", (".t7",)),
    "a TensorFlow graph": (b"", (".pb",)),
    "a GGUF file": (b"GGUF", (".gguf",)),
    "a NumPy array": (b"\x93NUMPY", (".npy",)),
    "a checkpoint of TensorFlow or MindSpore": (b"", (".ckpt", ".index", ".meta")),
    "packed by gzip": (b"\x1f\x8b", ()),
    "packed by xz": (b"\xfd7zXZ", ()),
    "packed by 7z": (b"7z\xbc\xaf", ()),
    "packed by zstd": (b"\x28\xb5\x2f\xfd", ()),
}
"""Kinds that are not read, by first bytes and suffixes; the first bytes are asked first."""
_READ = (
    "safetensors, an index of shards, torch.save (.pth, .pt, .bin, .ckpt, .pkl, .tar, .pth.zip), "
    ".pdparams, .params, .h5, .caffemodel"
)


@dataclass(frozen=True)
class Contents:
    """What a file holds.

    Args:
        tensors: of the network, on the CPU, under the file's names without the prefixes of wrappers.
        metadata: of a safetensors file, its header's; of others, what their kind settles, in the same form.
        dialect: how the tensors are named; None where no dialect knows them all.
        state: what a safetensors file was like when it was read; None for other kinds.
    """

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    dialect: Dialect | None = None
    state: FileState | None = None


def read_container(path: Path, prefix: str | None = None) -> Contents:
    """The network's tensors in a file of safetensors, ``torch.save`` (plain, wrapped, zipped) or another framework.

    An index of shards (``model.safetensors.index.json``) stands for all of them.

    Args:
        path: of the file.
        prefix: with which the names of the network's tensors start; None to find it.

    Raises:
        WeightsNotFound: there is no file.
        WeightsUnavailable: the system does not let it be read.
        WeightsCorrupted: it is damaged, or no file of tensors.
        WeightsUnsafe: it wants to run code, or is larger than any network's weights; nothing of it was run.
        WeightsMismatch: what it holds are no tensors by name, or it is of a kind that is not read.
        UsageError: no name starts with the prefix, or the file holds two networks.
    """
    _require_file(path)
    if path.name.endswith(shards.SUFFIX):
        return _joined(path, prefix)
    shards.require_whole(path)
    start = _start(path)
    by_suffix = SUFFIXES.get(path.suffix.lower())
    if by_suffix is not None:
        return by_suffix(path)
    by_start = next((read for magic, read in _MAGICS.items() if start.startswith(magic)), None)
    if by_start is not None:
        return by_start(path)
    if start[:2] == b"PK" or (start[:1] == b"\x80" and not _is_safetensors(start)):
        with read_torch(path) as saved:
            return _of_saved(saved, _by_name(saved.content, path), prefix)
    _require_known_kind(path, start)
    header = safetensors.check(path)
    chosen = select(header.tensors, prefix)
    tensors = safetensors.read(path, header, chosen.names.keys())
    named = {short: tensors[name] for name, short in chosen.names.items()}
    return Contents(named, header.metadata, chosen.dialect, header.state)


def _require_file(path: Path) -> None:
    """Refuse what is no ordinary file, before it is opened: a pipe has no end."""
    try:
        status = path.stat()
    except FileNotFoundError as e:
        raise WeightsNotFound(f"weights must be an existing file, but there is no {path}") from e
    except OSError as e:
        raise _unreadable(path, e) from e
    if stat.S_ISDIR(status.st_mode):
        inside = sorted(path.glob(f"*{shards.SUFFIX}")) or sorted(path.glob("*.safetensors"))
        hint = f", such as {inside[0]}" if inside else ""
        raise WeightsNotFound(f"weights must be one file, but {path} is a folder; name the file inside{hint}")
    if not stat.S_ISREG(status.st_mode):
        raise WeightsUnsafe(f"weights must be an ordinary file, but {path} is a pipe or a device; it is not opened")
    if status.st_size > MOST_BYTES:
        raise WeightsUnsafe(
            f"a file may have {MOST_BYTES} bytes at most, but {path} has {status.st_size}; it is not opened"
        )


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError as e:
        raise _unreadable(path, e) from e


def _is_safetensors(start: bytes) -> bool:
    return start[4:9] == b"\0\0\0\0{"  # the length of a header may begin as a pickle does


def _unreadable(path: Path, error: OSError) -> WeightsUnavailable:
    return WeightsUnavailable(f"{path} cannot be read: {error.strerror}; check the file's permissions and its disk")


def _require_known_kind(path: Path, start: bytes) -> None:
    suffix = path.suffix.lower()
    kind = next((kind for kind, (magic, _) in _OTHERS.items() if magic and start.startswith(magic)), None)
    if kind is None and not _is_safetensors(start) and start.lstrip()[:1] != b"<" and start:
        kind = next((kind for kind, (_, suffixes) in _OTHERS.items() if suffix in suffixes), None)
    if kind is not None:
        raise WeightsMismatch(
            f"{path} is {kind}, which is not read. Load it with its own library and save the tensors in one of: {_READ}"
        )
    told_elsewhere = len(start) < 16 or start.lstrip()[:1] == b"<" or start.startswith(b"version ")
    if not told_elsewhere and not _is_safetensors(start):
        raise WeightsCorrupted(
            f"{path} starts with {start[:12]!r}, which is none of: {_READ}. Name the right file, or fetch it again"
        )


def _joined(index: Path, prefix: str | None) -> Contents:
    """All shards of an index as one file."""
    places = shards.read_index(index)
    for shard in places:
        _require_file(shard)
    total = sum(shard.stat().st_size for shard in places)
    if total > MOST_BYTES:
        raise WeightsUnsafe(f"shards may have {MOST_BYTES} bytes at most, those of {index} have {total}")
    headers = {shard: safetensors.check(shard) for shard in places if _start(shard)[:2] != b"PK"}
    with ExitStack() as opened:
        saved = {shard: opened.enter_context(read_torch(shard)) for shard in places if shard not in headers}
        return _of_shards(index, places, headers, saved, prefix)


def _of_shards(
    index: Path,
    places: Mapping[Path, Sequence[str]],
    headers: Mapping[Path, safetensors.Header],
    saved: Mapping[Path, SavedFile],
    prefix: str | None,
) -> Contents:
    found = {shard: set(header.tensors) for shard, header in headers.items()}
    stored = {shard: _by_name(each.content, shard) for shard, each in saved.items()}
    found |= {shard: set(each) for shard, each in stored.items()}
    for shard, names in places.items():
        lacking = sorted(set(names) - found[shard])
        if lacking:
            raise WeightsCorrupted(f"{shard} must hold {lacking[0][:80]!r}, as {index} says; fetch it again")
    chosen = select([name for names in places.values() for name in names], prefix)
    tensors: dict[str, Tensor] = {}
    for shard, names in places.items():
        wanted = [name for name in names if name in chosen.names]
        if shard in headers:
            tensors |= safetensors.read(shard, headers[shard], wanted)
        else:
            tensors |= saved[shard].read({name: stored[shard][name] for name in wanted})
    return Contents({short: tensors[name] for name, short in chosen.names.items()}, dialect=chosen.dialect)


def _caffe(path: Path) -> Contents:
    tensors, metadata = read_caffe(path)
    return Contents(tensors, metadata.texts(), CAFFE)


def _paddle(path: Path) -> Contents:
    return Contents(read_paddle(path), dialect=PADDLE)


def _mxnet(path: Path) -> Contents:
    return Contents(read_params(path))


def _keras(path: Path) -> Contents:
    return Contents(read_keras(path))


SUFFIXES: Mapping[str, Callable[[Path], Contents]] = MappingProxyType(
    {".caffemodel": _caffe, ".pdparams": _paddle, ".params": _mxnet, ".h5": _keras, ".hdf5": _keras}
)
"""Readers of kinds of file that the first bytes do not tell apart, by lower-case suffix."""


_MAGICS: Mapping[bytes, Callable[[Path], Contents]] = MappingProxyType({mxnet.MAGIC: _mxnet, keras.MAGIC: _keras})


def _of_saved(saved: SavedFile, stored: Mapping[str, StoredTensor], prefix: str | None) -> Contents:
    orig, mask = _MASKED
    masks = {
        name.removesuffix(orig): name.removesuffix(orig) + mask
        for name in stored
        if name.endswith(orig) and name.removesuffix(orig) + mask in stored
    }
    places = {name: name for name in stored if name not in masks.values()}
    places = {name.removesuffix(orig) if name.removesuffix(orig) in masks else name: name for name in places}
    chosen = select(places, prefix)
    tensors = saved.read({name: stored[places[name]] for name in chosen.names})
    pruned = {name: mask for name, mask in masks.items() if name in tensors}
    for name, values in saved.read({name: stored[mask] for name, mask in pruned.items()}).items():
        if values.shape != tensors[name].shape:
            raise WeightsMismatch(f"the mask of {name[:80]} in {saved.path} has another shape; apply prune.remove")
        tensors[name] = tensors[name] * values
    return Contents({short: tensors[name] for name, short in chosen.names.items()}, dialect=chosen.dialect)


def _by_name(content: object, path: Path) -> dict[str, StoredTensor]:
    """All tensors under dotted names, those inside of other dictionaries too."""
    found: dict[str, StoredTensor] = {}
    networks: list[str] = []
    level, steps = [("", content)], 0
    for _ in range(_MOST_DEPTH):
        below: list[tuple[str, object]] = []
        for name, value in level:
            if isinstance(value, Bystander):
                networks += [value.kind] if not value.pairs else []
                value = value.pairs  # a class of dictionaries, such as addict's
            if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
                continue
            count = sum(isinstance(each, StoredTensor) for each in value.values())
            steps += len(value)
            if count > safetensors.MOST_TENSORS or steps > 8 * safetensors.MOST_TENSORS:
                raise WeightsUnsafe(
                    f"a file may hold {safetensors.MOST_TENSORS} tensors at most, {path} has {max(count, steps)}; it "
                    f"is not used: save the network's state_dict() alone"
                )
            for key, each in value.items():
                if isinstance(each, StoredTensor):
                    if f"{name}{key}" in found:
                        raise WeightsMismatch(f"{path} holds two tensors of the name {name[:80]}{key[:80]}; save one")
                    found[f"{name}{key}"] = each
                else:
                    below.append((f"{name}{key}.", each))
        level = below
    if found:
        return found
    whole = next((kind for kind in networks if kind.rpartition(".")[2] != "Namespace"), None)
    if whole is not None and whole.startswith("numpy"):
        raise WeightsMismatch(
            f"{path} must hold tensors by name, but holds arrays of NumPy; save {{name: torch.from_numpy(array)}} with "
            f"torch.save or safetensors"
        )
    if whole is not None:
        raise WeightsUnsafe(
            f"{path} must hold tensors by name, but holds a whole {whole}, whose code would have to run; nothing of it "
            f"was run. Where you trust it, load it with its own library and save its state_dict() with safetensors"
        )
    held = [str(key)[:80] for key in [*content][:5]] if isinstance(content, Mapping) else type(content).__name__
    raise WeightsMismatch(f"{path} must hold tensors by name; it holds {held}. Save the network's state_dict() alone")
