"""Caffe's ``.caffemodel``, read without Caffe: the learnt values of every layer, as PyTorch would hold them.

The file is a protobuf message, NetParameter: layers, each with a name, a type and blobs of numbers.

=================  ==========================================================================================
message            fields that are read
=================  ==========================================================================================
NetParameter       layer (100), or layers (2) of files before 2014
LayerParameter     name (1), type (2), blobs (7), batch_norm_param (139)
V1LayerParameter   name (4), type as a number (5), blobs (6)
BlobProto          shape (7), or num, channels, height, width (1 to 4); data (5) or double_data (8)
BlobShape          dim (1)
BatchNormParameter eps (3)
=================  ==========================================================================================

Source: ``src/caffe/proto/caffe.proto`` of https://github.com/BVLC/caffe; what the layers do with their blobs:
``batch_norm_layer.cpp`` and ``scale_layer.cpp`` there.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from senet_zoo.errors import WeightsUnsafe
from senet_zoo.hub.protobuf import Field, Wire, WireReader
from senet_zoo.hub.tensor_files import MOST_DIMENSIONS, MOST_TENSORS
from senet_zoo.hub.whole_file import read_whole

TORCH_EPS = 1e-5
_V1_TYPES = {4: "Convolution", 14: "InnerProduct"}
_ROLES = {
    "Convolution": ("weight", "bias"),
    "InnerProduct": ("weight", "bias"),
    "Scale": ("weight", "bias"),
    "BatchNorm": ("running_mean", "running_var", "factor"),
}


@dataclass(frozen=True)
class Layer:
    """A layer that has learnt values.

    Args:
        name: as in the prototxt.
        kind: its type, such as ``Convolution``; empty for a type of old files that has no part in our networks.
        blobs: its values, in Caffe's order and shapes, float32.
        eps: what its batch normalisation adds to the variance.
    """

    name: str
    kind: str
    blobs: tuple[Tensor, ...]
    eps: float


def read_caffemodel(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.caffemodel``, float32, on the CPU, named ``LAYER.weight``, ``LAYER.bias`` and so on.

    A batch norm keeps its sums and their weight; the tensors here are ``running_mean`` and ``running_var`` as PyTorch
    means them, for a network that adds 1e-5 to the variance. Its scale and shift are the ``weight`` and ``bias`` of the
    Scale layer behind it, under that layer's name. Channels of pictures and classes stay in the file's order: BGR as a
    rule. Blobs of types of layer that this does not know are numbered: ``LAYER.0``.

    Raises:
        WeightsNotFound: there is no file.
        WeightsUnavailable: the system does not let it be read.
        WeightsCorrupted: truncated, or not a .caffemodel.
        WeightsUnsafe: more fields or tensors than a network has.
    """
    reader = WireReader(path)
    tensors: dict[str, Tensor] = {}
    for layer in _layers(memoryview(read_whole(path, "a .caffemodel file")), reader, path):
        for role, tensor in _by_role(layer, reader).items():
            name = f"{layer.name}.{role}"
            if name in tensors:
                raise reader.corrupted(f"layer {layer.name[:80]!r} stands twice")
            tensors[name] = tensor
    if not tensors:
        raise reader.corrupted("it holds no layer with learnt values")
    return tensors


def _by_role(layer: Layer, reader: WireReader) -> dict[str, Tensor]:
    roles = _ROLES.get(layer.kind, ())
    if not roles:
        return {str(index): blob for index, blob in enumerate(layer.blobs)}
    if len(layer.blobs) > len(roles) or (layer.kind == "BatchNorm" and len(layer.blobs) != len(roles)):
        raise reader.corrupted(f"{layer.kind} {layer.name[:80]!r} has {len(layer.blobs)} blobs")
    blobs = dict(zip(roles, layer.blobs, strict=False))
    if layer.kind == "BatchNorm":
        return _statistics(layer, blobs, reader)
    if layer.kind == "InnerProduct" and prod(blobs["weight"].shape[:-2]) == 1:  # (1, 1, out, in) in old files
        blobs["weight"] = blobs["weight"].reshape(blobs["weight"].shape[-2:])
    return {role: blob.flatten() if role == "bias" else blob for role, blob in blobs.items()}


def _statistics(layer: Layer, blobs: dict[str, Tensor], reader: WireReader) -> dict[str, Tensor]:
    if blobs["factor"].numel() != 1:
        raise reader.corrupted(f"batch norm {layer.name[:80]!r} must have one factor, not {blobs['factor'].numel()}")
    factor = blobs["factor"].item()
    share = 0.0 if factor == 0 else 1 / factor  # Caffe's own rule: nothing was summed yet
    excess = layer.eps - TORCH_EPS
    return {
        "running_mean": (blobs["running_mean"].flatten().double() * share).float(),
        "running_var": (blobs["running_var"].flatten().double() * share + excess).float(),
    }


def _layers(net: memoryview, reader: WireReader, path: Path) -> Iterator[Layer]:
    blobs = 0
    for field in reader.fields(net):
        if field.number not in (2, 100):
            continue
        layer = _layer(reader.message(field), reader, path, MOST_TENSORS - blobs, first=field.number == 2)
        blobs += len(layer.blobs)
        if layer.blobs:
            yield layer


def _layer(message: memoryview, reader: WireReader, path: Path, most: int, first: bool) -> Layer:
    """A layer of the present form, or of the first one (V1)."""
    name, kind, eps = "", "", TORCH_EPS
    blobs: list[Tensor] = []
    name_field, kind_field, blobs_field = (4, 5, 6) if first else (1, 2, 7)
    for field in reader.fields(message):
        if field.number == name_field:
            name = reader.text(field)
        elif field.number == kind_field:
            kind = _V1_TYPES.get(field.number_value, "") if first else reader.text(field)
        elif field.number == blobs_field:
            if len(blobs) == most:
                raise WeightsUnsafe(f"a file may hold {MOST_TENSORS} blobs at most, {path} has more; it is not read on")
            blobs.append(_blob(reader.message(field), name, reader))
        elif field.number == 139 and not first:
            eps = _eps(reader.message(field), reader)
    return Layer(name, kind, tuple(blobs), eps)


def _eps(message: memoryview, reader: WireReader) -> float:
    eps = TORCH_EPS
    for field in reader.fields(message):
        if field.number == 3 and field.wire is Wire.FIXED32:
            (eps,) = struct.unpack("<f", field.data)
    if not 0 <= eps < 1:
        raise reader.corrupted(f"a batch norm adds {eps} to the variance")
    # The float32 next to 1e-5 stands for 1e-5.
    return TORCH_EPS if abs(eps - TORCH_EPS) < 1e-12 else eps


def _blob(message: memoryview, layer: str, reader: WireReader) -> Tensor:
    shape: list[int] = []
    sides: dict[int, int] = {}
    singles: list[memoryview] = []
    doubles: list[memoryview] = []
    for field in reader.fields(message):
        if field.number == 7:
            _extend(shape, reader.message(field), reader)
        elif field.number in (1, 2, 3, 4) and field.wire is Wire.VARINT:
            sides[field.number] = field.number_value
        elif field.number == 5:
            singles.append(_numbers(field, Wire.FIXED32, reader))
        elif field.number == 8:
            doubles.append(_numbers(field, Wire.FIXED64, reader))
    if sides and not shape:
        shape = [sides.get(number, 0) for number in (1, 2, 3, 4)]
    width = 8 if doubles else 4
    held = sum(map(len, doubles or singles))
    if held == 0 or held != prod(shape) * width:
        raise reader.corrupted(f"a blob of layer {layer[:80]!r} has shape {shape}, but {held / width:g} values")
    data = bytearray().join(doubles or singles)
    return torch.frombuffer(data, dtype=torch.float64 if doubles else torch.float32).float().reshape(shape)


def _extend(shape: list[int], message: memoryview, reader: WireReader) -> None:
    for field in reader.fields(message):
        if field.number != 1:
            continue
        for side in reader.whole_numbers(field):
            shape.append(side)
            if len(shape) > MOST_DIMENSIONS:
                raise reader.corrupted(f"a blob has more than {MOST_DIMENSIONS} dimensions")


def _numbers(field: Field, unpacked: Wire, reader: WireReader) -> memoryview:
    """The bytes of a repeated fixed value, packed, as Caffe writes it, or not."""
    return field.data if field.wire is unpacked else reader.message(field)
