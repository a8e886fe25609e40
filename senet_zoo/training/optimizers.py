"""Optimizers, the parameters that they treat unlike, and learning-rate schedules, as frozen values."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import cos, inf, pi
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from senet_zoo.errors import UsageError
from senet_zoo.networks.network import ConvNet


@dataclass(frozen=True)
class Group:
    """Parameters that share a learning rate and a decay.

    Args:
        parameters: in the order of the network.
        scale: of the learning rate: 1 for the classifier, less towards the stem where rates differ by depth.
        decay: weight decay.
        depth: how far they lie from the logits, as `depths` counts; 0 for the classifier.
    """

    parameters: tuple[nn.Parameter, ...]
    scale: float
    decay: float
    depth: int = 0


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


@dataclass(frozen=True)
class Muon:
    """Orthogonal steps for the filters of convolutions, and Nesterov's for everything else.

    A filter's momentum is replaced by the nearest orthogonal matrix, one row a filter, and the filters of a layer are
    rescaled to a mean length of 1 before each step. The recipe's rate is that of the filters. A batch norm behind every
    convolution makes their length no matter.

    Args:
        momentum: of the filters, share of the last step that is kept.
        others: the same of all other parameters.
        vectors: rate of biases and norms, as a multiple of the filters'.
        gates: rate of fully connected layers inside the network, the gates', as a multiple.
        classifier: rate of the fully connected layer of the logits, as a multiple.

    Source: Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024; airbench94_muon for the
    rescaling and the Nesterov steps of the others.

    Differs: `torch.optim.Muon` takes matrices alone, not filters, and rescales nothing.
    """

    momentum: float = 0.6
    others: float = 0.85
    vectors: float = 1.0
    gates: float = 1.0
    classifier: float = 1.0

    def __post_init__(self) -> None:
        for name, share in (("momentum", self.momentum), ("others", self.others)):
            require(0.0 <= share < 1.0, f"{name} must be at least 0 and below 1, got {share}")
        for name, rate in (("vectors", self.vectors), ("gates", self.gates), ("classifier", self.classifier)):
            require(rate > 0.0, f"{name} must be above 0, got {rate}")

    def build(self, groups: Iterable[Group]) -> "OrthogonalSteps":
        return OrthogonalSteps([part for group in groups for part in self._parts(group)])

    def _parts(self, group: Group) -> Iterable[dict[str, object]]:
        """The group's filters, matrices and vectors, each as a group of torch's."""
        matrices = self.classifier if group.depth == 0 else self.gates
        for ranks, orthogonal, momentum, scale in (
            ((3, 4, 5), True, self.momentum, 1.0),
            ((2,), False, self.others, matrices),
            ((0, 1), False, self.others, self.vectors),
        ):
            if parameters := [parameter for parameter in group.parameters if parameter.ndim in ranks]:
                yield {
                    "params": parameters,
                    "weight_decay": 0.0 if orthogonal else group.decay,
                    "scale": group.scale * scale,
                    "momentum": momentum,
                    "orthogonal": orthogonal,
                }


class OrthogonalSteps(torch.optim.Optimizer):
    """The optimizer of `Muon`; each group says whether its steps are ``orthogonal``."""

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        super().__init__(groups, {"lr": 0.0, "momentum": 0.0, "weight_decay": 0.0, "orthogonal": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take a step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)
        return loss

    def _move(self, parameter: Tensor, group: dict[str, Any]) -> None:
        step = parameter.grad
        assert step is not None
        if group["weight_decay"]:
            step = step.add(parameter, alpha=group["weight_decay"])
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        kept = state["momentum_buffer"].mul_(group["momentum"]).add_(step)
        step = step.add(kept, alpha=group["momentum"])
        if group["orthogonal"]:
            parameter.mul_(len(parameter) ** 0.5 / parameter.norm())
            step = orthogonal(step.flatten(1)).view_as(step)
        parameter.add_(step, alpha=-group["lr"])


def orthogonal(matrix: Tensor, steps: int = 3) -> Tensor:
    """A matrix of the same singular vectors, whose singular values lie near 1, by Newton and Schulz's iteration.

    Shape: (rows, columns) -> (rows, columns).

    Source: the coefficients are those of Jordan et al., Muon, 2024, chosen to rise fast, not to converge.
    """
    x: Tensor = matrix / (matrix.norm() + 1e-7)
    tall = len(x) > len(x.T)
    x = x.T if tall else x
    for _ in range(steps):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if tall else x


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
        Group(tuple(parameters), layer_decay**far, weight_decay if is_weight else vector_decay, far)
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
class Linear:
    """Straight up to 1, and straight down to 0 at the end.

    Args:
        rise: share of the run until the peak, at least 0 and below 1; from a fifth of it.

    Source: Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, arXiv:2404.00498, for its triangle.
    """

    rise: float = 0.0

    def __post_init__(self) -> None:
        require(0.0 <= self.rise < 1.0, f"rise must be at least 0 and below 1, got {self.rise}")

    def factor(self, epoch: float, epochs: int, losses: Sequence[float]) -> float:
        share = epoch / epochs
        if share < self.rise:
            return 0.2 + 0.8 * share / self.rise
        return (1.0 - share) / (1.0 - self.rise)

    def stretched(self, by: float) -> Self:
        return self


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
