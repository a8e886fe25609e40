# mypy: ignore-errors
"""The squeeze in the pass that ends a convolution: bias and ReLU where the map lies, and its means by the way."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from senet_zoo.tensors import current_device

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
