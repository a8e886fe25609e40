"""Candidates in turns: the order, the quartiles, and which rounds count."""

import itertools

import numpy as np
import pytest

from senet_zoo.support import timing
from senet_zoo.support.timing import Spread, interleaved


class FakeMachine:
    """Each turn takes what a list says; in some rounds others work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: dict[str, list[float]], strangers: list[float]):
        self.now, self.foreign, self.order = 0.0, 0.0, list[str]()
        self.left = {name: iter([1.0, *values]) for name, values in seconds.items()}  # the first does not count
        self.strangers = itertools.chain([0.0], strangers)
        self.names, self.own = list(seconds), 0.0
        monkeypatch.setattr(timing, "busy", lambda: self.own + self.foreign)
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)

    def turn(self, name: str) -> float:
        if len(self.order) % len(self.names) == 0:
            self.foreign += next(self.strangers)
        self.order.append(name)
        seconds = next(self.left[name])
        self.now, self.own = self.now + seconds, self.own + seconds
        return seconds

    def measure(self, rounds: int, limit: float = float("inf")) -> timing.Rounds:
        candidates = {name: (lambda name=name: self.turn(name)) for name in self.names}
        return interleaved(candidates, rounds, limit=limit, own=lambda: self.own)


def test_another_one_is_first_in_each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = FakeMachine(monkeypatch, {"a": [1.0] * 3, "b": [1.0] * 3, "c": [1.0] * 3}, [0.0] * 3)
    measured = machine.measure(3)
    assert "".join(machine.order) == "abc" + "abc" + "bca" + "cab"
    assert str(measured) == "3 rounds in turns"


def test_ratios_are_of_the_same_round(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, quick = [2.0, 4.0, 9.0, 8.0, 20.0], [1.0, 2.0, 3.0, 4.0, 5.0]
    measured = FakeMachine(monkeypatch, {"slow": slow, "quick": quick}, [0.0] * 5).measure(5)
    lower, middle, upper = np.quantile(np.array(slow) / np.array(quick), [0.25, 0.5, 0.75])
    assert measured.ratio("slow", "quick") == Spread(middle, lower, upper)
    assert measured.rate("quick", 12).median == 12 / 3
    assert f"{measured.ratio('slow', 'quick'):.2f}" == "2.00 [2.00 to 3.00]"
    assert Spread.of([2.5]) == Spread(2.5, 2.5, 2.5)


def test_disturbed_rounds_are_dropped_where_enough_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = FakeMachine(monkeypatch, {"a": [1.0, 1.0, 7.0, 1.0], "b": [2.0, 2.0, 2.0, 2.0]}, [0.0, 0.0, 6.0, 0.0])
    measured = machine.measure(4)
    assert measured.seconds == {"a": (1.0, 1.0, 1.0), "b": (2.0, 2.0, 2.0)}
    assert str(measured) == "3 rounds in turns; 1 disturbed by other processes and dropped"


def test_disturbed_rounds_count_where_too_few_others_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = FakeMachine(monkeypatch, {"a": [1.0, 7.0, 8.0]}, [0.0, 6.0, 7.0]).measure(3)
    assert measured.seconds == {"a": (1.0, 7.0, 8.0)}
    assert str(measured).endswith("2 disturbed by other processes and counted, for too few others remain")


def test_a_measurement_ends_in_time_but_never_before_three_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(FakeMachine(monkeypatch, {"a": [9.0] * 9}, [0.0] * 9).measure(9, limit=4.0)) == 3
    assert len(FakeMachine(monkeypatch, {"a": [1.0] * 9}, [0.0] * 9).measure(9, limit=4.0)) == 5
