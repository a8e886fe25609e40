"""A detector's folder under the commands and calls that classifiers have; config.json alone says which it is."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import senet_zoo
from senet_zoo.cli import main
from senet_zoo.data.pictures import read_picture
from senet_zoo.detection import (
    RECIPES,
    DetectionConfig,
    Kind,
    faster_rcnn,
    fit_detector,
    mask_rcnn,
    read_config,
    retinanet,
)
from senet_zoo.detection.design import Design
from senet_zoo.errors import ManifestError, PublishError, SenetZooError, UsageError, WeightsCorrupted
from senet_zoo.prediction.detection import find_boxes, prepare
from senet_zoo.tasks import plan_publication

LITTLE = Design(side=64, longest=64, anchors=(4.0, 8.0, 16.0, 32.0, 64.0), channels=8, proposals=40, samples=8)
RECIPE = replace(RECIPES["small"].lasting(2), design=LITTLE, batch=2)
LOW = ["--threshold", "0.05", "--device", "cpu"]  # which some boxes of a detector of two steps reach


@pytest.fixture(scope="module")
def trained(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    words = {"recipe": RECIPE, "workers": 0, "device": "cpu", "license": "mit"}
    fit_detector(DetectionConfig(shapes, "se_resnet18", folder, **words))
    return folder


def test_a_predictor_answers_boxes_from_paths_pictures_and_arrays(trained: Path, shapes: Path) -> None:
    path = shapes / "val/00000.png"
    picture = read_picture(path)
    predictor = senet_zoo.Predictor(trained, device="cpu")
    assert predictor.categories == ("circle", "square", "triangle")
    array = numpy.asarray(picture)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    answers = predictor.predict([path, picture, array, tensor], threshold=0.05)
    first = answers[0]
    assert first.boxes
    assert all(answer.boxes == first.boxes for answer in answers)
    assert first.size == picture.size
    scores = [box.score for box in first.boxes]
    assert scores == sorted(scores, reverse=True)
    assert (first.label, first.probability) == (first.boxes[0].label, first.boxes[0].score)
    assert len(predictor.predict(path, threshold=0.05, top=2)[0].boxes) == 2
    for box in first.boxes:
        left, top, right, bottom = box.corners
        assert 0 <= left < right <= picture.width
        assert 0 <= top < bottom <= picture.height
        assert predictor.categories[box.number - 1] == box.label

    (raw,) = senet_zoo.from_pretrained(trained)([tensor / 255.0])
    assert scores == pytest.approx(raw["scores"][: len(scores)].tolist(), abs=1e-6)
    assert first.boxes[0].corners == pytest.approx(raw["boxes"][0].tolist(), abs=1e-4)

    assert first.drawn().size == first.drawn(picture).size == (512, 512)
    with pytest.raises(UsageError, match="keeps no pixels: pass it"):
        answers[1].drawn()
    with pytest.raises(UsageError, match="of the size that was asked about"):
        first.drawn(picture.resize((9, 9)))
    (nothing,) = predictor.predict(path, threshold=1.0)
    assert (nothing.boxes, nothing.classes) == ((), ())
    with pytest.raises(UsageError, match="nothing was found"):
        nothing.label  # noqa: B018
    assert nothing.drawn().size == (512, 512)
    with pytest.raises(UsageError, match="from 0 to 1, got 50"):
        predictor.predict(path, threshold=50)


class Background(torch.nn.Module):
    """A detector that names the background, as a RetinaNet may."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0], [1.0, 1.0, 5.0, 5.0]])
        return [{"boxes": boxes, "labels": torch.tensor([0, 2]), "scores": torch.tensor([0.9, 0.8])} for _ in images]


def test_the_background_is_no_thing() -> None:
    picture = Image.new("RGB", (20, 20))
    (answer,) = find_boxes(Background(), [("p", prepare(picture, 64))], ("ant", "bee"), 0.5, 10, "n")
    assert [(box.label, box.corners) for box in answer.boxes] == [("bee", (1.0, 1.0, 5.0, 5.0))]


def test_a_picture_too_thin_to_be_seen_is_named_and_the_others_go_on(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (900, 9)).save(tmp_path / "thin.png")
    Image.new("RGB", (60, 1)).save(tmp_path / "line.png")
    assert main(["predict", str(tmp_path), "--weights", str(trained), *LOW, "-o", str(tmp_path / "drawn")]) == 1
    out, err = capsys.readouterr()
    assert "thin.png: a picture of 900 x 9 pixels is too thin" in err
    assert "line.png" in out
    assert (tmp_path / "drawn/line.png").is_file()


def test_a_config_of_more_than_the_memory_is_no_traceback(trained: Path, tmp_path: Path) -> None:
    data = json.loads((trained / "config.json").read_text())
    data["design"]["channels"] = 100_000
    (tmp_path / "config.json").write_text(json.dumps(data))
    (tmp_path / "model.safetensors").write_bytes((trained / "model.safetensors").read_bytes())
    with pytest.raises(SenetZooError, match="memory"):
        senet_zoo.from_pretrained(tmp_path)


def test_a_classifier_has_no_threshold_and_no_drawing() -> None:
    (answer,) = senet_zoo.predict("samples/cat.png")
    assert answer.boxes is None
    with pytest.raises(UsageError, match="a classifier's answer"):
        answer.drawn()
    with pytest.raises(UsageError, match="a threshold is a detector's"):
        senet_zoo.predict("samples/cat.png", threshold=0.5)
    assert main(["predict", "samples/cat.png", "--threshold", "0.5"]) == 2
    assert main(["predict", "samples/cat.png", "--format", "coco"]) == 2


def test_predict_draws_into_a_folder_and_replaces_only_its_own(
    trained: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for folder, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (640, 400), colour).save(tmp_path / folder / "same.jpg", quality=90)
    words = ["predict", str(tmp_path / "a"), str(tmp_path / "b"), str(shapes / "val/00000.png"), "--weights"]
    command = [*words, str(trained), *LOW, "--output", str(tmp_path / "drawn")]
    assert main(command) == 0
    out = capsys.readouterr().out.splitlines()
    assert {len(line.split("\t")) for line in out} <= {1, 7}
    names = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert names == ["00000.png", "b_same.jpg", "same.jpg"]
    sizes = {path.name: read_picture(path).size for path in (tmp_path / "drawn").iterdir()}
    assert sizes == {"00000.png": (512, 512), "b_same.jpg": (640, 400), "same.jpg": (640, 400)}
    assert main(command) == 0, "drawn pictures are replaced"
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "a"), "--weights", str(trained), "-o", str(tmp_path / "a")]) == 2
    assert "was not drawn by senet_zoo" in capsys.readouterr().err


def test_boxes_as_json_lines_csv_and_coco_results(
    trained: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(shapes / "val"), "--weights", str(trained), *LOW]
    assert main([*words, "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["num_classes"] == 3
    assert [each["width"] for each in whole["predictions"]] == [64] * 4
    assert main([*words, "-o", str(tmp_path / "x.jsonl")]) == 0
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert lines == whole["predictions"]
    assert main([*words, "-o", str(tmp_path / "x.csv")]) == 0
    rows = list(csv.DictReader((tmp_path / "x.csv").read_text().splitlines()))
    assert len(rows) == sum(len(each["boxes"]) for each in lines) > 0
    assert {"file", "label", "score", "left", "top", "right", "bottom", "network"} == set(rows[0])

    annotations = shapes / "annotations/instances_val.json"
    assert main([*words, "--format", "coco", "--annotations", str(annotations), "-o", str(tmp_path / "coco.json")]) == 0
    truth = COCO(annotations)
    judge = COCOeval(truth, truth.loadRes(str(tmp_path / "coco.json")), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    results = json.loads((tmp_path / "coco.json").read_text())
    assert {each["image_id"] for each in results} <= {1, 2, 3, 4}
    capsys.readouterr()
    assert main([*words, "--format", "coco"]) == 0
    assert {each["image_id"] for each in json.loads(capsys.readouterr().out)} <= {0, 1, 2, 3}
    assert main([*words, "--annotations", str(annotations)]) == 2
    document = json.loads(annotations.read_text())
    document["categories"][0]["name"] = "disc"
    (tmp_path / "other.json").write_text(json.dumps(document))
    capsys.readouterr()
    assert main([*words, "--format", "coco", "--annotations", str(tmp_path / "other.json")]) == 1
    assert "'circle' is not there" in capsys.readouterr().err


def test_nothing_found_is_said_with_the_way_out(
    trained: Path, shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(shapes / "val"), "--weights", str(trained), "--threshold", "0.99"]) == 0
    assert "no box in 4 pictures scores 0.99 or more; --threshold 0.1 shows more" in capsys.readouterr().err


def test_info_verify_evaluate_and_publish_take_the_folder(
    trained: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(trained)]) == 0
    out = capsys.readouterr().out
    assert "faster_rcnn on se_resnet18" in out
    assert "3: circle, square, triangle" in out
    assert "AP, triangle" in out
    assert main(["info", str(trained), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "detection"
    assert main(["verify", str(trained)]) == 0
    assert senet_zoo.verify(trained).ok
    assert senet_zoo.verify_deep(trained).ok
    capsys.readouterr()
    assert main(["evaluate", str(shapes), "--model", str(trained), "--per-class", str(tmp_path / "c.csv")]) == 0
    assert [row["class"] for row in csv.DictReader((tmp_path / "c.csv").read_text().splitlines())] == [
        "circle",
        "square",
        "triangle",
    ]
    capsys.readouterr()
    for words in (["--labels", "x.txt"], ["--classes", "x.txt"], ["--protocol", "ten"], ["--combine", "vote"]):
        assert main(["evaluate", str(shapes), "--weights", str(trained), *words]) == 2
        assert f"{words[0]} is a classifier's" in capsys.readouterr().err
    matrix = tmp_path / "confusion.csv"
    assert main(["evaluate", str(shapes), "--weights", str(trained), "--confusion", str(matrix)]) == 0
    rows = list(csv.reader(matrix.read_text().splitlines()))
    assert rows[0] == ["class", "circle", "square", "triangle", "(nothing)"]
    things = len(json.loads((shapes / "annotations/instances_val.json").read_text())["annotations"])
    assert sum(int(value) for row in rows[1:-1] for value in row[1:]) == things
    assert main(["publish", str(trained), "me/shapes", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("README.md", "predictions.png", "curves.png", "config.json"))


@pytest.mark.parametrize("command", [["optimize"], ["evaluate", "samples", "--task", "classification"]])
def test_commands_for_classifiers_say_what_it_is(
    command: list[str], trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--weights", str(trained)]) != 0
    assert "for detection" in capsys.readouterr().err


def test_the_card_shows_what_it_finds_and_who_may_use_it(trained: Path) -> None:
    text = (trained / "README.md").read_text()
    for part in ("license: mit", "object-detection", "](predictions.png)", "](curves.png)", "circle, square, triangle"):
        assert part in text, part
    for part in ("| AP@0.5 |", "| AP, small |", "| AP, circle |"):
        assert part in text, part
    plan = plan_publication(trained, "me/shapes")
    assert b'Predictor("hf://me/shapes")' in plan.files["README.md"]
    assert f"`hf://me/shapes@{plan.tag}` loads this commit".encode() in plan.files["README.md"]
    (trained / "README.md").write_text(text + "\nMine.\n")
    by_hand = plan_publication(trained, "me/shapes").files["README.md"]
    (trained / "README.md").write_text(text)
    for card in (plan.files["README.md"], by_hand):
        assert b'"hf://me/shapes"' in card
        assert b"PATH/TO" not in card
    for name in ("predictions.png", "curves.png"):
        with Image.open(trained / name) as picture:
            assert picture.info["Software"] == "senet_zoo"


def test_a_detector_made_in_python_is_saved_and_read_by_the_same_words(tmp_path: Path) -> None:
    torch.manual_seed(0)
    detector = faster_rcnn("se_resnet18", 3, design=LITTLE)
    senet_zoo.save_pretrained(detector, tmp_path / "d", categories=("ant", "bee"))
    again = senet_zoo.from_pretrained(tmp_path / "d")
    assert (again.weights.kind, again.weights.classes) == (Kind.FASTER_RCNN, ("ant", "bee"))
    x = [torch.rand(3, 50, 60)]
    assert torch.equal(again(x)[0]["boxes"], detector(x)[0]["boxes"])
    assert senet_zoo.Predictor(detector).categories == ("ant", "bee")
    with pytest.raises(PublishError, match="names its licence"):
        plan_publication(tmp_path / "d", "me/x")
    with pytest.raises(UsageError, match="name each logit: 2 of them, got 1"):
        senet_zoo.save_pretrained(detector, tmp_path / "e", categories=("ant",))
    data = (tmp_path / "d/model.safetensors").read_bytes()
    (tmp_path / "d/model.safetensors").write_bytes(data[:-4] + b"\0\0\0\1")
    with pytest.raises(WeightsCorrupted, match="sha256"):
        senet_zoo.from_pretrained(tmp_path / "d")
    assert not senet_zoo.verify(tmp_path / "d").ok
    config = json.loads((tmp_path / "d/config.json").read_text())
    (tmp_path / "d/config.json").write_text(json.dumps(config | {"task": "pose"}))
    with pytest.raises(ManifestError, match="task must be one of classification, detection, segmentation, got 'pose'"):
        senet_zoo.from_pretrained(tmp_path / "d")


def test_training_goes_on_from_a_detector_and_keeps_all_that_fits(
    trained: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {"recipe": replace(RECIPE.lasting(1), rate=1e-12), "workers": 0, "device": "cpu"}
    fit_detector(DetectionConfig(shapes, "se_resnet18", tmp_path / "on", weights=trained, **words))
    before, after = senet_zoo.from_pretrained(trained), senet_zoo.from_pretrained(tmp_path / "on")
    assert torch.allclose(
        before.roi_heads.box_predictor.cls_score.weight, after.roi_heads.box_predictor.cls_score.weight
    )
    other = tmp_path / "other"
    other.mkdir()
    for name in ("train", "val", "annotations"):
        (other / name).symlink_to(shapes / name) if name != "annotations" else (other / name).mkdir()
    for split in ("train", "val"):
        text = (shapes / f"annotations/instances_{split}.json").read_text().replace("circle", "disc")
        (other / f"annotations/instances_{split}.json").write_text(text)
    fit_detector(DetectionConfig(other, "se_resnet18", tmp_path / "discs", weights=trained, **words))
    discs = senet_zoo.from_pretrained(tmp_path / "discs")
    assert discs.weights.classes == ("disc", "square", "triangle")
    box = "rpn.head.cls_logits.weight"
    assert torch.allclose(before.state_dict()[box], discs.state_dict()[box])
    score = "roi_heads.box_predictor.cls_score.weight"
    assert not torch.allclose(before.state_dict()[score], discs.state_dict()[score])
    with pytest.raises(UsageError, match="goes on from one of its own kind"):
        fit_detector(DetectionConfig(shapes, "resnet18", tmp_path / "x", weights=trained, **words))
    wider = words | {"recipe": replace(RECIPE, design=replace(LITTLE, channels=16))}
    with pytest.raises(UsageError, match="another design"):
        fit_detector(DetectionConfig(shapes, "se_resnet18", tmp_path / "x", weights=trained, **wider))


def test_the_task_is_taken_from_the_folder_or_from_the_data(
    trained: Path, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from senet_zoo.detection import config

    monkeypatch.setattr(config, "RECIPES", {**config.RECIPES, "little": RECIPE})
    words = ["--recipe", "little", "--workers", "0", "--device", "cpu"]
    assert main(["train", str(shapes), "--weights", str(trained), *words, "-o", str(tmp_path / "a")]) == 0
    assert read_config(tmp_path / "a").backbone == "se_resnet18"
    assert main(["train", str(shapes), "--model", "se_resnet18", *words, "-o", str(tmp_path / "b")]) == 0
    assert "is in COCO's format: --task detection is meant" in capsys.readouterr().err
    assert main(["train", "x", "--task", "classification", "--weights", str(trained), "-o", str(tmp_path / "c")]) == 2
    assert "holds a network for detection" in capsys.readouterr().err


@pytest.mark.parametrize("make", [retinanet, mask_rcnn])
def test_a_fingerprint_tells_another_function_with_the_same_tensors(make, tmp_path: Path) -> None:
    design = Design(side=64, longest=64, channels=8)
    torch.manual_seed(0)
    saved = make("se_resnet18", num_classes=3, design=design)
    for module in saved.modules():  # a fresh RetinaNet says the same of everything
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    senet_zoo.save_pretrained(saved, tmp_path, license="mit")
    config = json.loads((tmp_path / "config.json").read_text())
    assert senet_zoo.verify_deep(tmp_path).ok
    for change, holds in (
        ({"classes": ["a", "b"]}, True),
        ({"design": {**config["design"], "mean": [0.5, 0.5, 0.5]}}, False),
        ({"fingerprint": None}, False),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
        found = senet_zoo.verify_deep(tmp_path)
        assert found.ok is holds, change
    assert "carries no fingerprint" in found.checks[-1].found
    (tmp_path / "config.json").write_text(json.dumps({**config, "fingerprint": {"size": 1}}))
    with pytest.raises(ManifestError, match="fingerprint"):
        senet_zoo.from_pretrained(tmp_path)
