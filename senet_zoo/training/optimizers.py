"""Optimizers as frozen values, and the groups of parameters that they treat unlike."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from senet_zoo.networks.network import ConvNet
from senet_zoo.training.sharding import fill


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


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum.

    Args:
        momentum: share of the last step that is kept.
        nesterov: whether the gradient is that of the point ahead.
    """

    momentum: float = 0.9
    nesterov: bool = False

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


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimizer, as ``number of the parameter.name``."""
    return {
        f"{number}.{key}": value
        for number, parameter in enumerate(_parameters(optimizer))
        for key, value in optimizer.state[parameter].items()
        if isinstance(value, Tensor)
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give a fresh optimizer the state of another one over the same parameters."""
    parameters = _parameters(optimizer)
    for name, value in tensors.items():
        number, _, key = name.partition(".")
        parameter = parameters[int(number)]
        # On the parameter's device and in its memory layout; a step counter stays where torch makes it, on the CPU.
        like = torch.empty_like(parameter) if value.shape == parameter.shape else torch.empty_like(value)
        optimizer.state[parameter][key] = fill(like, value)


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _as_torch(groups: Iterable[Group]) -> list[dict[str, object]]:
    return [{"params": list(group.parameters), "weight_decay": group.decay, "scale": group.scale} for group in groups]
