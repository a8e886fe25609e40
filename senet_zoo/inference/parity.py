"""Whether two networks compute the same function: their logits on random pictures of several sizes and batches."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from senet_zoo.errors import OptimizationError

BOUNDS = {torch.float64: 1e-5, torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest deviation of a logit, as a share of the largest logit. float32 rounds at 6e-8 a step, and tens of steps add
up. bfloat16 rounds at 4e-3, of which tens of random signs make 1 to 2e-2: 5e-2 is more than rounding. float16 has three
bits more than bfloat16."""
BATCHES = (1, 3)
"""Numbers of pictures that networks are compared on."""


def bound_of(dtype: torch.dtype, device: torch.device) -> float:
    """The bound of `BOUNDS`; TF32, which float32 convolutions on CUDA may round to, has the ten bits of float16."""
    return BOUNDS[torch.float16 if rounds_to_tf32(dtype, device) else dtype]


def rounds_to_tf32(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether convolutions round to TF32 in PyTorch's present settings."""
    precision: str = torch.backends.cudnn.conv.fp32_precision  # type: ignore[attr-defined]
    return dtype is torch.float32 and device.type == "cuda" and precision == "tf32"


def random_pictures(batch: int, in_channels: int, size: int, like: Tensor, dims: int = 2) -> Tensor:
    """Random pictures, signals or volumes, the same in every process; the global random state is not touched."""
    generator = torch.Generator().manual_seed(size)
    return torch.randn(batch, in_channels, *(size,) * dims, generator=generator).to(like.device, like.dtype)


class ParityCheck:
    """Compares networks with the original, and keeps the largest deviation.

    Args:
        model: the original.
        inputs: pictures that they are compared on.
        dtype: of the arithmetic of the networks that are compared.

    Attributes:
        bound: largest deviation that is accepted.
        worst: largest deviation so far.
        shapes: (batch, side) of each input.

    Raises:
        OptimizationError: the original does not run on one of the inputs, or gives no tensor of finite numbers.
    """

    def __init__(self, model: nn.Module, inputs: list[Tensor], dtype: torch.dtype) -> None:
        self.model, self.inputs = model, inputs
        self.answers = [_answer(model, x) for x in inputs]
        self.bound = max(bound_of(each, inputs[0].device) for each in (dtype, inputs[0].dtype))
        self.worst = 0.0
        self.shapes = tuple((x.shape[0], x.shape[-1]) for x in inputs)

    @torch.no_grad()
    def __call__(self, network: Callable[[Tensor], Tensor], what: str, first: int | None = None) -> None:
        """Check that a network gives the original's logits on all inputs, or on the first few.

        Raises:
            OptimizationError: its logits deviate by more than ``bound``.
        """
        for x, y in list(zip(self.inputs, self.answers, strict=True))[:first]:
            found = _deviation(network(x), y)
            if not found <= self.bound:
                raise OptimizationError(
                    f"optimised networks must give the original's logits within {self.bound:.0e} of scale, and this "
                    f"one ({what}) deviates by {found:.1e} on {tuple(x.shape)}. The original is as it was; "
                    f"{self._way_out(x, y)}"
                )
            self.worst = max(self.worst, found)

    def _way_out(self, x: Tensor, y: Tensor) -> str:
        exact = copy.deepcopy(self.model).to("cpu", torch.float64)  # not every device has float64
        own = _deviation(y.cpu(), exact(x.to("cpu", torch.float64)))
        if own > self.bound / 5:  # a network that is trained is within 1e-6
            return (
                f"its own logits deviate by {own:.1e} from those in float64, because rounding grows in it, as in "
                "deep networks that are not trained: load trained weights"
            )
        return f"its own logits are within {own:.1e} of those in float64: use it, and please report the network"


def _deviation(found: Tensor, right: Tensor) -> float:
    """Largest difference of a logit, as a share of the largest logit; NaN if a logit is NaN."""
    if found.shape != right.shape:
        return float("inf")
    found, right = found.double(), right.double()
    return ((found - right).abs().max() / right.abs().max().clamp(min=1e-30)).item()


@torch.no_grad()
def _answer(model: nn.Module, x: Tensor) -> Tensor:
    try:
        y = model(x.clone())
    except Exception as error:
        raise OptimizationError(
            f"the network does not run on pictures of shape {tuple(x.shape)}: {error}. Pass sizes=(...) that it takes"
        ) from error
    if not isinstance(y, Tensor) or y.ndim == 0 or y.shape[0] != x.shape[0]:
        raise OptimizationError(
            f"a network must turn (N, C, H, W) into one tensor (N, ...), and this one gives {type(y).__name__}"
        )
    if not y.isfinite().all():
        raise OptimizationError("the network's own logits of random pictures are not finite: check its weights")
    return y
