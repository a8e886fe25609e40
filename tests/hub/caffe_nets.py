"""The authors' Caffe networks without Caffe: their layers by name, a writer of .caffemodel files, and their arithmetic.

Nothing here comes from the package: layers are those of the prototxt files, as the reference lists them.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import gcd, prod

import torch
import torch.nn.functional as F
from torch import Tensor

Blobs = dict[str, tuple[str, list[Tensor]]]  # layer: type, blobs


@dataclass(frozen=True)
class CaffeNet:
    """A table of the paper, as the prototxt files lay it out."""

    stem: tuple[tuple[str, int, int, int], ...]  # name, channels, kernel, stride
    blocks: tuple[int, ...]
    reduce: int  # of the first stage; doubled at every stage
    width: int
    out: int
    groups: int = 1
    stride_in_reduce: bool = False
    wide_projection: int = 1  # kernel of the projections that halve the map
    classes: int = 1000

    def tiny(self) -> "CaffeNet":
        quarter = replace(self, reduce=self.reduce // 4, width=self.width // 4, out=self.out // 4, classes=10)
        return replace(
            quarter,
            stem=tuple((name, channels // 4, *rest) for name, channels, *rest in self.stem),
            blocks=tuple(min(count, 2) for count in self.blocks),
        )

    def groups_of(self, reduce: int, width: int) -> int:
        """Groups of a 3x3; fewer in tiny networks, where its channels do not suffice."""
        return gcd(self.groups, reduce, width)

    def units(self) -> Iterator[tuple[str, int, int, int, int, bool]]:
        """Name, reduce, width, out, stride, whether there is a projection."""
        for stage, count in enumerate(self.blocks):
            for block in range(count):
                first, times = block == 0, 2**stage
                stride = 2 if first and stage > 0 else 1
                yield (
                    f"conv{stage + 2}_{block + 1}",
                    self.reduce * times,
                    self.width * times,
                    self.out * times,
                    stride,
                    first,
                )

    def shapes(self) -> dict[str, tuple[str, list[tuple[int, ...]]]]:
        """Type and shapes of the blobs of every layer that has some."""
        layers: dict[str, tuple[str, list[tuple[int, ...]]]] = {}

        def conv(name: str, *shape: int) -> None:
            layers[name] = "Convolution", [shape]
            layers[f"{name}/bn"] = "BatchNorm", [(shape[0],), (shape[0],), (1,)]
            layers[f"{name}/bn/scale"] = "Scale", [(shape[0],), (shape[0],)]

        channels = 3
        for name, width, kernel, _ in self.stem:
            conv(name, width, channels, kernel, kernel)
            channels = width
        for name, reduce, width, out, stride, projected in self.units():
            conv(f"{name}_1x1_reduce", reduce, channels, 1, 1)
            conv(f"{name}_3x3", width, reduce // self.groups_of(reduce, width), 3, 3)
            conv(f"{name}_1x1_increase", out, width, 1, 1)
            layers[f"{name}_1x1_down"] = "Convolution", [(out // 16, out, 1, 1), (out // 16,)]
            layers[f"{name}_1x1_up"] = "Convolution", [(out, out // 16, 1, 1), (out,)]
            if projected:
                kernel = 1 if stride == 1 else self.wide_projection
                conv(f"{name}_1x1_proj", out, channels, kernel, kernel)
            channels = out
        layers["classifier"] = "InnerProduct", [(self.classes, channels), (self.classes,)]
        return layers

    def random(self, seed: int = 0) -> Blobs:
        """Weights under which every layer matters and no map explodes."""
        generator = torch.Generator().manual_seed(seed)

        def blob(kind: str, place: int, shape: tuple[int, ...]) -> Tensor:
            if kind == "BatchNorm":  # sums over 999 batches or so, and their weight
                values = torch.rand(shape, generator=generator)
                return [200 * values - 100, 999 * (0.5 + values), torch.full(shape, 999.98)][place]
            if kind == "Scale":
                return torch.rand(shape, generator=generator) * [1, 0.2][place] + [0.5, 0][place]
            std = (2 / prod(shape[1:])) ** 0.5 if place == 0 else 0.1
            return torch.randn(shape, generator=generator) * std

        layers = {
            name: (kind, [blob(kind, place, shape) for place, shape in enumerate(shapes)])
            for name, (kind, shapes) in self.shapes().items()
        }
        layers[self.stem[0][0]][1][0].div_(60)  # its pixels go from -123 to 151
        return layers

    def forward(self, layers: Blobs, pixels: Tensor) -> Tensor:
        """What Caffe computes. Shape: BGR pixels (N, 3, H, W) minus their mean -> (N, classes)."""

        def conv(name: str, x: Tensor, stride: int = 1, groups: int = 1, norm: bool = True) -> Tensor:
            weight, *bias = layers[name][1]
            y = F.conv2d(x, weight, *bias, stride=stride, padding=weight.shape[-1] // 2, groups=groups)
            if not norm:
                return y
            mean, variance, factor = layers[f"{name}/bn"][1]
            gamma, beta = (value[:, None, None] for value in layers[f"{name}/bn/scale"][1])
            mean, variance = ((value / factor)[:, None, None] for value in (mean, variance))
            return gamma * (y - mean) / (variance + 1e-5).sqrt() + beta

        x = pixels
        for name, _, _, stride in self.stem:
            x = conv(name, x, stride).relu()
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        for name, reduce, width, _, stride, projected in self.units():
            at_reduce, at_spatial = (stride, 1) if self.stride_in_reduce else (1, stride)
            y = conv(f"{name}_1x1_reduce", x, at_reduce).relu()
            y = conv(f"{name}_3x3", y, at_spatial, self.groups_of(reduce, width)).relu()
            y = conv(f"{name}_1x1_increase", y)
            scale = conv(f"{name}_1x1_down", y.mean((2, 3), keepdim=True), norm=False).relu()
            scale = conv(f"{name}_1x1_up", scale, norm=False).sigmoid()
            x = scale * y + (conv(f"{name}_1x1_proj", x, stride) if projected else x)
            x = x.relu()
        weight, bias = layers["classifier"][1]
        return x.mean((2, 3)) @ weight.T + bias


_SEVEN = (("conv1/7x7_s2", 64, 7, 2),)
_DEEP = (("conv1_1/3x3_s2", 64, 3, 2), ("conv1_2/3x3", 64, 3, 1), ("conv1_3/3x3", 128, 3, 1))
NETS = {
    "se_resnet50": CaffeNet(_SEVEN, (3, 4, 6, 3), 64, 64, 256, stride_in_reduce=True),
    "se_resnet101": CaffeNet(_SEVEN, (3, 4, 23, 3), 64, 64, 256, stride_in_reduce=True),
    "se_resnet152": CaffeNet(_SEVEN, (3, 8, 36, 3), 64, 64, 256, stride_in_reduce=True),
    "se_resnext50_32x4d": CaffeNet(_SEVEN, (3, 4, 6, 3), 128, 128, 256, groups=32),
    "se_resnext101_32x4d": CaffeNet(_SEVEN, (3, 4, 23, 3), 128, 128, 256, groups=32),
    "senet154": CaffeNet(_DEEP, (3, 8, 36, 3), 128, 256, 256, groups=64, wide_projection=3),
}


def varint(value: int) -> bytes:
    data = b""
    while value >= 0x80:
        data += bytes([value & 0x7F | 0x80])
        value >>= 7
    return data + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def data(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def packed(values: Tensor) -> bytes:
    letter = "d" if values.dtype == torch.float64 else "f"
    return struct.pack(f"<{values.numel()}{letter}", *values.flatten().tolist())


def blob(values: Tensor) -> bytes:
    """A BlobProto of the present form."""
    field = 8 if values.dtype == torch.float64 else 5
    return data(7, data(1, b"".join(map(varint, values.shape)))) + data(field, packed(values))


def old_blob(values: Tensor) -> bytes:
    """A BlobProto of before 2014: always four sides, the first ones 1."""
    sides = (1,) * (4 - values.ndim) + tuple(values.shape)
    return b"".join(number(place, side) for place, side in enumerate(sides, 1)) + data(5, packed(values))


def layer(name: str, kind: str, blobs: list[Tensor], more: bytes = b"") -> bytes:
    """A LayerParameter, as field 100 of a NetParameter."""
    content = data(1, name.encode()) + data(2, kind.encode()) + data(3, b"below") + data(4, name.encode())
    content += number(10, 1) + more + b"".join(data(7, blob(values)) for values in blobs)
    return data(100, content)


def old_layer(name: str, kind: int, blobs: list[Tensor]) -> bytes:
    """A V1LayerParameter, as field 2 of a NetParameter."""
    content = data(2, b"below") + data(3, name.encode()) + data(4, name.encode()) + number(5, kind)
    return data(2, content + b"".join(data(6, old_blob(values)) for values in blobs))


def caffemodel(layers: Blobs) -> bytes:
    """A NetParameter, with a few layers that have learnt nothing."""
    inside = b"".join(layer(name, kind, blobs) for name, (kind, blobs) in layers.items())
    return data(1, b"SENet") + data(3, b"data") + inside + layer("prob", "Softmax", [])
