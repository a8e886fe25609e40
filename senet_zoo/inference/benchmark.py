"""`benchmark`: models of the zoo on this machine, as they are and made faster, each beside its plain twin."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import torch

from senet_zoo import registry
from senet_zoo.errors import UnknownModelError, UsageError
from senet_zoo.families.family import Model
from senet_zoo.inference.machine import describe, find_device
from senet_zoo.inference.sheet import Sheet, row_of
from senet_zoo.inference.treatments import EAGER, TREATMENTS, Load, Work, at_least_one, treatments
from senet_zoo.turns import Turn, in_turns, timed

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
    turns = dict[str, Turn]()
    with _threads(threads), torch.set_grad_enabled(load.train):
        for number, name in enumerate(needed):
            progress("preparing", number, len(needed))
            works = dict(treatments(name, load, place))
            repeats = max(1, math.ceil(TURN / timed(works[EAGER], place)))
            turns |= {_key(name, how): partial(_once, work, place, repeats) for how, work in works.items()}
        measured = in_turns(_told(turns, progress, len(turns) * (rounds + 1)), rounds)
        machine = describe(place)
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
        matched = registry.match(name) if set(name) & set("*?[") else [registry.find(name).name]
        if not matched:
            raise UnknownModelError(f"no model matches {name!r}; senet_zoo.list_models() lists all")
        found |= {each: registry.MODELS[each] for each in matched}
    if not found:
        raise UsageError("a benchmark needs at least one model: name it")
    return list(found.values())


def _once(work: Work, place: torch.device, repeats: int) -> float:
    """Seconds of one run out of several."""
    return timed(work, place, repeats) / repeats


def _told(turns: Mapping[str, Turn], progress: Progress, total: int) -> dict[str, Turn]:
    """The same turns, each told to ``progress``."""
    done = itertools.count(1)

    def told(turn: Turn) -> float:
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
