"""Shake-Shake units: two branches of one kind, mixed by random numbers in training and by halves elsewhere.

::

    forward     shortcut(x) + a branch1(x) + (1 - a) branch2(x)
    backward    the gradient reaches branch1 times b, and branch2 times 1 - b

a and b are drawn for every unit, picture and pass, uniformly from 0 to 1 (shake), or are one half (even). In eval mode
a is one half.

Each branch is a transformation of its own and has its own gate where the gate belongs to the branch (standard, pre,
inner); on the shortcut (identity) and on the sum (post) there is one.

Source: Gastaldi, Shake-Shake regularization, arXiv:1705.07485, and its author's Torch files ``shakeshake.lua``,
``shakeshakeblock.lua``. The SENet authors do not say where their gates sit: a gate a branch is inferred.
"""

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from senet_zoo.networks.blocks.preactivation import Preactivated
from senet_zoo.networks.blocks.residual import Basic, Bottleneck, ResidualBlock, ResidualGate
from senet_zoo.networks.dimensions import batch_norm, conv, spatial_axes
from senet_zoo.networks.specs import SE, GlobalMean, MeanHead
from senet_zoo.networks.squeeze_excite import Placement


class Coefficient(Enum):
    """What multiplies the first branch in training."""

    SHAKE = "shake"
    """A random number for every picture."""
    EVEN = "even"
    """One half."""

    def draw(self, x: Tensor, ones: tuple[int, ...]) -> Tensor:
        """The coefficient of each sample. Shape: (N, C, H, W) -> (N, *ones)."""
        shape = (x.shape[0], *ones)
        return x.new_empty(shape).uniform_() if self is Coefficient.SHAKE else x.new_full(shape, 0.5)


@dataclass(frozen=True)
class Shake:
    """What multiplies the branches in training; ``Shake()`` is the paper's Shake-Shake-Image.

    Args:
        forward: a, the coefficient of the first branch in the forward pass.
        backward: b, the coefficient of its gradient.
    """

    forward: Coefficient = Coefficient.SHAKE
    backward: Coefficient = Coefficient.SHAKE


@dataclass(frozen=True)
class ShakeBasic:
    """ReLU, then two branches of two 3x3 convolutions; nothing follows the sum.

    The shortcut carries the map as it came, or where shapes change takes two paths from the rectified one.

    Args:
        width: channels of all convolutions, and of the output.
        stride: of the first convolutions.
        shake: what multiplies the branches.

    Source: ``shakeshakeblock.lua``.

    Differs: pytorchcv and other ports rectify the sum instead, so that their identities carry no negative value.
    """

    width: int
    stride: int = 1
    shake: Shake = Shake()

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        stays = in_channels == self.width and self.stride == 1
        unit = ResidualBlock(
            branch={"shake": _two_branches(Basic(self.width, self.stride), self.shake, in_channels, se)},
            gate=_outer_gate(se, self.width),
            shortcut=nn.Identity() if stays else TwoPaths(in_channels, self.width, self.stride),
            drop_path=drop_path,
            act=nn.Identity,
        )
        return Preactivated(nn.Identity(), nn.ReLU(), unit)


@dataclass(frozen=True)
class ShakeBottleneck:
    """Two branches of a bottleneck; ReLU follows the sum.

    Args:
        bottleneck: the unit; its branch stands twice, its shortcut once.
        shake: what multiplies the branches.

    Source: ``resnext_bottleneck_C`` in ``shakeshake.lua``; its shortcut is one strided 1x1.
    """

    bottleneck: Bottleneck
    shake: Shake = Shake()

    @property
    def stride(self) -> int:
        return self.bottleneck.stride

    def out_channels(self, in_channels: int) -> int:
        return self.bottleneck.out

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        return ResidualBlock(
            branch={"shake": _two_branches(self.bottleneck, self.shake, in_channels, se)},
            gate=_outer_gate(se, self.bottleneck.out),
            shortcut=self.bottleneck.shortcut.build(in_channels, self.bottleneck.out, self.stride),
            drop_path=drop_path,
        )


_OUTER = (Placement.IDENTITY, Placement.POST)


def _outer_gate(se: SE | None, channels: int) -> ResidualGate:
    return ResidualGate.of(se if se and se.placement in _OUTER else None, channels, channels)


def _two_branches(block: Basic | Bottleneck, shake: Shake, in_channels: int, se: SE | None) -> nn.Module:
    own = None if se and se.placement in _OUTER else se
    inner = se if se and se.placement is Placement.INNER else None
    first, second = (
        GatedBranch(
            block.build(in_channels, inner, drop_path=0.0).branch,
            ResidualGate.of(own, in_channels, block.out_channels(in_channels)),
        )
        for _ in range(2)
    )
    return ShakenBranches(first, second, shake)


class GatedBranch(nn.Module):
    """A branch with a gate of its own, behind its layers or before them."""

    def __init__(self, layers: nn.Module, gate: ResidualGate) -> None:
        super().__init__()
        self.layers = layers
        self.se = gate.module
        self.placement = gate.placement

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(self.se(x)) if self.placement is Placement.PRE else self.se(self.layers(x))
        return y


class ShakenBranches(nn.Module):
    """The mix of two branches of one input."""

    def __init__(self, first: nn.Module, second: nn.Module, shake: Shake) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.shake = shake
        self.ones = (1, *(1 for _ in spatial_axes()))

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.first(x), self.second(x)
        if not self.training:
            mean: Tensor = (a + b) / 2
            return mean
        return shake(a, b, self.shake.forward.draw(a, self.ones), self.shake.backward.draw(a, self.ones))


def shake(a: Tensor, b: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
    """``forward * a + (1 - forward) * b``, with the gradient of ``backward * a + (1 - backward) * b``.

    Shape: (N, C, H, W) for both maps, (N, 1, 1, 1) for both coefficients.
    """
    return torch.lerp(b, a, backward) + ((forward - backward) * (a - b)).detach()


class TwoPaths(nn.Module):
    """A shortcut of two 1x1 convolutions, each half as wide; the second sees the pixels that the first skips.

    Over volumes both see the same planes.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (conv(in_channels, out_channels // 2, 1, stride=stride) for _ in range(2))
        self.bn = batch_norm(out_channels)
        self.shift = (1, -1) * min(len(spatial_axes()), 2)  # right and down by one pixel; planes stay

    def forward(self, x: Tensor) -> Tensor:
        shifted = F.pad(x, self.shift)
        y: Tensor = self.bn(torch.cat((self.conv1(x), self.conv2(shifted)), dim=1))
        return y


@dataclass(frozen=True)
class RectifiedMean(GlobalMean):
    """ReLU, global mean, dropout: the end of a network whose last sum is not rectified."""

    def build(self, channels: int, dropout: float) -> nn.Module:
        return nn.Sequential(nn.ReLU(), MeanHead(dropout))
