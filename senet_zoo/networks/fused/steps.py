"""The arithmetic between the passes: numbers of a channel, or of a sample and channel, never of a pixel.

::

    y         the map (N, C, H, W), of P = H * W pixels a sample
    m, v      its mean and variance over the pixels of a sample                (N, C)
    mu, var   the same over the batch, or the running statistics               (C,)
    a         weight / sqrt(var + eps)                                         (C,)
    z         a (m - mu) + bias, the mean of bn(y): the squeeze                (N, C)
    h         relu(W1 z + b1)                                                  (N, C // r)
    s         sigmoid(W2 h + b2), the excitation; 1 without gate               (N, C)
    u         y - m, what the passes compute with, so that a large mean costs no digits

    out = relu(shortcut + s * bn(y)) = relu(shortcut + u * (a s) + z s)

Source: Ioffe and Szegedy, arXiv:1502.03167 (batch norm, its gradient); Hu et al., arXiv:1709.01507, equations 2 to 4.

The forward and the backward step of the operation: passes over the maps, and formulas between them.

Maps are flat, as `senet_zoo.networks.fused.passes` sees them; all else is widened to float32, or stays wider. A
compiler is given these two functions whole, so that it calls once where a form of the passes alone calls thirty times.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from senet_zoo.networks.functional import at_least_float32
from senet_zoo.networks.fused.passes import Passes


class Norm(NamedTuple):
    """A batch norm with the statistics it uses, each (C,)."""

    weight: Tensor
    bias: Tensor
    mu: Tensor
    var: Tensor
    eps: float
    of_batch: bool
    """Whether mu and var are the batch's own, and the gradient flows through them."""

    @property
    def a(self) -> Tensor:
        return self.weight * torch.rsqrt(self.var + self.eps)

    def squeeze(self, m: Tensor) -> Tensor:
        """Z."""
        return self.a * (m - self.mu) + self.bias


class Gate(NamedTuple):
    """The gate's two fully connected layers: (C // r, C), (C // r,), (C, C // r), (C,)."""

    w1: Tensor
    b1: Tensor | None
    w2: Tensor
    b2: Tensor | None

    def excite(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """H and s."""
        h = torch.relu(F.linear(z, self.w1, self.b1))
        return h, torch.sigmoid(F.linear(h, self.w2, self.b2))

    def back(self, ds: Tensor, z: Tensor, h: Tensor, s: Tensor) -> tuple[Tensor, "GateGradients"]:
        """From the gradient of s to that of z and of the layers."""
        d2 = ds * s * (1.0 - s)
        d1 = (d2 @ self.w2) * (h > 0.0)
        return d1 @ self.w1, GateGradients(d1.t() @ z, d1.sum(0), d2.t() @ h, d2.sum(0))


class GateGradients(NamedTuple):
    """Of `Gate`'s fields."""

    w1: Tensor
    b1: Tensor
    w2: Tensor
    b2: Tensor


def of_the_batch(m: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Mu and var, from samples of equal size."""
    mu = m.mean(0)
    return mu, v.mean(0) + (m - mu).square().mean(0)


class Gradients(NamedTuple):
    """What the last pass and the parameters get: the gradient of y is ``g * p + u * q + r``."""

    p: Tensor
    q: Tensor
    r: Tensor
    weight: Tensor
    bias: Tensor
    gate: GateGradients | None


def back(
    norm: Norm, gate: Gate | None, m: Tensor, h: Tensor, s: Tensor, sum_g: Tensor, sum_gu: Tensor, pixels: int
) -> Gradients:
    """The gradients of one unit.

    Args:
        norm: as in the forward pass.
        gate: likewise; without one, h is not looked at and s is 1.
        m: mean of y, (N, C).
        h: the gate's hidden layer.
        s: the gate.
        sum_g: over the pixels, of g: the output's gradient where the ReLU let pass, (N, C).
        sum_gu: over the pixels, of g u.
        pixels: P.
    """
    a, off = norm.a, m - norm.mu
    z = norm.squeeze(m)
    if gate is None:
        dz, of_gate = torch.zeros_like(m), None
    else:
        dz, of_gate = gate.back(a * sum_gu + z * sum_g, z, h, s)
    # bn(y) gets d = g s + dz / P at every pixel. Its sums over the batch, plain and times y - mu:
    sum_d = (sum_g * s + dz).sum(0)
    sum_dy = (s * (sum_gu + off * sum_g) + dz * off).sum(0)
    p, q, r = a * s, torch.zeros_like(m), a * dz / pixels
    if norm.of_batch:
        count = m.shape[0] * pixels
        slope = a * sum_dy / ((norm.var + norm.eps) * count)
        q = q - slope
        r = r - a * sum_d / count - off * slope
    return Gradients(p, q, r, sum_dy * torch.rsqrt(norm.var + norm.eps), sum_d, of_gate)


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
