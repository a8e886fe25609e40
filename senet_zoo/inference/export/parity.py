"""Whether a written file answers like the network it came from; the file itself is read back and run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from senet_zoo.errors import ExportError
from senet_zoo.exported.forms import METADATA, Form, Runtime
from senet_zoo.exported.runtimes import Opened, open_file
from senet_zoo.inference.export.writing import EXTRA_FILE

BOUND = 1e-4
"""Largest deviation of a logit in float32, as a share of the largest. Other kernels round otherwise: 1e-6 is usual."""

Run = Callable[[NDArray[numpy.float32]], NDArray[numpy.float32]]


@dataclass(frozen=True)
class Parity:
    """How a file's logits differ from the original's.

    Args:
        deviation: largest difference of a logit, as a share of the largest logit.
        inputs: shapes that were compared, (batch, height, width), each once.
        agreement: share of pictures with the same likeliest class, and of how many; None in float32.
    """

    deviation: float
    inputs: tuple[tuple[int, int, int], ...]
    agreement: tuple[float, int] | None = None

    def __str__(self) -> str:
        shapes = ", ".join(f"{batch} x {height}x{width}" for batch, height, width in self.inputs)
        text = f"largest deviation {self.deviation:.1e} of scale on {shapes}"
        if self.agreement is None:
            return f"{text}; at most {BOUND:.0e}"
        return f"{text}; the same class for {self.agreement[0]:.1%} of {self.agreement[1]} pictures"


def read_back(path: Path, text: str) -> Run:
    """What computes logits from a file, which must carry ``text``."""
    if Form.of(path) is Form.TORCH:
        kept = {EXTRA_FILE: ""}
        program = torch.export.load(path, extra_files=kept)
        opened = Opened(kept[EXTRA_FILE], partial(_in_torch, program.module()))
    else:
        opened = open_file(path, Runtime.of(path))
    if opened.text != text:
        raise ExportError(f"{path.name} must carry its remarks under {METADATA!r}, and does not: please report this")
    return opened.run


@torch.no_grad()
def _in_torch(network: nn.Module, x: NDArray[numpy.float32]) -> NDArray[numpy.float32]:
    return network(torch.from_numpy(x)).numpy()  # type: ignore[no-any-return]


@torch.no_grad()
def compare(run: Run, model: nn.Module, inputs: Sequence[Tensor]) -> Parity:
    """The logits of a file beside those of the original."""
    worst = 0.0
    for x in inputs:
        y = model(x).double().numpy()
        found = run(x.numpy())
        if found.shape != y.shape:
            raise ExportError(f"an exported network must give {y.shape} for {tuple(x.shape)}, and gives {found.shape}")
        deviation = float(abs(found - y).max() / max(abs(y).max(), 1e-30))
        worst = max(worst, deviation if deviation == deviation else float("inf"))
    return Parity(worst, tuple(dict.fromkeys((x.shape[0], x.shape[2], x.shape[3]) for x in inputs)))
