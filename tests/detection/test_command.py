"""``--task detection`` of the command line's modules."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest

from senet_zoo.cli import detection as words
from senet_zoo.cli import evaluate, train
from senet_zoo.detection import Design, Kind, config
from senet_zoo.errors import DataError, UsageError

LITTLE = Design(side=64, longest=64, anchors=(4.0, 8.0, 16.0, 32.0, 64.0), channels=8, proposals=40, samples=8)


@pytest.fixture(autouse=True)
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe of two steps."""
    recipe = replace(config.SMALL.lasting(2), design=LITTLE, batch=2)
    monkeypatch.setattr(config, "RECIPES", {**config.RECIPES, "little": recipe})


def parsed(module, *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    module.add_arguments(parser)
    return parser.parse_args([*arguments, "--task", "detection"])


def test_from_a_folder_to_scores(shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = [str(shapes), "--model", "se_resnet18", "--recipe", "little", "--workers", "0", "--device", "cpu"]
    assert train.run(parsed(train, *run, "-o", str(tmp_path / "run"))) == 0
    out, err = capsys.readouterr()
    assert "faster_rcnn on se_resnet18, 3 classes" in out
    assert "AP@0.5" in out
    assert "2 steps of 2 pictures" in err
    measured = parsed(evaluate, str(shapes), "--weights", str(tmp_path / "run"), "--device", "cpu", "--json")
    assert evaluate.run(measured) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert scores["pictures"] == 4
    assert scores == json.loads((tmp_path / "run/run.json").read_text())["scores"]

    path = shapes / "annotations/instances_val.json"
    before = path.read_text()
    try:
        path.write_text(before.replace("circle", "disc"))
        with pytest.raises(DataError, match="must be circle, square, triangle, and are disc"):
            evaluate.run(measured)
    finally:
        path.write_text(before)
    with pytest.raises(UsageError, match="holds a detector on se_resnet18, not se_resnet50"):
        evaluate.run(parsed(evaluate, str(shapes), "--weights", str(tmp_path / "run"), "--model", "se_resnet50"))


def test_show_prints_the_paper_s_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert train.run(parsed(train, "--recipe", "paper", "--show", "--json")) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["steps"], shown["batch"], shown["rate"], shown["design"]["side"]) == (180_000, 16, 0.02, 800)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x", "--model", "se_resnet18"], "training needs --output"),
        (["--model", "se_resnet18", "-o", "y"], "training needs DATA"),
        (
            ["x", "--recipe", "scratch"],
            "recipes for detection are finetune, augmented, paper, small, little, got 'scratch'",
        ),
        (["x", "--model", "se_resnet18", "-o", "y", "--patience", "2"], "--patience is a classifier's"),
        (["x", "--model", "se_resnet18", "-o", "y", "--class-weights"], "--class-weights is a classifier's"),
        (["x", "--model", "se_resnet18", "-o", "y", "--fused", "on"], "--fused is a classifier's"),
    ],
)
def test_words_that_detection_has_not_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        train.run(parsed(train, *arguments))


def test_a_detector_to_measure_is_named_by_its_folder(shapes: Path) -> None:
    with pytest.raises(UsageError, match="--weights names the folder"):
        evaluate.run(parsed(evaluate, str(shapes)))


def test_the_words_are_those_of_the_library() -> None:
    assert tuple(kind.value for kind in Kind) == words.DETECTORS


def test_a_dry_run_says_steps_and_memory_and_leaves_nothing(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [
        str(shapes),
        "--model",
        "se_resnet18",
        "--recipe",
        "little",
        "--workers",
        "0",
        "--device",
        "cpu",
        "--dry-run",
    ]
    assert train.run(parsed(train, *words)) == 0
    out = capsys.readouterr().out
    assert "8 to learn from, 4 to measure on" in out
    assert "nothing was trained or written" in out
    found = []
    for size in ("64", "128"):
        arguments = parsed(train, *words, "--size", size)
        arguments.json = True
        assert train.run(arguments) == 0
        found.append(json.loads(capsys.readouterr().out))
    small, large = found
    assert (small["steps"], small["batch"], small["passes"]) == (2, 2, 0.5)
    assert small["weights_bytes"] == large["weights_bytes"] == 12 * small["learnt"]
    assert 3.0 < large["picture_bytes"] / small["picture_bytes"] < 5.0
    # A start from published weights, which are not fetched.
    assert train.run(parsed(train, *words, "--pretrained")) == 0
    assert train.run(parsed(train, *words[:1], "--model", "se_resnet18.timm_in1k", *words[3:], "--pretrained")) == 0
    capsys.readouterr()
    assert small["memory_bytes"] == small["weights_bytes"] + 2 * small["picture_bytes"]
    assert not list(tmp_path.iterdir())


def test_a_dry_run_is_no_classifier_s(shapes: Path) -> None:
    arguments = parsed(train, str(shapes), "--model", "se_resnet18", "--dry-run")
    arguments.task = "classification"
    with pytest.raises(UsageError, match="--dry-run is of detectors and segmenters"):
        train.run(arguments)
