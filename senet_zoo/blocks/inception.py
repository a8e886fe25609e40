"""Inception units as a small algebra: steps, paths of steps, and concatenations of paths.

Every step, path and concatenation has ``stride``, ``out_channels(in_channels)`` and ``build(in_channels)``, and so can
stand wherever another stands: in a path, in a concatenation, or as a network's stem. Blocks put them into stages:
`Inception` with a gate on its output, `InceptionResidual` with a gate in a residual unit, and those without a gate.

Source: Szegedy et al., Going Deeper with Convolutions, arXiv:1409.4842, figure 2b; Szegedy et al., Inception-v4,
Inception-ResNet and the Impact of Residual Connections on Learning, arXiv:1602.07261, figures 3 to 19.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from senet_zoo.blocks.residual import ResidualBlock, ResidualGate
from senet_zoo.errors import SpecError
from senet_zoo.layers import ConvNorm, DropPath, LocalResponseNorm, Placement, relu
from senet_zoo.layers.conv_norm import Side, centred
from senet_zoo.specs import SE, PoolSpec, gate_at, only_gate


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
class MeanPool:
    """3x3 mean of stride 1.

    Args:
        counts_padding: whether the zeros around the map count at its edge.
    """

    counts_padding: bool
    stride: int = 1

    def build(self) -> nn.Module:
        return nn.AvgPool2d(3, self.stride, padding=1, count_include_pad=self.counts_padding)


@dataclass(frozen=True)
class HalvingMaxPool:
    """3x3 max pool of stride 2 that fits beside a padded convolution of stride 2.

    A window begins at every second pixel and may run over the far edge: Caffe's unpadded pool on even maps.

    Differs: on an odd map Caffe's pool gives one row fewer than the convolution beside it, and other libraries fail;
    here the last window begins at the last row.
    """

    stride: int = 2

    def build(self) -> nn.Module:
        return HalvingMax()


class HalvingMax(nn.Module):
    """Shape: (N, C, H, W) -> (N, C, ceil(H / 2), ceil(W / 2))."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(F.pad(x, (0, 2, 0, 2), value=-torch.inf), 3, 2)


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
class _Block:
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
class Ungated(_Block):
    """Layers without a gate in a stage of gated units."""

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        return self.unit.build(in_channels)


@dataclass(frozen=True)
class SecondStem(_Block):
    """The one block of a stage before the first Inception unit: a stage without any gate."""

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        if se is not None and se.stages is not None:
            raise SpecError(
                f"stage 2 of an Inception network has plain convolutions and no unit to gate; choose among stages 3 "
                f"to 5, got SE(stages={se.stages})"
            )
        return self.unit.build(in_channels)


@dataclass(frozen=True)
class Inception(_Block):
    """An Inception module: a concatenation, or a path that ends in one, and the gate on its output.

    Source: the paper, figure 2: the transformation to gate is the whole module. In the authors' released
    SE-BN-Inception the modules of stride 2 carry a gate as well.
    """

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        if drop_path > 0.0:
            raise SpecError(
                "stochastic depth drops residual branches and an Inception module has none; drop_path must be 0"
            )
        gate = only_gate(se, Placement.STANDARD, self.out_channels(in_channels), "an Inception module")
        return InceptionModule(self.unit.build(in_channels), gate)


class InceptionModule(nn.Module):
    """``gate(unit(x))``."""

    def __init__(self, unit: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.unit = unit
        self.se = gate

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.se(self.unit(x))
        return y


@dataclass(frozen=True)
class InceptionResidual:
    """A concatenation, a linear 1x1 back to the input's width, the gate, a scale; then the sum and a ReLU.

    Args:
        unit: what lies before the 1x1.
        scale: by which the gated branch is multiplied.
        act: what follows the sum.

    Source: Szegedy et al., arXiv:1602.07261, figures 10, 11, 13, 16, 17, 19 and 20. An inner gate sits on the
    concatenation.

    Differs: the 1x1 has a bias and no batch norm, as in TensorFlow's networks, timm and pytorchcv.
    """

    unit: Step
    scale: float
    act: Callable[[], nn.Module] = nn.ReLU
    stride: int = 1

    def out_channels(self, in_channels: int) -> int:
        return in_channels

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        width = self.unit.out_channels(in_channels)
        return ScaledResidualBlock(
            branch={
                "unit": self.unit.build(in_channels),
                "se": gate_at(se, Placement.INNER, width),
                "increase": nn.Conv2d(width, in_channels, 1),
            },
            gate=ResidualGate.of(se, in_channels, in_channels),
            scale=self.scale,
            drop_path=drop_path,
            act=self.act,
        )


class ScaledResidualBlock(ResidualBlock):
    """``act(x + scale * gate(branch(x)))`` with its gate in the standard place.

    Args:
        branch: layers of the residual branch by name, in order.
        gate: the gate and its place.
        scale: of the branch, after a gate in the standard place.
        drop_path: probability of dropping a sample's branch in training.
        act: what follows the sum.
    """

    def __init__(
        self,
        branch: dict[str, nn.Module],
        gate: ResidualGate,
        scale: float,
        drop_path: float,
        act: Callable[[], nn.Module],
    ) -> None:
        super().__init__(branch, gate, nn.Identity(), drop_path, act)
        self.drop_path = ScaledDropPath(drop_path, scale)


class ScaledDropPath(DropPath):
    """Scale a residual branch, and drop it per sample while training."""

    def __init__(self, rate: float, scale: float) -> None:
        super().__init__(rate)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.scale * x)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, scale={self.scale}"
