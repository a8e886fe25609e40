"""int8: convolutions in eight bits, gates and classifier in float32, the answers nearly the same, or nothing."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import senet_zoo
from senet_zoo.cli import main
from senet_zoo.errors import ExportError
from senet_zoo.inference.int8 import Int8, agreement, split
from senet_zoo.prediction.exported_metadata import Precision

SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "small.onnx"
    model = senet_zoo.create_model("se_resnet20", pretrained=True)
    report = senet_zoo.export(model, path, int8=Int8([SAMPLES]))
    assert report.metadata.precision is Precision.INT8
    assert report.parity.agreement == (1.0, 3)
    assert "the same class for 100.0% of 3 pictures" in str(report)
    assert [each.name for each in path.parent.iterdir()] == ["small.onnx"]
    return path


def test_weights_of_convolutions_are_bytes_and_those_of_gates_are_floats(exported: Path) -> None:
    graph = onnx.load(exported).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    made_of = {output: node for node in graph.node for output in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 21  # all but the gates' fully connected layers, which are matrix products
    for node in convolutions:
        assert types[made_of[node.input[1]].input[0]] == onnx.TensorProto.INT8
    products = [node for node in graph.node if node.op_type == "Gemm"]
    assert len(products) == 19
    assert all(types[node.input[1]] == onnx.TensorProto.FLOAT for node in products)
    assert exported.stat().st_size < 0.5 * 1.1e6


def test_it_classifies_the_samples_from_the_command_line(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--exported", str(exported), "--json", str(SAMPLES)]) == 0
    found = json.loads(capsys.readouterr().out)["predictions"]
    assert sum(Path(each["path"]).stem == each["classes"][0]["label"] for each in found) >= 8


@pytest.mark.slow
def test_the_command_writes_openvinos_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.xml"
    words = ["export", "--model", "se_resnet20", "-o", str(path), "--int8", "--calibrate", str(SAMPLES), "--json"]
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["metadata"]["precision"] == "int8"
    assert report["parity"]["agreement"] == [1.0, 3]
    assert {each.name for each in tmp_path.iterdir()} == {"small.xml", "small.bin"}
    assert (tmp_path / "small.bin").stat().st_size < 0.5 * 1.1e6
    assert senet_zoo.load_exported(path).metadata.precision is Precision.INT8


def test_too_little_agreement_is_an_error() -> None:
    model = senet_zoo.create_model("se_resnet20", pretrained=True)
    inputs = Int8([SAMPLES]).load(senet_zoo.get_weights("se_resnet20").preprocessing)

    def says_deer(x: np.ndarray) -> np.ndarray:
        return np.eye(10)[[4] * len(x)]

    with pytest.raises(ExportError, match=r"for 90% of the pictures, and this gives it for [12]0\.0% of 10: calibrate"):
        agreement(says_deer, model, inputs, 0.9)
    assert agreement(says_deer, model, inputs, 0.0)[1] == 10


def test_pictures_that_find_the_ranges_do_not_judge_the_answers() -> None:
    inputs = list(range(20))
    ranges, answers = split(inputs)
    assert sorted([*ranges, *answers]) == inputs
    assert len(answers) == 5
    assert split(inputs[:3]) == (inputs[:3], inputs[:3])


def test_most_pictures_are_spread_over_all() -> None:
    model = senet_zoo.get_weights("se_resnet20")
    assert len(Int8([SAMPLES], most=4).load(model.preprocessing)) == 4


@pytest.mark.slow
def test_torchao_writes_a_pt2_whose_gates_stay_in_float32(tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    path, model = tmp_path / "small.pt2", senet_zoo.create_model("se_resnet20", pretrained=True)
    report = senet_zoo.export(model, path, int8=Int8([SAMPLES]))
    assert (report.metadata.precision, report.parity.agreement) == (Precision.INT8, (1.0, 3))
    assert "import torchao.quantization.pt2e before" in str(report)
    program = torch.export.load(path)
    assert Counter(tensor.dtype for tensor in program.state_dict.values() if tensor.ndim == 4) == {torch.int8: 21}
    assert {tensor.dtype for tensor in program.state_dict.values() if tensor.ndim == 2} == {torch.float32}
    network, x = program.module(), torch.cat(Int8([SAMPLES]).load(model.weights.preprocessing))
    assert torch.equal(network(x).argmax(1), model(x).argmax(1))
    assert network(torch.randn(3, 3, 40, 31)).shape == (3, 10)  # any size as well
