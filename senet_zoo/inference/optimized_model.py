"""What `senet_zoo.optimize` returns: a network for inference only, and the report of how it was made."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import NoReturn

import torch
from torch import Tensor, nn

from senet_zoo.errors import OptimizationError
from senet_zoo.inference.backends import WIDE, Network
from senet_zoo.support.timing import Rounds


@dataclass(frozen=True)
class Gain:
    """How many times as fast a network is as the one that it was made from, both timed in the same rounds.

    Args:
        median: of the ratios of all rounds.
        lower: their first quartile.
        upper: their third quartile.
        rounds: number of rounds that count.
        disturbed: rounds in which other processes worked; they count only where too few others remain.
        batch: pictures at once.
        size: side of the pictures in pixels.
        milliseconds: median time of the optimised network.
    """

    median: float
    lower: float
    upper: float
    rounds: int
    disturbed: int
    batch: int
    size: int
    milliseconds: float

    @classmethod
    def of(cls, rounds: Rounds, original: str, optimised: str, x: Tensor) -> "Gain":
        """The gain of one candidate over another on pictures (N, C, H, W)."""
        ratio, milliseconds = rounds.ratio(original, optimised), 1000 * median(rounds.seconds[optimised])
        return cls(
            ratio.median, ratio.lower, ratio.upper, len(rounds), rounds.disturbed, x.shape[0], x.shape[-1], milliseconds
        )

    def __str__(self) -> str:
        busy = f" ({self.disturbed} disturbed by other processes)" if self.disturbed else ""
        return (
            f"{self.median:.2f}x ({self.lower:.2f} to {self.upper:.2f}) at batch {self.batch}, "
            f"{self.size}x{self.size} pixels, {self.rounds} rounds in turns{busy}: {self.milliseconds:.2f} ms"
        )


@dataclass(frozen=True)
class OptimizationReport:
    """What was done, what was checked, and what was gained.

    Args:
        network: class of the original.
        backend: what runs it, such as ``torch`` or ``torch, compiled``.
        call: of `senet_zoo.optimize` that chooses the same again, for the size in front and with the same arithmetic.
        dtype: of its arithmetic; gates compute in float32 or wider.
        folded: number of batch norms that became part of a convolution.
        norms: number of batch norms that stay, because they follow no convolution of their own.
        early: gates that are computed before the convolution whose map they scale.
        late: every other gate by name, and why it stays behind its map; the function is the same.
        opaque: parts that could not be traced and run as they are.
        fused: what the backend made one step of, in words.
        deviation: largest difference of a logit from the original's, as a share of the largest logit.
        bound: largest deviation that is accepted.
        checked: inputs on which both were compared, (batch, side).
        gain: how much faster it is, if that was measured.
        notes: anything else.
    """

    network: str
    backend: str
    call: str
    dtype: str
    folded: int
    norms: int
    early: tuple[str, ...]
    late: Mapping[str, str]
    opaque: tuple[str, ...]
    fused: str
    deviation: float
    bound: float
    checked: tuple[tuple[int, int], ...]
    gain: Gain | None = None
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        shapes = ", ".join(f"{batch} x {size}px" for batch, size in self.checked)
        lines = [
            ("backend", f"{self.backend}, {self.dtype}"),
            ("batch norms", f"{self.folded} folded" + (f", {self.norms} follow no convolution" if self.norms else "")),
            *gate_lines(self.early, self.late),
            ("one step each", self.fused),
            *([("as they are", ", ".join(self.opaque))] if self.opaque else []),
            ("check", f"largest deviation {self.deviation:.1e} of scale, at most {self.bound:.0e}, on {shapes}"),
            ("gain", str(self.gain) if self.gain else "not measured"),
            *(("note", note) for note in self.notes),
        ]
        return aligned(f"{self.network}, optimised", lines)


def gate_lines(early: tuple[str, ...], late: Mapping[str, str]) -> list[tuple[str, str]]:
    """Lines of a report about a network's gates."""
    if not early and not late:
        return [("gates", "none")]
    reasons = Counter(late.values())
    head = f"{len(early)} of {len(early) + len(late)} before their convolution"
    return [("gates", head), *(("", f"{count} behind: {reason}") for reason, count in reasons.items())]


def aligned(title: str, lines: list[tuple[str, str]]) -> str:
    """A title above lines of (name, value)."""
    width = max(len(name) for name, _ in lines)
    return "\n".join([title, *(f"  {name:{width}}  {value}" for name, value in lines)])


_INPUTS = {
    1: "signals must be floats (N, {}, L)",
    2: "pictures must be floats (N, {}, H, W)",
    3: "volumes must be floats (N, {}, D, H, W)",
}


class OptimizedModel(nn.Module):
    """A network made faster for this machine: the same function, for inference only.

    Pictures go in as they went into the original, in any float dtype; logits come out in ``float32`` or wider. A
    picture that is not finite has logits of NaN. The network cannot be moved to another device or saved to a file:
    optimise again there, and keep the original's weights.

    Attributes:
        report: what was done, what was checked, and what was gained; print it.

    Shape:
        that of the original network.

    Raises:
        OptimizationError: it is asked to train, for a gradient, or to be copied or moved.
    """

    report: OptimizationReport

    def __init__(
        self, network: Network, device: torch.device, dtype: torch.dtype, in_channels: int, dims: int = 2
    ) -> None:
        super().__init__()
        self.network = network
        self.device, self.dtype, self.in_channels, self.dims = device, dtype, in_channels, dims
        # programs look for a network's device and dtype in its parameters, and a runtime's weights are not among them
        self.empty = nn.Parameter(torch.empty(0, device=device, dtype=dtype), requires_grad=False)
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        """Logits of pictures (N, C, H, W)."""
        if x.requires_grad and torch.is_grad_enabled():
            raise OptimizationError("an optimised network gives no gradients: use the original, or torch.no_grad()")
        if (
            x.ndim != self.dims + 2
            or x.shape[1] != self.in_channels
            or not x.is_floating_point()
            or x.device != self.device
        ):
            raise OptimizationError(
                f"{_INPUTS[self.dims].format(self.in_channels)} on {self.device}, got {x.dtype} "
                f"{tuple(x.shape)} on {x.device}"
            )
        with torch.no_grad():
            x = x.detach()
            y = self.network(x if x.dtype is self.dtype else x.to(self.dtype))
            return y if y.dtype in WIDE else y.float()

    def train(self, mode: bool = True) -> "OptimizedModel":
        """Refuse training mode; it is in eval mode already."""
        if mode:
            raise OptimizationError("an optimised network cannot train: train the original and optimise it again")
        return self

    def requires_grad_(self, requires_grad: bool = True) -> "OptimizedModel":
        """Refuse gradients."""
        return self.train(requires_grad)

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
