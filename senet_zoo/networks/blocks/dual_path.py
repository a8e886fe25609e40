"""Dual path units: part of a unit's new channels is summed, as in a ResNet, and part is appended, as in a DenseNet.

::

    y = gate(conv(relu(bn(conv(relu(bn(conv(relu(bn(x)))))))))          width + growth channels
    concat(x[:width] + y[:width], x[width:], y[width:])

The first unit of a stage replaces x on both paths by a projection of it.

Source: Chen et al., Dual Path Networks, arXiv:1707.01629, figure 2d; its authors' MXNet file ``symbol_dpn.py``.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from senet_zoo.errors import SpecError
from senet_zoo.networks.dimensions import batch_norm, conv
from senet_zoo.networks.layers import relu
from senet_zoo.networks.specs import SE, only_gate
from senet_zoo.networks.squeeze_excite import Placement

EPS = 1e-3
"""What MXNet's batch norm adds to the variance."""


@dataclass(frozen=True)
class DualPath:
    """1x1 reduce, 3x3 in groups, 1x1 increase, each behind its batch norm and ReLU; the gate over both paths' channels.

    Args:
        reduce: channels of the first 1x1 and of the 3x3.
        width: channels of the residual path.
        growth: channels that the dense path gains.
        groups: cardinality of the 3x3.
        stride: of the 3x3 and of the projection.
        projects: whether the unit opens a stage, so that both paths start from a projection of its input: ``width``
            channels for one and twice ``growth`` for the other.

    Differs: the authors of the gate have no such network. The gate's place is inferred: the paper gates the
    transformation whole, before it is split.
    """

    reduce: int
    width: int
    growth: int
    groups: int
    stride: int = 1
    projects: bool = False

    def out_channels(self, in_channels: int) -> int:
        return self.width + 3 * self.growth if self.projects else in_channels + self.growth

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        if drop_path > 0.0:
            raise SpecError(
                "stochastic depth drops residual branches, and a dual path unit's gives the dense path its channels as "
                "well; drop_path must be 0"
            )
        branch = nn.Sequential()
        branch.add_module("conv1", Preactivation(in_channels, self.reduce, 1))
        branch.add_module("conv2", Preactivation(self.reduce, self.reduce, 3, self.stride, self.groups))
        branch.add_module("conv3", Preactivation(self.reduce, self.width + self.growth, 1))
        gate = only_gate(se, Placement.STANDARD, self.width + self.growth, "a dual path unit")
        both = self.width + 2 * self.growth
        projection = Preactivation(in_channels, both, 1, self.stride) if self.projects else nn.Identity()
        return DualPathBlock(projection, branch, gate, self.width)


class DualPathBlock(nn.Module):
    """The module of `DualPath`.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)); the residual path's channels
        are the first ``width``.
    """

    def __init__(self, projection: nn.Module, branch: nn.Module, gate: nn.Module, width: int) -> None:
        super().__init__()
        self.projection = projection
        self.branch = branch
        self.se = gate
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        y = self.se(self.branch(x))
        x = self.projection(x)
        return torch.cat((x[:, : self.width] + y[:, : self.width], x[:, self.width :], y[:, self.width :]), dim=1)


class Preactivation(nn.Module):
    """Batch norm, ReLU, convolution without bias."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.bn = batch_norm(in_channels, EPS)
        self.act = relu()
        self.conv = conv(in_channels, out_channels, kernel, stride=stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(self.act(self.bn(x)))
        return y
