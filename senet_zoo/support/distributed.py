"""Where processes that share a run meet, as ``torchrun`` and ``accelerate launch`` say it in the environment.

Several processes that share a piece of work, and each get the whole result.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from traceback import clear_frames
from typing import TypeVar

import torch
import torch.distributed as dist

from senet_zoo.errors import TrainingError, UsageError

_PLACE = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def processes() -> int:
    """How many there are; 1 where nothing started others.

    Raises:
        UsageError: there are several, and nothing says where they meet.
    """
    world = os.environ.get("WORLD_SIZE", "1")
    missing = [name for name in _PLACE if name not in os.environ]
    if world == "1" or not missing:
        return int(world)
    raise UsageError(
        f"WORLD_SIZE={world} says that several processes work together, but {', '.join(missing)} must say where they "
        "meet: start them with torchrun or accelerate launch, or unset WORLD_SIZE"
    )


def keep_default_group_free() -> None:
    """Let a default process group that is made after this call end when it is destroyed.

    A function of `torch.distributed.nn.functional` names the default group of the moment of its import as a default
    argument. Imported while there is one, as torchvision and torch.compile do in passing, that group outlives its
    destruction, and a thread of gloo that wants the interpreter while it shuts down aborts the process.
    """
    import_module("torch.distributed.nn.functional")


def let_group_go(error: BaseException) -> None:
    """Clear the frames that an error came through: their variables keep the group that is to end."""
    passed: BaseException | None = error
    while passed is not None:
        clear_frames(passed.__traceback__)
        passed = passed.__context__


Item = TypeVar("Item")


@dataclass(frozen=True)
class Ranks:
    """A process among the others.

    Args:
        rank: its number, from 0.
        world: how many there are.
    """

    rank: int = 0
    world: int = 1

    def gather(self, items: list[Item]) -> list[Item]:
        """Those of every process, in the order of the processes.

        Raises:
            TrainingError: one of them ended.
        """
        if self.world == 1:
            return items
        everyone: list[list[Item]] = [[] for _ in range(self.world)]
        with _in_touch():
            dist.all_gather_object(everyone, items)
        return [item for each in everyone for item in each]


def current_ranks() -> Ranks:
    """What the process group says; one process where there is none."""
    if dist.is_available() and dist.is_initialized():
        return Ranks(dist.get_rank(), dist.get_world_size())
    return Ranks()


def device_of_rank(device: str | None) -> str | None:
    """The GPU of this process where several on one machine share the work; otherwise what was asked for."""
    if device in (None, "cuda") and torch.cuda.is_available() and "LOCAL_RANK" in os.environ:
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return device


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Join the processes that ``torchrun`` or ``accelerate launch`` started with this one, for a while.

    They talk over gloo, since only small results travel; networks stay on their devices.

    Raises:
        UsageError: the environment promises several processes and does not say where they meet.
        TrainingError: the others cannot be reached.
    """
    if processes() == 1:
        yield Ranks()
        return
    keep_default_group_free()
    with _in_touch():
        dist.init_process_group("gloo")
    try:
        yield current_ranks()
    except BaseException as error:
        let_group_go(error)
        raise
    finally:
        dist.destroy_process_group()


@contextmanager
def _in_touch() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise TrainingError(
            f"the processes that share the work lost each other: one ended or cannot be reached "
            f"({str(error).splitlines()[0]}); see what it printed, and start all of them again"
        ) from error
