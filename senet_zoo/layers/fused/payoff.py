"""Whether the operation is faster than its layers, on this machine: measured once a process, device and precision."""

import statistics
import time
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor, nn

from senet_zoo.layers.fused.module import fused_end
from senet_zoo.layers.squeeze_excite import SqueezeExcite

SHAPE = (4, 256, 28, 28)
ROUNDS = 7


@cache
def gain(device: torch.device, dtype: torch.dtype) -> float:
    """Time of the layers over time of the operation, forward and backward, at one end of a unit with its gate.

    The median of the ratios of seven rounds, in which both take turns; the compiler's time is not in it. Above 1, the
    operation is faster. Costs a fraction of a second, besides the compiler's seconds on a CPU.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.inference_mode(False):
        with torch.device(device):
            norm, gate = nn.BatchNorm2d(SHAPE[1]), SqueezeExcite(SHAPE[1])
            y, shortcut, gradient = (
                torch.randn(SHAPE, dtype=dtype).to(memory_format=torch.channels_last) for _ in range(3)
            )
        ends = (lambda y, shortcut: torch.relu(gate(norm(y)) + shortcut), partial(fused_end, norm=norm, gate=gate))
        ratios = []
        for _ in range(2 + ROUNDS):
            plain, fused = (_seconds(end, y, shortcut, gradient) for end in ends)
            ratios.append(plain / fused)
    return statistics.median(ratios[2:])


def _seconds(end: Callable[[Tensor, Tensor], Tensor], y: Tensor, shortcut: Tensor, gradient: Tensor) -> float:
    _wait_for(y.device)
    start = time.perf_counter()
    with torch.enable_grad():
        end(y.detach().requires_grad_(), shortcut.detach().requires_grad_()).backward(gradient)
    _wait_for(y.device)
    return time.perf_counter() - start


def _wait_for(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
