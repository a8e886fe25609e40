"""A training step to be timed: forward, backward and an update, on pictures that are already there.

How `senet_zoo.inference.benchmark` runs a model: as it is, and made faster, for inference or training.

`benchmark`: models of the zoo on this machine, as they are and made faster, each beside its plain twin.
"""

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from senet_zoo.errors import UnknownModelError, UsageError
from senet_zoo.inference.benchmark_report import Sheet, row_of
from senet_zoo.inference.optimize import optimize
from senet_zoo.inference.report import Network
from senet_zoo.networks import registry
from senet_zoo.networks.families.family import Model
from senet_zoo.networks.fused.set_fused import residual_units, set_fused
from senet_zoo.networks.gate import gates
from senet_zoo.networks.network import ConvNet
from senet_zoo.support.machine import describe_machine, find_device
from senet_zoo.support.timing import Candidate, interleaved, timed
from senet_zoo.weights.create import create_model


class TrainingStep:
    """SGD with momentum on one batch, over and over; what is learnt does not matter.

    Args:
        model: it is trained, and laid out as it shall be.
        images: the batch, (N, C, H, W); all of class 0.
        dtype: of autocast; float32 for none.
    """

    def __init__(self, model: nn.Module, images: Tensor, dtype: torch.dtype) -> None:
        self.model, self.images, self.dtype = model, images, dtype
        self.labels = torch.zeros(images.shape[0], dtype=torch.long, device=images.device)
        self.optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

    def __call__(self) -> None:
        """One step."""
        self.loss().backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def loss(self) -> Tensor:
        """The forward half."""
        with torch.autocast(self.images.device.type, self.dtype, enabled=self.dtype is not torch.float32):
            return F.cross_entropy(self.model(self.images), self.labels)


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


Progress = Callable[[str, int, int], object]
TURN = 0.02
"""Seconds that a turn takes at least: small networks run several times."""


def benchmark(
    names: Sequence[str],
    load: Load,
    *,
    rounds: int = 15,
    threads: int | None = None,
    device: str | None = None,
    progress: Progress = lambda doing, done, total: None,
) -> Sheet:
    """Measure models, all in one run and in turns, on random weights and pictures; gates are the same for all pictures.

    In inference a model runs as it comes (eager) and by `senet_zoo.optimize`; in training layer by layer (eager) and
    with the ends of its units fused, where it has units that can be. A gate's cost is taken beside the plain twin,
    treated alike, and is missing for models without gates.

    Args:
        names: models, or shell patterns of their names.
        load: what they do.
        rounds: in which each candidate has its turn.
        threads: of PyTorch's operations on a CPU. Default: as many as it uses already.
        device: where they run. Default: the first CUDA device, or the CPU where there is none.
        progress: told what is being done, how much of it is, and of how much.

    Raises:
        UnknownModelError: no model is named or matched so.
        UsageError: an option that cannot be honoured, or a model that cannot run on such pictures.
        OptimizationError: see `senet_zoo.optimize`.
    """
    at_least_one("rounds", rounds)
    models, place = _models(names), find_device(device)
    needed = dict.fromkeys(
        name for model in models for name in ([model.name, model.twin] if model.se else [model.name])
    )
    turns = dict[str, Candidate]()
    with _threads(threads), torch.set_grad_enabled(load.train):
        for number, name in enumerate(needed):
            progress("preparing", number, len(needed))
            works = dict(treatments(name, load, place))
            repeats = max(1, math.ceil(TURN / timed(works[EAGER], place)))
            turns |= {_key(name, how): partial(_once, work, place, repeats) for how, work in works.items()}
        measured = interleaved(_told(turns, progress, len(turns) * (rounds + 1)), rounds)
        machine = describe_machine(place)
    rows = [
        row_of(
            measured,
            _key(model.name, how),
            names=(model.name, how),
            base=_key(model.name, EAGER),
            plain=_key(model.twin, how) if model.se else None,
            pictures=load.batch,
        )
        for model in models
        for how in TREATMENTS
        if _key(model.name, how) in turns
    ]
    return Sheet(str(load), machine, EAGER, str(measured), tuple(rows))


def _models(names: Sequence[str]) -> list[Model]:
    """Each once, in the order of ``names``."""
    found = dict[str, Model]()
    for name in names:
        matched = registry.matching_names(name) if set(name) & set("*?[") else [registry.find(name).name]
        if not matched:
            raise UnknownModelError(f"no model matches {name!r}; senet_zoo.list_models() lists all")
        found |= {each: registry.MODELS[each] for each in matched}
    if not found:
        raise UsageError("a benchmark needs at least one model: name it")
    return list(found.values())


def _once(work: Work, place: torch.device, repeats: int) -> float:
    """Seconds of one run out of several."""
    return timed(work, place, repeats) / repeats


def _told(turns: Mapping[str, Candidate], progress: Progress, total: int) -> dict[str, Candidate]:
    """The same turns, each told to ``progress``."""
    done = itertools.count(1)

    def told(turn: Candidate) -> float:
        seconds = turn()
        progress("measuring", next(done), total)
        return seconds

    return {key: partial(told, turn) for key, turn in turns.items()}


def _key(name: str, how: str) -> str:
    return f"{name}, {how}"


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    if number is None:
        yield
        return
    at_least_one("threads", number)
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
