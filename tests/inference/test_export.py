"""``export``: the file computes the network's function, at any batch and size, and says whose it is."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from networks import distinct_tiny, each_kind_once, picked, randomise, tiny
from torch import nn

import senet_zoo
from senet_zoo import SE, ConvNet, Placement, Preprocessing, Squeeze
from senet_zoo.inference.export import ExportReport, metadata_of, prepared
from senet_zoo.networks.registry import FAMILIES, MODELS

FORMS = (".onnx", ".xml", ".pt2")
Run = Callable[[np.ndarray], np.ndarray]


def run_with_its_own_tools(path: Path) -> Run:
    """What a stranger with the file and its runtime would do."""
    if path.suffix == ".onnx":
        onnx.checker.check_model(path, full_check=True)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return lambda x: session.run(["logits"], {"pictures": x})[0]
    if path.suffix == ".xml":
        compiled = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return lambda x: compiled(x)[0]
    network = torch.export.load(path).module()
    return lambda x: network(torch.from_numpy(x)).detach().numpy()


def same_function(model: nn.Module, path: Path, *shapes: tuple[int, int, int]) -> None:
    run, generator = run_with_its_own_tools(path), np.random.default_rng(5)
    for batch, height, width in shapes:
        x = generator.standard_normal((batch, 3, height, width), dtype=np.float32)
        with torch.no_grad():
            expected = model(torch.from_numpy(x)).numpy()
        found = run(x)
        assert found.shape == expected.shape
        assert abs(found - expected).max() <= 1e-5 * abs(expected).max()


def network(name: str) -> ConvNet:
    return randomise(ConvNet(tiny(MODELS[name].spec())))


def bottlenecks(se: SE) -> ConvNet:
    """A network of four of them."""
    spec = tiny(MODELS["se_resnet50"].spec())
    return randomise(ConvNet(dataclasses.replace(spec, se=se, stages=spec.stages[:2])))


def export_tiny(model: nn.Module, path: Path, size: int = 48) -> ExportReport:
    return senet_zoo.export(model, path, size=size)


@pytest.fixture(scope="module")
def pretrained() -> ConvNet:
    return senet_zoo.create_model("se_resnet20", pretrained=True)


@pytest.mark.parametrize("form", FORMS)
def test_a_trained_network_is_the_same_function_at_any_batch_and_size_and_says_whose(
    pretrained: ConvNet, form: str, exported: Callable[[str], ExportReport]
) -> None:
    report = exported(form)
    same_function(pretrained, report.path, (1, 32, 32), (7, 45, 64))
    assert report.parity.deviation < 1e-5
    assert "any size" in str(report)
    made = sorted(report.path.parent.iterdir())
    assert [path.suffix for path in made] == ([".bin", ".xml"] if form == ".xml" else [form])
    assert report.bytes == sum(path.stat().st_size for path in made)

    said, weights = report.metadata, senet_zoo.get_weights("se_resnet20")
    assert (said.model, said.num_classes, said.in_channels, said.side) == ("se_resnet20", 10, 3, None)
    assert (said.categories, said.preprocessing) == (weights.categories, weights.preprocessing)
    assert said.senet_zoo == senet_zoo.__version__
    if form == ".pt2":
        kept = {"senet_zoo.json": ""}
        torch.export.load(report.path, extra_files=kept)
        assert kept["senet_zoo.json"] == said.text()
    else:
        assert senet_zoo.load_exported(report.path).metadata == said


def test_the_gate_of_a_bottleneck_is_computed_from_a_quarter_of_the_channels(tmp_path: Path) -> None:
    bottleneck = bottlenecks(SE())
    before = {key: tensor.clone() for key, tensor in bottleneck.state_dict().items()}
    report = export_tiny(bottleneck, tmp_path / "network.onnx")
    assert all(torch.equal(before[key], tensor) for key, tensor in bottleneck.state_dict().items())
    same_function(bottleneck, report.path, (1, 48, 48), (3, 64, 41))
    gates = len(senet_zoo.gates(bottleneck))
    assert (len(report.early), dict(report.late)) == (gates, {})
    graph = onnx.shape_inference.infer_shapes(onnx.load(report.path)).graph
    channels = {value.name: value.type.tensor_type.shape.dim[1].dim_value for value in graph.value_info}
    squeezed = [channels[node.input[0]] for node in graph.node if node.op_type == "ReduceMean"]
    widths = [gate.fc2.weight.shape[0] for gate in senet_zoo.gates(bottleneck).values()]
    assert squeezed[:gates] == [width // 4 for width in widths]
    assert not any(node.op_type == "BatchNormalization" for node in graph.node)


@pytest.mark.parametrize(
    ("se", "form"),
    [
        (SE(reduction=4, placement=Placement.PRE), ".xml"),
        pytest.param(SE(squeeze=Squeeze.MAX, bias=False), ".onnx", marks=pytest.mark.slow),
        pytest.param(SE(placement=Placement.IDENTITY, stages=(2, 3)), ".pt2", marks=pytest.mark.slow),
    ],
    ids=["pre", "max", "identity"],
)
def test_variants_of_the_gate_go_along(se: SE, form: str, tmp_path: Path) -> None:
    model = bottlenecks(se)
    report = export_tiny(model, tmp_path / f"network{form}", 40)
    same_function(model, report.path, (1, 40, 40), (2, 33, 50))
    assert report.metadata.se is not None
    assert report.metadata.se["placement"] == se.placement.value
    assert report.metadata.side is None


@pytest.mark.parametrize("form", [".onnx", ".xml"])
@pytest.mark.parametrize("grid", [3, (2, 5), (None, 4)])
def test_adaptive_average_pools_take_pictures_of_any_size(form: str, grid: Any, tmp_path: Path) -> None:
    pool = nn.AdaptiveAvgPool2d(grid)  # type: ignore[arg-type]
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), pool, nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(), nn.Linear(16, 5)
    )
    report = export_tiny(model.eval(), tmp_path / f"pooled{form}", 16)
    assert report.metadata.side is None
    same_function(model, report.path, (1, 16, 16), (2, 7, 30), (1, 2, 3))  # smaller than the grid, too


def test_a_network_of_one_size_says_so(tmp_path: Path) -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 16 * 16, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.conv(x).relu().flatten(1))

    torch.manual_seed(0)
    model = Fixed().eval()
    report = export_tiny(model, tmp_path / "fixed.pt2", 16)
    same_function(model, report.path, (1, 16, 16), (4, 16, 16))
    assert (report.metadata.model, report.metadata.side) == ("Fixed", 16)
    assert "16x16 pixels" in str(report)
    assert any("one size only" in note for note in report.notes)


def test_what_a_file_says_follows_its_weights_and_the_caller(pretrained: ConvNet) -> None:
    first = metadata_of(pretrained, 10, 3, None, None)
    other = senet_zoo.create_model("se_resnet20", pretrained=True)
    other.classifier.bias.data[3] += 1e-3
    second = metadata_of(other, 10, 3, None, ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"])
    assert first.weights_sha256 != second.weights_sha256
    assert second.categories == tuple("abcdefghij")
    grey = senet_zoo.create_model("se_resnet20", num_classes=0, in_channels=1).eval()
    assert metadata_of(grey, 64, 1, prepared(grey, None, None), None).preprocessing is None


def test_size_moves_the_cut_and_the_resize_in_proportion(pretrained: ConvNet) -> None:
    assert prepared(pretrained, Preprocessing(224, 256), 56) == Preprocessing(56, 64)
    assert prepared(pretrained, None, None) == senet_zoo.get_weights("se_resnet20").preprocessing


@pytest.mark.slow
def test_a_network_of_timm_goes_with_labels_of_its_own(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(0)
    model = timm.create_model("seresnext26d_32x4d", num_classes=2).eval()
    prepare = Preprocessing(size=64, resize=64)
    report = senet_zoo.export(model, tmp_path / "a.onnx", preprocessing=prepare, categories=("cat", "dog"))
    same_function(model, report.path, (1, 64, 64), (2, 50, 61))
    cat = Path(__file__).parents[2] / "samples" / "cat.png"
    (prediction,) = senet_zoo.load_exported(report.path).predict([cat])
    assert {label for label, _ in prediction.classes} == {"cat", "dog"}


def networks_and_forms() -> list[Any]:
    """Each kind of block once, in some form; under --all whole networks, and each family in every form."""
    kinds = [(name, FORMS[i % len(FORMS)]) for i, name in enumerate(each_kind_once())]
    picks = {(name, FORMS[i % len(FORMS)]) for i, name in enumerate(picked(distinct_tiny()))}
    whole = sorted(picks | {(family.models[0].name, form) for family in FAMILIES for form in FORMS})
    return [*kinds, *(pytest.param(*each, marks=pytest.mark.slow) for each in whole)]


@pytest.mark.parametrize(("name", "form"), networks_and_forms())
def test_every_kind_of_block_and_every_family_converts(name: str, form: str, tmp_path: Path) -> None:
    model = randomise(ConvNet(each_kind_once()[name])) if name in each_kind_once() else network(name)
    side = 139 if "inception" in name or "alexnet" in name else 64
    report = export_tiny(model, tmp_path / f"network{form}", side)
    same_function(model, report.path, (1, side, side), (3, side, side))
