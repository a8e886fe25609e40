"""An architecture as frozen values: what a network is, before any tensor exists.

A `NetworkSpec` reads like a row of the paper's table, from left to right: a stem, a pool, stages of blocks, and a
classifier. Each block is a value of its own that knows how to build its module; a new idea is a new block, never a
flag.
"""

from dataclasses import dataclass, field, fields
from enum import Enum
from itertools import accumulate
from operator import mul
from typing import Protocol

from torch import Tensor, nn

from senet_zoo.errors import SpecError
from senet_zoo.networks.dimensions import PLANE, Dimensions, spatial_axes
from senet_zoo.networks.squeeze_excite import Activation, GateFunction, Placement, Squeeze, SqueezeExcite, Start

MOST_HIDDEN = 2**16


@dataclass(frozen=True)
class SE:
    """The gate that a network's blocks carry: every variant of the paper is one value of it.

    Args:
        reduction: r; a gate over C channels has C // r hidden units.
        bias: biases in both fully connected layers, as in the authors' released weights; the ablations have none.
        placement: where it sits in its unit.
        squeeze: how a map becomes one number a channel.
        activation: between its two layers.
        gate: its last function.
        start: at random, or at exactly 1.
        stages: the stages that carry it, in ascending order, numbered as in the paper: the stem is stage 1, so a ResNet
            has 2 to 5; a network without stem starts at 1. None for all.
        without: blocks of those stages that carry none, as (stage, block) in ascending order. Both count as in the
            paper's names: (4, 6) is the block of SE_4_6.
        hidden: units of every gate's hidden layer, however many channels it has, instead of C // r; None for those.

    Raises:
        SpecError: a value of another type, stages or blocks out of order, or ``reduction`` and ``hidden`` both.

    Source: the paper, section 3 and section 6.

    Example:
        >>> SE(reduction=8, placement=Placement.PRE, stages=(3, 4)).placement.value
        'pre'
    """

    reduction: int = 16
    bias: bool = True
    placement: Placement = Placement.STANDARD
    squeeze: Squeeze = Squeeze.MEAN
    activation: Activation = Activation.RELU
    gate: GateFunction = GateFunction.SIGMOID
    start: Start = Start.RANDOM
    stages: tuple[int, ...] | None = None
    without: tuple[tuple[int, int], ...] = ()
    hidden: int | None = None

    def __post_init__(self) -> None:
        chosen = ("stages", "without", "hidden")
        for name, kind in ((each.name, type(each.default)) for each in fields(self) if each.name not in chosen):
            value = getattr(self, name)
            if type(value) is not kind:
                words = f"one of {', '.join(map(str, kind))}" if issubclass(kind, Enum) else f"of type {kind.__name__}"
                raise SpecError(f"SE({name}=...) must be {words}, got {value!r}")
        if self.reduction < 1:
            raise SpecError(f"SE(reduction=...) must be at least 1, got {self.reduction}")
        if self.hidden is not None:
            if type(self.hidden) is not int or not 1 <= self.hidden <= MOST_HIDDEN:
                raise SpecError(
                    f"SE(hidden=...) must be a whole number from 1 to {MOST_HIDDEN}, or None, got {self.hidden!r}"
                )
            if self.reduction != SE.reduction:
                raise SpecError(
                    f"SE(...) takes reduction or hidden, not both, got reduction={self.reduction} and "
                    f"hidden={self.hidden}; leave one out"
                )
        stages = self.stages
        if stages is not None and (
            not isinstance(stages, tuple) or not stages or any(type(stage) is not int for stage in stages)
            or stages != tuple(sorted(set(stages))) or stages[0] < 1
        ):  # fmt: skip
            raise SpecError(f"SE(stages=...) must be a tuple of stage numbers in ascending order, got {stages!r}")
        if not _are_blocks(self.without):
            raise SpecError(
                f"SE(without=...) must be a tuple of (stage, block) in ascending order, got {self.without!r}"
            )

    def build(self, channels: int) -> SqueezeExcite:
        """The gate over ``channels`` channels."""
        return SqueezeExcite(
            channels,
            self.reduction,
            bias=self.bias,
            squeeze=self.squeeze,
            activation=self.activation,
            gate=self.gate,
            start=self.start,
            hidden=self.hidden,
        )


def _are_blocks(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and all(isinstance(pair, tuple) and [type(number) for number in pair] == [int, int] for pair in value)
        and all(number >= 1 for pair in value for number in pair)
        and value == tuple(sorted(set(value)))
    )


def gate_at(se: SE | None, placement: Placement, channels: int) -> nn.Module:
    """The gate over ``channels`` channels where ``se`` has that placement, else the identity."""
    return se.build(channels) if se is not None and se.placement is placement else nn.Identity()


def only_gate(se: SE | None, placement: Placement, channels: int, unit: str) -> nn.Module:
    """The gate of a unit that allows one placement; the identity in a plain twin.

    Raises:
        SpecError: ``se`` asks for another placement.
    """
    if se is not None and se.placement is not placement:
        raise SpecError(
            f"{unit} has one place for a gate, {placement.value}: nothing is summed there, or the unit is defined by "
            f"its gate's place; got placement={se.placement.value}"
        )
    return gate_at(se, placement, channels)


class StemSpec(Protocol):
    """What lies before the pool: it turns a picture into the first map."""

    @property
    def stride(self) -> int: ...
    def out_channels(self, in_channels: int) -> int:
        """Channels of the stem's map, given those of the pictures."""
        ...

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
        """Channels of the block's output, given those of its input."""
        ...

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        """The module of the block.

        Args:
            in_channels: channels of its input.
            se: the gate, or None for the plain twin.
            drop_path: probability of dropping the residual branch of a sample in training.

        Raises:
            SpecError: the block cannot honour one of them.
        """
        ...


class HeadSpec(Protocol):
    """What lies between the last map and the logits: features of the whole picture, and their classifier."""

    def num_features(self, channels: int) -> int:
        """Features of a picture, given the channels of the last map."""
        ...

    def build(self, channels: int, dropout: float) -> nn.Module:
        """From the last map to the features: (N, channels, H, W) -> (N, num_features)."""
        ...

    def build_classifier(self, num_features: int, num_classes: int) -> nn.Module:
        """From the features to the logits: (N, num_features) -> (N, num_classes); the features where it is 0."""
        ...


@dataclass(frozen=True)
class GlobalMean:
    """Global mean, dropout, one fully connected layer: the head of most networks since ResNet."""

    def num_features(self, channels: int) -> int:
        return channels

    def build(self, channels: int, dropout: float) -> nn.Module:
        return MeanHead(dropout)

    def build_classifier(self, num_features: int, num_classes: int) -> nn.Module:
        return linear_classifier(num_features, num_classes)


class MeanHead(nn.Module):
    """``dropout(mean over H, W)``, or over whatever axes the network has."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.axes = spatial_axes()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.dropout(x.mean(self.axes))
        return y


def linear_classifier(num_features: int, num_classes: int) -> nn.Module:
    """One fully connected layer, or none where ``num_classes`` is 0."""
    return nn.Linear(num_features, num_classes) if num_classes else nn.Identity()


@dataclass(frozen=True)
class NoStem:
    """Pictures go into the first stage as they are."""

    stride: int = 1

    def out_channels(self, in_channels: int) -> int:
        return in_channels

    def build(self, in_channels: int) -> nn.Module:
        return nn.Identity()


@dataclass(frozen=True)
class StageSpec:
    """Blocks of one row of the table, left to right."""

    blocks: tuple[BlockSpec, ...]

    @property
    def stride(self) -> int:
        """Product of the blocks' strides."""
        total = 1
        for block in self.blocks:
            total *= block.stride
        return total


class AuxiliaryHeadSpec(Protocol):
    """A classifier that branches off inside a network while it trains."""

    def build(self, channels: int, num_classes: int) -> nn.Module:
        """From an inner map to logits: (N, channels, H, W) -> (N, num_classes)."""
        ...


@dataclass(frozen=True)
class AuxiliarySpec:
    """Where an auxiliary classifier branches off, and what its loss weighs.

    Args:
        stage: number of the stage it branches off in.
        block: number of the block it branches off behind, counted from 1.
        head: the classifier.
        weight: weight of its loss; the loss of the network's own logits weighs 1.
    """

    stage: int
    block: int
    head: AuxiliaryHeadSpec
    weight: float


@dataclass(frozen=True)
class NetworkSpec:
    """A whole network, without weights.

    Args:
        stem: the first convolutions.
        pool: what lies between stem and stages.
        stages: the rows of the table.
        se: the gate in every block, or None for the plain twin.
        head: what lies behind the stages.
        dropout: rate of the head's dropout in training.
        num_classes: logits of the classifier, unless asked otherwise.
        input_size: side of the square pictures it was made for, in pixels.
        auxiliary: classifiers that its paper adds in training, in ascending order; a `ConvNet` builds none of them.
        dimensions: over how many axes its maps extend, and how a volume's depth is read.
        name: the model of the registry that built it; None for a spec made by hand. It takes no part in comparisons,
            and `senet_zoo.networks.registry.model_of` tells whether it still holds after a change.

    Raises:
        SpecError: a stage without block, a gate chosen for stages or blocks that are not there, or a depth of the stem
            where there is no stem.
    """

    stem: StemSpec
    pool: PoolSpec
    stages: tuple[StageSpec, ...]
    se: SE | None
    head: HeadSpec = GlobalMean()
    dropout: float = 0.0
    num_classes: int = 1000
    input_size: int = 224
    auxiliary: tuple[AuxiliarySpec, ...] = ()
    dimensions: Dimensions = PLANE
    name: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.stages or not all(stage.blocks for stage in self.stages):
            raise SpecError("a network needs at least one stage, and a stage at least one block")
        numbers = self.stage_numbers
        if self.se is not None and not set(self.se.stages or ()) <= set(numbers):
            raise SpecError(
                f"this network has stages {numbers[0]} to {numbers[-1]}, got SE(stages={self.se.stages}); "
                "choose among them"
            )
        if self.dimensions.reads_depth_its_way and isinstance(self.stem, NoStem):
            raise SpecError(
                "depth_kernel and depth_stride are those of a stem's first convolution, and this network has no stem; "
                "leave them out"
            )
        for stage, block in () if self.se is None else self.se.without:
            if self.gate_of_stage(stage) is None or stage not in numbers or block > len(self._blocks_of(stage)):
                raise SpecError(
                    f"SE(without=...) takes blocks out of stages that carry gates, and this network has no such block "
                    f"{stage}_{block}; leave it out"
                )

    @property
    def stage_numbers(self) -> range:
        """The stages' numbers as the paper counts: a stem is stage 1."""
        first = 1 if isinstance(self.stem, NoStem) else 2
        return range(first, first + len(self.stages))

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the maps behind stem, pool and each stage."""
        return tuple(accumulate((self.stem.stride, self.pool.stride, *(stage.stride for stage in self.stages)), mul))

    def gate_of_stage(self, number: int) -> SE | None:
        """The gate of the blocks of a stage, or None where it carries none."""
        chosen = self.se is not None and (self.se.stages is None or number in self.se.stages)
        return self.se if chosen else None

    def gate_of_block(self, stage: int, block: int) -> SE | None:
        """The gate of a stage's block, counted from 1, or None where it carries none."""
        se = self.gate_of_stage(stage)
        return None if se is None or (stage, block) in se.without else se

    def _blocks_of(self, stage: int) -> tuple[BlockSpec, ...]:
        return self.stages[stage - self.stage_numbers[0]].blocks
