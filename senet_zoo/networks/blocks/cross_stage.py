"""A cross stage: half of the channels pass Darknet's residual units, the other half go round them.

::

    x = expand(down(x))
    transition(concat(units(first half of x), second half of x))

Source: Wang et al., CSPNet, arXiv:1911.11929, figure 2; timm's ``CrossStage3``, ``DarkBlock`` and ``EdgeBlock``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from senet_zoo.networks.blocks.residual import ResidualBlock, ResidualGate, rounded
from senet_zoo.networks.layers import ConvNorm, silu
from senet_zoo.networks.specs import SE, gate_at
from senet_zoo.networks.squeeze_excite import Placement


@dataclass(frozen=True)
class DarkUnit:
    """Two convolutions, each with batch norm and SiLU, and a sum that nothing follows.

    Args:
        width: channels of the input and of the output.
        inner: channels between the two convolutions.
        kernels: their sides: Darknet's (1, 3), or (3, 1) for the edge form.

    A gate has its hidden units rounded as in `senet_zoo.networks.blocks.residual.RoundedGate`; an inner one sits
    between the two convolutions.
    """

    width: int
    inner: int
    kernels: tuple[int, int] = (1, 3)

    def build(self, se: SE | None, drop_path: float) -> nn.Module:
        """The unit's module."""
        first, second = self.kernels
        se = rounded(se, self.inner if se is not None and se.placement is Placement.INNER else self.width)
        return ResidualBlock(
            branch={
                "conv1": ConvNorm(self.width, self.inner, first, act=silu()),
                "se": gate_at(se, Placement.INNER, self.inner),
                "conv2": ConvNorm(self.inner, self.width, second, act=silu()),
            },
            gate=ResidualGate.of(se, self.width, self.width),
            shortcut=nn.Identity(),
            drop_path=drop_path,
            act=nn.Identity,
        )


@dataclass(frozen=True)
class CrossStage:
    """A stage of stride 2 whose units see half of its channels; each unit has its own gate.

    Args:
        width: channels of the output.
        unit: over half of them.
        depth: number of units.
    """

    width: int
    unit: DarkUnit
    depth: int
    stride: int = 2

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        return CrossStageBlock(
            down=ConvNorm(in_channels, in_channels, 3, stride=self.stride, act=silu()),
            expand=ConvNorm(in_channels, 2 * self.unit.width, 1, act=silu()),
            units=nn.Sequential(*(self.unit.build(se, drop_path) for _ in range(self.depth))),
            transition=ConvNorm(2 * self.unit.width, self.width, 1, act=silu()),
        )


class CrossStageBlock(nn.Module):
    """The module of `CrossStage`. Shape: (N, C, H, W) -> (N, width, ceil(H / 2), ceil(W / 2))."""

    def __init__(self, down: nn.Module, expand: nn.Module, units: nn.Module, transition: nn.Module) -> None:
        super().__init__()
        self.down = down
        self.expand = expand
        self.units = units
        self.transition = transition

    def forward(self, x: Tensor) -> Tensor:
        seen, carried = self.expand(self.down(x)).chunk(2, dim=1)
        y: Tensor = self.transition(torch.cat([self.units(seen), carried], dim=1))
        return y
