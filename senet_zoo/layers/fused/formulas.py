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
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


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
