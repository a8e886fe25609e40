"""From pictures with masks to a saved segmenter: the same bits when interrupted, measured as torchmetrics measures."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from segmentation.conftest import NAMES, paint
from torch.nn import functional as F
from torchmetrics.classification import MulticlassJaccardIndex

import senet_zoo
from senet_zoo.cli import main
from senet_zoo.data.pictures import read_picture
from senet_zoo.errors import ManifestError, SpecError, UsageError
from senet_zoo.segmentation import (
    RECIPES,
    SegmentationConfig,
    Segmenter,
    evaluate_segmenter,
    fit_segmenter,
    read_config,
    read_masks,
    unet,
)
from senet_zoo.segmentation import config as recipes
from senet_zoo.segmentation.masks import IGNORED
from senet_zoo.segmentation.pictures import MaskedTrainingPictures
from senet_zoo.segmentation.training import _cross_entropy
from senet_zoo.training.run import Run

RECIPE = replace(RECIPES["small"].lasting(4), side=64, batch=2)


def config(masks: Path, output: Path, **changes: object) -> SegmentationConfig:
    words = {"recipe": RECIPE, "workers": 0, "device": "cpu", "kind": Segmenter.FCN, "license": "mit", **changes}
    return SegmentationConfig(masks, "se_resnet18", output, **words)


@pytest.fixture(scope="module")
def trained(masks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit_segmenter(config(masks, tmp_path_factory.mktemp("trained") / "run", measure_steps=2)).folder


def test_it_trains_goes_on_and_is_read_back(
    trained: Path, masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sorted(path.name for path in trained.iterdir()) == [
        "README.md", "config.json", "curves.png", "metrics.csv", "model.safetensors", "predictions.png", "run.json",
        "run.yaml",
    ]  # fmt: skip
    step = Run._step

    def interrupted(self: Run, ahead: object) -> None:
        if self.step == 3:
            raise KeyboardInterrupt
        step(self, ahead)

    monkeypatch.setattr(Run, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit_segmenter(config(masks, tmp_path / "parts", measure_steps=2))
    monkeypatch.setattr(Run, "_step", step)
    parts = fit_segmenter(config(masks, tmp_path / "parts", measure_steps=2))
    assert [row.step for row in parts.rows] == [2, 4]
    assert (parts.folder / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()
    known = read_config(trained)
    assert (known.kind, known.classes, known.side, known.output_stride) == (Segmenter.FCN, NAMES, 64, 16)
    scores = evaluate_segmenter(senet_zoo.from_pretrained(trained), read_masks(masks)[1])
    assert scores == parts.scores
    assert known.measured.miou == scores.miou


def test_scores_are_torchmetrics_own_at_the_size_of_the_masks(trained: Path, masks: Path) -> None:
    model, (data,) = senet_zoo.from_pretrained(trained), read_masks(masks, ("val",))
    metric = MulticlassJaccardIndex(3, average="none", ignore_index=IGNORED)
    for masked in data.pictures:
        picture = read_picture(masked.path)
        x = F.interpolate(torch.from_numpy(numpy.asarray(picture).copy()).permute(2, 0, 1)[None].float(), (64, 80))
        mean, std = (torch.tensor(values)[:, None, None] for values in (model.weights.mean, model.weights.std))
        with torch.inference_mode():
            said = model((x / 255 - mean) / std)["out"].argmax(1)
        metric.update(said, torch.from_numpy(data.form.read(masked, picture.size))[None].long())
    expected = (100 * metric.compute()).tolist()
    scores = evaluate_segmenter(model, data)
    assert [value or 0.0 for value in scores.per_class.values()] == pytest.approx(expected, abs=1e-3)
    known = [value for value in scores.per_class.values() if value is not None]
    assert scores.miou == pytest.approx(sum(known) / len(known))


def test_a_mask_follows_its_picture_through_crops_and_flips(masks: Path) -> None:
    train, _ = read_masks(masks)
    recipe = replace(RECIPE, scales=(1.0, 1.0), flip=0.5)
    pictures = MaskedTrainingPictures(train, recipe, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), seed=0)
    for epoch in range(4):
        sample = pictures[epoch, 0]
        assert sample.image.shape == (3, 64, 64)
        yellow = (sample.image[0] > 0.9) & (sample.image[2] < 0.4)
        assert (yellow == (sample.classes == 1)).float().mean() > 0.97
    again = pictures[3, 0]
    assert torch.equal(again.image, sample.image)
    small = MaskedTrainingPictures(train, replace(recipe, side=128, scales=(0.4, 0.4)), (0.5,) * 3, (1.0,) * 3, seed=0)
    assert (small[0, 0].classes == IGNORED).float().mean() > 0.5, "what is filled up is left out"


def test_a_batch_without_a_pixel_to_learn_is_no_nan() -> None:
    loss = _cross_entropy(torch.randn(1, 3, 4, 4), torch.full((1, 4, 4), IGNORED))
    assert float(loss) == 0.0


@pytest.mark.parametrize(
    ("kind", "model"),
    [(Segmenter.DEEPLABV3, "se_resnet18"), (Segmenter.UNET, "se_resnet18"), (Segmenter.UNET, "se_densenet121")],
)
def test_every_segmenter_trains_and_answers_pictures_of_odd_sizes(
    kind: Segmenter, model: str, masks: Path, tmp_path: Path
) -> None:
    done = fit_segmenter(replace(config(masks, tmp_path / "run", kind=kind, recipe=RECIPE.lasting(1)), model=model))
    (answer,) = senet_zoo.predict(Image.new("RGB", (91, 67)), done.folder)
    assert answer.pixels.numbers.shape == (67, 91)
    assert sum(share for _, share in answer.classes) == pytest.approx(1.0)


def test_what_a_run_cannot_do_is_said_before_it_begins(masks: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 2 pictures a step, got 1"):
        fit_segmenter(config(masks, tmp_path / "a", kind=Segmenter.DEEPLABV3, batch=1))
    with pytest.raises(SpecError):
        fit_segmenter(replace(config(masks, tmp_path / "b"), model="se_densenet121"))
    with pytest.raises(UsageError, match="maps of stride 2, 4, 8, 16 and 32"):
        unet("se_resnet20", 3)
    with pytest.raises(UsageError, match="convolutions are not padded"):
        unet("se_inception_v3", 3)
    with pytest.raises(UsageError, match="ignore_index must be from 0"):
        config(masks, tmp_path / "c", ignore_index=-7)
    assert not list(tmp_path.glob("*/model.safetensors"))


def test_the_folder_goes_through_every_command(
    trained: Path, masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--weights", str(trained), "--device", "cpu"]
    assert main(["predict", str(masks / "images/val"), *words, "-o", str(tmp_path / "drawn")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    names = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert names == [f"00{number}{ending}.png" for number in range(4) for ending in ("", "_mask")]
    with Image.open(tmp_path / "drawn/000_mask.png") as mask:
        assert (mask.mode, mask.size) == ("P", (80, 64))
        numbers = numpy.asarray(mask)
    (answer,) = senet_zoo.predict(masks / "images/val/000.png", trained)
    assert (numbers == answer.pixels.numbers).all()
    assert main(["predict", str(masks / "images/val"), *words, "--json"]) == 0
    shares = json.loads(capsys.readouterr().out)["predictions"][0]["classes"]
    assert {each["label"] for each in shares} <= set(NAMES)
    assert main(["info", str(trained)]) == 0
    assert "IoU, square" in capsys.readouterr().out
    assert main(["verify", str(trained)]) == 0
    assert main(["evaluate", str(masks), "--weights", str(trained), "--per-class", str(tmp_path / "iou.csv")]) == 0
    assert "mIoU" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "iou.csv").read_text().splitlines()))
    assert [row["class"] for row in rows] == list(NAMES)
    matrix = tmp_path / "confusion.csv"
    assert main(["evaluate", str(masks), "--weights", str(trained), "--confusion", str(matrix), "--json"]) == 0
    accuracy = json.loads(capsys.readouterr().out)["scores"]["accuracy"]
    counts = [[int(value) for value in row[1:]] for row in list(csv.reader(matrix.read_text().splitlines()))[1:]]
    assert sum(map(sum, counts)) == 4 * 80 * 64
    assert 100 * sum(counts[n][n] for n in range(3)) / (4 * 80 * 64) == pytest.approx(accuracy)
    assert main(["evaluate", str(masks), "--weights", str(trained), "--confusion", "x.txt"]) == 2
    assert main(["publish", str(trained), "me/pixels", "--dry-run"]) == 0
    assert main(["predict", str(masks / "images/val"), *words, "--threshold", "0.5"]) == 2
    card = (trained / "README.md").read_text()
    assert all(part in card for part in ("license: mit", "image-segmentation", "| mIoU |", "background, square, disc"))
    assert main(["optimize", "--weights", str(trained)]) == 1


def test_train_takes_the_task_from_data_or_weights(
    trained: Path, masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recipes, "RECIPES", {**recipes.RECIPES, "little": RECIPE.lasting(1)})
    words = ["--recipe", "little", "--workers", "0", "--device", "cpu"]
    assert main(["train", str(masks), "--weights", str(trained), *words, "-o", str(tmp_path / "on")]) == 0
    assert read_config(tmp_path / "on").kind is Segmenter.FCN
    command = ["train", str(masks), "--model", "se_resnet18", "--segmenter", "unet", *words]
    assert main([*command, "-o", str(tmp_path / "u")]) == 0
    assert "has pictures with masks: --task segmentation is meant" in capsys.readouterr().err
    assert read_config(tmp_path / "u").kind is Segmenter.UNET
    assert main([*command, "--patience", "3", "-o", str(tmp_path / "x")]) == 2
    assert "--patience is a classifier's; leave it out with --task segmentation" in capsys.readouterr().err


def test_other_classes_keep_all_that_does_not_tell_them_apart(trained: Path, tmp_path: Path) -> None:
    paint(tmp_path / "set/images", tmp_path / "set/masks", 4, 5)
    (tmp_path / "set/classes.txt").write_text("ground\nblock\nball\n")
    words = {"weights": trained, "recipe": replace(RECIPE.lasting(1), rate=1e-12)}
    fit_segmenter(config(tmp_path / "set", tmp_path / "run", **words))
    before, after = (senet_zoo.from_pretrained(folder).state_dict() for folder in (trained, tmp_path / "run"))
    assert torch.allclose(before["classifier.0.weight"], after["classifier.0.weight"])
    assert not torch.allclose(before["classifier.4.weight"], after["classifier.4.weight"])


def test_a_config_that_breaks_a_rule_names_the_field(trained: Path, tmp_path: Path) -> None:
    data = json.loads((trained / "config.json").read_text())
    for change, message in (
        ({"segmenter": "yolo"}, "segmenter must be one of fcn, deeplabv3, unet"),
        ({"output_stride": 32}, "output_stride must be 8 or 16"),
        ({"classes": ["one"]}, "classes must be from 2 to 255, got 1"),
        ({"std": [1, 1, 0]}, "std must be above 0"),
        ({"auxiliary": 1}, "auxiliary must be true or false"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(data | change))
        with pytest.raises(ManifestError, match=message):
            read_config(tmp_path)
