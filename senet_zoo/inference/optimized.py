"""What `senet_zoo.optimize` returns: a network that answers, and says how it was made."""

from collections.abc import Callable
from typing import NoReturn

import numpy
import torch
from torch import Tensor, nn

from senet_zoo.errors import OptimizationError
from senet_zoo.inference.report import OptimizationReport


def _sums(x: Tensor) -> Tensor:
    """Of each picture's values.

    On a CPU numpy adds, in this thread: PyTorch's threads, once woken, wait for work on the cores that another runtime
    needs next, which made a small network in ONNX Runtime half as fast.
    """
    if x.is_cuda:
        return x.sum((1, 2, 3), dtype=torch.float32)
    pictures = x.to(torch.promote_types(x.dtype, torch.float32)).numpy()
    with numpy.errstate(invalid="ignore", over="ignore"):
        return torch.from_numpy(pictures.reshape(len(pictures), -1).sum(1))


class OptimizedModel(nn.Module):
    """A network made faster for this machine: the same function, for inference only.

    Pictures go in as they went into the original, in any float dtype; logits come out in ``float32`` at least. A
    picture that is not finite has logits of NaN. It can be moved to no other device and saved to no file: optimise
    again there, and keep the original's weights.

    Attributes:
        report: what was done, what was checked, and what was gained; printing it reads well.

    Shape:
        that of the original network.

    Raises:
        OptimizationError: it is asked to train, for a gradient, or to be copied or moved.
    """

    report: OptimizationReport

    def __init__(
        self, network: Callable[[Tensor], Tensor], device: torch.device, dtype: torch.dtype, in_channels: int
    ) -> None:
        super().__init__()
        self.network = network
        self.device, self.dtype, self.in_channels = device, dtype, in_channels
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        """Logits of pictures (N, C, H, W)."""
        if x.requires_grad and torch.is_grad_enabled():
            raise OptimizationError("an optimised network gives no gradients: use the original, or torch.no_grad()")
        if x.ndim != 4 or x.shape[1] != self.in_channels or not x.is_floating_point() or x.device != self.device:
            raise OptimizationError(
                f"pictures must be floats (N, {self.in_channels}, H, W) on {self.device}, got {x.dtype} "
                f"{tuple(x.shape)} on {x.device}"
            )
        with torch.no_grad():
            y = self.network(x.to(self.dtype))
            y = y.to(torch.promote_types(y.dtype, torch.float32))
            # Fused functions may turn NaN into 0: a picture that is not finite must not look like one that is.
            return y + (_sums(x) * 0).to(y.dtype).view(-1, *[1] * (y.ndim - 1))

    def train(self, mode: bool = True) -> "OptimizedModel":
        """Refuse training mode; eval mode it is in already."""
        if mode:
            raise OptimizationError("an optimised network cannot train: train the original and optimise it again")
        return self

    def requires_grad_(self, requires_grad: bool = True) -> "OptimizedModel":
        """Refuse gradients."""
        if requires_grad:
            raise OptimizationError("an optimised network cannot train: train the original and optimise it again")
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> NoReturn:
        raise OptimizationError(
            f"an optimised network is made for {self.device} and {self.dtype}: move or convert the original and "
            "optimise it there"
        )

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise OptimizationError(
            "an optimised network is made for this machine and is not copied or saved: save the original with "
            "senet_zoo.save_pretrained"
        )
