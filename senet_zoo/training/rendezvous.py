"""Where processes that share a run meet, as ``torchrun`` and ``accelerate launch`` say it in the environment."""

import os
from importlib import import_module
from traceback import clear_frames

from senet_zoo.errors import UsageError

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
