"""A small algebra of layers: steps, paths of steps, and concatenations of paths.

Every step, path and concatenation has ``stride``, ``out_channels(in_channels)`` and ``build(in_channels)``, and so can
stand wherever another stands: in a path, in a concatenation, as a network's stem, or in a block.
"""

from dataclasses import dataclass
from math import prod
from typing import Protocol

import torch
from torch import Tensor, nn

from senet_zoo.networks.layers import ConvNorm, LocalResponseNorm, Side, centred, relu
from senet_zoo.networks.specs import SE, PoolSpec


class Step(Protocol):
    """What a path is made of; a path is one as well."""

    @property
    def stride(self) -> int: ...
    def out_channels(self, in_channels: int) -> int:
        """Channels of the output, given the input's."""
        ...

    def build(self, in_channels: int) -> nn.Module:
        """The step's module over a map of ``in_channels`` channels."""
        ...


@dataclass(frozen=True)
class Conv:
    """Convolution, batch norm, ReLU.

    Args:
        width: channels of the output.
        kernel: side, or height and width.
        stride: of the convolution.
        padding: on each side; by default what keeps an odd kernel centred.
        eps: of the batch norm.
    """

    width: int
    kernel: Side = 1
    stride: int = 1
    padding: Side | None = None
    eps: float = 1e-5

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, in_channels: int) -> nn.Module:
        return ConvNorm(
            in_channels, self.width, self.kernel, stride=self.stride, padding=self.padding, eps=self.eps, act=relu()
        )


@dataclass(frozen=True)
class BiasedConv:
    """Centred convolution with a bias, ReLU: the layer of networks without batch norm.

    Args:
        width: channels of the output.
        kernel: side.
        stride: of the convolution.
    """

    width: int
    kernel: int = 1
    stride: int = 1

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, in_channels: int) -> nn.Module:
        layers = nn.Sequential()
        padding = centred(self.kernel)
        layers.add_module("conv", nn.Conv2d(in_channels, self.width, self.kernel, stride=self.stride, padding=padding))
        layers.add_module("act", relu())
        return layers


@dataclass(frozen=True)
class Keep:
    """A step that keeps the number of channels.

    Args:
        pool: what it does.
    """

    pool: PoolSpec

    @property
    def stride(self) -> int:
        return self.pool.stride

    def out_channels(self, in_channels: int) -> int:
        return in_channels

    def build(self, in_channels: int) -> nn.Module:
        return self.pool.build()


@dataclass(frozen=True)
class LocalResponse:
    """Local response normalisation."""

    stride: int = 1

    def build(self) -> nn.Module:
        return LocalResponseNorm()


@dataclass(frozen=True)
class Path:
    """Steps, each over the output of the one before.

    Args:
        steps: in order.
    """

    steps: tuple[Step, ...]

    @property
    def stride(self) -> int:
        return prod(step.stride for step in self.steps)

    def out_channels(self, in_channels: int) -> int:
        for step in self.steps:
            in_channels = step.out_channels(in_channels)
        return in_channels

    def build(self, in_channels: int) -> nn.Module:
        modules = nn.Sequential()
        for step in self.steps:
            modules.append(step.build(in_channels))
            in_channels = step.out_channels(in_channels)
        return modules


@dataclass(frozen=True)
class Concat:
    """Steps or paths side by side over one input; their outputs are concatenated.

    Args:
        branches: in the order of the output's channels.
    """

    branches: tuple[Step, ...]

    @property
    def stride(self) -> int:
        return self.branches[0].stride

    def out_channels(self, in_channels: int) -> int:
        return sum(branch.out_channels(in_channels) for branch in self.branches)

    def build(self, in_channels: int) -> nn.Module:
        return Concatenation([branch.build(in_channels) for branch in self.branches])


class Concatenation(nn.Module):
    """``concat(branch(x) for each branch)``."""

    def __init__(self, branches: list[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def path(*steps: Step) -> Path:
    """`Path` of the steps named one by one."""
    return Path(steps)


def concat(*branches: Step) -> Concat:
    """`Concat` of the branches named one by one."""
    return Concat(branches)


@dataclass(frozen=True)
class StepBlock:
    """What is common to blocks made of a step.

    Args:
        unit: the block's layers.
    """

    unit: Step

    @property
    def stride(self) -> int:
        return self.unit.stride

    def out_channels(self, in_channels: int) -> int:
        return self.unit.out_channels(in_channels)


@dataclass(frozen=True)
class Ungated(StepBlock):
    """Layers without a gate: beside gated units in a stage, or a stage of their own, such as a last pool."""

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        return self.unit.build(in_channels)
