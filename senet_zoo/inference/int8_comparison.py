"""What eight bits gain and cost: the speed, the size and, on labelled pictures, the accuracy of both files."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from senet_zoo.data.labelled import Labelled
from senet_zoo.evaluation import LogitNames, evaluate
from senet_zoo.inference.export_files import open_exported
from senet_zoo.prediction.exported_metadata import Metadata
from senet_zoo.support.timing import Spread, interleaved, timed

INT8 = "int8"
ROUNDS = 15
SECONDS = 6.0
"""What the measurement may take, though it never runs fewer than three rounds."""
TURN = 0.02
"""Seconds of the slowest candidate's turn at least, so that the clock's steps do not count."""


@dataclass(frozen=True)
class Int8Accuracy:
    """Top-1 of both files on the same pictures, in percent."""

    float32: float
    int8: float
    pictures: int

    def __str__(self) -> str:
        return f"{self.float32:.2f} % before, {self.int8:.2f} % after, of {self.pictures} labelled pictures"


@dataclass(frozen=True)
class Int8Comparison:
    """A file in eight bits beside the same network's file in float32, each opened by its runtime's defaults.

    Args:
        speed: how many times as fast, by the arithmetic that the file in float32 is computed in: float32, and whatever
            else the runtime chooses by itself, such as OpenVINO's bfloat16.
        rounds: what was timed, one picture at a time.
        bytes_float32: size of the file in float32.
        bytes_int8: size of the file in eight bits.
        accuracy: on labelled pictures, if there are any.
    """

    speed: Mapping[str, Spread]
    rounds: str
    bytes_float32: int
    bytes_int8: int
    accuracy: Int8Accuracy | None

    @property
    def pays(self) -> bool:
        """Whether it is faster than the file in float32, whatever that is computed in, beyond the rounds' spread."""
        return all(spread.lower > 1 for spread in self.speed.values())

    def lines(self) -> list[tuple[str, str]]:
        """Lines of a report, (name, value)."""
        speed = ", ".join(f"{spread:.2f} times as fast as {name}" for name, spread in self.speed.items())
        slower = " or ".join(name for name, spread in self.speed.items() if spread.lower <= 1)
        share = self.bytes_int8 / self.bytes_float32
        return [
            ("eight bits", "convolutions, and the sums and activations behind them; gates and classifier in float"),
            ("speed", f"{speed}: one picture, one thread, {self.rounds}"),
            *([] if self.pays else [("", f"eight bits do not pay here: not faster than {slower} beyond the spread")]),
            ("size", f"{self.bytes_int8 / 1e6:.1f} MB, {share:.2f} of {self.bytes_float32 / 1e6:.1f} MB in float32"),
            ("accuracy", str(self.accuracy or "not measured: labelled pictures say it")),
        ]


class _FileNetwork(nn.Module):
    """A file as `evaluate` takes networks; its parameter says where and in which type pictures are wanted."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.run = open_exported(path).run
        self.like = nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.run(x.contiguous().numpy()))


def compare_speed(plain: Path, path: Path, x: Tensor) -> tuple[dict[str, Spread], str]:
    """How many times as fast the file in eight bits is as the one in float32, by the arithmetic of the latter.

    They take turns on ``x``, one thread each, and the clock counts what that thread computes, so that other processes
    disturb little.

    Returns:
        The ratios, and a line about the rounds.
    """
    opened = [open_exported(plain, threads=1), open_exported(plain, by_default=True, threads=1)]
    runs = {each.arithmetic: each.run for each in reversed(opened)}  # one, where float32 is the default
    runs[INT8] = open_exported(path, by_default=True, threads=1).run
    work = {name: partial(run, x.numpy()) for name, run in runs.items()}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        longest = max(timed(each, x.device, clock=time.process_time) for each in work.values())
        repeats = math.ceil(TURN / max(longest, TURN / 100))
        candidates = {
            name: partial(timed, each, x.device, repeats, clock=time.process_time) for name, each in work.items()
        }
        rounds = interleaved(candidates, ROUNDS, limit=SECONDS, disturbed=math.inf)
    finally:
        torch.set_num_threads(threads)
    return {name: rounds.ratio(name, INT8) for name in sorted(runs, reverse=True) if name != INT8}, str(rounds)


def compare_accuracy(plain: Path, path: Path, data: Labelled, metadata: Metadata, logits: LogitNames) -> Int8Accuracy:
    """Top-1 of the file in float32 and of the one in eight bits.

    Raises:
        DataError: a class is not among the network's, or no picture can be read.
        WeightsError: a score is not finite.
    """
    assert metadata.preprocessing is not None  # nothing is calibrated without
    before, after = (
        evaluate(_FileNetwork(each).eval(), data, metadata.preprocessing, logits) for each in (plain, path)
    )
    return Int8Accuracy(before.top1, after.top1, after.count)


def size_of(path: Path) -> int:
    """Bytes of a file, with the weights that OpenVINO lays beside it."""
    return sum(each.stat().st_size for each in {path, path.with_suffix(".bin")} if each.is_file())
