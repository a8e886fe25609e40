"""The four passes over maps, in plain PyTorch: what every other form of them is measured against.

A map is seen as it lies in memory, as (N, P, C) or (N, C, P), P being its pixels; ``dim`` says where they are. Numbers
of a sample and channel are (N, C), in float32 or wider, and so is all arithmetic.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from senet_zoo.networks.functional import at_least_float32


@dataclass(frozen=True)
class Passes:
    """One form of the four passes.

    Args:
        name: what runs them, for reports.
        moments: (y, dim) -> mean and variance over the pixels.
        end: (y, shortcut, m, scale, shift, dim) -> ``relu(shortcut + (y - m) * scale + shift)``.
        masked: (gradient, out, y, m, dim) -> g, the gradient where the ReLU let pass; the sums of g and g (y - m).
        combined: (g, y, m, p, q, r, dim) -> ``g * p + (y - m) * q + r``.
    """

    name: str
    moments: Callable[[Tensor, int], tuple[Tensor, Tensor]]
    end: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, int], Tensor]
    masked: Callable[[Tensor, Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor, Tensor]]
    combined: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, int], Tensor]


def moments(y: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Mean and variance over the pixels in one pass, as sums of what differs from the first pixel.

    The pixel is one of those that the variance is of, so that its distance from the mean, squared, is at most P
    variances: the difference of squares loses a factor of 1 + P in precision at worst, however large the mean.
    """
    first = y.narrow(dim, 0, 1).to(at_least_float32(y.dtype))
    d = y - first
    mean = d.mean(dim)
    return first.squeeze(dim) + mean, (d.square().mean(dim) - mean.square()).clamp_min(0.0)


def end(y: Tensor, shortcut: Tensor, m: Tensor, scale: Tensor, shift: Tensor, dim: int) -> Tensor:
    """``relu(shortcut + (y - m) * scale + shift)``, as precise as the wider of both maps."""
    t = (y - m.unsqueeze(dim)) * scale.unsqueeze(dim) + shift.unsqueeze(dim) + shortcut
    return torch.relu(t).to(torch.promote_types(y.dtype, shortcut.dtype))


def masked(gradient: Tensor, out: Tensor, y: Tensor, m: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient where the ReLU let pass, and the sums over the pixels of it, and of it times ``y - m``."""
    g = torch.where(out <= 0.0, 0.0, gradient)  # a NaN passes, as in PyTorch's own ReLU
    return g, g.sum(dim, dtype=m.dtype), (g * (y - m.unsqueeze(dim))).sum(dim)


def combined(g: Tensor, y: Tensor, m: Tensor, p: Tensor, q: Tensor, r: Tensor, dim: int) -> Tensor:
    """``g * p + (y - m) * q + r``, the gradient of y."""
    return (g * p.unsqueeze(dim) + (y - m.unsqueeze(dim)) * q.unsqueeze(dim) + r.unsqueeze(dim)).to(y.dtype)


PLAIN = Passes("plain PyTorch", moments, end, masked, combined)


def pixels_first(y: Tensor) -> bool:
    """Whether a map lies as (N, H, W, C)."""
    return y.is_contiguous(memory_format=torch.channels_last) and not y.is_contiguous()


def flat(x: Tensor, like: Tensor) -> Tensor:
    """(N, C, H, W) as (N, P, C) or (N, C, P), as ``like`` lies; copied only where it lies otherwise."""
    if pixels_first(like):
        return x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).flatten(1, 2)
    return x.contiguous().flatten(2)


def unflat(x: Tensor, like: Tensor) -> Tensor:
    """`flat` undone."""
    n, c, h, w = like.shape
    return x.view(n, h, w, c).permute(0, 3, 1, 2) if pixels_first(like) else x.view(n, c, h, w)
