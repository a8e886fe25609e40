"""The steps as PyTorch's compiler writes them for a CPU: one loop a pass, and one call a step."""

from functools import cache, partial

import torch
from torch import Tensor

from senet_zoo.layers.fused import steps
from senet_zoo.layers.fused.passes import PLAIN
from senet_zoo.layers.fused.steps import Form, Layers, Tensors

KINDS = 64  # of steps in one process; PyTorch's own limit of 8 would run the ninth without a compiler


def compiled_form() -> Form:
    """Both steps, compiled for maps in float32; without a C++ compiler, this raises what PyTorch's compiler raises."""
    _compile(torch.float32, torch.float32, 1, with_gate=True, with_bias=True, of_batch=True)
    return Form("torch.compile", forward, backward)


def forward(
    y: Tensor,
    shortcut: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    layers: Layers,
    eps: float,
    of_batch: bool,
    dim: int,
) -> Tensors:
    """As `senet_zoo.layers.fused.steps.forward`."""
    w1, b1, _, _ = layers
    _compile(y.dtype, shortcut.dtype, dim, with_gate=w1 is not None, with_bias=b1 is not None, of_batch=of_batch)
    return _forward(y, shortcut, weight, bias, running_mean, running_var, layers, eps, of_batch, dim)


def backward(gradient: Tensor, *rest: object) -> Tensors:
    """As `senet_zoo.layers.fused.steps.backward`; `forward` has seen to its compilation."""
    return _backward(gradient, *rest)


_forward = torch.compile(partial(steps.forward, PLAIN), dynamic=True)
_backward = torch.compile(partial(steps.backward, PLAIN), dynamic=True)


@cache
def _compile(
    dtype: torch.dtype, of_shortcut: torch.dtype, dim: int, *, with_gate: bool, with_bias: bool, of_batch: bool
) -> None:
    """Compile both steps on maps of unlike sizes: the compiler takes sizes that are equal once to be equal always."""
    samples, pixels, channels, hidden = 5, 782, 260, 19
    shape = (samples, pixels, channels) if dim == 1 else (samples, channels, pixels)
    y, shortcut = torch.zeros(shape, dtype=dtype), torch.zeros(shape, dtype=of_shortcut)
    weight, bias, mean, var = (torch.zeros(channels) for _ in range(4))
    layers: Layers = (None,) * 4
    if with_gate:
        b1, b2 = (torch.zeros(hidden), torch.zeros(channels)) if with_bias else (None, None)
        layers = (torch.zeros(hidden, channels), b1, torch.zeros(channels, hidden), b2)
    with torch.no_grad(), torch._dynamo.config.patch(recompile_limit=KINDS):
        out, *kept = _forward(y, shortcut, weight, bias, mean, var, layers, 1e-5, of_batch, dim)
        _backward(out, y, out, *kept, weight, bias, layers, 1e-5, of_batch, dim)
