"""``benchmark``: which candidates it measures, beside what, and what it refuses."""

import pytest
import torch

from senet_zoo.errors import UnknownModelError, UsageError
from senet_zoo.inference import benchmark as module
from senet_zoo.inference.benchmark import Subject, Workload, benchmark, candidates, from_document, to_document
from senet_zoo.networks.fused.set_fused import residual_units
from senet_zoo.support.timing import Rounds, Spread

TINY = Workload(batch=2, size=16)


@pytest.fixture
def known_seconds(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The real candidates run once each, and are said to take these times."""
    seconds = {
        "se_resnet20, eager": 0.5, "resnet20, eager": 0.4, "se_resnet20, optimised": 0.25, "resnet20, optimised": 0.25,
    }  # fmt: skip

    def interleaved(turns, rounds):
        assert list(turns) == [
            "se_resnet20, eager", "se_resnet20, optimised", "resnet20, eager", "resnet20, optimised",
        ]  # fmt: skip
        assert all(turn() > 0 for turn in turns.values())
        return Rounds({name: (seconds[name],) * rounds for name in turns}, 0, 0)

    monkeypatch.setattr(module, "interleaved", interleaved)
    monkeypatch.setattr(module, "LEAST_SECONDS", 0.0)
    return seconds


def test_rates_ratios_and_the_gates_cost(known_seconds: dict[str, float]) -> None:
    told = []
    report = benchmark(
        ["se_resnet20", "resnet20", "se_resnet2[0]"], TINY, rounds=3, threads=1, device="cpu",
        progress=lambda *words: told.append(words),
    )  # fmt: skip
    found = {(row.model, row.candidate): row for row in report.rows}
    assert list(found) == [(name, how) for name in ("se_resnet20", "resnet20") for how in ("eager", "optimised")]
    assert found["se_resnet20", "eager"].rate == Spread.of([2 / 0.5])
    assert found["se_resnet20", "optimised"].ratio.median == 2.0
    assert found["se_resnet20", "eager"].gate.median == pytest.approx(1.25)
    assert found["se_resnet20", "optimised"].gate.median == 1.0
    assert found["resnet20", "eager"].gate is None
    assert report.machine["threads"] == 1
    lines = str(report).splitlines()
    assert "inference, batch 2, 16 px, float32, 3 rounds in turns" in lines
    assert lines[-1].endswith("  -")
    assert told[:2] == [("preparing", 0, 2), ("preparing", 1, 2)]
    assert told[-1] == ("measuring", 4, 16)
    assert from_document(to_document("x", [report])) == [report]


@pytest.mark.parametrize("seed", range(3))
def test_deep_networks_of_random_weights_can_be_measured(seed: int) -> None:
    torch.manual_seed(seed)
    assert [how for how, _ in candidates(Subject.of("se_resnet110"), TINY, torch.device("cpu"))] == [
        "eager",
        "optimised",
    ]


def test_training_measures_the_fused_units(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []

    def once(step, device, repeats):
        ran.append((step.model.training, any(unit.fused for unit in residual_units(step.model).values())))
        return 1.0

    monkeypatch.setattr(module, "_once", once)
    report = benchmark(["se_resnet20"], Workload(batch=2, size=16, train=True), rounds=1, device="cpu")
    assert ran[:4] == [(True, False), (True, True)] * 2
    assert [(row.candidate, row.gate.median) for row in report.rows] == [("eager", 1.0), ("fused", 1.0)]


@pytest.mark.parametrize(
    ("names", "options", "error", "message"),
    [
        (["se_resnt20"], {}, UnknownModelError, "did you mean se_resnet20"),
        (["no_such_*"], {}, UnknownModelError, "no model matches 'no_such_\\*'"),
        ([], {}, UsageError, "at least one model"),
        (["se_resnet20"], {"rounds": 0}, UsageError, "rounds must be a whole number, at least 1, got 0"),
        (["se_resnet20"], {"threads": 0}, UsageError, "threads must be a whole number"),
        (["se_resnet20"], {"device": "cuda:99"}, UsageError, "'cuda:99' does not"),
    ],
)
def test_what_cannot_be_measured_is_said(names, options, error, message) -> None:
    with pytest.raises(error, match=message):
        benchmark(names, TINY, **{"device": "cpu", **options})


@pytest.mark.parametrize(
    ("load", "message"),
    [
        ({"batch": 0}, "batch must be a whole number, at least 1, got 0"),
        ({"size": 0}, "size must be a whole number, at least 1, got 0"),
        ({"dtype": torch.float16}, "float32 or torch.bfloat16, got torch.float16"),
    ],
)
def test_a_load_that_is_none_is_refused(load, message) -> None:
    with pytest.raises(UsageError, match=message):
        Workload(**load)


def test_the_number_of_threads_is_put_back() -> None:
    before = torch.get_num_threads()
    with module._threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
