"""Networks that the model tests share."""

import dataclasses
import hashlib

import torch
from torch import nn

from senet_zoo.blocks.residual import ResidualBlock
from senet_zoo.registry import MODELS
from senet_zoo.specs import NetworkSpec, StageSpec


def shallow(spec: NetworkSpec) -> NetworkSpec:
    """The same network with at most two blocks a stage: every kind of block that it has, few of each."""
    stages = tuple(StageSpec(stage.blocks[:2]) for stage in spec.stages)
    return dataclasses.replace(spec, stages=stages, num_classes=10)


def distinct_shallow() -> dict[str, NetworkSpec]:
    """Shallow networks of the whole registry, each function once, under the name of the first model that has it."""
    named: dict[NetworkSpec, str] = {}
    for name, model in MODELS.items():
        named.setdefault(shallow(model.spec()), name)
    return {name: spec for spec, name in named.items()}


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Fill a network with weights under which every layer matters, batch norms' statistics included."""
    generator = torch.Generator().manual_seed(seed)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.weight.data.uniform_(0.5, 1.5, generator=generator)
            part.bias.data.normal_(0.0, 0.3, generator=generator)
            part.running_mean.normal_(0.0, 0.3, generator=generator)
            part.running_var.uniform_(0.5, 2.0, generator=generator)
        elif isinstance(part, nn.Conv2d | nn.Linear):
            fan_in = part.weight[0].numel()
            part.weight.data.normal_(0.0, (2.0 / fan_in) ** 0.5, generator=generator)
            if part.bias is not None:
                part.bias.data.normal_(0.0, 0.1, generator=generator)
    for block in model.modules():  # as trained networks do, and so that a deep one does not amplify rounding
        if isinstance(block, ResidualBlock):
            list(block.branch)[-1].bn.weight.data.mul_(0.25)
    return model.eval()


def key_list(model: nn.Module) -> str:
    """A digest of names and shapes of all saved tensors: it changes when published weights would no longer load."""
    lines = (f"{name} {tuple(tensor.shape)}\n" for name, tensor in model.state_dict().items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]
