"""The inference kernels on CPU tensors, through Triton's interpreter, beside float64: run with TRITON_INTERPRET=1."""

import itertools
import sys

import torch
from inference.interpreter import multiply_bfloat16
from torch.nn import functional as F

from senet_zoo.inference.passes.triton_kernels import excite, pointwise_end, squeeze_

SHAPES = ((2, 24, 9, 8), (1, 70, 12, 11), (3, 5, 1, 1))
VARIANTS = (  # of a kernel with two switches
    *itertools.product((torch.float32,), (True, False), (True, False)),
    (torch.bfloat16, True, True),
    (torch.float16, True, True),
)


def random(*shape: int, dtype: torch.dtype = torch.float32, last: bool = True) -> torch.Tensor:
    x = torch.randn(shape, dtype=torch.float64).to(dtype)
    return x.contiguous(memory_format=torch.channels_last) if last and x.ndim == 4 else x


def compare(what: str, ours: torch.Tensor, exact: torch.Tensor, tolerance: float) -> None:
    assert ours.shape == exact.shape, what
    error = ((ours.double() - exact).abs().max() / exact.abs().max().clamp_min(1.0)).item()
    assert error < tolerance, f"{what}: {error:.2e}"


def squeezes() -> None:
    for shape, (dtype, bias, relu) in itertools.product(SHAPES, VARIANTS):
        y, b = random(*shape, dtype=dtype), random(shape[1], dtype=dtype) if bias else None
        exact = y.double() + (0.0 if b is None else b.double()[:, None, None])
        exact = torch.relu(exact) if relu else exact
        shares = squeeze_(y, b, relu)
        compare("map", y, exact, torch.finfo(dtype).eps)
        compare("mean of the map as it was rounded", shares.sum(1), y.double().mean((2, 3)), 1e-6)


def excitations() -> None:
    for inputs, hidden, channels, tiles, dtype in ((24, 6, 96, 3, torch.float32), (70, 17, 64, 1, torch.bfloat16)):
        shares = random(2, tiles, inputs)
        w1, b1, w2, b2 = random(hidden, inputs), random(hidden), random(channels, hidden), random(channels)
        h = torch.relu(F.linear(shares.double().sum(1), w1.double(), b1.double()))
        exact = torch.sigmoid(F.linear(h, w2.double(), b2.double()))
        compare("gate", excite(shares, w1, b1, w2, b2, dtype), exact, 4 * torch.finfo(dtype).eps)


def pointwise_ends() -> None:
    for (n, inputs, height, width), (dtype, gated, relu) in itertools.product(SHAPES, VARIANTS):
        channels = 3 * inputs
        h, shortcut = random(n, inputs, height, width, dtype=dtype), random(n, channels, height, width, dtype=dtype)
        weight, bias = random(channels, inputs, dtype=dtype) / inputs**0.5, random(channels, dtype=dtype)
        gate = torch.rand(n, channels) if gated else None
        exact = F.conv2d(h.double(), weight.double()[:, :, None, None], bias.double())
        exact = exact * (1.0 if gate is None else gate.double()[:, :, None, None]) + shortcut.double()
        exact = torch.relu(exact) if relu else exact
        # One rounding to a half precision; in float32 each of the products' sums rounds.
        rounding = torch.finfo(dtype).eps * (8 if dtype is torch.float32 else 1)
        out = pointwise_end(h, weight, bias, gate, shortcut, relu)
        compare("end", out, exact, rounding)
        assert out.is_contiguous(memory_format=torch.channels_last)
        if gated:
            other = pointwise_end(h.contiguous(), weight, bias, gate, shortcut.contiguous(), relu)
            assert torch.equal(out, other)


def nan_passes() -> None:
    nan = torch.full((1, 16, 2, 2), float("nan")).contiguous(memory_format=torch.channels_last)
    assert squeeze_(nan, None, relu=True).isnan().all()
    one = torch.ones(16)
    assert pointwise_end(torch.ones_like(nan), torch.ones(16, 16), one, one[None], nan, relu=True).isnan().all()


if __name__ == "__main__":
    multiply_bfloat16()
    torch.manual_seed(0)
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    for check in (squeezes, excitations, pointwise_ends, nan_passes):
        check()
    sys.stdout.write("the kernels agree with float64\n")
