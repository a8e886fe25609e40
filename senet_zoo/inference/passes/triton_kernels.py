# mypy: ignore-errors
"""Triton kernels for inference on CUDA: the gate computed before its convolution, and the map written once.

A bottleneck whose gate is early runs its second half as cuDNN's 3x3 convolution and three kernels::

    h, t = relu(h + b2), sums of h over the pixels of each tile      `squeeze`
    s    = sigmoid(W2 relu(W1 sum of t + b1) + b2)                   `excitation`
    out  = relu(s * (W3 h + b3) + shortcut)                          `pointwise`

Maps are (N, C, H, W) with channels last; sums and gates are float32. `senet_zoo.inference.passes.cuda` puts them
into a network, and says where it could not.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from senet_zoo.networks.fused.triton_kernels import current_device

PIXELS, CHANNELS = 64, 64  # of a tile


@triton.jit
def _squeeze(
    y, bias, means, pixels, channels, tiles,
    with_bias: tl.constexpr, with_relu: tl.constexpr, bp: tl.constexpr, bc: tl.constexpr,
):  # fmt: skip
    """One tile of one sample: finished in place, and its share of the means."""
    tile, n = tl.program_id(0), tl.program_id(2).to(tl.int64)
    p, c = tile * bp + tl.arange(0, bp), tl.program_id(1) * bc + tl.arange(0, bc)
    inside = (p < pixels)[:, None] & (c < channels)[None, :]
    at = y + n * pixels * channels + p[:, None] * channels + c[None, :]
    v = tl.load(at, inside, 0.0).to(tl.float32)
    if with_bias:
        v += tl.load(bias + c, c < channels, 0.0).to(tl.float32)[None, :]
    if with_relu:
        v = tl.where(v <= 0.0, 0.0, v)  # a NaN passes
    if with_bias or with_relu:
        rounded = v.to(y.dtype.element_ty)
        tl.store(at, rounded, inside)
        v = rounded.to(tl.float32)  # the mean is of what is read later
    share = tl.sum(tl.where(inside, v, 0.0), 0) / pixels
    tl.store(means + (n * tiles + tile) * channels + c, share, c < channels)


def squeeze_(y: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    """``y + bias``, rectified or not, in the memory of ``y``; and its means over the pixels, in shares.

    Nothing is added up by atomic operations, so that the same map has the same means to the last bit.

    Args:
        y: (N, C, H, W), channels last.
        bias: (C,), or None.
        relu: whether it is rectified.

    Returns:
        Shares (N, T, C) in float32, whose sum over T is the mean.
    """
    assert y.is_contiguous(memory_format=torch.channels_last)
    n, channels, height, width = y.shape
    pixels = height * width
    tiles = triton.cdiv(pixels, PIXELS)
    shares = torch.empty(n, tiles, channels, device=y.device)
    bc = min(CHANNELS, triton.next_power_of_2(channels))
    with current_device(y):
        _squeeze[tiles, triton.cdiv(channels, bc), n](
            y, y if bias is None else bias, shares, pixels, channels, tiles, bias is not None, relu, PIXELS, bc
        )
    return shares


@triton.jit
def _excite(
    shares, w1, b1, w2, b2, gate, tiles, inputs, hidden, channels,
    bi: tl.constexpr, bh: tl.constexpr, bc: tl.constexpr,
):  # fmt: skip
    """The gate of some channels of one sample; the hidden layer is small, and every program computes it for itself."""
    n = tl.program_id(1).to(tl.int64)
    u, c = tl.arange(0, bh), tl.program_id(0) * bc + tl.arange(0, bc)
    h = tl.load(b1 + u, u < hidden, 0.0)
    for start in range(0, inputs, bi):
        i = start + tl.arange(0, bi)
        z = tl.zeros([bi], tl.float32)
        for tile in range(tiles):
            z += tl.load(shares + (n * tiles + tile) * inputs + i, i < inputs, 0.0)
        weight = tl.load(w1 + u[:, None] * inputs + i[None, :], (u < hidden)[:, None] & (i < inputs)[None, :], 0.0)
        h += tl.sum(weight * z[None, :], 1)
    h = tl.where(h <= 0.0, 0.0, h)
    weight = tl.load(w2 + c[:, None] * hidden + u[None, :], (c < channels)[:, None] & (u < hidden)[None, :], 0.0)
    s = tl.load(b2 + c, c < channels, 0.0) + tl.sum(weight * h[None, :], 1)
    tl.store(gate + n * channels + c, (1.0 / (1.0 + tl.exp(-s))).to(gate.dtype.element_ty), c < channels)


def excite(shares: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, dtype: torch.dtype) -> Tensor:
    """``sigmoid(W2 relu(W1 z + b1) + b2)``, z being the sum of the shares of the mean.

    Args:
        shares: (N, T, inputs), of `senet_zoo.inference.passes.triton_kernels.squeeze_`.
        w1: (hidden, inputs), hidden at most `senet_zoo.inference.passes.cuda.MOST_HIDDEN`; like the rest in float32,
            contiguous.
        b1: (hidden,).
        w2: (C, hidden).
        b2: (C,).
        dtype: of the gate.

    Returns:
        The gate, (N, C).
    """
    n, tiles, inputs = shares.shape
    channels, hidden = w2.shape
    gate = torch.empty(n, channels, device=shares.device, dtype=dtype)
    bi, bh = min(64, triton.next_power_of_2(inputs)), triton.next_power_of_2(hidden)
    bc = min(64, triton.next_power_of_2(channels))
    with current_device(shares):
        _excite[triton.cdiv(channels, bc), n](shares, w1, b1, w2, b2, gate, tiles, inputs, hidden, channels, bi, bh, bc)
    return gate


@triton.jit
def _pointwise(
    h, weight, bias, gate, shortcut, out, rows, pixels, inputs, channels,
    gated: tl.constexpr, with_relu: tl.constexpr, precision: tl.constexpr,
    br: tl.constexpr, bc: tl.constexpr, bi: tl.constexpr,
):  # fmt: skip
    """A tile of pixels, of whichever samples, by channels. Neighbours in the grid read the same pixels."""
    columns = tl.cdiv(channels, bc)
    c = tl.program_id(0) % columns * bc + tl.arange(0, bc)
    r = (tl.program_id(0) // columns).to(tl.int64) * br + tl.arange(0, br)
    i = tl.arange(0, bi)
    total = tl.zeros([br, bc], tl.float32)
    for start in range(0, inputs, bi):
        k = start + i
        a = tl.load(h + r[:, None] * inputs + k[None, :], (r < rows)[:, None] & (k < inputs)[None, :], 0.0)
        b = tl.load(weight + c[None, :] * inputs + k[:, None], (c < channels)[None, :] & (k < inputs)[:, None], 0.0)
        total = tl.dot(a, b, total, input_precision=precision)
    inside = (r < rows)[:, None] & (c < channels)[None, :]
    total += tl.load(bias + c, c < channels, 0.0).to(tl.float32)[None, :]
    if gated:
        total *= tl.load(gate + (r // pixels)[:, None] * channels + c[None, :], inside, 0.0).to(tl.float32)
    at = r[:, None] * channels + c[None, :]
    total += tl.load(shortcut + at, inside, 0.0).to(tl.float32)
    if with_relu:
        total = tl.where(total <= 0.0, 0.0, total)  # a NaN passes
    tl.store(out + at, total.to(out.dtype.element_ty), inside)


def pointwise_end(h: Tensor, weight: Tensor, bias: Tensor, gate: Tensor | None, shortcut: Tensor, relu: bool) -> Tensor:
    """``gate * (weight h + bias) + shortcut`` of a 1x1 convolution, rectified or not.

    Products are summed in float32. Those of float32 round to TF32 first where PyTorch's convolutions do so
    (``torch.backends.cudnn``).

    Args:
        h: (N, C_in, H, W); this and the shortcut are brought into channels last where they are not.
        weight: (C, C_in), contiguous, in the dtype of h.
        bias: (C,).
        gate: (N, C) in any float dtype, contiguous; None for 1.
        shortcut: (N, C, H, W).
        relu: whether the result is rectified.
    """
    h, shortcut = (x.contiguous(memory_format=torch.channels_last) for x in (h, shortcut))
    n, inputs, height, width = h.shape
    channels, rows = weight.shape[0], n * height * width
    out = torch.empty_like(shortcut, dtype=h.dtype)
    # No larger than the map: a single picture's last stage has 49 pixels. tl.dot takes 16 at least.
    br, bc = (min(128, max(16, triton.next_power_of_2(each))) for each in (rows, channels))
    bi = min(32 if h.dtype is torch.float32 else 64, max(16, triton.next_power_of_2(inputs)))
    precision = "tf32" if torch.backends.cudnn.conv.fp32_precision == "tf32" else "ieee"
    with current_device(h):
        _pointwise[(triton.cdiv(channels, bc) * triton.cdiv(rows, br),)](
            h, weight, bias, h if gate is None else gate, shortcut, out, rows, height * width, inputs, channels,
            gate is not None, relu, precision, br, bc, bi, num_warps=8 if br * bc > 64 * 64 else 4,
        )  # fmt: skip
    return out
