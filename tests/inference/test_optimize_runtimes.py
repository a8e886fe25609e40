"""ONNX Runtime and OpenVINO as backends of ``optimize``: the same function, or a note that says why not."""

import importlib

import pytest
import torch

import senet_zoo
from senet_zoo.errors import OptimizationError
from senet_zoo.inference import backends
from senet_zoo.inference.backends import BACKENDS, ONNX_RUNTIME, OPENVINO, TORCH
from senet_zoo.prediction.predictor import classify

SIZES = (32, 41)


@pytest.fixture
def model() -> torch.nn.Module:
    return senet_zoo.create_model("se_resnet20", pretrained=True)


def offer(monkeypatch: pytest.MonkeyPatch, tmp_path: object, *names: str) -> None:
    monkeypatch.setenv("SENET_ZOO_CACHE", str(tmp_path))
    monkeypatch.setattr("senet_zoo.inference.optimize.BACKENDS", {name: BACKENDS[name] for name in names})


@pytest.mark.parametrize("name", [ONNX_RUNTIME, OPENVINO])
def test_a_runtime_gives_the_same_logits_at_any_batch_and_size(
    name: str, model: torch.nn.Module, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, tmp_path, name)
    fast = senet_zoo.optimize(model, backend="auto", sizes=SIZES, rounds=0)
    assert fast.report.backend == name
    x = torch.randn(5, 3, 37, 50).to(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = model(x)
    first = fast(x)
    assert (first - expected).abs().max() <= 1e-5 * expected.abs().max()
    kept = first.clone()
    fast(torch.zeros_like(x))
    assert torch.equal(first, kept)  # a later call writes nowhere else
    weights = senet_zoo.get_weights("se_resnet20")
    (cat,) = classify(fast, ["samples/cat.png"], weights.preprocessing, weights.categories)
    assert cat.classes[0][0] == "cat"
    x[1, 0, 5, 5], x[2, 1, 7, 7], x[4] = torch.nan, torch.inf, 3e35
    assert fast(x).isnan().all(1).tolist() == [False, True, True, False, model(x)[4].isnan().all()]


@pytest.mark.parametrize("backend", ["torch", "onnxruntime", pytest.param("openvino", marks=pytest.mark.slow)])
def test_a_backend_is_chosen_by_its_name_and_the_report_has_the_call_that_repeats_it(
    backend: str, model: torch.nn.Module
) -> None:
    first = senet_zoo.optimize(model, backend=backend, sizes=SIZES, batch=2, rounds=0).report
    names = {"senet_zoo": senet_zoo, "torch": torch, "model": model}
    again = eval(first.call.removesuffix(")") + ", rounds=0)", names).report
    assert (again.backend, again.call, again.fused) == (first.backend, first.call, first.fused)
    assert again.backend == backends.SPELLINGS[backend]


def test_a_missing_runtime_is_a_note(model: torch.nn.Module, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, tmp_path, TORCH, ONNX_RUNTIME, OPENVINO)
    real = importlib.import_module

    def import_module(name: str, package: str | None = None) -> object:
        if name in ("onnxruntime", "openvino"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", import_module)
    report = senet_zoo.optimize(model, backend="auto", sizes=SIZES, rounds=0).report
    assert report.backend == TORCH
    notes = " ".join(report.notes)
    assert " ms, in 9 rounds in turns" in notes or "disturbed by other processes" in notes  # a busy machine is said
    assert "pip install 'senet-zoo[onnx]'" in notes
    assert "pip install 'senet-zoo[openvino]'" in notes


@pytest.mark.parametrize("build", [backends.onnx_runtime, backends.openvino])
def test_a_dtype_that_a_runtime_lacks(build: object) -> None:
    with pytest.raises(OptimizationError, match=r"on the CPU.*, not in torch\.float64 on cpu"):
        build(None, torch.zeros(1, 3, 8, 8, dtype=torch.float64))
