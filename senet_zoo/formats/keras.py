"""Keras' ``.h5`` of qubvel's classification_models, read without Keras: its SE networks under names of their own.

Keras numbers layers as they are made and gives them no names: ``conv2d``, ``conv2d_1``, ``batch_normalization``. Which
layer is which follows from their order and shapes: a stem, then units of 1x1, 3x3 (one layer a group), 1x1, a
convolution on the shortcut where shapes change, and a gate, whose convolutions alone have biases.

Kernels lie as (height, width, in, out) and become (out, in, height, width); those of the groups of one convolution are
joined. A file may hold the weights alone, or the whole model.

Source: https://github.com/qubvel/classification_models, classification_models/models/senet.py and _common_blocks.py;
Keras 2, ``save_weights_to_hdf5_group``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from senet_zoo.errors import UsageError, WeightsCorrupted, WeightsMismatch, WeightsUnsafe
from senet_zoo.formats.safetensors import MOST_DIMENSIONS, MOST_TENSORS
from senet_zoo.support.files import open_file

if TYPE_CHECKING:
    from collections.abc import Mapping

MAGIC = b"\x89HDF\r\n\x1a\n"
_MOST_DEPTH = 8
_LAYER = re.compile(r"(?P<kind>conv2d|batch_normalization|dense)(?:_v\d)?(?:_(?P<number>\d{1,6}))?")
_LEAVES = ("gamma", "beta", "moving_mean", "moving_variance")
_NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass
class _Layer:
    """A layer with its values by their last names: kernel, bias, gamma, ..."""

    number: int
    values: dict[str, Tensor] = field(default_factory=dict)


def read_keras(path: Path) -> dict[str, Tensor]:
    """The tensors of an SE network, on the CPU, named ``seresnet.layer1.0.conv1.weight``, ``seresnext.``...

    Raises:
        UsageError: h5py is not installed.
        WeightsNotFound: there is no file.
        WeightsUnavailable: the system does not let it be read.
        WeightsCorrupted: truncated, or no HDF5.
        WeightsUnsafe: it holds links, filters or more values than its size allows.
        WeightsMismatch: it holds another network.
    """
    layers: dict[str, dict[int, _Layer]] = {"conv2d": {}, "batch_normalization": {}, "dense": {}}
    for name, tensor in _read_values(path).items():
        *parents, leaf = name.split("/")
        match = next((found for each in reversed(parents) if (found := _LAYER.fullmatch(each))), None)
        if match is None:
            raise _other_network(path, f"it has a layer {name[:80]!r}")
        layer = layers[match["kind"]].setdefault(number := int(match["number"] or 0), _Layer(number))
        leaf = leaf.partition(":")[0]
        if leaf in layer.values:
            raise WeightsCorrupted(f"{path} holds two values of {name[:80]!r}; fetch it again")
        layer.values[leaf] = tensor
    ordered = {kind: [each[number] for number in sorted(each)] for kind, each in layers.items()}
    try:
        return _assemble(ordered["conv2d"], ordered["batch_normalization"], ordered["dense"])
    except (KeyError, IndexError, StopIteration, ValueError, RuntimeError) as e:
        raise _other_network(path, f"its layers follow in another order ({type(e).__name__}: {str(e)[:80]})") from e


def _other_network(path: Path, why: str) -> WeightsMismatch:
    return WeightsMismatch(
        f"of Keras' networks, SE-ResNet-50 to 152, SE-ResNeXt and SENet-154 of qubvel's classification_models are "
        f"read, and {path} is another: {why}. Load it with its own library and save the tensors by name"
    )


def _assemble(convs: list[_Layer], norms: list[_Layer], dense: list[_Layer]) -> dict[str, Tensor]:
    """The tensors in the order in which that code makes the layers."""
    named: dict[str, Tensor] = {}
    grouped = False
    left, others = iter(convs), iter(norms)
    conv = next(left)

    def put(name: str, kernel: Tensor) -> None:
        named[f"{name}.weight"] = kernel

    def put_norm(name: str) -> None:
        norm = next(others)
        for leaf, ours in zip(_LEAVES, _NORM, strict=True):
            named[f"{name}.{ours}"] = norm.values.pop(leaf)
        _require(not norm.values, "a batch norm has other values")

    depth = 3 if conv.values["kernel"].shape[:2] == (3, 3) else 1
    for n in range(1, depth + 1):
        put(f"layer0.conv{n}", _kernel(conv))
        put_norm(f"layer0.bn{n}")
        conv = next(left)
    stage, unit = 0, -1
    rest: _Layer | None = conv
    while rest is not None:
        reduce, conv = _kernel(rest), next(left)
        middle = []
        while conv.values["kernel"].shape[0] == 3:
            middle.append(_kernel(conv))
            conv = next(left)
        grouped = grouped or len(middle) > 1
        increase, conv = _kernel(conv), next(left)
        shortcut = None
        if "bias" not in conv.values:
            shortcut, conv = _kernel(conv), next(left)
            stage, unit = stage + 1, -1
        unit += 1
        name = f"layer{stage}.{unit}"
        for n, kernel in enumerate((reduce, torch.cat(middle), increase), 1):
            put(f"{name}.conv{n}", kernel)
            put_norm(f"{name}.bn{n}")
        if shortcut is not None:
            put(f"{name}.downsample.0", shortcut)
            put_norm(f"{name}.downsample.1")
        for n, layer in enumerate((conv, next(left)), 1):
            named[f"{name}.se_module.fc{n}.bias"] = layer.values.pop("bias")
            put(f"{name}.se_module.fc{n}", _kernel(layer))
        rest = next(left, None)
    _require(next(others, None) is None, "there are more batch norms than convolutions before them")
    _require(len(dense) <= 1, "there are several fully connected layers")
    for layer in dense:
        named |= {
            "last_linear.weight": layer.values["kernel"].t().contiguous(),
            "last_linear.bias": layer.values["bias"],
        }
    kind = "seresnext" if grouped else "seresnet"
    return {f"{kind}.{name}": tensor for name, tensor in named.items()}


def _kernel(layer: _Layer) -> Tensor:
    kernel = layer.values.pop("kernel")
    _require(kernel.ndim == 4 and not layer.values, "a convolution has other values")
    return kernel.permute(3, 2, 0, 1).contiguous()


def _require(holds: bool, why: str) -> None:
    if not holds:
        raise ValueError(why)


def _read_values(path: Path) -> "Mapping[str, Tensor]":
    """The values of every data set, by its path."""
    try:
        import h5py
    except ImportError as error:
        raise UsageError(
            f"a .h5 file needs h5py, which is missing ({error}): pip install 'senet-zoo[keras]'"
        ) from error
    with open_file(path, "an .h5 file of Keras") as file:
        size = file.seek(0, 2)
        file.seek(0)
        try:
            with h5py.File(file, "r") as opened:
                root = opened.get("model_weights", opened)
                values, held = {}, 0
                for name, dataset in _datasets(root, h5py, path):
                    held += dataset.size * dataset.dtype.itemsize
                    if held > size:
                        raise WeightsUnsafe(f"{path} claims more bytes of values than it has; it is not read on")
                    values[name] = torch.from_numpy(dataset[()]).float()
        except (WeightsUnsafe, WeightsCorrupted):
            raise
        except Exception as e:  # HDF5 and h5py raise what they please for the bytes of strangers
            raise WeightsCorrupted(
                f"{path} must be a whole HDF5 file, but {type(e).__name__}: {str(e)[:200]}; it is truncated or "
                f"damaged: get a whole copy"
            ) from e
    if not values:
        raise WeightsCorrupted(f"{path} holds no weights; save them with Keras' save_weights")
    return values


def _datasets(root: Any, h5py: Any, path: Path) -> Iterator[tuple[str, Any]]:
    pending, seen = [("", root, 0)], 0
    while pending:
        place, group, depth = pending.pop()
        for name in group:
            seen += 1
            if seen > 8 * MOST_TENSORS or depth > _MOST_DEPTH:
                raise WeightsUnsafe(f"{path} holds more groups than a network has layers; it is not read on")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise WeightsUnsafe(f"{path} links {name[:80]!r} to elsewhere; it is not followed")
            found, full = group[name], f"{place}{name}"
            if isinstance(found, h5py.Group):
                pending.append((f"{full}/", found, depth + 1))
                continue
            if found.compression or found.external or found.is_virtual or found.chunks:
                raise WeightsUnsafe(f"{full[:80]!r} of {path} is compressed or lies elsewhere; save it plainly")
            if found.dtype.kind != "f" or not 1 <= found.ndim <= MOST_DIMENSIONS:
                raise WeightsCorrupted(f"{full[:80]!r} of {path} must be an array of floating-point numbers")
            yield full, found
