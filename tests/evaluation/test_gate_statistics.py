"""``benchmarks/gate.py``: what pairs of networks tell apart, and what their logs keep."""

import numpy as np
import pytest

from benchmarks.gate import Run, as_bits, as_text, bootstrap, mcnemar, paired, report, standard_error


def answers(share: float, seed: int, pictures: int = 4000) -> np.ndarray:
    return np.random.default_rng(seed).random(pictures) < share


def run(right: np.ndarray, *, kept: bool = True) -> Run:
    return Run(100 * float(right.mean()), len(right), right if kept else None)


def test_a_bit_a_picture_comes_back() -> None:
    right = answers(0.7, 0, 1001)
    text = as_text(right.tolist())
    assert len(text) < 1001 / 5
    np.testing.assert_array_equal(as_bits(text, 1001), right)


def test_mcnemar_is_the_binomial_test_of_what_one_alone_got_right() -> None:
    plain = np.array([True] * 8 + [False] * 2 + [True] * 90)
    gated = np.array([False] * 8 + [True] * 2 + [True] * 90)
    ours, theirs, p = mcnemar(plain, gated)
    assert (ours, theirs) == (2, 8)
    assert p == pytest.approx(2 * (1 + 10 + 45) / 2**10)
    assert mcnemar(plain, plain) == (0, 0, 1.0)


def test_the_bootstrap_agrees_with_the_formula() -> None:
    differences = answers(0.30, 1).astype(float) - answers(0.25, 2)
    error, (low, high) = bootstrap(differences)
    assert error == pytest.approx(100 * differences.std() / len(differences) ** 0.5, rel=0.03)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.04)
    assert low < 100 * differences.mean() < high


def test_networks_that_err_on_the_same_pictures_are_told_apart_sooner() -> None:
    plain = answers(0.8, 3)
    gated = plain | (answers(0.05, 4) & ~plain)
    close = paired({0: run(plain)}, {0: run(gated)})
    apart = paired({0: run(plain, kept=False)}, {0: run(gated, kept=False)})
    assert close.gain == apart.gain > 0
    assert close.error < 0.5 * apart.error
    assert close.verdict == "a gain"
    assert apart.mcnemar == ()
    assert close.mcnemar[0][1] == 0


@pytest.mark.parametrize(
    ("gain", "error", "verdict"),
    [(0.2, 0.3, "none"), (0.5, 0.4, "not told from none"), (1.0, 0.4, "a gain"), (-1.0, 0.4, "a loss")],
)
def test_a_gain_below_its_error_is_none(gain: float, error: float, verdict: str) -> None:
    pair = paired({0: run(answers(0.5, 5))}, {0: run(answers(0.5, 5))})
    interval = (gain - 1.96 * error, gain + 1.96 * error)
    assert type(pair)(50.0, 50.0 + gain, (gain,), 0.8, error, interval, ()).verdict == verdict


def test_seeds_are_paired_and_those_of_one_alone_left_out() -> None:
    plain = {seed: run(answers(0.6, seed)) for seed in (0, 1, 2)}
    gated = {seed: run(answers(0.6, 10 + seed)) for seed in (1, 2, 3)}
    pair = paired(plain, gated)
    assert pair.gains == tuple(gated[seed].top1 - plain[seed].top1 for seed in (1, 2))
    assert pair.plain == pytest.approx((plain[1].top1 + plain[2].top1) / 2)


def test_an_accuracy_has_its_standard_error() -> None:
    assert standard_error(92.0, 10000) == pytest.approx(0.2713, abs=1e-4)


def test_the_report_gives_an_error_to_every_accuracy() -> None:
    text = report()
    rows = [line for line in text.splitlines() if line.startswith("| ") and "`" in line and "network" not in line]
    assert rows
    assert all(line.count("±") == 2 for line in rows)
    assert all("±" in line for line in text.splitlines() if line.startswith("- `") and "epochs" in line)
