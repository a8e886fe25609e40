"""Whether the operation is faster than its layers, on this machine: measured once a process, device and precision."""

from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from senet_zoo.layers.fused.module import fused_end
from senet_zoo.layers.squeeze_excite import SqueezeExcite
from senet_zoo.turns import in_turns, timed

SHAPE = (4, 256, 28, 28)
ROUNDS = 9


@cache
def gain(device: torch.device, dtype: torch.dtype) -> float:
    """Time of the layers over time of the operation, forward and backward, at one end of a unit with its gate.

    The median of the ratios of nine rounds, in which both take turns; the compiler's time is not in it. Above 1, the
    operation is faster. Costs a fraction of a second, besides the compiler's seconds on a CPU.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.inference_mode(False):
        with torch.device(device):
            norm, gate = nn.BatchNorm2d(SHAPE[1]), SqueezeExcite(SHAPE[1])
            y, shortcut, gradient = (
                torch.randn(SHAPE, dtype=dtype).to(memory_format=torch.channels_last) for _ in range(3)
            )
        ends: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            "layers": lambda y, shortcut: F.relu(gate(norm(y)) + shortcut, inplace=True),
            "operation": partial(fused_end, norm=norm, gate=gate),
        }
        turns = {name: partial(timed, partial(_step, end, y, shortcut, gradient), device) for name, end in ends.items()}
        for turn in turns.values():  # the compiler's
            turn()
        return in_turns(turns, ROUNDS).ratio("layers", "operation").median


def _step(end: Callable[[Tensor, Tensor], Tensor], y: Tensor, shortcut: Tensor, gradient: Tensor) -> None:
    with torch.enable_grad():
        end(y.detach().requires_grad_(), shortcut.detach().requires_grad_()).backward(gradient)
