"""Arithmetic on tensors that layers and blocks share; no parameters, no state."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def drop_path(x: Tensor, rate: float) -> Tensor:
    """Zero whole samples of a residual branch with probability ``rate``, scaling the rest by 1 / (1 - rate).

    Shape: (N, C, H, W) -> (N, C, H, W).
    Source: Huang et al., Deep Networks with Stochastic Depth, arXiv:1603.09382.
    """
    keep = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1.0 - rate)
    return x * keep.div_(1.0 - rate)


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """The precision in which gates are computed: float32, or the input's own where that is wider."""
    return torch.promote_types(dtype, torch.float32)


def current_device(x: Tensor) -> AbstractContextManager[object]:
    """Makes the tensor's device the current one: Triton starts kernels there, wherever their arguments lie."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()
