"""Networks that the model tests share."""

import dataclasses
import hashlib
from collections.abc import Callable, Collection, Iterable
from functools import cache
from math import gcd
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from senet_zoo.errors import SpecError
from senet_zoo.networks.blocks.heads import ClassMapClassifier
from senet_zoo.networks.blocks.residual import ResidualBlock
from senet_zoo.networks.network import on_meta
from senet_zoo.networks.registry import MODELS
from senet_zoo.networks.specs import NetworkSpec, StageSpec


def tiny(spec: NetworkSpec) -> NetworkSpec:
    """The same network with at most two blocks a stage, and a quarter of the channels where it has many."""
    stages = tuple(StageSpec(stage.blocks[:2]) for stage in spec.stages)
    if spec.input_size < 224 and _widest(spec) <= 286:  # narrow enough
        return dataclasses.replace(spec, stages=stages, name=None)
    return dataclasses.replace(
        spec, stem=_narrow(spec.stem), stages=_narrow(stages), head=_narrow(spec.head), num_classes=10, name=None
    )


def _widest(spec: NetworkSpec) -> int:
    widths = [spec.stem.out_channels(3)]
    for stage in spec.stages:
        for block in stage.blocks:
            widths.append(block.out_channels(widths[-1]))
    return max(widths)


def _narrow(spec: Any) -> Any:
    """A quarter of every field that counts channels, however deep it lies."""
    if isinstance(spec, tuple):
        return tuple(map(_narrow, spec))
    if not dataclasses.is_dataclass(spec):
        return spec
    values = {field.name: _narrow(getattr(spec, field.name)) for field in dataclasses.fields(spec)}
    for name in values.keys() & {"width", "reduce", "out"}:
        values[name] //= 4
    if "widths" in values:
        values["widths"] = tuple(width // 4 for width in values["widths"])
    if "reduce" in values and "groups" in values:
        values["groups"] = gcd(values["groups"], values["reduce"], values["width"])
    return type(spec)(**values)


@cache
def distinct_tiny() -> dict[str, NetworkSpec]:
    """Tiny networks of the whole registry, each function once, under the name of the first model that has it."""
    named: dict[NetworkSpec, str] = {}
    for name, model in MODELS.items():
        named.setdefault(tiny(model.spec()), name)
    return {name: spec for spec, name in named.items()}


def thin(spec: NetworkSpec, seen: set[tuple[object, ...]] | None = None) -> NetworkSpec:
    """The network with those blocks alone whose kind, or the value of a field, no earlier block has.

    What traces a network sees kinds of blocks and values of their fields, and takes as long as there are blocks. Where
    gates are chosen by stage all stages stay. Auxiliary classifiers go: they are not traced.

    Args:
        spec: of the network.
        seen: traits of blocks of other networks that need not come again; this one's are added.
    """
    seen = set() if seen is None else seen
    chosen = spec.se is not None and (spec.se.stages or spec.se.without)
    stages = []
    for stage in spec.stages:
        blocks = []
        for block in stage.blocks:
            if traits_of(block) - seen:
                blocks.append(block)
                seen |= traits_of(block)
        if blocks or chosen:
            stages.append(StageSpec(tuple(blocks or stage.blocks[:1])))
    stages = stages or [StageSpec(spec.stages[0].blocks[:1])]
    found = dataclasses.replace(spec, stages=tuple(stages), auxiliary=(), name=None)
    try:
        on_meta(found)
    except SpecError:  # a block that carries its input needs those before it
        seen |= traits_of(spec.stages)
        return dataclasses.replace(spec, auxiliary=(), name=None)
    return found


@cache
def each_kind_once() -> dict[str, NetworkSpec]:
    """Thin networks that together have every kind of block, and every value of each field of it, of the registry."""
    seen = set[tuple[object, ...]]()
    return {f"{name}, thin": thin(distinct_tiny()[name], seen) for name in picked(distinct_tiny())}


SIZES = {"width", "widths", "reduce", "out", "inner", "growth"}
"""Fields that count channels: another number of them is no other kind of network."""


def shallowest_of_each_kind(names: Iterable[str]) -> list[str]:
    """Of the models that have the same parts with the same values of their fields, except for channels, the shallowest.

    Their tables differ by depths and widths alone, which the contract counts for every model.
    """
    specs = {name: MODELS[name].spec() for name in names}
    kinds: dict[frozenset[tuple[object, ...]], str] = {}
    for name in sorted(specs, key=lambda name: sum(len(stage.blocks) for stage in specs[name].stages)):
        kinds.setdefault(frozenset(traits_of(tiny(specs[name]))), name)
    return [*kinds.values()]


def picked(specs: dict[str, NetworkSpec]) -> list[str]:
    """Few of these networks that have every kind of part, and every value of each field of it, that all of them have.

    Numbers of channels are no such values: there are as many as networks.

    A part is picked up by being a dataclass of a spec. What traces a network, compiles it or writes it to a file sees
    parts; one network for each is enough between commits, and ``scripts/test --all`` takes all.
    """
    return covering({name: traits_of(spec) for name, spec in specs.items()})


def covering(traits: dict[str, set[tuple[object, ...]]], cost: Callable[[str], float] = lambda name: 1.0) -> list[str]:
    """Few names, and cheap ones, that have every trait that all of them have."""
    missing, names = set().union(*traits.values()), []
    while missing:
        best = max(traits, key=lambda name: len(traits[name] & missing) / cost(name))  # the first of several
        names.append(best)
        missing -= traits[best]
    return names


def traits_of(spec: Any) -> set[tuple[object, ...]]:
    """``(kind,)`` of each dataclass in a spec, and ``(kind, field, value)`` of each field; of a part, its kind."""
    if isinstance(spec, tuple):
        return set().union(*map(traits_of, spec))
    if not dataclasses.is_dataclass(spec):
        return set()
    kind = type(spec)
    traits: set[tuple[object, ...]] = {(kind,)}
    for field in dataclasses.fields(spec):
        if field.name in SIZES:
            continue
        value = getattr(spec, field.name)
        inner = traits_of(value)
        traits |= inner or {(kind, field.name, value)}
        if dataclasses.is_dataclass(value):
            traits.add((kind, field.name, type(value)))
    return traits


def others_slow(names: Iterable[str], picked: Collection[str]) -> list[Any]:
    """The names as parameters of a test; those not picked run under ``scripts/test --all`` only."""
    return [name if name in picked else pytest.param(name, marks=pytest.mark.slow) for name in names]


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Fill a network with weights under which every layer matters, batch norms' statistics included."""
    generator = torch.Generator().manual_seed(seed)
    for part in model.modules():
        if isinstance(part, _BatchNorm):
            part.weight.data.uniform_(0.5, 1.5, generator=generator)
            part.bias.data.normal_(0.0, 0.3, generator=generator)
            part.running_mean.normal_(0.0, 0.3, generator=generator)
            part.running_var.uniform_(0.5, 2.0, generator=generator)
        elif isinstance(part, _ConvNd | nn.Linear | ClassMapClassifier):
            fan_in = part.weight[0].numel()
            part.weight.data.normal_(0.0, (2.0 / fan_in) ** 0.5, generator=generator)
            if part.bias is not None:
                part.bias.data.normal_(0.0, 0.1, generator=generator)
    for block in model.modules():  # as trained networks do, and so that a deep one does not amplify rounding
        if isinstance(block, ResidualBlock):
            layers = [part for part in block.branch.modules() if isinstance(part, nn.BatchNorm2d | nn.Conv2d)]
            layers[-1].weight.data.mul_(0.25)
    return model.eval()


def settle(model: nn.Module, x: torch.Tensor) -> None:
    """Give every batch norm the statistics of its own input, so that a deep random network keeps its scale."""
    norms = [part for part in model.modules() if isinstance(part, _BatchNorm)]
    for norm in norms:
        norm.momentum = None
        norm.reset_running_stats()
    model.train()
    with torch.no_grad():
        model(x)
    model.eval()
    generator = torch.Generator().manual_seed(3)
    # Not exactly its own, or a wrong epsilon would hide; none so small that it blows up rounding.
    for norm in norms:
        norm.running_mean += 0.1 * torch.randn(norm.running_mean.shape, generator=generator)
        norm.running_var.clamp_(min=0.2 * norm.running_var.mean().item())


def open_relus(model: nn.Module) -> None:
    """Let most ReLUs pass: a deep chain of batch norms without shortcuts amplifies rounding where they cut."""
    for norm in [part for part in model.modules() if isinstance(part, _BatchNorm)]:
        norm.bias += 1.0


def scaled_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).abs().max() / b.abs().max()).item()


def key_list(model: nn.Module) -> str:
    """A digest of names and shapes of all saved tensors: it changes when published weights would no longer load."""
    lines = (f"{name} {tuple(tensor.shape)}\n" for name, tensor in model.state_dict().items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]
