"""What ``export`` and ``load_exported`` refuse, in words that say what to do; nothing half-written is left."""

import importlib
import os
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import nn

import senet_zoo
from senet_zoo.cli import main
from senet_zoo.errors import ExportError, OptimizationError, PictureError, SenetZooError, UsageError
from senet_zoo.inference import export_files
from senet_zoo.inference.int8 import Int8
from senet_zoo.prediction.runtimes import Runtime

SAMPLES = Path(__file__).parents[2] / "samples"


class Small(nn.Module):
    """The least that can be exported."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv(x).relu().mean((2, 3)))


@pytest.fixture
def model() -> nn.Module:
    return Small().eval()


def refuse(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    real = importlib.import_module

    def import_module(name: str, package: str | None = None) -> object:
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", import_module)


@pytest.mark.parametrize(
    ("missing", "file", "extra"),
    [
        ("onnx", "a.onnx", "onnx"),
        ("onnxscript", "a.onnx", "onnx"),
        ("onnxruntime", "a.onnx", "onnx"),
        ("openvino", "a.xml", "openvino"),
        ("onnxscript", "a.xml", "openvino"),
    ],
)
def test_a_missing_extra_is_named(
    model: nn.Module, missing: str, file: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, missing)
    with pytest.raises(UsageError, match=rf"{missing} is not installed .*: pip install 'senet-zoo\[{extra}\]'"):
        senet_zoo.export(model, tmp_path / file)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["network", "network.pb", "network.onnx.zip"])
def test_an_unknown_suffix(model: nn.Module, name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"named \.onnx \(ONNX\), \.xml \(OpenVINO\) or \.pt2"):
        senet_zoo.export(model, tmp_path / name)
    with pytest.raises(UsageError, match=r"\.onnx"):
        senet_zoo.load_exported(tmp_path / name)


@pytest.mark.parametrize("name", ["net.onnx", "net.xml", "net.pt2"])
def test_a_path_that_is_not_utf_8(model: nn.Module, name: str, tmp_path: Path) -> None:
    """PyTorch's exporter would end the process."""
    path = tmp_path / os.fsdecode(b"caf\xe9") / name
    with pytest.raises(UsageError, match="must be UTF-8"):
        senet_zoo.export(model, path)
    assert not path.parent.exists()


def test_a_network_that_trains(model: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(OptimizationError, match=r"call model\.eval\(\)"):
        senet_zoo.export(model.train(), tmp_path / "a.pt2")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3)), r"finite logits \(N, classes\)"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(7, 2)), "does not run on pictures of shape"),
    ],
)
def test_a_network_without_logits(wrong: nn.Module, message: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=message):
        senet_zoo.export(wrong.eval(), tmp_path / "a.pt2", size=16)
    assert not any(tmp_path.iterdir())


def test_int8_as_pt2_needs_torchao(model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao.quantization.pt2e.quantize_pt2e", None)
    with pytest.raises(UsageError, match=r"torchao is not installed .*senet-zoo\[torchao\]"):
        senet_zoo.export(model, tmp_path / "a.pt2", int8=Int8([SAMPLES]))
    assert not list(tmp_path.iterdir())


def test_options_that_do_not_fit(model: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"size must be .* 8 to 1024, got 4"):
        senet_zoo.export(model, tmp_path / "a.pt2", size=4)
    with pytest.raises(UsageError, match="4 of them, got 2"):
        senet_zoo.export(model, tmp_path / "a.pt2", size=16, categories=("cat", "dog"))
    with pytest.raises(UsageError, match="share from 0 to 1, got 90"):
        Int8([SAMPLES], agreement=90)
    with pytest.raises(UsageError, match="pass preprocessing="):
        senet_zoo.export(model, tmp_path / "a.onnx", size=16, int8=Int8([SAMPLES]))


def test_a_folder_that_is_a_file(model: nn.Module, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ExportError, match=r"did not take a\.pt2: .*choose a folder that can be written"):
        senet_zoo.export(model, tmp_path / "taken" / "a.pt2", size=16)


def test_a_file_that_deviates_does_not_take_its_place(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pt2"
    path.write_text("as it was")
    monkeypatch.setattr(
        export_files, "_in_torch", lambda network, x: [network(torch.from_numpy(x)).detach().numpy() * 1.001]
    )
    with pytest.raises(ExportError, match=r"within 1e-04 of scale, and a\.pt2 deviates by 1\.0e-03"):
        senet_zoo.export(model, path, size=16)
    assert [each.name for each in tmp_path.iterdir()] == ["a.pt2"]
    assert path.read_text() == "as it was"


@pytest.mark.parametrize("folder", ["no such folder", "empty", "broken"])
def test_a_wrong_calibration_folder(folder: str, tmp_path: Path) -> None:
    pictures = tmp_path / folder
    if folder != "no such folder":
        pictures.mkdir()
    if folder == "broken":
        (pictures / "a.png").write_bytes(b"no picture")
    network = senet_zoo.create_model("se_resnet20", pretrained=True)
    with pytest.raises(PictureError):
        senet_zoo.export(network, tmp_path / "a.onnx", int8=Int8([pictures]))
    assert not [path for path in tmp_path.iterdir() if path != pictures]


def foreign(path: Path, text: str | None) -> Path:
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 3]) for name in ("x", "y"))
    made = helper.make_model(
        helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y]),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    if text is not None:
        entry = made.metadata_props.add()
        entry.key, entry.value = "senet_zoo", text
    onnx.save(made, path)
    return path


@pytest.mark.parametrize("runtime", Runtime)
def test_a_file_of_another_tool(runtime: Runtime, tmp_path: Path) -> None:
    path = foreign(tmp_path / "a.onnx", None)
    with pytest.raises(ExportError, match=r"says which it is, and .* does not: it comes from another tool"):
        senet_zoo.load_exported(path, runtime=runtime)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"model": "se_resnet50"}', '{"model": 1, "model": 2}'])
def test_remarks_that_are_not_ours(text: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"not as senet_zoo writes them|comes from another tool"):
        senet_zoo.load_exported(foreign(tmp_path / "a.onnx", text))


@pytest.mark.parametrize(("name", "runtime"), [("a.onnx", "onnx"), ("a.onnx", "openvino"), ("a.xml", "openvino")])
@pytest.mark.parametrize("content", [b"", b"no network", b"<?xml version='1.0'?><net", b"\x08\x0a\x12" * 50])
def test_a_damaged_file(name: str, runtime: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ExportError, match=r"cannot read .* Export it again|another tool"):
        senet_zoo.load_exported(path, runtime=Runtime(runtime))


def test_a_network_without_preprocessing_or_without_numbers(tmp_path: Path) -> None:
    model = Small().eval()
    report = senet_zoo.export(model, tmp_path / "a.onnx", size=16)
    network = senet_zoo.load_exported(report.path)
    with pytest.raises(ExportError, match="does not say how a picture becomes its input"):
        network.predict([SAMPLES])
    assert np.isnan(network(np.full((1, 3, 8, 8), np.nan, np.float32))).all()


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["predict", "x.png", "--runtime", "onnx"], 2, "add --exported FILE"),
        (["predict", "x.png", "--exported", "a.onnx", "--model", "se_resnet20"], 2, "leave --model out"),
        (["predict", "x.png", "--exported", "a.onnx", "--device", "cpu"], 2, "leave --device out"),
        (["predict", "x.png", "--exported", "a.onnx"], 1, "must be a file, and 'a.onnx' is none"),
        (["predict", "x.png", "--exported", "a.pt2"], 2, "export .onnx or .xml to predict without it"),
        (["predict", "x.png", "--exported", "a.xml", "--runtime", "onnx"], 2, "onnx does not read .xml"),
        (["export", "--model", "se_resnet20", "-o", "a.zip"], 2, ".onnx (ONNX)"),
        (["export", "--model", "se_resnet20", "-o", "a.onnx", "--int8"], 2, "belong together"),
        (["export", "--model", "se_resnet20", "-o", "a.onnx", "--calibrate", "x"], 2, "belong together"),
        (["export", "--model", "se_resnet20.cifar10", "-o", "a.onnx", "--weights", "x"], 1, "there is no x"),
        (["export", "--model", "se_resnet20.cifar10", "-o", "a.onnx", "--weights", "README.md"], 2, "leave the tag"),
    ],
)
def test_the_command_line_says_so(
    words: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == status
    assert message in capsys.readouterr().err


def test_errors_are_of_the_tree() -> None:
    assert issubclass(ExportError, SenetZooError)
