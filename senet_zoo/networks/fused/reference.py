"""The unit's end in plain PyTorch: four passes over the maps, and the formulas between them.

The other implementations are measured against this one. A map is seen as it lies in memory, as (N, P, C) or (N, C, P),
P being its pixels; ``dim`` says where they are. All arithmetic is in float32 or wider.

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

A compiler is given `forward` and `backward` whole, so that it calls once where the kernels alone take thirty calls.

Source: Ioffe and Szegedy, arXiv:1502.03167 (batch norm, its gradient); Hu et al., arXiv:1709.01507, equations 2 to 4.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from senet_zoo.networks.squeeze_excite import at_least_float32


@dataclass(frozen=True)
class UnitKernels:
    """One implementation of the four passes over the maps.

    Args:
        name: name for reports.
        moments: (y, dim) -> mean and variance over the pixels.
        scale_add_relu: (y, shortcut, m, scale, shift, dim) -> ``relu(shortcut + (y - m) * scale + shift)``.
        relu_backward: (gradient, out, y, m, dim) -> g, the gradient where the ReLU let pass; the sums over the pixels
            of g and of g (y - m).
        affine_backward: (g, y, m, p, q, r, dim) -> ``g * p + (y - m) * q + r``.
    """

    name: str
    moments: Callable[[Tensor, int], tuple[Tensor, Tensor]]
    scale_add_relu: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, int], Tensor]
    relu_backward: Callable[[Tensor, Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor, Tensor]]
    affine_backward: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, int], Tensor]


def moments(y: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Mean and variance over the pixels in one pass, as sums of what differs from the first pixel.

    The pixel is one of those that the variance is of, so that its distance from the mean, squared, is at most P
    variances: the difference of squares loses a factor of 1 + P in precision at worst, however large the mean.
    """
    first = y.narrow(dim, 0, 1).to(at_least_float32(y.dtype))
    d = y - first
    mean = d.mean(dim)
    return first.squeeze(dim) + mean, (d.square().mean(dim) - mean.square()).clamp_min(0.0)


def scale_add_relu(y: Tensor, shortcut: Tensor, m: Tensor, scale: Tensor, shift: Tensor, dim: int) -> Tensor:
    """``relu(shortcut + (y - m) * scale + shift)``, as precise as the wider of both maps."""
    t = (y - m.unsqueeze(dim)) * scale.unsqueeze(dim) + shift.unsqueeze(dim) + shortcut
    return torch.relu(t).to(torch.promote_types(y.dtype, shortcut.dtype))


def relu_backward(gradient: Tensor, out: Tensor, y: Tensor, m: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient where the ReLU let pass, and the sums over the pixels of it, and of it times ``y - m``."""
    g = torch.where(out <= 0.0, 0.0, gradient)  # a NaN passes, as in PyTorch's own ReLU
    return g, g.sum(dim, dtype=m.dtype), (g * (y - m.unsqueeze(dim))).sum(dim)


def affine_backward(g: Tensor, y: Tensor, m: Tensor, p: Tensor, q: Tensor, r: Tensor, dim: int) -> Tensor:
    """``g * p + (y - m) * q + r``, the gradient of y."""
    return (g * p.unsqueeze(dim) + (y - m.unsqueeze(dim)) * q.unsqueeze(dim) + r.unsqueeze(dim)).to(y.dtype)


PLAIN_KERNELS = UnitKernels("plain PyTorch", moments, scale_add_relu, relu_backward, affine_backward)


def pixels_first(y: Tensor) -> bool:
    """Whether a map lies as (N, H, W, C)."""
    return y.is_contiguous(memory_format=torch.channels_last) and not y.is_contiguous()


def flat(x: Tensor, like: Tensor) -> Tensor:
    """(N, C, H, W) as (N, P, C) or (N, C, P), as ``like`` lies; copied only where it lies otherwise."""
    if pixels_first(like):
        return x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).flatten(1, 2)
    return x.contiguous().flatten(2)


def unflat(x: Tensor, like: Tensor) -> Tensor:
    """(N, P, C) or (N, C, P) as (N, C, H, W), the inverse of `flat`."""
    n, c, h, w = like.shape
    return x.view(n, h, w, c).permute(0, 3, 1, 2) if pixels_first(like) else x.view(n, c, h, w)


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
        """z, the mean of the normalised map over the pixels. Shape: (N, C) -> (N, C)."""
        return self.a * (m - self.mu) + self.bias


class GateLayers(NamedTuple):
    """The gate's two fully connected layers: (C // r, C), (C // r,), (C, C // r), (C,)."""

    w1: Tensor
    b1: Tensor | None
    w2: Tensor
    b2: Tensor | None

    def excite(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The hidden layer h (N, C // r) and the excitation s (N, C)."""
        h = torch.relu(F.linear(z, self.w1, self.b1))
        return h, torch.sigmoid(F.linear(h, self.w2, self.b2))

    def backward(self, ds: Tensor, z: Tensor, h: Tensor, s: Tensor) -> tuple[Tensor, "GateGradients"]:
        """The gradients of z and of the layers, from the gradient of s."""
        d2 = ds * s * (1.0 - s)
        d1 = (d2 @ self.w2) * (h > 0.0)
        return d1 @ self.w1, GateGradients(d1.t() @ z, d1.sum(0), d2.t() @ h, d2.sum(0))


class GateGradients(NamedTuple):
    """The gradients of the fields of `GateLayers`."""

    w1: Tensor
    b1: Tensor
    w2: Tensor
    b2: Tensor


def of_the_batch(m: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Mu and var of the batch, from the m and v of its samples, which have equally many pixels."""
    mu = m.mean(0)
    return mu, v.mean(0) + (m - mu).square().mean(0)


class Gradients(NamedTuple):
    """The gradients of the parameters; that of y is ``g * p + u * q + r``."""

    p: Tensor
    q: Tensor
    r: Tensor
    weight: Tensor
    bias: Tensor
    gate: GateGradients | None


def parameter_gradients(
    norm: Norm, gate: GateLayers | None, m: Tensor, h: Tensor, s: Tensor, sum_g: Tensor, sum_gu: Tensor, pixels: int
) -> Gradients:
    """The gradients of a unit's parameters, and the coefficients of the last pass.

    Args:
        norm: the batch norm of the forward pass.
        gate: the gate of the forward pass; without one, h is not read and s is 1.
        m: mean of y, (N, C).
        h: the gate's hidden layer.
        s: the gate.
        sum_g: the sum over the pixels of g, the output's gradient where the ReLU let pass, (N, C).
        sum_gu: the sum over the pixels of g u.
        pixels: P, the pixels of a sample.
    """
    a, off = norm.a, m - norm.mu
    z = norm.squeeze(m)
    if gate is None:
        dz, of_gate = torch.zeros_like(m), None
    else:
        dz, of_gate = gate.backward(a * sum_gu + z * sum_g, z, h, s)
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
class Implementation:
    """One implementation of the forward and the backward step.

    Args:
        name: name for reports.
        forward: `forward` over its kernels.
        backward: `backward` over its kernels.
    """

    name: str
    forward: Callable[..., Tensors]
    backward: Callable[..., Tensors]

    @classmethod
    def of(cls, kernels: UnitKernels) -> "Implementation":
        """The steps over these kernels, one call an operation."""
        return cls(kernels.name, partial(forward, kernels), partial(backward, kernels))


def forward(
    kernels: UnitKernels,
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
        m, v = kernels.moments(y, dim)
    else:
        m = mu.expand(y.shape[0], -1).clone()
    if of_batch:
        mu, var = of_the_batch(m, v)
    norm = Norm(weight.to(dtype), bias.to(dtype), mu, var, eps, of_batch)
    z = norm.squeeze(m)
    if gate is None:
        return (
            kernels.scale_add_relu(y, shortcut, m, norm.a.expand_as(m), z, dim),
            m,
            mu,
            var,
            m.new_empty(0),
            m.new_empty(0),
        )
    h, s = gate.excite(z)
    return kernels.scale_add_relu(y, shortcut, m, norm.a * s, z * s, dim), m, mu, var, h, s


def backward(
    kernels: UnitKernels,
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
    g, sum_g, sum_gu = kernels.relu_backward(gradient, out, y, m, dim)
    open_gate = torch.ones_like(m) if gate is None else s
    d = parameter_gradients(norm, gate, m, h, open_gate, sum_g, sum_gu, y.shape[dim])
    dy = kernels.affine_backward(g, y, m, d.p, d.q, d.r, dim)
    return dy, g, d.weight, d.bias, *(() if d.gate is None else d.gate)


def _gate(layers: Layers, dtype: torch.dtype) -> GateLayers | None:
    w1, b1, w2, b2 = layers
    if w1 is None or w2 is None:
        return None
    return GateLayers(
        w1.to(dtype), None if b1 is None else b1.to(dtype), w2.to(dtype), None if b2 is None else b2.to(dtype)
    )
