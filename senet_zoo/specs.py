"""An architecture as frozen values: what a network is, before any tensor exists.

A `NetworkSpec` reads like a row of the paper's table, from left to right: a stem, a pool, stages of blocks, and a
classifier. Each block is a value of its own that knows how to build its module; a new idea is a new block, never a
flag.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import nn

from senet_zoo.errors import SpecError
from senet_zoo.layers import SqueezeExcite


@dataclass(frozen=True)
class SE:
    """The gate that a network's blocks carry.

    Args:
        reduction: r; a gate over C channels has C // r hidden units.
        bias: biases in both fully connected layers, as in the authors' released weights.

    Source: the paper, section 3 and section 6.1.
    """

    reduction: int = 16
    bias: bool = True

    def build(self, channels: int) -> SqueezeExcite:
        """The gate over ``channels`` channels."""
        return SqueezeExcite(channels, self.reduction, bias=self.bias)


def build_gate(se: SE | None, channels: int) -> nn.Module:
    """The gate over ``channels`` channels, or the identity in a plain twin."""
    return nn.Identity() if se is None else se.build(channels)


class StemSpec(Protocol):
    """What lies before the pool: it turns a picture into the first map."""

    @property
    def stride(self) -> int: ...
    @property
    def out_channels(self) -> int: ...
    def build(self, in_channels: int) -> nn.Module:
        """The stem over pictures of ``in_channels`` channels."""
        ...


class PoolSpec(Protocol):
    """What lies between stem and stages."""

    @property
    def stride(self) -> int: ...
    def build(self) -> nn.Module:
        """The pool's module; it keeps the number of channels."""
        ...


class BlockSpec(Protocol):
    """One block of a stage."""

    @property
    def stride(self) -> int: ...
    def out_channels(self, in_channels: int) -> int:
        """Channels of the block's output, given its input's."""
        ...

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        """The block's module.

        Args:
            in_channels: channels of the block's input.
            se: the gate, or None for the plain twin.
            drop_path: probability of dropping the residual branch of a sample in training.

        Raises:
            SpecError: the block cannot honour one of them.
        """
        ...


@dataclass(frozen=True)
class NoPool:
    """Nothing between stem and stages, as in networks for small pictures."""

    stride: int = 1

    def build(self) -> nn.Module:
        return nn.Identity()


@dataclass(frozen=True)
class MaxPool:
    """3x3 max pool of stride 2.

    Args:
        padding: 1 as in torchvision, or 0 for Caffe's window, which is unpadded and may run over the far edge.
    """

    padding: int = 1
    stride: int = 2

    def build(self) -> nn.Module:
        return nn.MaxPool2d(3, self.stride, padding=self.padding, ceil_mode=self.padding == 0)


@dataclass(frozen=True)
class AveragePool:
    """2x2 average pool of stride 2, the pool of the 'aa' form."""

    stride: int = 2

    def build(self) -> nn.Module:
        return nn.AvgPool2d(self.stride)


@dataclass(frozen=True)
class StageSpec:
    """Blocks of one row of the table, left to right; only the first may have a stride."""

    blocks: tuple[BlockSpec, ...]

    @property
    def stride(self) -> int:
        """Product of the blocks' strides."""
        total = 1
        for block in self.blocks:
            total *= block.stride
        return total


@dataclass(frozen=True)
class NetworkSpec:
    """A whole network, without weights.

    Args:
        stem: first convolutions.
        pool: what lies between stem and stages.
        stages: rows of the table.
        se: the gate in every block, or None for the plain twin.
        dropout: rate before the classifier, in training.
        num_classes: logits of the classifier, unless asked otherwise.
        input_size: side of the square pictures it was made for, in pixels.
    """

    stem: StemSpec
    pool: PoolSpec
    stages: tuple[StageSpec, ...]
    se: SE | None
    dropout: float = 0.0
    num_classes: int = 1000
    input_size: int = 224

    def __post_init__(self) -> None:
        if not self.stages or not all(stage.blocks for stage in self.stages):
            raise SpecError("a network needs at least one stage, and a stage at least one block")
