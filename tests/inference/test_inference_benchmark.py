"""``benchmarks/inference.py``: who is measured, that all compute one function, and what is said where one does not."""

import json
import sys
from pathlib import Path

import pytest
import torch

import senet_zoo
from benchmarks import inference
from benchmarks.inference import candidates, choose, main
from senet_zoo.inference.benchmark import from_document

TOOLS = ["folded channels_last", "compiled", "ONNX Runtime", "OpenVINO"]


@pytest.mark.parametrize(("model", "peer"), [("se_resnet50", "timm"), ("se_mobilenet", "zoo")])
def test_the_peers_network_has_every_tool_that_ours_has(model: str, peer: str) -> None:
    known = candidates(model)
    assert known.keys() >= {peer, f"{peer} channels_last", *(f"{peer} {tool}" for tool in TOOLS)}
    assert known.keys() >= {"optimize", "zoo", *(f"optimize {tool}" for tool in TOOLS[1:])}
    assert {f"{tool} bf16" for tool in ("optimize OpenVINO", f"{peer} OpenVINO", f"{peer} compiled")} <= known.keys()
    assert {f"{name}, plain" for name in known if not name.endswith("plain")} <= known.keys()
    assert not [name for name in known if name.startswith("timm" if peer == "zoo" else "zoo folded")]


def test_without_patterns_nothing_is_compiled_or_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    known = list(candidates("se_resnet50"))
    usual, compiled = choose(known, None, []), choose(known, None, ["compiled"])
    assert {"optimize OpenVINO", "timm ONNX Runtime, plain"} <= set(usual)
    assert not [name for name in usual if "bf16" in name or "compiled" in name]
    assert set(compiled) - set(usual) == {
        f"{of} compiled{word}" for of in ("timm", "optimize") for word in ("", ", plain")
    }
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert choose(known, None, []) == [name for name in usual if "OpenVINO" not in name]


def test_all_libraries_have_the_same_tensors() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 65, 65)
    with torch.no_grad():
        found = inference.networks("se_resnet50b")
        logits = {name: network(x) for name, network in found.items()}
    assert found.keys() == {"timm", "timm, plain", "zoo", "zoo, plain", "torchvision, plain"}
    for name, values in logits.items():
        expected = logits["timm, plain" if name.endswith("plain") else "timm"]
        torch.testing.assert_close(values, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    difference = (logits["timm, plain"] - logits["timm"]).abs().max() / logits["timm"].abs().max()
    assert difference > 100 * inference.BOUNDS[torch.float32]  # a gate left out would be seen


def test_a_run_is_a_table_and_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.json"
    words = ["--model", "se_resnet20", "--rounds", "1", "--output", str(path)]
    assert main([*words, "--candidates", "optimize", "optimize, *", "zoo ONNX Runtime"]) == 0
    (report,) = from_document(json.loads(path.read_text()))
    assert [row.candidate for row in report.rows] == ["zoo", "zoo ONNX Runtime", "optimize", "optimize, plain"]
    assert [row.gate is None for row in report.rows] == [True, True, False, True]
    assert (report.base, report.rows[0].ratio.median) == ("zoo", 1.0)
    assert "onnxruntime" in report.machine
    assert report.title in capsys.readouterr().out


def test_another_function_ends_the_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    plain = senet_zoo.create_model("resnet20").eval()
    monkeypatch.setattr(inference, "OURS", {"": lambda network, x: plain})
    assert main(["--model", "se_resnet20", "--candidates", "optimize", "--rounds", "1"]) == 1
    assert "candidates must compute one function: 'optimize' is off by" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "se_resnet20", "--candidates", "timm*"], "no candidate is named 'timm*'; --list names them"),
        (["--model", "resnet20"], "resnet20 has no gates"),
        (["--model", "se_resnet20", "--candidates", "zoo OpenVINO"], "pip install 'senet-zoo[openvino]'"),
    ],
)
def test_wrong_words_and_a_missing_package_are_status_2(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert main(words) == 2
    assert message in capsys.readouterr().err
