"""How much faster one network is than another: both in turns, the order changing, as ratios of the same round."""

import time
from collections.abc import Callable
from statistics import median, quantiles

import torch
from torch import Tensor

from senet_zoo.inference.report import Gain

Network = Callable[[Tensor], Tensor]
SECONDS = 4.0
"""What one measurement may take, though never fewer than three rounds."""


@torch.no_grad()
def measure(networks: dict[str, Network], x: Tensor, rounds: int) -> dict[str, list[float]]:
    """Seconds of each network on ``x`` in each round; the first call of each does not count."""
    for network in networks.values():
        _seconds(network, x)
    names, seconds = list(networks), {name: list[float]() for name in networks}
    began = time.perf_counter()
    for number in range(rounds):
        if number >= 3 and time.perf_counter() - began > SECONDS:
            break
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(_seconds(networks[name], x))
    return seconds


def gain(original: list[float], faster: list[float], x: Tensor) -> Gain:
    """The gain by rounds of the same number."""
    ratios = [slow / quick for slow, quick in zip(original, faster, strict=True)]
    lower, middle, upper = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return Gain(middle, lower, upper, len(ratios), x.shape[0], x.shape[-1], 1000 * median(faster))


def _seconds(network: Network, x: Tensor) -> float:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    start = time.perf_counter()
    network(x)
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    return time.perf_counter() - start
