"""``benchmarks/gpu.py``: its tables, on the device that there is; and what it says where there is no GPU."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from senet_zoo.inference.benchmark import from_document
from senet_zoo.networks.fused import implementations

WORDS = ["--model", "se_resnet20", "--device", "cpu", "--size", "16", "--precision", "bf16", "--rounds", "3"]
WORDS += ["--train-batch", "2", "--batches", "1"]


@pytest.fixture(autouse=True)
def _short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(
        implementations, "_on_cpu", lambda: implementations.Chosen(implementations.PLAIN, "")
    )  # no seconds of compilation


def test_tables_of_inference_and_training_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gpu.json"
    assert gpu.main([*WORDS, "2", "--no-compile", "--ceiling", "1000", "--output", str(path)]) == 0
    large, single, step = from_document(json.loads(path.read_text()))
    assert [report.title.partition(",")[0] for report in (large, single, step)] == ["inference"] * 2 + ["training step"]
    assert [row.candidate for row in large.rows] == ["zoo", "optimize", "zoo, plain", "optimize, plain"]
    assert [row.candidate for row in step.rows] == ["zoo", "zoo fused", "zoo, plain", "zoo fused, plain"]
    for row in large.rows:
        assert row.figures["% of the ceiling"] == pytest.approx(row.rate.median / 10)
        assert (row.gate is None) == row.candidate.endswith("plain")
    assert "% of the ceiling" not in single.rows[0].figures
    assert large.title in capsys.readouterr().out


def test_what_there_is_no_time_for_or_does_not_run_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("out of shared memory\nand more")

    monkeypatch.setattr(gpu.senet_zoo, "optimize", broken)
    assert gpu.main([*WORDS, "--no-compile"]) == 0
    assert "left out optimize (out of shared memory); optimize, plain (out of shared memory)" in capsys.readouterr().out
    assert gpu.main([*WORDS, "--minutes", "0"]) == 0
    said = capsys.readouterr().out
    assert "optimize compiled (no time left)" in said
    assert "zoo fused (no time left)" in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_ends_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main([]) == 2
    assert "a CUDA device must exist" in capsys.readouterr().err


def test_what_is_no_gated_model_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--model", "resnet20", "--device", "cpu"]) == 2
    assert "has no gates" in capsys.readouterr().err
    assert gpu.main(["--model", "se_resnet2", "--device", "cpu"]) == 2
