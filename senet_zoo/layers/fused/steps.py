"""The forward and the backward step of the operation: passes over the maps, and formulas between them.

Maps are flat, as `senet_zoo.layers.fused.passes` sees them; all else is widened to float32, or stays wider. A compiler
is given these two functions whole, so that it calls once where a form of the passes alone calls thirty times.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from senet_zoo.layers.fused.formulas import Gate, Norm, back, of_the_batch
from senet_zoo.layers.fused.passes import Passes
from senet_zoo.tensors import at_least_float32

Tensors = tuple[Tensor, ...]
Layers = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]
"""Weight and bias of the gate's first layer, then of its second; None where there is none."""


@dataclass(frozen=True)
class Form:
    """Both steps in one of their forms.

    Args:
        name: what runs them, for reports.
        forward: `forward` without its first argument.
        backward: `backward` likewise.
    """

    name: str
    forward: Callable[..., Tensors]
    backward: Callable[..., Tensors]

    @classmethod
    def of(cls, passes: Passes) -> "Form":
        """The steps over these passes, one call an operation."""
        return cls(passes.name, partial(forward, passes), partial(backward, passes))


def forward(
    passes: Passes,
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
    """The flat output, m, mu, var, h and s; h and s are empty without a gate."""
    dtype = at_least_float32(y.dtype)
    gate = _gate(layers, dtype)
    mu, var = running_mean.to(dtype, copy=True), running_var.to(dtype, copy=True)
    if of_batch or gate is not None:
        m, v = passes.moments(y, dim)
    else:
        m = mu.expand(y.shape[0], -1).clone()
    if of_batch:
        mu, var = of_the_batch(m, v)
    norm = Norm(weight.to(dtype), bias.to(dtype), mu, var, eps, of_batch)
    z = norm.squeeze(m)
    if gate is None:
        return passes.end(y, shortcut, m, norm.a.expand_as(m), z, dim), m, mu, var, m.new_empty(0), m.new_empty(0)
    h, s = gate.excite(z)
    return passes.end(y, shortcut, m, norm.a * s, z * s, dim), m, mu, var, h, s


def backward(
    passes: Passes,
    gradient: Tensor,
    y: Tensor,
    out: Tensor,
    m: Tensor,
    mu: Tensor,
    var: Tensor,
    h: Tensor,
    s: Tensor,
    weight: Tensor,
    bias: Tensor,
    layers: Layers,
    eps: float,
    of_batch: bool,
    dim: int,
) -> Tensors:
    """The flat gradients of y and of the shortcut, then those of weight, bias and the gate's four, where it has one."""
    gate = _gate(layers, m.dtype)
    norm = Norm(weight.to(m.dtype), bias.to(m.dtype), mu, var, eps, of_batch)
    g, sum_g, sum_gu = passes.masked(gradient, out, y, m, dim)
    open_gate = torch.ones_like(m) if gate is None else s
    d = back(norm, gate, m, h, open_gate, sum_g, sum_gu, y.shape[dim])
    dy = passes.combined(g, y, m, d.p, d.q, d.r, dim)
    return dy, g, d.weight, d.bias, *(() if d.gate is None else d.gate)


def _gate(layers: Layers, dtype: torch.dtype) -> Gate | None:
    w1, b1, w2, b2 = layers
    if w1 is None or w2 is None:
        return None
    return Gate(w1.to(dtype), None if b1 is None else b1.to(dtype), w2.to(dtype), None if b2 is None else b2.to(dtype))
