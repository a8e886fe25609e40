"""A highway layer: a convolution, and a second one that says at every value how much of it is taken.

::

    y = t * relu(conv(x)) + (1 - t) * x,    t = sigmoid(transform(x))

Source: Srivastava et al., Training Very Deep Networks, arXiv:1507.06228, equation 3; the authors' Caffe layer.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from senet_zoo.errors import SpecError
from senet_zoo.networks.dimensions import conv
from senet_zoo.networks.layers import DropPath, initialise, relu
from senet_zoo.networks.specs import SE, only_gate
from senet_zoo.networks.squeeze_excite import Placement

CARRIES_AT_FIRST = -2.0
"""Bias of a fresh transform gate: sigmoid(-2) = 0.12 of the convolution, and the rest of the input."""


@dataclass(frozen=True)
class Highway:
    """3x3 convolution with bias and ReLU under a transform gate, over a map that keeps its channels.

    Args:
        width: channels of the map.

    Differs: the authors of the gate have no such network; its place is that of their plain convolutions, behind the
    ReLU, before the transform gate mixes it with the input.
    """

    width: int
    stride: int = 1

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        if in_channels != self.width:
            raise SpecError(
                f"a highway layer carries its input and so keeps its channels, got {in_channels} and width={self.width}"
            )
        return HighwayLayer(self.width, only_gate(se, Placement.STANDARD, self.width, "a highway layer"), drop_path)


class HighwayLayer(nn.Module):
    """``x + t * (gate(relu(conv(x))) - x)``, which is the mean of both that ``t`` weighs. Keeps the shape."""

    def __init__(self, width: int, gate: nn.Module, drop_path: float) -> None:
        super().__init__()
        self.conv = conv(width, width, 3, bias=True)
        self.act = relu()
        self.se = gate
        self.transform = TransformGate(width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        state = self.se(self.act(self.conv(x)))
        y: Tensor = x + self.drop_path(self.transform(x) * (state - x))
        return y


class TransformGate(nn.Module):
    """``sigmoid(conv(x))``, a value between 0 and 1 for each of the map's."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = conv(width, width, 3, bias=True)

    def reset_parameters(self) -> None:
        """Start nearly closed, so that a deep network begins by carrying its input."""
        initialise(self.conv)
        assert isinstance(self.conv.bias, Tensor)
        nn.init.constant_(self.conv.bias, CARRIES_AT_FIRST)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.conv(x))
