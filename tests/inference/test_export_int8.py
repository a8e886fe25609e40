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
from senet_zoo.data import open_data
from senet_zoo.errors import DataError, ExportError, UsageError
from senet_zoo.inference import export_files
from senet_zoo.inference.int8 import Int8, agreement, split
from senet_zoo.inference.int8_comparison import Int8Accuracy, Int8Comparison
from senet_zoo.prediction import runtimes
from senet_zoo.prediction.exported_metadata import Precision
from senet_zoo.support.timing import Spread

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
    assert report.int8.bytes_int8 == report.bytes == path.stat().st_size < 0.5 * report.int8.bytes_float32
    assert list(report.int8.speed) == ["float32"]
    assert report.int8.accuracy is None
    assert "gates and classifier in float\n" in str(report)
    assert "accuracy    not measured" in str(report)
    return path


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    for picture in SAMPLES.glob("*.png"):
        folder = tmp_path / "labelled" / picture.stem
        folder.mkdir(parents=True)
        (folder / picture.name).write_bytes(picture.read_bytes())
    return tmp_path / "labelled"


def test_sums_and_activations_are_bytes_and_what_a_gate_reads_and_scales_is_float(exported: Path) -> None:
    graph = onnx.load(exported).graph
    made_of = {output: node for node in graph.node for output in node.output}
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            assert types[node.input[2]] == onnx.TensorProto.UINT8  # bytes without a sign: one range a map
        if node.op_type == "Add":
            assert [made_of[name].op_type for name in node.input] == ["DequantizeLinear"] * 2
        if node.op_type == "Mul":  # the map by its gate, which comes from a fully connected layer in float
            gate = made_of[node.input[1]]
            while gate.op_type != "Gemm":
                assert gate.op_type in ("Unsqueeze", "Reshape", "Sigmoid")
                gate = made_of[gate.input[0]]
            assert made_of.get(gate.input[0]) is None or "Quantize" not in made_of[gate.input[0]].op_type


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
def test_the_command_writes_openvinos_form(labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.xml"
    words = ["export", "--model", "se_resnet20", "-o", str(path), "--int8", "--calibrate", str(SAMPLES), "--json"]
    assert main([*words, "--labelled", str(labelled)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["metadata"]["precision"] == "int8"
    assert report["parity"]["agreement"] == [1.0, 3]
    assert report["int8"]["speed"].keys() >= {"float32"}
    accuracy = report["int8"]["accuracy"]
    assert accuracy["pictures"] == 10
    assert min(accuracy["float32"], accuracy["int8"]) >= 80
    assert {each.name for each in tmp_path.iterdir()} == {"small.xml", "small.bin", "labelled"}
    assert (tmp_path / "small.bin").stat().st_size < 0.5 * 1.1e6
    assert senet_zoo.load_exported(path).metadata.precision is Precision.INT8
    assert set(layers_of(path)["FullyConnected"]) <= {"f32", "bf16"}
    assert set(layers_of(path)["Convolution"]) <= {"u8", "i8"}


def layers_of(path: Path) -> dict[str, list[str]]:
    """Precisions of the layers that OpenVINO made of a file, by their type."""
    core = pytest.importorskip("openvino").Core()
    found: dict[str, list[str]] = {}
    for node in core.compile_model(core.read_model(path), "CPU").get_runtime_model().get_ops():
        info = node.get_rt_info()
        found.setdefault(str(info["layerType"].value), []).append(str(info["runtimePrecision"].value).lower())
    return found


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


def of_colours(path: Path, count: int) -> Path:
    """An .npz of that many pictures, each of one colour."""
    images = np.zeros((count, 32, 32, 3), np.uint8) + np.arange(count, dtype=np.uint8)[:, None, None, None]
    np.savez(path, images=images, labels=np.zeros(count, np.int64), classes=np.array(["grey"]))
    return path


def test_ranges_are_found_on_an_npz_or_on_several_and_folders_beside(tmp_path: Path) -> None:
    preprocessing = senet_zoo.get_weights("se_resnet20").preprocessing
    one, two = (of_colours(tmp_path / f"part_{number}.npz", 6) for number in (1, 2))
    assert len(Int8([one]).load(preprocessing)) == 6
    both = Int8([str(tmp_path / "part_*.npz"), SAMPLES]).load(preprocessing)
    assert len(both) == 12 + 10
    assert torch.equal(both[5], both[11])
    chosen = Int8([one, two], most=4).load(preprocessing)
    assert [torch.equal(x, y) for x, y in zip(chosen, both[0:12:3], strict=True)] == [True] * 4


@pytest.mark.parametrize(
    ("name", "error"), [("none.npz", "nothing lies at"), ("broken.npz", "broken.npz"), ("CIFAR10", "CIFAR10")]
)
def test_data_that_ranges_are_not_found_on(
    name: str, error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENET_ZOO_CACHE", str(tmp_path / "cache"))
    (tmp_path / "broken.npz").write_bytes(b"no pictures")
    monkeypatch.chdir(tmp_path)
    assert main(["export", "--model", "se_resnet20", "-o", "a.onnx", "--int8", "--calibrate", name]) in (1, 2)
    assert error in capsys.readouterr().err
    assert not (tmp_path / "a.onnx").exists()


def test_the_command_finds_ranges_on_an_npz(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures, path = of_colours(tmp_path / "pictures.npz", 12), tmp_path / "a.onnx"
    words = ["export", "--model", "se_resnet20", "-o", str(path), "--int8", "--calibrate", str(pictures), "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["parity"]["agreement"][1] == 3


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


def comparison(**speed: tuple[float, float, float]) -> Int8Comparison:
    spreads = {name: Spread(*values) for name, values in speed.items()}
    return Int8Comparison(spreads, "15 rounds in turns", 4_000_000, 1_000_000, Int8Accuracy(88.0, 87.9, 3925))


def test_it_says_where_eight_bits_do_not_pay() -> None:
    assert comparison(float32=(1.5, 1.4, 1.6)).pays
    slower = comparison(float32=(1.5, 1.4, 1.6), bfloat16=(1.02, 0.97, 1.1))
    assert not slower.pays
    text = dict(slower.lines())
    assert text[""] == "eight bits do not pay here: not faster than bfloat16 beyond the spread"
    assert text["size"] == "1.0 MB, 0.25 of 4.0 MB in float32"
    assert text["accuracy"] == "88.00 % before, 87.90 % after, of 3925 labelled pictures"


@pytest.mark.parametrize(
    ("name", "int8"),
    [
        ("a.onnx", Int8([SAMPLES])),
        pytest.param("a.xml", Int8([SAMPLES]), marks=pytest.mark.slow),
        pytest.param("a.xml", None, marks=pytest.mark.slow),
    ],
)
def test_a_file_that_its_runtime_does_not_open_by_default_is_not_written(
    name: str, int8: Int8 | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, runtime: object, *, by_default: bool = False, threads: int = 0) -> runtimes.OpenedFile:
        if by_default:
            raise RuntimeError("Exception from src/inference/core.cpp:110:\nNo suitable implementations for node")
        return runtimes.open_file(path, runtime, threads=threads)

    monkeypatch.setattr(export_files, "open_file", refuse)
    model = senet_zoo.create_model("se_resnet20", pretrained=True)
    with pytest.raises(ExportError, match=r"by default, and a\.\w+ does not on this machine \(No suitable impl"):
        senet_zoo.export(model, tmp_path / name, int8=int8)
    assert not list(tmp_path.iterdir())


def test_accuracy_needs_pictures_of_the_networks_classes(labelled: Path, tmp_path: Path) -> None:
    model = senet_zoo.create_model("se_resnet20", pretrained=True)
    (labelled / "cat").rename(labelled / "dragon")
    with pytest.raises(DataError, match="dragon"):
        senet_zoo.export(model, tmp_path / "a.onnx", int8=Int8([SAMPLES], labelled=open_data(str(labelled))))
    del model.weights
    preprocessing = senet_zoo.get_weights("se_resnet20").preprocessing
    int8 = Int8([SAMPLES], labelled=open_data(str(labelled)))
    with pytest.raises(UsageError, match="accuracy needs the names of the network's classes"):
        senet_zoo.export(model, tmp_path / "a.onnx", int8=int8, preprocessing=preprocessing)
    assert {each.name for each in tmp_path.iterdir()} == {"labelled"}


def test_labelled_pictures_are_for_int8(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--model", "se_resnet20", "-o", "a.onnx", "--labelled", "val"]) == 2
    assert "--labelled DATA scores a file in eight bits" in capsys.readouterr().err
