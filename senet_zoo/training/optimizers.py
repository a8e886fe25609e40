"""Optimizers, the parameters that they treat unlike, and learning-rate schedules, as frozen values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import cos, inf, pi
from typing import Protocol, Self

import torch
from torch import nn

from senet_zoo.errors import UsageError
from senet_zoo.networks.network import ConvNet


@dataclass(frozen=True)
class Group:
    """Parameters that share a learning rate and a decay.

    Args:
        parameters: in the order of the network.
        scale: of the learning rate: 1 for the classifier, less towards the stem where rates differ by depth.
        decay: weight decay.
    """

    parameters: tuple[nn.Parameter, ...]
    scale: float
    decay: float


class OptimizerSpec(Protocol):
    """What a recipe says of its optimizer."""

    def build(self, groups: Iterable[Group]) -> torch.optim.Optimizer:
        """The optimizer over ``groups``, in order, at rate 0; each of its groups has the ``scale`` of its rate."""
        ...


def require(holds: bool, rule: str) -> None:
    """Refuse a value of a recipe that breaks a rule.

    Raises:
        UsageError: it does not hold.
    """
    if not holds:
        raise UsageError(rule)


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum.

    Args:
        momentum: share of the last step that is kept.
        nesterov: whether the gradient is that of the point ahead.
    """

    momentum: float = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        require(0.0 <= self.momentum < 1.0, f"momentum must be at least 0 and below 1, got {self.momentum}")
        require(self.momentum > 0.0 or not self.nesterov, "nesterov needs a momentum above 0")

    def build(self, groups: Iterable[Group]) -> torch.optim.SGD:
        return torch.optim.SGD(_as_torch(groups), lr=0.0, momentum=self.momentum, nesterov=self.nesterov)


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay.

    Args:
        betas: of the two running means.

    Source: Loshchilov and Hutter, arXiv:1711.05101.
    """

    betas: tuple[float, float] = (0.9, 0.999)

    def __post_init__(self) -> None:
        require(all(0.0 <= beta < 1.0 for beta in self.betas), f"betas must be at least 0 and below 1: {self.betas}")

    def build(self, groups: Iterable[Group]) -> torch.optim.AdamW:
        return torch.optim.AdamW(_as_torch(groups), lr=0.0, betas=self.betas)


def depths(network: ConvNet) -> dict[nn.Parameter, int]:
    """How far each parameter lies from the logits: 0 the classifier and head, then the stages from last to first."""
    last = len(network.stages)
    parts = [(network.stem, last + 1), (network.pool, last + 1), (network.head, 0), (network.classifier, 0)]
    parts += [(stage, last - number) for number, stage in enumerate(network.stages)]
    return {parameter: depth for part, depth in parts for parameter in part.parameters()}


def groups_of(
    modules: nn.Module, network: ConvNet, *, layer_decay: float, weight_decay: float, vector_decay: float
) -> list[Group]:
    """The parameters that learn (``requires_grad``), by depth and by decay.

    Args:
        modules: the network, or what holds it and its auxiliary classifiers, which count as the network's own.
        network: whose depths count.
        layer_decay: factor of the learning rate from one depth to the next.
        weight_decay: of the weights of convolutions and fully connected layers.
        vector_decay: of biases and batch norms.
    """
    depth = depths(network)
    found: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for parameter in modules.parameters():
        if parameter.requires_grad:
            found.setdefault((depth.get(parameter, 0), parameter.ndim > 1), []).append(parameter)
    return [
        Group(tuple(parameters), layer_decay**far, weight_decay if is_weight else vector_decay)
        for (far, is_weight), parameters in sorted(found.items(), key=lambda item: item[0])
    ]


def _as_torch(groups: Iterable[Group]) -> list[dict[str, object]]:
    return [{"params": list(group.parameters), "weight_decay": group.decay, "scale": group.scale} for group in groups]


class Schedule(Protocol):
    """What the peak learning rate is multiplied by."""

    def factor(self, epoch: float, epochs: int, losses: Sequence[float]) -> float:
        """The factor at a moment.

        Args:
            epoch: counted from 0; fractions lie between two epochs.
            epochs: length of the run.
            losses: on the validation pictures, of every epoch that is over.
        """
        ...

    def stretched(self, by: float) -> Self:
        """The same schedule for a run ``by`` times as long."""
        ...


@dataclass(frozen=True)
class Steps:
    """Constant pieces.

    Args:
        pieces: ``(epoch from which it holds, factor)`` in ascending order, the first from epoch 0.
    """

    pieces: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        starts = [start for start, _ in self.pieces]
        require(
            starts[:1] == [0] and starts == sorted(starts),
            f"pieces of a schedule must begin at epoch 0 and ascend, got {self.pieces}",
        )

    def factor(self, epoch: float, epochs: int, losses: Sequence[float]) -> float:
        return next(factor for start, factor in reversed(self.pieces) if epoch >= start)

    def stretched(self, by: float) -> Self:
        return replace(self, pieces=tuple((start * by, factor) for start, factor in self.pieces))


@dataclass(frozen=True)
class Cosine:
    """Linear from a hundredth up to 1, then half a cosine to 0 at the end.

    Args:
        warmup: epochs until the peak.

    Source: Loshchilov and Hutter, SGDR, arXiv:1608.03983, without restarts.
    """

    warmup: float = 0.0

    def __post_init__(self) -> None:
        require(self.warmup >= 0.0, f"a warmup must be at least 0, got {self.warmup}")

    def factor(self, epoch: float, epochs: int, losses: Sequence[float]) -> float:
        if epoch < self.warmup:
            return 0.01 + 0.99 * epoch / self.warmup
        return 0.5 * (1.0 + cos(pi * (epoch - self.warmup) / (epochs - self.warmup)))

    def stretched(self, by: float) -> Self:
        return replace(self, warmup=self.warmup * by)


@dataclass(frozen=True)
class OneCycle:
    """Half a cosine from 1/25 up to 1, and half a cosine down to 0.

    Args:
        rise: share of the run until the peak, above 0 and below 1.

    Source: Smith and Topin, Super-Convergence, arXiv:1708.07120; the start is that of torch's OneCycleLR.
    """

    rise: float = 0.3

    def __post_init__(self) -> None:
        require(0.0 < self.rise < 1.0, f"rise must be above 0 and below 1, got {self.rise}")

    def factor(self, epoch: float, epochs: int, losses: Sequence[float]) -> float:
        share = epoch / epochs
        if share < self.rise:
            return 0.04 + 0.96 * 0.5 * (1.0 - cos(pi * share / self.rise))
        return 0.5 * (1.0 + cos(pi * (share - self.rise) / (1.0 - self.rise)))

    def stretched(self, by: float) -> Self:
        return self


@dataclass(frozen=True)
class Plateau:
    """Constant, divided by 10 whenever the validation loss has not fallen for some epochs.

    Args:
        patience: epochs without a new lowest loss that are borne.
    """

    patience: int

    def factor(self, epoch: float, epochs: int, losses: Sequence[float]) -> float:
        lowest, waited, drops = inf, 0, 0
        for loss in losses:
            lowest, waited = (loss, 0) if loss < lowest else (lowest, waited + 1)
            if waited > self.patience:
                waited, drops = 0, drops + 1
        return 0.1**drops

    def stretched(self, by: float) -> Self:
        return replace(self, patience=max(1, round(self.patience * by)))
