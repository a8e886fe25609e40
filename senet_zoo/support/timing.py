"""Interleaved timing: every round runs each candidate once, and another one is first in each round.

Ratios within a round stay true when the machine's speed drifts. A round in which other processes worked is disturbed;
disturbed rounds are dropped as long as enough others remain.
"""

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import torch

Candidate = Callable[[], float]
"""Runs once and returns the seconds that it took."""
LEAST = 3
"""Rounds that are run whatever the limit."""
DISTURBED = 0.1
"""Processors that other processes may use in a round."""
TICK = 0.02
"""Seconds by which the system's count of processor time may be wrong, because it counts in hundredths."""


@dataclass(frozen=True)
class Spread:
    """Median and quartiles; formatted like a number, such as ``f"{spread:.2f}"``."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of one value or more."""
        lower, middle, upper = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
        return cls(middle, lower, upper)

    def __format__(self, spec: str) -> str:
        return f"{self.median:{spec}} [{self.lower:{spec}} to {self.upper:{spec}}]"


@dataclass(frozen=True)
class Rounds:
    """Seconds of each candidate in the rounds that count.

    Args:
        seconds: of each candidate by name, in the order of the rounds.
        disturbed: number of rounds in which other processes worked.
        dropped: how many of these do not count: all of them, or none if too few rounds would have remained.
    """

    seconds: Mapping[str, tuple[float, ...]]
    disturbed: int
    dropped: int

    def __len__(self) -> int:
        return len(next(iter(self.seconds.values())))

    def ratio(self, over: str, under: str) -> Spread:
        """The time of ``over`` divided by that of ``under``, round by round."""
        return Spread.of([a / b for a, b in zip(self.seconds[over], self.seconds[under], strict=True)])

    def rate(self, name: str, pictures: int) -> Spread:
        """Pictures a second of a candidate that handles ``pictures`` in each round."""
        return Spread.of([pictures / seconds for seconds in self.seconds[name]])

    def __str__(self) -> str:
        if not self.disturbed:
            return f"{len(self)} rounds in turns"
        fate = "dropped" if self.dropped else "counted, for too few others remain"
        return f"{len(self)} rounds in turns; {self.disturbed} disturbed by other processes and {fate}"


def interleaved(
    candidates: Mapping[str, Candidate],
    rounds: int,
    *,
    limit: float = math.inf,
    disturbed: float = DISTURBED,
    own: Callable[[], float] = time.process_time,
) -> Rounds:
    """Time candidates in turns, after a first run of each that does not count.

    Args:
        candidates: what is timed, by name.
        rounds: how many.
        limit: seconds after which no further round begins, once there are `LEAST`.
        disturbed: processors that other processes may use in a round; infinity if candidates measure their own time.
        own: processor seconds that the candidates have used up to now.
    """
    for candidate in candidates.values():
        candidate()
    names, taken, calm = list(candidates), list[dict[str, float]](), list[bool]()
    began = time.perf_counter()
    for number in range(rounds):
        if number >= LEAST and time.perf_counter() - began > limit:
            break
        first, start, foreign = number % len(names), time.perf_counter(), busy() - own()
        taken.append({name: candidates[name]() for name in names[first:] + names[:first]})
        foreign = busy() - own() - foreign
        calm.append(foreign <= disturbed * (time.perf_counter() - start) + TICK)
    enough = sum(calm) >= max(LEAST, len(calm) / 2)
    kept = [row for row, still in zip(taken, calm, strict=True) if still or not enough]
    seconds = {name: tuple(row[name] for row in kept) for name in names}
    return Rounds(seconds, calm.count(False), len(taken) - len(kept))


def busy() -> float:
    """Seconds that all processors together have worked since the machine started; 0 if the system does not tell."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]
    except OSError:
        return 0.0
    return (sum(map(int, fields)) - int(fields[3]) - int(fields[4])) / os.sysconf("SC_CLK_TCK")  # idle, and for disks


def timed(
    work: Callable[[], object],
    device: torch.device,
    repeats: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds until the device has finished ``repeats`` runs of ``work``."""
    _wait(device)
    start = clock()
    for _ in range(repeats):
        work()
    _wait(device)
    return clock() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
