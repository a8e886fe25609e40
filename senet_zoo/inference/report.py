"""What `senet_zoo.optimize` did, as values that read well when printed.

Networks in turns on one input.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from statistics import median

import torch
from torch import Tensor

from senet_zoo.support.timing import Rounds, interleaved, timed


@dataclass(frozen=True)
class Gain:
    """How many times faster a network is than the one it was made from, both measured in turns.

    Args:
        median: of the ratios of all rounds.
        lower: their first quartile.
        upper: their third.
        rounds: how many.
        batch: pictures at once.
        size: side of the pictures in pixels.
        milliseconds: median time of the optimised network.
    """

    median: float
    lower: float
    upper: float
    rounds: int
    batch: int
    size: int
    milliseconds: float

    def __str__(self) -> str:
        return (
            f"{self.median:.2f}x ({self.lower:.2f} to {self.upper:.2f}) at batch {self.batch}, "
            f"{self.size}x{self.size} pixels, {self.rounds} rounds in turns: {self.milliseconds:.2f} ms"
        )


@dataclass(frozen=True)
class OptimizationReport:
    """What was done, what was checked, and what was gained.

    Args:
        network: the class of the original.
        backend: what runs it, such as ``torch`` or ``torch, compiled``.
        dtype: of its arithmetic; gates compute in float32 or wider.
        folded: batch norms that are part of a convolution now.
        norms: batch norms that stay, for they follow no convolution of their own.
        early: gates that are computed before the convolution whose map they scale.
        late: every other gate by name, and why it stays behind its map; the function is the same.
        opaque: parts whose code could not be looked into and run as they are.
        fused: what the backend made one step of, in words: how many of what.
        deviation: largest difference of a logit from the original's, as a share of the largest logit.
        bound: what it had to stay within.
        checked: the inputs on which it was compared, (batch, side).
        gain: how much faster it is, if that was measured.
        notes: what else there is to know.
    """

    network: str
    backend: str
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
            *self._gates(),
            ("one step each", self.fused),
            *([("as they are", ", ".join(self.opaque))] if self.opaque else []),
            ("check", f"largest deviation {self.deviation:.1e} of scale, at most {self.bound:.0e}, on {shapes}"),
            ("gain", str(self.gain) if self.gain else "not measured"),
            *(("note", note) for note in self.notes),
        ]
        width = max(len(name) for name, _ in lines)
        return "\n".join([f"{self.network}, optimised", *(f"  {name:{width}}  {value}" for name, value in lines)])

    def _gates(self) -> list[tuple[str, str]]:
        if not self.early and not self.late:
            return [("gates", "none")]
        reasons = Counter(self.late.values())
        early = f"{len(self.early)} of {len(self.early) + len(self.late)} before their convolution"
        return [("gates", early), *(("", f"{count} behind: {reason}") for reason, count in reasons.items())]


Network = Callable[[Tensor], Tensor]
SECONDS = 4.0
"""What `measure` may take, though never fewer rounds than three."""


@torch.no_grad()
def measure(networks: Mapping[str, Network], x: Tensor, rounds: int) -> Rounds:
    """Networks in turns on ``x``, for a few seconds at most."""
    turns = {name: partial(timed, partial(network, x), x.device) for name, network in networks.items()}
    return interleaved(turns, rounds, limit=SECONDS)


def gain(rounds: Rounds, original: str, faster: str, x: Tensor) -> Gain:
    """How many times as fast the one is on ``x`` as the other."""
    ratio, milliseconds = rounds.ratio(original, faster), 1000 * median(rounds.seconds[faster])
    return Gain(ratio.median, ratio.lower, ratio.upper, len(rounds), x.shape[0], x.shape[-1], milliseconds)
