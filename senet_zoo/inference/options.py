"""The options of `senet_zoo.optimize`: their defaults, and what cannot be honoured."""

import torch
from torch import nn

from senet_zoo.errors import UsageError
from senet_zoo.specs import NetworkSpec

CPU_DTYPES = (torch.float32, torch.float64, torch.bfloat16)


def default_sizes(model: nn.Module) -> tuple[int, int]:
    """The network's own size, or 224, and an odd one three quarters as large."""
    spec = getattr(model, "spec", None)
    size = spec.input_size if isinstance(spec, NetworkSpec) else 224
    return size, size * 3 // 4 | 1


def check_options(
    dtype: torch.dtype,
    device: torch.device,
    compiled: bool,
    backend: str,
    sizes: tuple[int, ...],
    batch: int,
    rounds: int,
) -> None:
    """Let options pass that can be honoured.

    Raises:
        UsageError: one cannot.
    """
    if dtype is torch.float16 and device.type == "cpu":
        raise UsageError("float16 is slow and inexact on a CPU: use dtype=torch.bfloat16 or torch.float32")
    if dtype not in (*CPU_DTYPES, torch.float16):
        raise UsageError(f"dtype must be torch.float32, bfloat16, float64 or, on CUDA, float16; got {dtype}")
    if backend not in ("torch", "auto"):
        raise UsageError(f"backend must be 'torch' or 'auto', got {backend!r}")
    if backend == "auto" and compiled:
        raise UsageError("backend='auto' measures the compiled network itself: leave compile out")
    if len(set(sizes)) < 2 or any(type(size) is not int or size < 1 for size in sizes):
        raise UsageError(f"sizes must be at least two different sides in pixels, got {sizes}")
    for name, value, least in (("batch", batch, 1), ("rounds", rounds, 0)):
        if type(value) is not int or value < least:
            raise UsageError(f"{name} must be a whole number, at least {least}, got {value}")
