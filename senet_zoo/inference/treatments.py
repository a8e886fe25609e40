"""How `senet_zoo.inference.benchmark` runs a model: as it is, and made faster, for inference or training."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from senet_zoo.blocks.fusion import residual_units, set_fused
from senet_zoo.errors import UsageError
from senet_zoo.inference.measuring import Network
from senet_zoo.inference.optimize import optimize
from senet_zoo.inference.stepping import TrainingStep
from senet_zoo.layers.squeeze_excite import gates
from senet_zoo.network import ConvNet
from senet_zoo.zoo.create import create_model

Work = Callable[[], object]
EAGER, OPTIMISED, FUSED, COMPILED = TREATMENTS = ("eager", "optimised", "fused", "compiled")


@dataclass(frozen=True)
class Load:
    """What each model is given to do.

    Args:
        batch: pictures at once.
        size: side of the pictures in pixels; None for each model's own.
        dtype: ``torch.float32`` or ``torch.bfloat16``; the latter by autocast in training.
        train: a training step with channels last, in place of inference.
        compile: measure torch.compile as well: a minute or more for each model.

    Raises:
        UsageError: no pictures, no pixels, or another dtype.
    """

    batch: int = 1
    size: int | None = None
    dtype: torch.dtype = torch.float32
    train: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        at_least_one("batch", self.batch)
        if self.size is not None:
            at_least_one("size", self.size)
        if self.dtype not in (torch.float32, torch.bfloat16):
            raise UsageError(f"a benchmark's dtype must be torch.float32 or torch.bfloat16, got {self.dtype}")

    def __str__(self) -> str:
        size = f"{self.size} px" if self.size else "each model's own size"
        work = "training step, channels last" if self.train else "inference"
        return f"{work}, batch {self.batch}, {size}, {str(self.dtype).removeprefix('torch.')}"


def treatments(name: str, load: Load, place: torch.device) -> Iterator[tuple[str, Work]]:
    """How the model can be run, the eager one first.

    Raises:
        UsageError: it cannot run on such pictures.
        OptimizationError: see `senet_zoo.optimize`.
    """
    model = _with_steady_gates(create_model(name, device=place))
    size = load.size or model.spec.input_size
    x = torch.randn(load.batch, 3, size, size, device=place)
    eager = _training(name, x, load.dtype) if load.train else _inference(_cast(model, load.dtype), x.to(load.dtype))
    try:
        eager()
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"{name} cannot run on {load.batch} x {size} px: {reason}; try another size or batch"
        ) from error
    yield EAGER, eager
    if load.train:
        if any(not unit.why_plain() for unit in residual_units(model).values()):
            yield FUSED, _training(name, x, load.dtype, fused=True)
        if load.compile:
            yield COMPILED, _training(name, x, load.dtype, compiled=True)
        return
    for how in (OPTIMISED, COMPILED)[: 1 + load.compile]:
        fast = optimize(
            model,
            dtype=load.dtype,
            compile=how == COMPILED,
            sizes=(size, size + 1),  # both are sizes that the network can read
            batch=load.batch,
            rounds=0,
        )
        yield how, _inference(fast, x)


def _with_steady_gates(model: ConvNet) -> ConvNet:
    """The same network, its gates random still, but the same for all pictures.

    Through random weights maps grow from unit to unit, and gates that look at large numbers are open or shut by their
    rounding: the logits of deep untrained networks are noise, and nothing could be compared with them.
    """
    for gate in gates(model).values():
        nn.init.zeros_(gate.fc2.weight)
    return model


def _cast(model: ConvNet, dtype: torch.dtype) -> ConvNet:
    return model if dtype is torch.float32 else copy.deepcopy(model).to(dtype)


def _inference(network: Network, x: Tensor) -> Work:
    return partial(network, x)


def _training(name: str, x: Tensor, dtype: torch.dtype, *, fused: bool = False, compiled: bool = False) -> Work:
    model = create_model(name, device=x.device).train().to(memory_format=torch.channels_last)
    if fused:
        set_fused(model, True)
    images = x.to(memory_format=torch.channels_last)
    return TrainingStep(cast("nn.Module", torch.compile(model)) if compiled else model, images, dtype)


def at_least_one(name: str, value: int) -> None:
    """Let a whole number from 1 up pass.

    Raises:
        UsageError: it is none.
    """
    if type(value) is not int or value < 1:
        raise UsageError(f"{name} must be a whole number, at least 1, got {value}")
