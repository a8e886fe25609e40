"""Detectors and segmenters as files: the same boxes and logits in both runtimes, for pictures of any size."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import onnx
import onnxruntime
import openvino
import pytest
import torch
from PIL import Image

import senet_zoo
from senet_zoo.cli import main
from senet_zoo.detection import Design, faster_rcnn, mask_rcnn, retinanet
from senet_zoo.errors import ExportError, UsageError
from senet_zoo.inference.export_tasks import _picture
from senet_zoo.inference.traced_resize import TracedResize
from senet_zoo.segmentation import deeplabv3, fcn, unet

LITTLE = Design(side=64, longest=107, anchors=(8.0, 16.0, 32.0, 64.0, 128.0), channels=16, proposals=60, samples=8)


def lively(model: torch.nn.Module) -> torch.nn.Module:
    """Batch norms that have seen something, and outputs that differ."""
    chance = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=chance)
            module.running_var.uniform_(0.5, 1.5, generator=chance)
    return model.eval()


@pytest.mark.parametrize(("side", "longest"), [(800, 1333), (64, 107), (128, 213)])
def test_the_traced_size_is_torchvision_s_to_the_pixel(side: int, longest: int) -> None:
    resize, lost = TracedResize(side, longest), 0
    for shorter in range(20, 900, 7):
        for longer in {shorter, 2 * shorter, 4 * shorter // 3, 16 * shorter // 9, shorter + 7}:
            scale = min(side / shorter, longest / longer)
            expected = [math.floor(shorter * scale), math.floor(longer * scale)]
            assert resize.size(torch.tensor([shorter, longer])).tolist() == expected
            lost += expected[0] == side - 1
    assert lost, "double precision loses a pixel of some"


def each_in_a_form(*builds: object) -> list[Any]:
    """Each builder with one of the two forms, by turns; both under --all."""
    forms = (".onnx", ".xml")
    pairs = [(build, forms[(i + j) % 2], j) for i, build in enumerate(builds) for j in range(2)]
    return [pytest.param(build, form, marks=[pytest.mark.slow] * j) for build, form, j in pairs]


@pytest.mark.parametrize(("build", "suffix"), each_in_a_form(faster_rcnn, retinanet))
def test_boxes_are_the_originals_in_both_runtimes(build, suffix: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = lively(build("se_resnet18", 4, design=LITTLE))
    if build is retinanet:  # which begins with the same score for everything
        for module in model.head.classification_head.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight)
        model.score_thresh = 0.0
        with torch.inference_mode():  # between two scores, which round otherwise elsewhere
            model.score_thresh = float(model([_picture((96, 128))])[0]["scores"][9:11].mean())
    report = senet_zoo.export(model, tmp_path / f"d{suffix}")
    assert report.deviation < 1e-3
    assert report.boxes > 0
    if suffix == ".onnx":
        session = onnxruntime.InferenceSession(tmp_path / "d.onnx")
        metadata = json.loads(session.get_modelmeta().custom_metadata_map["senet_zoo"])
        assert metadata["classes"] == ["class 0", "class 1", "class 2"]

        def run(x: numpy.ndarray) -> list[numpy.ndarray]:
            return session.run(None, {"picture": x})
    else:
        compiled = openvino.Core().compile_model(tmp_path / "d.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

        def run(x: numpy.ndarray) -> list[numpy.ndarray]:
            found = compiled(x)
            return [found[number] for number in range(3)]

    for height, width in ((61, 200), (133, 97)):
        x = torch.rand(3, height, width, generator=torch.Generator().manual_seed(height))
        boxes, labels, scores = run(x.numpy())
        kept = labels > 0
        with torch.inference_mode():
            (true,) = model([x])
        things = true["labels"] > 0
        assert (labels[kept] == true["labels"][things].numpy()).all()
        assert numpy.abs(boxes[kept] - true["boxes"][things].numpy()).max(initial=0) < 1e-3
        assert numpy.abs(scores[kept] - true["scores"][things].numpy()).max(initial=0) < 1e-3


@pytest.mark.parametrize(("build", "suffix"), each_in_a_form(fcn, deeplabv3, unet))
def test_segmenters_give_the_originals_logits_with_preprocessing_inside(build, suffix: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = lively(build("se_resnet18", 3))
    report = senet_zoo.export(model, tmp_path / f"s{suffix}")
    assert report.deviation < 1e-4
    assert report.boxes is None
    if suffix == ".onnx":
        x = torch.rand(2, 3, 70, 83)
        session = onnxruntime.InferenceSession(tmp_path / "s.onnx")
        (found,) = session.run(None, {"pictures": x.numpy()})
        mean, std = (torch.tensor(values)[:, None, None] for values in (model.weights.mean, model.weights.std))
        with torch.inference_mode():
            true = model((x - mean) / std)["out"]
        assert found.shape == true.shape
        assert numpy.abs(found - true.numpy()).max() < 1e-4 * float(true.abs().max())
        onnx.checker.check_model(tmp_path / "s.onnx")


def test_a_folder_is_exported_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    detector = lively(retinanet("se_resnet18", 3, design=LITTLE))
    senet_zoo.save_pretrained(detector, tmp_path / "d", categories=("ant", "bee"))
    assert main(["export", "--weights", str(tmp_path / "d"), "-o", str(tmp_path / "d.onnx")]) == 0
    out = capsys.readouterr().out
    assert "retinanet on se_resnet18, exported" in out
    assert "boxes (n, 4)" in out
    assert main(["export", "--weights", str(tmp_path / "d"), "-o", str(tmp_path / "d.onnx"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["boxes"] == 0
    assert "no box is found in the pictures that are compared" in report["notes"][0]


def test_what_is_not_exported_says_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Mask R-CNN is not exported, because its masks are pasted"):
        senet_zoo.export(mask_rcnn("se_resnet18", 3, design=LITTLE), tmp_path / "m.onnx")
    detector = faster_rcnn("se_resnet18", 3, design=LITTLE)
    with pytest.raises(UsageError, match=r"exported as \.onnx or \.xml"):
        senet_zoo.export(detector, tmp_path / "m.pt2")
    with pytest.raises(UsageError, match="in training mode"):
        senet_zoo.export(detector.train(), tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="with its own preprocessing"):
        senet_zoo.export(detector.eval(), tmp_path / "m.onnx", size=64)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_a_detector_s_file_answers_pictures_as_its_folder_does(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    model = lively(faster_rcnn("se_resnet18", 3, design=LITTLE))
    senet_zoo.save_pretrained(model, tmp_path / "d", categories=("cat", "dog"), license="mit")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, size in enumerate(((96, 128), (123, 67))):
        pixels = (255 * _picture(size)).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(pictures / f"{number}.png")
    Image.new("RGB", (4000, 1)).save(pictures / "thin.png")
    path = tmp_path / f"d{suffix}"
    assert main(["export", "--weights", str(tmp_path / "d"), "-o", str(path)]) == 0
    capsys.readouterr()
    words = ["predict", str(pictures), "--threshold", "0.3", "--json"]
    answers = []
    for network in (["--weights", str(tmp_path / "d"), "--device", "cpu", "--batch", "1"], ["--exported", str(path)]):
        assert main([*words, *network]) == 1, "one picture is too thin"
        said = capsys.readouterr()
        assert "too thin" in said.err
        answers.append(json.loads(said.out)["predictions"])
    assert sum(len(each["boxes"]) for each in answers[0]) > 2
    for whole, said in zip(*answers, strict=True):
        # Its boxes overlap and score alike, so that rounding decides which of the later ones are kept.
        for box in said["boxes"][:3]:
            corners = [box[name] for name in ("left", "top", "right", "bottom", "score")]
            others = [
                [other[name] for name in ("left", "top", "right", "bottom", "score")]
                for other in whole["boxes"]
                if other["label"] == box["label"]
            ]
            assert any(corners == pytest.approx(other, abs=0.02) for other in others)
    assert main([*words, "--exported", str(path), "-o", str(tmp_path / "drawn")]) == 1
    assert {each.name for each in (tmp_path / "drawn").iterdir()} == {"0.png", "1.png"}


def test_a_segmenter_s_file_answers_pictures_as_its_folder_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    model = lively(fcn("se_resnet18", 3, output_stride=16))
    model.weights = replace(model.weights, classes=("background", "cat", "dog"), side=64)
    path = tmp_path / "s.onnx"
    senet_zoo.export(model, path)
    picture = Image.fromarray((255 * _picture((100, 80))).byte().permute(1, 2, 0).numpy())
    (expected,) = senet_zoo.Predictor(model).predict(picture)
    (found,) = senet_zoo.load_exported(path).predict(picture)
    assert (found.pixels.numbers == expected.pixels.numbers).mean() > 0.97
    assert (found.pixels.names, found.pixels.plain) == (("background", "cat", "dog"), frozenset({0}))
    picture.save(tmp_path / "p.png")
    assert main(["predict", "--exported", str(path), str(tmp_path / "p.png"), "--threshold", "0.5"]) == 2
    assert "--exported is a segmenter" in capsys.readouterr().err
    code = (
        "import sys, senet_zoo; next(senet_zoo.load_exported(sys.argv[1]).predict(sys.argv[2]));"
        "print('torch' in sys.modules)"
    )
    words = [sys.executable, "-c", code, str(path), str(tmp_path / "p.png")]
    assert subprocess.run(words, capture_output=True, text=True).stdout == "False\n"


def test_metadata_of_an_earlier_file_or_another_tool_are_refused(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    shapes = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    proto = onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", shapes[:1], shapes[1:]),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    for values, message in (
        ({"task": "detection", "network": "n", "classes": ["a"], "senet_zoo": "1"}, "side.*export again"),
        ({"task": "pose"}, "export again"),
    ):
        onnx.helper.set_model_props(proto, {"senet_zoo": json.dumps(values)})
        onnx.save(proto, tmp_path / "x.onnx")
        with pytest.raises(ExportError, match=message):
            senet_zoo.load_exported(tmp_path / "x.onnx")
