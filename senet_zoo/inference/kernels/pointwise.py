# mypy: ignore-errors
"""The last convolution of a residual unit as a matrix product whose result leaves finished: the map is written once."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from senet_zoo.tensors import current_device


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
