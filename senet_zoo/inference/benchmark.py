"""`benchmark`: models of the zoo on this machine, as they come and made faster, each beside its plain twin.

A `BenchmarkReport` prints as a table, and is kept as a JSON file that `benchmarks/report.py` reads.
"""

import copy
import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from senet_zoo.errors import UnknownModelError, UsageError
from senet_zoo.inference.optimize import optimize
from senet_zoo.networks import registry
from senet_zoo.networks.fused.set_fused import residual_units, set_fused
from senet_zoo.networks.network import ConvNet, on_meta
from senet_zoo.networks.squeeze_excite import gates
from senet_zoo.support.files import atomic_file
from senet_zoo.support.machine import describe_machine, find_device, format_machine
from senet_zoo.support.timing import Candidate, Rounds, Spread, interleaved, timed
from senet_zoo.weights.config import saved_config
from senet_zoo.weights.create import create_model, is_place
from senet_zoo.weights.save import from_pretrained

Work = Callable[[], object]
Progress = Callable[[str, int, int], object]
EAGER, OPTIMISED, FUSED, COMPILED = CANDIDATES = ("eager", "optimised", "fused", "compiled")
LEAST_SECONDS = 0.02
"""Seconds of a candidate in each round: small networks run several times."""


@dataclass(frozen=True)
class BenchmarkRow:
    """A candidate: one model, run in one way.

    Args:
        model: its name in its library.
        candidate: how it is run.
        rate: pictures a second.
        ratio: how many times as fast it is as the report's base.
        gate: its time over that of its plain twin, run in the same way; None without a gate or a twin.
        figures: other figures by name and unit, such as ``peak MiB``.
    """

    model: str
    candidate: str
    rate: Spread
    ratio: Spread
    gate: Spread | None
    figures: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        rounds: Rounds,
        key: str,
        *,
        names: tuple[str, str],
        base: str,
        plain: str | None,
        pictures: int,
        figures: Mapping[str, float] | None = None,
    ) -> "BenchmarkRow":
        """The row of a candidate that was timed.

        ``names`` are those of the model and of the way it is run. The ratio is to the candidate ``base``. There is no
        gate's cost where ``plain``, the plain twin, is None or was not timed.
        """
        gate = rounds.ratio(key, plain) if plain in rounds.seconds and plain is not None else None
        return cls(*names, rounds.rate(key, pictures), rounds.ratio(base, key), gate, figures or {})


@dataclass(frozen=True)
class BenchmarkReport:
    """Candidates that were timed in turns, in one run.

    Args:
        title: what they did.
        machine: where, with versions and threads.
        base: the candidate that ratios are to.
        rounds: how many count, and how many were disturbed.
        rows: the candidates.
    """

    title: str
    machine: Mapping[str, str | int]
    base: str
    rounds: str
    rows: tuple[BenchmarkRow, ...]

    def table(self) -> list[list[str]]:
        """Cells; the first line is the head."""
        figures = list(dict.fromkeys(name for row in self.rows for name in row.figures))
        head = ["model", "candidate", "pictures a second", f"times as fast as {self.base}", "gate's cost", *figures]
        lines = [
            [
                row.model,
                row.candidate,
                format(row.rate, ".2f" if row.rate.median < 100 else ".0f"),
                format(row.ratio, ".2f"),
                format(row.gate, ".3f") if row.gate else "-",
                *(_short(row.figures[name]) if name in row.figures else "-" for name in figures),
            ]
            for row in self.rows
        ]
        return [head, *lines]

    def __str__(self) -> str:
        table = self.table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, cells, widths)).rstrip() for cells in table]
        return "\n".join([format_machine(self.machine), f"{self.title}, {self.rounds}", "", *lines])


def _short(value: float) -> str:
    """Three digits or more."""
    return f"{value:.{1 if value >= 10 else 2 if value >= 1 else 3}f}"


def to_document(command: str, reports: Sequence[BenchmarkReport]) -> dict[str, object]:
    """The JSON document of reports, with the command that made them and the date."""
    date = datetime.now(UTC).date().isoformat()
    return {"command": command, "date": date, "sheets": [dataclasses.asdict(report) for report in reports]}


def save(path: Path, command: str, reports: Sequence[BenchmarkReport]) -> None:
    """Write such a document.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_file(path) as file:
        file.write((json.dumps(to_document(command, reports), indent=1) + "\n").encode())


def from_document(document: Mapping[str, Any]) -> list[BenchmarkReport]:
    """The reports of such a document.

    Raises:
        KeyError, TypeError: it is not such a document.
    """

    def row(found: dict[str, Any]) -> BenchmarkRow:
        gate = found["gate"]
        spreads = {"rate": Spread(**found["rate"]), "ratio": Spread(**found["ratio"])}
        return BenchmarkRow(**found | spreads | {"gate": gate and Spread(**gate)})

    return [BenchmarkReport(**each | {"rows": tuple(map(row, each["rows"]))}) for each in document["sheets"]]


class TrainingStep:
    """Forward, backward and a step of SGD with momentum, always on the same batch; float32 means no autocast."""

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
        """The forward half, with the loss."""
        with torch.autocast(self.images.device.type, self.dtype, enabled=self.dtype is not torch.float32):
            return F.cross_entropy(self.model(self.images), self.labels)


@dataclass(frozen=True)
class Workload:
    """What each model does.

    Args:
        batch: pictures at once.
        size: side of the pictures in pixels; None for each model's own.
        dtype: ``torch.float32`` or ``torch.bfloat16``, in training by autocast.
        train: whether it is a training step with channels last, or inference.
        compile: whether torch.compile is measured too, which takes a minute or more for each model.

    Raises:
        UsageError: a number below 1, or another dtype.
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


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Args:
        name: of the model, or the folder of a saved network.
        twin: name of the plain model beside which the gates' cost is measured; None without gates.
    """

    name: str
    twin: str | None

    @classmethod
    def of(cls, name: str) -> "Subject":
        """A model by its name, or a saved network by its folder, which has no twin where channels were removed."""
        if not is_place(name):
            model = registry.find(name)
            return cls(model.name, model.twin if model.se else None)
        config = saved_config(name)
        gated = bool(gates(on_meta(config.spec))) and config.widths is None
        return cls(name, registry.find(config.architecture).twin if gated else None)

    def create(self, device: torch.device) -> tuple[ConvNet, int]:
        """The network, and the side of its pictures in pixels."""
        if not is_place(self.name):
            model = create_model(self.name, device=device).eval()
            return model, model.spec.input_size
        model = from_pretrained(self.name, device=device)
        said = model.weights.preprocessing if model.weights else None
        return model, said.size if said else model.spec.input_size


def candidates(subject: Subject, load: Workload, device: torch.device) -> Iterator[tuple[str, Work]]:
    """The ways to run a model, eager first.

    Raises:
        UsageError: it cannot run on such pictures.
        OptimizationError: as in `senet_zoo.optimize`.
    """
    name = subject.name
    model, own_size = subject.create(device)
    model = _with_constant_gates(model)
    size = load.size or own_size
    x = torch.randn(load.batch, 3, size, size, device=device)
    eager = _training(subject, x, load.dtype) if load.train else partial(_cast(model, load.dtype), x.to(load.dtype))
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
            yield FUSED, _training(subject, x, load.dtype, fused=True)
        if load.compile:
            yield COMPILED, _training(subject, x, load.dtype, compiled=True)
        return
    for how in (OPTIMISED, COMPILED)[: 1 + load.compile]:
        fast = optimize(
            model,
            dtype=load.dtype,
            compile=how == COMPILED,
            sizes=(size, size + 1),  # the network can read both sizes
            batch=load.batch,
            rounds=0,
        )
        yield how, partial(fast, x)


def _with_constant_gates(model: ConvNet) -> ConvNet:
    """The same network with random gates that are the same for all pictures.

    With random weights maps grow from unit to unit, and rounding decides whether a gate of large numbers is open or
    shut: the logits of deep untrained networks are noise, and could not be compared.
    """
    for gate in gates(model).values():
        nn.init.zeros_(gate.fc2.weight)
    return model


def _cast(model: ConvNet, dtype: torch.dtype) -> ConvNet:
    return model if dtype is torch.float32 else copy.deepcopy(model).to(dtype)


def _training(subject: Subject, x: Tensor, dtype: torch.dtype, *, fused: bool = False, compiled: bool = False) -> Work:
    model = subject.create(x.device)[0].train().to(memory_format=torch.channels_last)
    if fused:
        set_fused(model, True)
    images = x.to(memory_format=torch.channels_last)
    return TrainingStep(cast("nn.Module", torch.compile(model)) if compiled else model, images, dtype)


def at_least_one(name: str, value: int) -> None:
    """Check a whole number.

    Raises:
        UsageError: it is below 1, or no whole number.
    """
    if type(value) is not int or value < 1:
        raise UsageError(f"{name} must be a whole number, at least 1, got {value}")


def benchmark(
    names: Sequence[str],
    load: Workload,
    *,
    rounds: int = 15,
    threads: int | None = None,
    device: str | None = None,
    progress: Progress = lambda doing, done, total: None,
) -> BenchmarkReport:
    """Measure models in one run and in turns, with random weights and pictures.

    In inference a model runs as it comes (eager) and by `senet_zoo.optimize`; in training layer by layer (eager) and
    with the ends of its units fused, if it has units for that. A gate's cost is the time over that of the plain twin,
    run in the same way; models without gates have none. Gates are the same for all pictures.

    Args:
        names: models, shell patterns of their names, or folders of saved networks.
        load: what they do.
        rounds: number of rounds; each candidate runs once in each.
        threads: threads of PyTorch's operations on a CPU; default: as many as it uses already.
        device: default: the first CUDA device, or the CPU if there is none.
        progress: called with what is being done, how much of it is done, and of how much.

    Raises:
        UnknownModelError: no model has such a name.
        UsageError: an option that is not supported, or a model that cannot run on such pictures.
        OptimizationError: as in `senet_zoo.optimize`.
    """
    at_least_one("rounds", rounds)
    subjects, on = _subjects(names), find_device(device)
    needed = {each.name: each for each in subjects}
    needed |= {each.twin: Subject(each.twin, None) for each in subjects if each.twin and each.twin not in needed}
    timers = dict[str, Candidate]()
    with _threads(threads), torch.set_grad_enabled(load.train):
        for number, (name, subject) in enumerate(needed.items()):
            progress("preparing", number, len(needed))
            works = dict(candidates(subject, load, on))
            repeats = max(1, math.ceil(LEAST_SECONDS / timed(works[EAGER], on)))
            timers |= {_key(name, how): partial(_once, work, on, repeats) for how, work in works.items()}
        measured = interleaved(_with_progress(timers, progress, len(timers) * (rounds + 1)), rounds)
        machine = describe_machine(on)
    rows = [
        BenchmarkRow.of(
            measured,
            _key(model.name, how),
            names=(model.name, how),
            base=_key(model.name, EAGER),
            plain=_key(model.twin, how) if model.twin else None,
            pictures=load.batch,
        )
        for model in subjects
        for how in CANDIDATES
        if _key(model.name, how) in timers
    ]
    return BenchmarkReport(str(load), machine, EAGER, str(measured), tuple(rows))


def _subjects(names: Sequence[str]) -> list[Subject]:
    """The models of all names and patterns, and saved networks, each once, in the order of ``names``."""
    found = dict[str, Subject]()
    for name in names:
        has_wildcards = bool(set(name) & set("*?[")) and not is_place(name)
        matched = registry.matching_names(name) if has_wildcards else [name]
        if not matched:
            raise UnknownModelError(
                f"no model matches {name!r}",
                python="; senet_zoo.list_models() lists all",
                command_line="; senet-zoo list prints all",
            )
        found |= {subject.name: subject for subject in map(Subject.of, matched)}
    if not found:
        raise UsageError("a benchmark needs at least one model: name it")
    return list(found.values())


def _once(work: Work, device: torch.device, repeats: int) -> float:
    """Seconds of one run out of several."""
    return timed(work, device, repeats) / repeats


def _with_progress(timers: Mapping[str, Candidate], progress: Progress, total: int) -> dict[str, Candidate]:
    """The same timers, each of which reports to ``progress``."""
    done = itertools.count(1)

    def run(timer: Candidate) -> float:
        seconds = timer()
        progress("measuring", next(done), total)
        return seconds

    return {key: partial(run, timer) for key, timer in timers.items()}


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
