# mypy: ignore-errors
"""The four passes as Triton kernels, for CUDA. One program reads tiles of one sample: some channels by some pixels.

A map is (N, P, C) or (N, C, P); the kernels know it by the steps between two pixels and between two channels, one of
which is 1, and tiles are longest in that direction. Arithmetic and sums are float32.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
import triton
import triton.language as tl
from torch import Tensor

from senet_zoo.networks.fused.reference import UnitKernels

# `tl.maximum` loses NaN where PyTorch's ReLU keeps it; comparisons below are written so that NaN passes.


@triton.jit
def _tile(start_p, start_c, pixels, channels, step_p, step_c, bp: tl.constexpr, bc: tl.constexpr):
    """Offsets of a tile within its sample, and which of them lie in it."""
    p, c = start_p + tl.arange(0, bp), start_c + tl.arange(0, bc)
    return p[:, None] * step_p + c[None, :] * step_c, (p < pixels)[:, None] & (c < channels)[None, :]


@triton.jit
def _moments(y, mean, var, pixels, channels, step_p, step_c, bp: tl.constexpr, bc: tl.constexpr):
    """Mean and variance of each tile, then merged tile by tile (Chan et al. 1979), so that no large squares cancel."""
    n, start_c = tl.program_id(1).to(tl.int64), tl.program_id(0) * bc
    c = start_c + tl.arange(0, bc)
    y += n * pixels * channels
    average, squares = tl.zeros([bc], tl.float32), tl.zeros([bc], tl.float32)
    for start_p in range(0, pixels, bp):
        offsets, inside = _tile(start_p, start_c, pixels, channels, step_p, step_c, bp, bc)
        new = tl.minimum(pixels - start_p, bp).to(tl.float32)
        seen = (start_p + new).to(tl.float32)
        v = tl.load(y + offsets, inside, 0.0).to(tl.float32)
        tile_average = tl.sum(v, 0) / new
        d = tl.where(inside, v - tile_average[None, :], 0.0)
        apart = tile_average - average
        average += apart * (new / seen)
        squares += tl.sum(d * d, 0) + apart * apart * (start_p * new / seen)
    tl.store(mean + n * channels + c, average, c < channels)
    tl.store(var + n * channels + c, squares / pixels, c < channels)


@triton.jit
def _scale_add_relu(
    y, shortcut, m, scale, shift, out, pixels, channels, step_p, step_c, bp: tl.constexpr, bc: tl.constexpr
):  # fmt: skip
    """``relu(shortcut + (y - m) * scale + shift)`` of one tile."""
    n, start_c = tl.program_id(2).to(tl.int64), tl.program_id(1) * bc
    c = start_c + tl.arange(0, bc)
    offsets, inside = _tile(tl.program_id(0) * bp, start_c, pixels, channels, step_p, step_c, bp, bc)
    offsets += n * pixels * channels
    of_channel = n * channels + c
    centre = tl.load(m + of_channel, c < channels, 0.0)[None, :]
    a = tl.load(scale + of_channel, c < channels, 0.0)[None, :]
    b = tl.load(shift + of_channel, c < channels, 0.0)[None, :]
    t = (tl.load(y + offsets, inside, 0.0).to(tl.float32) - centre) * a + b
    t += tl.load(shortcut + offsets, inside, 0.0).to(tl.float32)
    tl.store(out + offsets, tl.where(t <= 0.0, 0.0, t).to(out.dtype.element_ty), inside)


@triton.jit
def _relu_backward(
    gradient, out, y, m, g, sum_g, sum_gu, pixels, channels, step_p, step_c, bp: tl.constexpr, bc: tl.constexpr
):  # fmt: skip
    """The gradient g where the ReLU let pass, and the sums over the pixels of g and g (y - m)."""
    n, start_c = tl.program_id(1).to(tl.int64), tl.program_id(0) * bc
    c = start_c + tl.arange(0, bc)
    sample = n * pixels * channels
    centre = tl.load(m + n * channels + c, c < channels, 0.0)[None, :]
    sums, products = tl.zeros([bc], tl.float32), tl.zeros([bc], tl.float32)
    for start_p in range(0, pixels, bp):
        offsets, inside = _tile(start_p, start_c, pixels, channels, step_p, step_c, bp, bc)
        offsets += sample
        shut = tl.load(out + offsets, inside, 0.0) <= 0.0
        v = tl.where(shut, 0.0, tl.load(gradient + offsets, inside, 0.0).to(tl.float32))
        u = tl.where(inside, tl.load(y + offsets, inside, 0.0).to(tl.float32) - centre, 0.0)
        tl.store(g + offsets, v.to(g.dtype.element_ty), inside)
        sums += tl.sum(v, 0)
        products += tl.sum(v * u, 0)
    tl.store(sum_g + n * channels + c, sums, c < channels)
    tl.store(sum_gu + n * channels + c, products, c < channels)


@triton.jit
def _affine_backward(
    g, y, m, p, q, r, dy, pixels, channels, step_p, step_c, bp: tl.constexpr, bc: tl.constexpr
):  # fmt: skip
    """``g * p + (y - m) * q + r`` of one tile."""
    n, start_c = tl.program_id(2).to(tl.int64), tl.program_id(1) * bc
    c = start_c + tl.arange(0, bc)
    offsets, inside = _tile(tl.program_id(0) * bp, start_c, pixels, channels, step_p, step_c, bp, bc)
    offsets += n * pixels * channels
    of_channel = n * channels + c
    centre = tl.load(m + of_channel, c < channels, 0.0)[None, :]
    slope = tl.load(q + of_channel, c < channels, 0.0)[None, :]
    value = tl.load(g + offsets, inside, 0.0).to(tl.float32) * tl.load(p + of_channel, c < channels, 0.0)[None, :]
    value += (tl.load(y + offsets, inside, 0.0).to(tl.float32) - centre) * slope
    value += tl.load(r + of_channel, c < channels, 0.0)[None, :]
    tl.store(dy + offsets, value.to(dy.dtype.element_ty), inside)


def current_device(x: Tensor) -> AbstractContextManager[object]:
    """Makes the tensor's device the current one: Triton starts kernels there, wherever their arguments lie."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


class _Map:
    """How the kernels see a map, and how many programs cover it."""

    def __init__(self, y: Tensor, dim: int) -> None:
        self.samples, self.pixels, self.channels = y.shape[0], y.shape[dim], y.shape[3 - dim]
        self.steps = (self.channels, 1) if dim == 1 else (1, self.pixels)
        if dim == 1:
            self.bc = min(64, triton.next_power_of_2(self.channels))
            self.bp = min(2048 // self.bc, triton.next_power_of_2(self.pixels))
        else:
            self.bp = min(512, triton.next_power_of_2(self.pixels))
            self.bc = min(2048 // self.bp, triton.next_power_of_2(self.channels))
        self.columns = (triton.cdiv(self.channels, self.bc), self.samples)
        self.tiles = (triton.cdiv(self.pixels, self.bp), *self.columns)
        self.geometry = (self.pixels, self.channels, *self.steps, self.bp, self.bc)

    def numbers(self, like: Tensor) -> Tensor:
        return torch.empty(self.samples, self.channels, device=like.device)


def moments(y: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """As `senet_zoo.networks.fused.reference.moments`."""
    shape = _Map(y, dim)
    mean, var = shape.numbers(y), shape.numbers(y)
    with current_device(y):
        _moments[shape.columns](y, mean, var, *shape.geometry)
    return mean, var


def scale_add_relu(y: Tensor, shortcut: Tensor, m: Tensor, scale: Tensor, shift: Tensor, dim: int) -> Tensor:
    """As `senet_zoo.networks.fused.reference.scale_add_relu`."""
    shape, out = _Map(y, dim), torch.empty_like(y, dtype=torch.promote_types(y.dtype, shortcut.dtype))
    with current_device(y):
        _scale_add_relu[shape.tiles](y, shortcut, m, scale.contiguous(), shift.contiguous(), out, *shape.geometry)
    return out


def relu_backward(gradient: Tensor, out: Tensor, y: Tensor, m: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """As `senet_zoo.networks.fused.reference.relu_backward`."""
    shape, g = _Map(y, dim), torch.empty_like(gradient)
    sum_g, sum_gu = shape.numbers(y), shape.numbers(y)
    with current_device(y):
        _relu_backward[shape.columns](gradient, out, y, m, g, sum_g, sum_gu, *shape.geometry)
    return g, sum_g, sum_gu


def affine_backward(g: Tensor, y: Tensor, m: Tensor, p: Tensor, q: Tensor, r: Tensor, dim: int) -> Tensor:
    """As `senet_zoo.networks.fused.reference.affine_backward`."""
    shape, dy = _Map(y, dim), torch.empty_like(y)
    with current_device(y):
        _affine_backward[shape.tiles](g, y, m, p.contiguous(), q.contiguous(), r.contiguous(), dy, *shape.geometry)
    return dy


TRITON = UnitKernels("Triton", moments, scale_add_relu, relu_backward, affine_backward)
