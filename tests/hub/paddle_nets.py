"""PaddleClas's residual networks without Paddle: their parameters by name, and their arithmetic.

Nothing here comes from the package: layers are those of ppcls/arch/backbone in
https://github.com/PaddlePaddle/PaddleClas.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import gcd

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Arrays = dict[str, NDArray[np.float32]]
Shapes = dict[str, tuple[int, ...]]
DEEP, WIDE = (32, 32, 64), (64, 64, 128)


@dataclass(frozen=True)
class PaddleNet:
    """A network of its model zoo.

    Args:
        blocks: units of each stage.
        stem: channels of a 7x7, or of three 3x3.
        width: channels of the first stage's 1x1 and 3x3.
        out: of the first stage's output.
        groups: of the 3x3.
        averaged: whether a shortcut that halves the map is pooled before its 1x1, as in the ``_vd`` networks.
        gated: whether units carry a gate.
        basic: whether a unit is two 3x3, of the stage's output.
        numbered: whether blocks are numbered through, as in its newer files.
        classes: of the classifier.
    """

    blocks: tuple[int, ...]
    stem: tuple[int, ...] = (64,)
    width: int = 64
    out: int = 256
    groups: int = 1
    averaged: bool = False
    gated: bool = False
    basic: bool = False
    numbered: bool = False
    classes: int = 1000

    def tiny(self) -> "PaddleNet":
        return replace(
            self,
            blocks=tuple(min(count, 2) for count in self.blocks),
            stem=tuple(channels // 4 for channels in self.stem),
            width=self.width // 4,
            out=self.out // 4,
            groups=gcd(self.groups, self.width // 4),
            classes=10,
        )

    def stems(self) -> Iterator[tuple[str, int, int, int]]:
        """Name, channels, kernel, stride."""
        for place, channels in enumerate(self.stem):
            older = "conv" if len(self.stem) == 1 else f"conv1_{place + 1}"
            name = f"stem.{place}" if self.numbered else older
            yield name, channels, 7 if len(self.stem) == 1 else 3, 2 if place == 0 else 1

    def units(self) -> Iterator[tuple[str, int, int, int, bool]]:
        """Name, width, out, stride, whether the shortcut is projected."""
        number = 0
        for stage, count in enumerate(self.blocks):
            for block in range(count):
                name = f"blocks.{number}" if self.numbered else f"bb_{stage}_{block}"
                stride = 2 if block == 0 and stage > 0 else 1
                yield name, self.width * 2**stage, self.out * 2**stage, stride, block == 0
                number += 1

    def shapes(self) -> Shapes:
        """As Paddle keeps them: matrices are (in, out)."""
        conv, norm = ("conv", "bn") if self.numbered else ("_conv", "_batch_norm")

        def pair(name: str, *shape: int) -> Shapes:
            roles = ("weight", "bias", "_mean", "_variance")
            return {f"{name}.{conv}.weight": shape, **{f"{name}.{norm}.{role}": shape[:1] for role in roles}}

        def linear(name: str, inside: int, outside: int) -> Shapes:
            return {f"{name}.weight": (inside, outside), f"{name}.bias": (outside,)}

        shapes: Shapes = {}
        channels = 3
        for name, width, kernel, _ in self.stems():
            shapes |= pair(name, width, channels, kernel, kernel)
            channels = width
        for name, width, out, _, projected in self.units():
            if self.basic:
                shapes |= pair(f"{name}.conv0", out, channels, 3, 3) | pair(f"{name}.conv1", out, out, 3, 3)
            else:
                shapes |= pair(f"{name}.conv0", width, channels, 1, 1)
                shapes |= pair(f"{name}.conv1", width, width // self.groups, 3, 3)
                shapes |= pair(f"{name}.conv2", out, width, 1, 1)
            if self.gated:
                shapes |= linear(f"{name}.scale.squeeze", out, out // 16)
                shapes |= linear(f"{name}.scale.excitation", out // 16, out)
            if projected:
                shapes |= pair(f"{name}.short", out, channels, 1, 1)
            channels = out
        return shapes | linear("fc" if self.numbered else "out", channels, self.classes)

    def random(self) -> Arrays:
        """Weights under which every layer matters and no map explodes."""
        chance = np.random.default_rng(0)

        def array(name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
            if name.endswith(("_variance", ".bn.weight", "_norm.weight")):
                return chance.uniform(0.5, 1.5, shape) * (0.25 if f"conv{1 if self.basic else 2}." in name else 1)
            if len(shape) == 1:
                return chance.normal(0, 0.1, shape)
            fan_in = shape[0] if len(shape) == 2 else np.prod(shape[1:])
            return chance.normal(0, (2 / fan_in) ** 0.5, shape)

        return {name: array(name, shape).astype(np.float32) for name, shape in self.shapes().items()}

    @torch.no_grad()
    def forward(self, arrays: Arrays, x: Tensor) -> Tensor:
        """What Paddle computes, in double precision. Shape: (N, 3, H, W) -> (N, classes)."""
        exact = {name: torch.from_numpy(array).double() for name, array in arrays.items()}
        conv, norm = ("conv", "bn") if self.numbered else ("_conv", "_batch_norm")

        def pair(name: str, x: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
            weight = exact[f"{name}.{conv}.weight"]
            y = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)
            mean, variance, gamma, beta = (
                exact[f"{name}.{norm}.{role}"][:, None, None] for role in ("_mean", "_variance", "weight", "bias")
            )
            return gamma * (y - mean) / (variance + 1e-5).sqrt() + beta

        def linear(name: str, x: Tensor) -> Tensor:
            return x @ exact[f"{name}.weight"] + exact[f"{name}.bias"]

        for name, _, _, stride in self.stems():
            x = pair(name, x, stride).relu()
        x = F.max_pool2d(x, 3, 2, 1)
        for name, _, _, stride, projected in self.units():
            if self.basic:
                y = pair(f"{name}.conv1", pair(f"{name}.conv0", x, stride).relu())
            else:
                y = pair(f"{name}.conv0", x).relu()
                y = pair(f"{name}.conv1", y, stride, self.groups).relu()
                y = pair(f"{name}.conv2", y)
            if self.gated:
                hidden = linear(f"{name}.scale.squeeze", y.mean((2, 3))).relu()
                y = y * linear(f"{name}.scale.excitation", hidden).sigmoid()[:, :, None, None]
            if projected and self.averaged and stride == 2:
                x = pair(f"{name}.short", F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False))
            elif projected:
                x = pair(f"{name}.short", x, stride)
            x = (x + y).relu()
        return linear("fc" if self.numbered else "out", x.mean((2, 3)))


_RESNEXT = PaddleNet((3, 4, 6, 3), width=128, groups=32)
_BASIC = PaddleNet((2, 2, 2, 2), DEEP, out=64, basic=True)
NETS = {
    "SE_ResNeXt50_32x4d": (replace(_RESNEXT, gated=True), "se_resnext50b_32x4d"),
    "SE_ResNeXt101_32x4d": (replace(_RESNEXT, blocks=(3, 4, 23, 3), gated=True), "se_resnext101b_32x4d"),
    "SE_ResNet50_vd": (PaddleNet((3, 4, 6, 3), DEEP, averaged=True, gated=True), "se_resnet50d"),
    "SE_ResNet18_vd": (replace(_BASIC, averaged=True, gated=True), "se_resnet18_vd"),
    "ResNet34_vd": (replace(_BASIC, blocks=(3, 4, 6, 3), averaged=True, numbered=True), "resnet34_vd"),
    "SE_ResNeXt50_vd_32x4d": (replace(_RESNEXT, stem=WIDE, averaged=True, gated=True), "se_resnext50_vd_32x4d"),
    "SENet154_vd": (PaddleNet((3, 8, 36, 3), WIDE, 256, 256, 64, averaged=True, gated=True), "senet154_vd"),
    "ResNet50": (PaddleNet((3, 4, 6, 3), numbered=True), "resnet50b"),
    "ResNet152": (PaddleNet((3, 8, 36, 3), numbered=True), "resnet152b"),
    "ResNet101_vd": (PaddleNet((3, 4, 23, 3), DEEP, averaged=True, numbered=True), "resnet101d"),
    "ResNeXt50_32x4d": (_RESNEXT, "resnext50b_32x4d"),
    "ResNeXt101_64x4d": (PaddleNet((3, 4, 23, 3), width=256, groups=64), "resnext101b_64x4d"),
    "ResNeXt50_vd_32x4d": (replace(_RESNEXT, stem=DEEP, averaged=True), "resnext50d_32x4d"),
}
"""Its networks that are functions of the zoo, and which."""

OTHERS = {
    "ResNet18": (replace(_BASIC, stem=(64,), numbered=True), "resnet18b"),
    "ResNet200_vd": (PaddleNet((3, 12, 48, 3), DEEP, averaged=True, numbered=True), "resnet152d"),
}
"""Some that are none, and the nearest name."""
