"""What `senet_zoo.optimize` returns: a network that answers, and says how it was made."""

from collections.abc import Callable
from typing import NoReturn

import torch
from torch import Tensor, nn

from senet_zoo.errors import OptimizationError
from senet_zoo.inference.marking import WIDE
from senet_zoo.inference.measuring import Network
from senet_zoo.inference.report import OptimizationReport


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

    def __init__(self, network: Network, device: torch.device, dtype: torch.dtype, in_channels: int) -> None:
        super().__init__()
        self.network = network
        self.device, self.dtype, self.in_channels = device, dtype, in_channels
        # where programs look for the device and dtype of a network; a runtime keeps its weights to itself
        self.place = nn.Parameter(torch.empty(0, device=device, dtype=dtype), requires_grad=False)
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
            x = x.detach()
            y = self.network(x if x.dtype is self.dtype else x.to(self.dtype))
            return y if y.dtype in WIDE else y.float()

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
