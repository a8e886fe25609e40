"""Where processes that share a run meet, as ``torchrun`` and ``accelerate launch`` say it in the environment."""

import os

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
