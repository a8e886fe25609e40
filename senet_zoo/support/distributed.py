"""Several processes that share a piece of work, started by ``torchrun`` or ``accelerate launch``."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib import import_module
from traceback import clear_frames
from typing import Any, TypeVar
from urllib.parse import urlsplit

import torch
import torch.distributed as dist

from senet_zoo.errors import TrainingError, UsageError

_RENDEZVOUS = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_SCHEME = "senet-zoo"
_groups = itertools.count()  # process groups that this process has made


def processes() -> int:
    """The number of processes, from the environment; 1 if no launcher started them.

    Raises:
        UsageError: there are several, and the environment does not say where they meet.
    """
    world = os.environ.get("WORLD_SIZE", "1")
    missing = [name for name in _RENDEZVOUS if name not in os.environ]
    if world == "1" or not missing:
        return int(world)
    raise UsageError(
        f"WORLD_SIZE={world} says that several processes work together, but {', '.join(missing)} must say where they "
        "meet: start them with torchrun or accelerate launch, or unset WORLD_SIZE"
    )


def keep_default_group_free() -> None:
    """Make sure that a default process group made after this call ends when it is destroyed.

    A function of `torch.distributed.nn.functional` names the default group of the moment of its import as a default
    argument. Imported while there is one, as torchvision and torch.compile do in passing, that group outlives its
    destruction, and a thread of gloo that wants the interpreter while it shuts down aborts the process.
    """
    import_module("torch.distributed.nn.functional")


def new_rendezvous() -> str:
    """The ``init_method`` of a default process group that has a part of the store to itself.

    All groups of a process that ``torchrun`` started meet in one store, the launcher's. A second group would find the
    addresses of the first one there, and wait for processes that no longer listen. Processes that share work make
    their groups in the same order, so that the same number is the same group in all of them.
    """
    _register()
    return f"{_SCHEME}://{next(_groups)}"


@cache
def _register() -> None:
    from torch.distributed.rendezvous import register_rendezvous_handler

    register_rendezvous_handler(_SCHEME, _meet)


def _meet(url: str, timeout: timedelta) -> Iterator[tuple[Any, int, int]]:
    from torch.distributed import PrefixStore  # type: ignore[attr-defined]
    from torch.distributed.rendezvous import rendezvous

    found = urlsplit(url)
    for store, rank, world in rendezvous(f"env://?{found.query}", timeout=timeout):
        yield PrefixStore(f"group {found.netloc}", store), rank, world


def release_group(error: BaseException) -> None:
    """Clear the frames that an error passed through: their variables keep the group alive that must end."""
    each: BaseException | None = error
    while each is not None:
        clear_frames(each.__traceback__)
        each = each.__context__


Item = TypeVar("Item")


@dataclass(frozen=True)
class Ranks:
    """The number of this process among all of them.

    Args:
        rank: number of this process, from 0.
        world: number of processes.
    """

    rank: int = 0
    world: int = 1

    def gather(self, items: list[Item]) -> list[Item]:
        """The items of every process, in the order of the processes.

        Raises:
            TrainingError: a process has ended.
        """
        if self.world == 1:
            return items
        everyone: list[list[Item]] = [[] for _ in range(self.world)]
        with _connection_errors():
            dist.all_gather_object(everyone, items)
        return [item for each in everyone for item in each]


def current_ranks() -> Ranks:
    """The rank in the default process group; one process if there is no group."""
    if dist.is_available() and dist.is_initialized():
        return Ranks(dist.get_rank(), dist.get_world_size())
    return Ranks()


def device_of_rank(device: str | None) -> str | None:
    """The GPU of this process if several processes on one machine share the work; otherwise ``device``."""
    if device in (None, "cuda") and torch.cuda.is_available() and "LOCAL_RANK" in os.environ:
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return device


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Join the processes that ``torchrun`` or ``accelerate launch`` started, for the length of the block.

    They communicate over gloo, because only small results are exchanged; networks stay on their devices.

    Raises:
        UsageError: as in `processes`.
        TrainingError: the other processes cannot be reached.
    """
    if processes() == 1:
        yield Ranks()
        return
    keep_default_group_free()
    with _connection_errors():
        dist.init_process_group("gloo", init_method=new_rendezvous())
    try:
        yield current_ranks()
    except BaseException as error:
        release_group(error)
        raise
    finally:
        dist.destroy_process_group()


@contextmanager
def _connection_errors() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise TrainingError(
            f"the processes that share the work lost each other: one ended or cannot be reached "
            f"({str(error).splitlines()[0]}); see what it printed, and start all of them again"
        ) from error
