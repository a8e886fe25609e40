"""The authors' Caffe networks without Caffe: their layers by name, a writer of .caffemodel files, and their arithmetic.

Nothing here comes from the package: layers are those of the prototxt files of https://github.com/hujie-frank/SENet.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import gcd, prod

import torch
import torch.nn.functional as F
from torch import Tensor

Shapes = dict[str, tuple[str, list[tuple[int, ...]]]]  # layer: type, shapes of its blobs
Blobs = dict[str, tuple[str, list[Tensor]]]  # layer: type, blobs


def conv_shapes(name: str, *shape: int) -> Shapes:
    """A convolution without bias and the two layers of its batch norm."""
    width = (shape[0],)
    return {
        name: ("Convolution", [shape]),
        f"{name}/bn": ("BatchNorm", [width, width, (1,)]),
        f"{name}/bn/scale": ("Scale", [width, width]),
    }


def gate_shapes(name: str, channels: int) -> Shapes:
    hidden = channels // 16
    return {
        f"{name}_1x1_down": ("Convolution", [(hidden, channels, 1, 1), (hidden,)]),
        f"{name}_1x1_up": ("Convolution", [(channels, hidden, 1, 1), (channels,)]),
    }


def random_blobs(shapes: Shapes, seed: int = 0) -> Blobs:
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
        name: (kind, [blob(kind, place, shape) for place, shape in enumerate(blobs)])
        for name, (kind, blobs) in shapes.items()
    }
    next(iter(layers.values()))[1][0].div_(60)  # pixels go from -123 to 151
    return layers


def convolve(layers: Blobs, name: str, x: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
    """A convolution and its batch norm, as Caffe computes them."""
    (weight,) = layers[name][1]
    y = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)
    mean, variance, factor = layers[f"{name}/bn"][1]
    gamma, beta = (value[:, None, None] for value in layers[f"{name}/bn/scale"][1])
    mean, variance = ((value / factor)[:, None, None] for value in (mean, variance))
    return gamma * (y - mean) / (variance + 1e-5).sqrt() + beta


def gate(layers: Blobs, name: str, x: Tensor) -> Tensor:
    """The map times its scales."""
    scale = F.conv2d(x.mean((2, 3), keepdim=True), *layers[f"{name}_1x1_down"][1]).relu()
    return x * F.conv2d(scale, *layers[f"{name}_1x1_up"][1]).sigmoid()


def classify(layers: Blobs, x: Tensor) -> Tensor:
    weight, bias = layers["classifier"][1]
    return x.mean((2, 3)) @ weight.T + bias


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

    def shapes(self) -> Shapes:
        """Type and shapes of the blobs of every layer that has some."""
        layers: Shapes = {}
        channels = 3
        for name, width, kernel, _ in self.stem:
            layers |= conv_shapes(name, width, channels, kernel, kernel)
            channels = width
        for name, reduce, width, out, stride, projected in self.units():
            layers |= conv_shapes(f"{name}_1x1_reduce", reduce, channels, 1, 1)
            layers |= conv_shapes(f"{name}_3x3", width, reduce // self.groups_of(reduce, width), 3, 3)
            layers |= conv_shapes(f"{name}_1x1_increase", out, width, 1, 1)
            layers |= gate_shapes(name, out)
            if projected:
                kernel = 1 if stride == 1 else self.wide_projection
                layers |= conv_shapes(f"{name}_1x1_proj", out, channels, kernel, kernel)
            channels = out
        layers["classifier"] = "InnerProduct", [(self.classes, channels), (self.classes,)]
        return layers

    def random(self, seed: int = 0) -> Blobs:
        layers = random_blobs(self.shapes(), seed)
        for name, *_ in self.units():  # as trained networks do, and so that a deep one does not amplify rounding
            layers[f"{name}_1x1_increase/bn/scale"][1][0].mul_(0.25)
        return layers

    def forward(self, layers: Blobs, pixels: Tensor) -> Tensor:
        """What Caffe computes. Shape: BGR pixels (N, 3, H, W) minus their mean -> (N, classes)."""
        x = pixels
        for name, _, _, stride in self.stem:
            x = convolve(layers, name, x, stride).relu()
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        for name, reduce, width, _, stride, projected in self.units():
            at_reduce, at_spatial = (stride, 1) if self.stride_in_reduce else (1, stride)
            y = convolve(layers, f"{name}_1x1_reduce", x, at_reduce).relu()
            y = convolve(layers, f"{name}_3x3", y, at_spatial, self.groups_of(reduce, width)).relu()
            y = gate(layers, name, convolve(layers, f"{name}_1x1_increase", y))
            x = (y + (convolve(layers, f"{name}_1x1_proj", x, stride) if projected else x)).relu()
        return classify(layers, x)


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
    return values.numpy().astype(f"<f{values.element_size()}").tobytes()


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
