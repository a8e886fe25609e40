"""From a COCO folder to a saved detector: the same bits when interrupted, measured as COCO measures."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn

import senet_zoo
from senet_zoo.detection import (
    RECIPES,
    Design,
    DetectionConfig,
    Kind,
    evaluate_detector,
    fit_detector,
    from_pretrained,
    read_coco,
    read_config,
)
from senet_zoo.detection.pictures import CocoTrainingPictures, load, mirrored
from senet_zoo.errors import DataError, ManifestError, TrainingError, UsageError, WeightsMismatch, WeightsNotFound
from senet_zoo.training.run import Run
from senet_zoo.weights.save import save_pretrained as save_classifier

LITTLE = Design(side=64, longest=64, anchors=(4.0, 8.0, 16.0, 32.0, 64.0), channels=8, proposals=40, samples=8)
RECIPE = replace(RECIPES["small"].lasting(4), design=LITTLE, batch=2)


def config(shapes: Path, output: Path, **changes: object) -> DetectionConfig:
    words = {"recipe": RECIPE, "workers": 0, "device": "cpu", "checkpoint_steps": 1, **changes}
    return DetectionConfig(shapes, "se_resnet18", output, **words)


class Guess(nn.Module):
    """A detector whose boxes are the true ones, moved by up to a third, some of them under another class."""

    def __init__(self, data) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.pictures, self.chance = iter(data.pictures), torch.Generator().manual_seed(0)

    def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        found = []
        for _ in images:
            picture = next(self.pictures)
            boxes = torch.tensor(picture.boxes)
            moved = boxes + (torch.rand(len(boxes), 1, generator=self.chance) - 0.5) * 8
            labels = torch.tensor(picture.labels)
            labels = torch.where(torch.rand(len(labels), generator=self.chance) < 0.8, labels, labels % 3 + 1)
            found.append({"boxes": moved, "labels": labels, "scores": torch.rand(len(labels), generator=self.chance)})
        return found


def test_scores_are_those_of_coco_s_own_code(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = read_coco(shapes, "train")
    scores = evaluate_detector(Guess(data), data, batch=3)
    truth = COCO(shapes / "annotations/instances_train.json")
    said = Guess(data)([None] * len(data.pictures))
    results = [
        {
            "image_id": number,
            "category_id": int(label),
            "bbox": [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])],
            "score": float(score),
        }
        for number, found in enumerate(said, 1)
        for box, label, score in zip(found["boxes"], found["labels"], found["scores"], strict=True)
    ]
    judge = COCOeval(truth, truth.loadRes(results), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    capsys.readouterr()
    expected = [100.0 * value for value in judge.stats]
    assert 5.0 < scores.ap < 95.0
    assert (scores.ap, scores.ap50, scores.ap75) == pytest.approx(expected[:3], abs=1e-3)
    assert scores.small == pytest.approx(expected[3], abs=1e-3)
    assert (scores.large, expected[5]) == (None, -100.0)
    assert set(scores.per_class) == {"circle", "square", "triangle"}


def test_a_mirrored_picture_keeps_its_things_under_their_boxes(shapes: Path) -> None:
    sample = load(read_coco(shapes, "train").pictures[0], 0, crowds=False)
    left, top, right, bottom = sample.target["boxes"][0].int().tolist()
    turned = mirrored(sample)
    a, b, c, d = turned.target["boxes"][0].int().tolist()
    assert torch.equal(turned.image[:, b:d, a:c].flip(2), sample.image[:, top:bottom, left:right])


def test_it_trains_goes_on_and_is_read_back(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit_detector(config(shapes, tmp_path / "whole", measure_steps=2))
    assert [row.step for row in whole.rows] == [2, 4]
    assert sorted(path.name for path in whole.folder.iterdir()) == [
        "README.md", "config.json", "curves.png", "metrics.csv", "model.safetensors", "predictions.png", "run.json",
        "run.yaml",
    ]  # fmt: skip
    assert (whole.folder / "metrics.csv").read_text().splitlines()[0] == "step,rate,loss,ap,ap50"

    step = Run._step

    def interrupted(self: Run, ahead: object) -> None:
        if self.step == 3:
            raise KeyboardInterrupt
        step(self, ahead)

    monkeypatch.setattr(Run, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit_detector(config(shapes, tmp_path / "parts", measure_steps=2))
    assert not (tmp_path / "parts/model.safetensors").exists()
    monkeypatch.setattr(Run, "_step", step)
    with pytest.raises(UsageError, match="seed was 0 and is 1"):
        fit_detector(config(shapes, tmp_path / "parts", measure_steps=2, seed=1))
    parts = fit_detector(config(shapes, tmp_path / "parts", measure_steps=2))
    assert parts.rows == whole.rows
    first, second = (folder / "model.safetensors" for folder in (whole.folder, parts.folder))
    assert first.read_bytes() == second.read_bytes()

    known, detector = read_config(whole.folder), from_pretrained(whole.folder)
    assert (known.kind, known.backbone, known.classes) == (
        Kind.FASTER_RCNN, "se_resnet18", ("circle", "square", "triangle")
    )  # fmt: skip
    assert replace(known.design, mean=None, std=None) == LITTLE
    assert evaluate_detector(detector, read_coco(shapes, "val")) == whole.scores
    with pytest.raises(UsageError, match="holds a finished run"):
        fit_detector(config(shapes, whole.folder))


def test_a_retinanet_trains_on_a_variant_s_plain_twin(shapes: Path, tmp_path: Path) -> None:
    save_classifier(senet_zoo.create_model("resnet18", num_classes=3), tmp_path / "trained")
    recipe = replace(RECIPE, steps=1, trainable_stages=3, frozen_norm=True)
    words = replace(config(shapes, tmp_path / "run", recipe=recipe), model="resnet18", kind=Kind.RETINANET)
    with pytest.raises(UsageError, match="freezes parts of the backbone, which must have been trained then"):
        fit_detector(words)
    result = fit_detector(replace(words, weights=tmp_path / "trained"))
    assert read_config(result.folder).se is None
    assert type(from_pretrained(result.folder)).__name__ == "RetinaNet"


def test_pictures_that_cannot_be_read_are_named_and_skipped(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(shapes, tmp_path / "set"))
    for name in ("train/00001.png", "train/00002.png", "val/00000.png"):
        (data / name).write_bytes(b"no picture")
    result = fit_detector(config(data, tmp_path / "run"))
    assert sorted(Path(reason.partition(": ")[0]).name for reason in result.unreadable) == ["00001.png", "00002.png"]
    assert result.scores.pictures == 3
    assert "val/00000.png" in result.scores.unreadable[0]
    assert capsys.readouterr().err.count("skipped: ") == 2


def test_no_model_is_left_where_training_cannot_go_on(shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) at step .* Choose a lower rate"):
        fit_detector(config(shapes, tmp_path / "hot", rate=1e30))
    data = Path(shutil.copytree(shapes, tmp_path / "set"))
    for path in (data / "train").glob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(DataError, match="of 8 training pictures in a row none can be read"):
        fit_detector(config(data, tmp_path / "dark"))
    with pytest.raises(UsageError, match="choose one such as se_resnet50"):
        fit_detector(replace(config(shapes, tmp_path / "flat"), model="se_resnet20"))
    path = data / "annotations/instances_val.json"
    path.write_text(path.read_text().replace("circle", "disc"))
    with pytest.raises(DataError, match="must be circle, square, triangle, and are disc, square, triangle"):
        fit_detector(config(data, tmp_path / "other"))
    assert not list(tmp_path.rglob("model.safetensors"))


def test_what_cannot_be_learnt_is_said_before_training(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(shapes, tmp_path / "set"))
    path = data / "annotations/instances_train.json"
    good = json.loads(path.read_text())

    def begun(self: Run) -> None:
        raise RuntimeError("training began")

    monkeypatch.setattr(Run, "fit", begun)
    crowds = [{**each, "iscrowd": 1} for each in good["annotations"]]
    for kind, annotations, message in (
        (Kind.FASTER_RCNN, crowds, "training needs boxes that are no crowds, and the pictures have none"),
        (Kind.MASK_RCNN, good["annotations"], r"no usable one is there \(left out: \d+ boxes without a mask\)"),
        (Kind.FASTER_RCNN, [], "must have boxes on its pictures"),
    ):
        path.write_text(json.dumps({**good, "annotations": annotations}))
        with pytest.raises(DataError, match=message):
            fit_detector(config(data, tmp_path / "run", kind=kind))
    path.write_text(json.dumps({**good, "annotations": [x for x in good["annotations"] if x["category_id"] != 2]}))
    with pytest.raises(RuntimeError, match="training began"):
        fit_detector(config(data, tmp_path / "run"))
    assert "train: no box to learn of square" in capsys.readouterr().err
    assert not list(tmp_path.rglob("model.safetensors"))


def test_a_folder_that_is_no_detector_says_so(shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFound, match=r"with model.safetensors and config.json, but there is no"):
        from_pretrained(tmp_path)
    save_classifier(senet_zoo.create_model("se_resnet20", num_classes=3), tmp_path / "classifier")
    with pytest.raises(ManifestError, match=r"is no detector's; a classifier is read by senet_zoo\.from_pretrained"):
        from_pretrained(tmp_path / "classifier")
    run = fit_detector(config(shapes, tmp_path / "run", recipe=replace(RECIPE, steps=1))).folder
    good = json.loads((run / "config.json").read_text())
    for change, error, message in (
        ({"backbone": "resnet18", "se": None}, WeightsMismatch, r"\d+ differ, such as backbone"),
        ({"se": None}, ManifestError, "se must be an object, for se_resnet18"),
        ({"classes": []}, ManifestError, "classes must be a list of names"),
        ({"detector": "yolo"}, ManifestError, "must be one of faster_rcnn, mask_rcnn, retinanet"),
        ({"design": {**good["design"], "anchors": [1]}}, ManifestError, "anchors must be a list of 5 numbers"),
        ({"design": {**good["design"], "side": 4}}, ManifestError, "side must be at least 32"),
    ):
        (run / "config.json").write_text(json.dumps({**good, **change}))
        with pytest.raises(error, match=message):
            from_pretrained(run)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "metrics.csv", "run.json"])
def test_files_that_no_run_wrote_are_left_alone(shapes: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).write_text('{"model_type": "detr"}')
    with pytest.raises(UsageError, match=name.replace(".", r"\.")):
        fit_detector(config(shapes, tmp_path / "run"))
    assert (tmp_path / "run" / name).read_text() == '{"model_type": "detr"}'


def test_the_paper_s_recipe_is_detectron_s_2x() -> None:
    """Detectron's e2e_faster_rcnn_R-50-FPN_2x.yaml and its defaults: 8 GPUs of 2 pictures, warm-up from a third."""
    paper = RECIPES["paper"]
    assert (paper.steps, paper.batch, paper.design.side, paper.design.longest) == (180_000, 16, 800, 1333)
    rates = [paper.rate_at(step) for step in (0, 250, 500, 119_999, 120_000, 160_000)]
    assert rates == pytest.approx([0.02 / 3, 0.02 * 2 / 3, 0.02, 0.02, 0.002, 0.0002])
    assert paper.lasting(1800).drops == (1200, 1600)


@pytest.mark.parametrize("words", [{"epochs": 0}, {"size": 8}, {"rate": -1.0}, {"workers": -1}])
def test_numbers_out_of_range_are_refused(words: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must be"):
        DetectionConfig("data", "se_resnet18", tmp_path, **words)


def test_augmentation_changes_colours_and_sides_and_repeats_itself(shapes: Path, tmp_path: Path) -> None:
    pictures = read_coco(shapes, "train").pictures
    plain, changed = (CocoTrainingPictures(pictures, 0.0, 0, share) for share in (0.0, 1.0))
    assert torch.equal(changed[0, 1].image, changed[0, 1].image)
    assert not torch.equal(changed[0, 1].image, plain[0, 1].image)
    assert not torch.equal(changed[0, 1].image, changed[1, 1].image)
    assert torch.equal(changed[0, 1].target["boxes"], plain[0, 1].target["boxes"])
    assert 0.0 <= float(changed[0, 1].image.min()) <= float(changed[0, 1].image.max()) <= 1.0

    recipe = replace(RECIPE.lasting(2), scales=(0.5,), photometric=0.5, cosine=True)
    first = fit_detector(config(shapes, tmp_path / "a", recipe=recipe))
    second = fit_detector(config(shapes, tmp_path / "b", recipe=recipe))
    assert first.rows == second.rows
    assert from_pretrained(first.folder).transform.min_size == (64,)
    with pytest.raises(UsageError, match="scales must be from"):
        replace(RECIPE, scales=(0.0,))


def test_a_cosine_ends_near_zero_after_its_warm_up() -> None:
    recipe = replace(RECIPES["augmented"], steps=100, warmup=10)
    rates = [recipe.rate_at(step) for step in range(100)]
    assert rates[0] < rates[9] < recipe.rate
    assert rates[50] == pytest.approx(recipe.rate / 2)
    assert rates[99] < 0.001 * recipe.rate
