# mypy: ignore-errors
"""The whole excitation as one kernel: mean, both layers, ReLU and sigmoid."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from senet_zoo.tensors import current_device


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
        shares: (N, T, inputs), of `senet_zoo.inference.kernels.squeeze.squeeze_`.
        w1: (hidden, inputs), hidden at most `senet_zoo.inference.kernels.MOST_HIDDEN`; like the rest in float32,
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
