"""Networks in turns on one input."""

from collections.abc import Callable, Mapping
from functools import partial
from statistics import median

import torch
from torch import Tensor

from senet_zoo.inference.report import Gain
from senet_zoo.turns import Rounds, in_turns, timed

Network = Callable[[Tensor], Tensor]
SECONDS = 4.0
"""What `measure` may take, though never fewer rounds than three."""


@torch.no_grad()
def measure(networks: Mapping[str, Network], x: Tensor, rounds: int) -> Rounds:
    """Networks in turns on ``x``, for a few seconds at most."""
    turns = {name: partial(timed, partial(network, x), x.device) for name, network in networks.items()}
    return in_turns(turns, rounds, limit=SECONDS)


def gain(rounds: Rounds, original: str, faster: str, x: Tensor) -> Gain:
    """How many times as fast the one is on ``x`` as the other."""
    ratio, milliseconds = rounds.ratio(original, faster), 1000 * median(rounds.seconds[faster])
    return Gain(ratio.median, ratio.lower, ratio.upper, len(rounds), x.shape[0], x.shape[-1], milliseconds)
