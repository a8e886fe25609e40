"""Caffe's ``.caffemodel``, read without Caffe, and the SENet authors' networks turned into what PyTorch expects.

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

Besides the names of layers (`senet_zoo.formats.dialects.caffe`), two things differ from our networks:

- Pictures. The authors' take BGR pixels from 0 to 255 minus a mean. Caffe pads the first convolution with zeros after
  the mean was subtracted, and so do we; with another mean the difference is a constant that the first batch norm could
  absorb inside the picture, but not at its border. `PREPROCESSING` therefore has the authors' mean,
  (123, 117, 104) / 255, and ImageNet's standard deviation. Their pixel is our value times 255 * std, a factor of each
  channel that goes into the filters. ImageNet's usual mean is up to 0.72 grey levels away.
- Classes. They stand in the order of ILSVRC-2017's development kit, counted from 0: ``ilsvrc2017_synsets.txt`` has
  their WordNet ids, one a line.

Source: ``src/caffe/proto/caffe.proto``, ``batch_norm_layer.cpp`` and ``scale_layer.cpp`` of
https://github.com/BVLC/caffe; the prototxt files of https://github.com/hujie-frank/SENet (mean), its README (crop and
resize), and issues 53, 63 and 90 there. The order of classes is what ``ILSVRC2017_val.txt`` there says of each of the
50,000 pictures whose WordNet ids are known, and that of the kit's ``map_clsloc.txt``.
https://github.com/albanie/mcnSENets took the same order from that file and measured the authors' accuracy with it:
22.30 % top-1 error of SE-ResNet-50, where they say 22.37 %, and 24.16 % of SE-BN-Inception, where they say 23.62 %.
"""

import logging
import struct
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import WeightsMismatch, WeightsUnsafe
from senet_zoo.formats.dialects.caffe import FIRST, RGB
from senet_zoo.formats.metadata import FileMetadata
from senet_zoo.formats.protobuf import Field, Wire, WireReader
from senet_zoo.formats.safetensors import MOST_DIMENSIONS, MOST_TENSORS
from senet_zoo.support.files import read_whole

PREPROCESSING = Preprocessing(size=224, resize=256, mean=(123 / 255, 117 / 255, 104 / 255))
"""How a picture becomes the input of the authors' networks once `take_rgb` has turned them."""

TORCH_EPS = 1e-5
_V1_TYPES = {4: "Convolution", 14: "InnerProduct"}
_ROLES = {
    "Convolution": ("weight", "bias"),
    "InnerProduct": ("weight", "bias"),
    "Scale": ("weight", "bias"),
    "BatchNorm": ("running_mean", "running_var", "factor"),
}

_log = logging.getLogger("senet_zoo")


class CaffeLayer(NamedTuple):
    """A layer that has learnt values, float32 in Caffe's order and shapes.

    Its kind is its type, such as ``Convolution``; empty for a type of old files that our networks do not have.
    """

    name: str
    kind: str
    blobs: list[Tensor]
    eps: float


def read_caffemodel(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.caffemodel``, float32, on the CPU, named ``LAYER.weight``, ``LAYER.bias`` and so on.

    Caffe's batch norm keeps sums and their weight; here it has ``running_mean`` and ``running_var``, for a network that
    adds 1e-5 to the variance. Its scale and shift belong to the Scale layer behind it, under that layer's name.
    Channels and classes stay in the file's order. Blobs of other types of layer are numbered: ``LAYER.0``.

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


def _by_role(layer: CaffeLayer, reader: WireReader) -> dict[str, Tensor]:
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


def _statistics(layer: CaffeLayer, blobs: dict[str, Tensor], reader: WireReader) -> dict[str, Tensor]:
    if blobs["factor"].numel() != 1:
        raise reader.corrupted(f"batch norm {layer.name[:80]!r} must have one factor, not {blobs['factor'].numel()}")
    factor = blobs["factor"].item()
    share = 0.0 if factor == 0 else 1 / factor  # Caffe's own rule: nothing was summed yet
    excess = layer.eps - TORCH_EPS
    return {
        "running_mean": (blobs["running_mean"].flatten().double() * share).float(),
        "running_var": (blobs["running_var"].flatten().double() * share + excess).float(),
    }


def _layers(net: memoryview, reader: WireReader, path: Path) -> Iterator[CaffeLayer]:
    blobs = 0
    for field in reader.fields(net):
        if field.number not in (2, 100):
            continue
        layer = _layer(reader.message(field), reader, path, MOST_TENSORS - blobs, first=field.number == 2)
        blobs += len(layer.blobs)
        if layer.blobs:
            yield layer


def _layer(message: memoryview, reader: WireReader, path: Path, most: int, first: bool) -> CaffeLayer:
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
    return CaffeLayer(name, kind, blobs, eps)


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


def read_caffe(path: Path) -> tuple[dict[str, Tensor], FileMetadata]:
    """The tensors of a .caffemodel for RGB pictures and with classes in the usual order, and what is known of them.

    A classifier of 1000 classes is the authors'. Other files do not say what their classes are or which mean was
    subtracted: classes stay in their order, and the user gives the mean.

    Raises:
        WeightsMismatch: it holds another network.
        WeightsError: as of `read_caffemodel`.
    """
    tensors = take_rgb(read_caffemodel(path))
    classes = tensors["classifier.weight"].shape[:1] if "classifier.weight" in tensors else None
    if classes == (len(synsets()),):
        return usual_label_order(tensors), FileMetadata(PREPROCESSING, labels="imagenet-1k")
    _log.warning(
        "%s has not the authors' %d classes: they stay in their order, and pictures go in as RGB from 0 to 1 minus the "
        "mean of their training / 255, divided by %s",
        path,
        len(synsets()),
        PREPROCESSING.std,
    )
    return tensors, FileMetadata()


def take_rgb(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same network for RGB pictures that went through `PREPROCESSING`, not BGR pixels minus their mean.

    The first filters get the suffix ``_rgb``. `CAFFE` knows no other name of theirs, so no file passes as it was.

    Raises:
        WeightsMismatch: there is no first convolution over three channels.
    """
    found = [name for name in FIRST if name in tensors]
    first = found[0] if found else ""
    if len(found) != 1 or tensors[first].ndim != 4 or tensors[first].shape[1] != 3:
        raise WeightsMismatch(
            f"a .caffemodel of the authors' networks has filters over three channels, named {' or '.join(FIRST)}; of "
            f"these, the file has {len(found)}. Give SE-ResNet, SE-ResNeXt, SENet-154 or SE-BN-Inception"
        )
    scale = 255 * torch.tensor(PREPROCESSING.std, dtype=torch.float64)
    weight = (tensors[first].flip(1).double() * scale[:, None, None]).float()
    return {
        name + RGB if name == first else name: weight if name == first else value for name, value in tensors.items()
    }


def usual_label_order(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same network with the authors' 1000 classes in the usual order of ImageNet-1k, that of sorted WordNet ids."""
    order = synsets()
    rows = torch.tensor(sorted(range(len(order)), key=lambda index: order[index]))
    return {
        name: value[rows] if name.startswith("classifier.") and value.shape[:1] == rows.shape else value
        for name, value in tensors.items()
    }


def synsets() -> tuple[str, ...]:
    """WordNet id of each of the authors' logits, first to last."""
    return tuple(Path(__file__).with_name("ilsvrc2017_synsets.txt").read_text(encoding="ascii").split())
