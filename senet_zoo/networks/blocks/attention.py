"""The residual attention module: a trunk, and a mask between 0 and 1 that says how much more each value counts.

::

    x = unit(x)
    trunk = unit(unit(x))
    mask = sigmoid(conv(relu(bn(conv(relu(bn(hourglass(x) + trunk)))))))
    unit((1 + mask) * trunk)

The hourglass goes down by max pools and up by interpolation, with a unit on each way and one on each of its inner
shortcuts. All units are pre-activation bottlenecks of the module's width.

Source: Wang et al., Residual Attention Network for Image Classification, arXiv:1704.06904, figure 2, with p = 1, t = 2,
r = 1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from senet_zoo.networks.blocks.dense import NormConv
from senet_zoo.networks.blocks.preactivation import PreBottleneck
from senet_zoo.networks.specs import SE


@dataclass(frozen=True)
class Attention:
    """An attention module; each of its residual units has its own gate.

    Args:
        width: channels of the units' inner convolutions; the module has four times as many.
        depth: how often the hourglass halves the map.

    Differs: the authors of the gate have no such network. Gates stand where their residual networks have them, on the
    branch's output of every residual unit, in the trunk and in the mask.
    """

    width: int
    depth: int
    stride: int = 1

    def out_channels(self, in_channels: int) -> int:
        return 4 * self.width

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        unit, channels = PreBottleneck(self.width, 4 * self.width), 4 * self.width

        def units(count: int) -> list[nn.Module]:
            return [unit.build(channels, se, drop_path) for _ in range(count)]

        return AttentionModule(
            before=unit.build(in_channels, se, drop_path),
            trunk=nn.Sequential(*units(2)),
            mask=Hourglass(units(self.depth - 1), units(self.depth), units(self.depth)),
            soft=nn.Sequential(*(NormConv(channels, channels, 1) for _ in range(2))),
            after=unit.build(channels, se, drop_path),
        )


class AttentionModule(nn.Module):
    """The module of `Attention`. Shape: (N, in_channels, H, W) -> (N, 4 * width, H, W)."""

    def __init__(
        self, before: nn.Module, trunk: nn.Module, mask: "Hourglass", soft: nn.Module, after: nn.Module
    ) -> None:
        super().__init__()
        self.before = before
        self.trunk = trunk
        self.mask = mask
        self.soft = soft
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        trunk = self.trunk(x)
        mask = torch.sigmoid(self.soft(self.mask(x) + trunk))
        y: Tensor = self.after((1.0 + mask) * trunk)
        return y


class Hourglass(nn.Module):
    """Down and up again, to the sides of its input.

    Args:
        across: joins the maps between, from the largest to the smallest: ``y + y' + unit(y')``.
        down: runs behind each max pool, from the largest map to the smallest.
        up: runs before each interpolation, by the map that it leads to, from the largest to the smallest.

    Differs: an odd map is interpolated back to its own sides, where a factor of 2 would miss them.
    """

    def __init__(self, across: list[nn.Module], down: list[nn.Module], up: list[nn.Module]) -> None:
        super().__init__()
        self.across, self.down, self.up = map(nn.ModuleList, (across, down, up))

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for unit in self.down:
            maps.append(unit(F.max_pool2d(maps[-1], 3, 2, padding=1)))
        y = maps.pop()
        for number, unit in reversed([*enumerate(self.up)]):
            larger = maps[number]
            y = F.interpolate(unit(y), size=larger.shape[2:], mode="bilinear", align_corners=True)
            if number:
                y = y + larger + self.across[number - 1](larger)
        return y
