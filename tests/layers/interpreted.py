"""The Triton kernels on CPU tensors, through Triton's interpreter, beside float64: run with TRITON_INTERPRET=1."""

import itertools
import sys

import torch

from senet_zoo.networks.fused import reference
from senet_zoo.networks.fused.triton_kernels import TRITON


def random(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64).to(dtype)


def compare(what: str, ours: torch.Tensor, exact: torch.Tensor, tolerance: float) -> None:
    error = ((ours.double() - exact).abs().max() / exact.abs().max().clamp_min(1.0)).item()
    assert error < tolerance, f"{what}: {error:.2e}"


def main() -> None:
    torch.manual_seed(0)
    for dim, (pixels, channels), dtype in itertools.product(
        (1, 2), ((49, 70), (600, 5), (1, 64)), (torch.float32, torch.bfloat16, torch.float16)
    ):
        # One rounding to a half precision; in float32 each of the six operations rounds.
        rounding = torch.finfo(dtype).eps * (6 if dtype is torch.float32 else 1)
        shape = (2, pixels, channels) if dim == 1 else (2, channels, pixels)
        y, shortcut, gradient = (random(*shape, dtype=dtype) for _ in range(3))
        m, a, b, c = (random(2, channels) for _ in range(4))
        out = reference.scale_add_relu(y, shortcut, m, a, b, dim)
        wide = [x.double() for x in (y, shortcut, gradient, out, m, a, b, c)]
        y64, shortcut64, gradient64, out64, m64, a64, b64, c64 = wide
        for name, one, other in zip(("mean", "var"), TRITON.moments(y, dim), reference.moments(y64, dim), strict=True):
            compare(name, one, other, 2e-6)
        compare(
            "end",
            TRITON.scale_add_relu(y, shortcut, m, a, b, dim),
            reference.scale_add_relu(y64, shortcut64, m64, a64, b64, dim),
            rounding,
        )
        masked = TRITON.relu_backward(gradient, out, y, m, dim)
        exact = reference.relu_backward(gradient64, out64, y64, m64, dim)
        for name, one, other in zip(("g", "sum", "product"), masked, exact, strict=True):
            compare(name, one, other, 2e-6)
        ours = TRITON.affine_backward(gradient, y, m, a, b, c, dim)
        compare("combined", ours, reference.affine_backward(gradient64, y64, m64, a64, b64, c64, dim), rounding)
    far = random(2, 600, 5) * 1e-2 + 100.0  # a mean of ten thousand deviations
    compare("variance far from 0", TRITON.moments(far, 1)[1] * 1e4, reference.moments(far.double(), 1)[1] * 1e4, 1e-3)
    nan = torch.full((1, 2, 3), float("nan"))
    numbers = torch.ones(1, 3)
    assert TRITON.scale_add_relu(nan, nan, numbers, numbers, numbers, 1).isnan().all()
    assert TRITON.relu_backward(numbers.expand(1, 2, 3).contiguous(), nan, nan, numbers, 1)[0].eq(1.0).all()
    sys.stdout.write("the kernels agree with float64\n")


if __name__ == "__main__":
    main()
