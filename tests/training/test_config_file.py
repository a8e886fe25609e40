"""A run's configuration as a file: what is written reads back the same, and what is wrong in one is named."""

import dataclasses
import io
import json
import os
from pathlib import Path

import pytest
import yaml

from senet_zoo.detection.config import DETECTION, DetectionConfig
from senet_zoo.detection.config import RECIPES as DETECTION_RECIPES
from senet_zoo.detection.config import load_config as load_detection_config
from senet_zoo.errors import TrainingError, UsageError
from senet_zoo.training import RECIPES, TrainConfig, fit, load_config
from senet_zoo.training.config_file import CLASSIFICATION, as_yaml, config_of, values_of_config, write_config
from senet_zoo.training.optimizers import AdamW, OneCycle, Plateau, Steps
from senet_zoo.training.progress import Progress
from senet_zoo.training.recipes import FINETUNE

ODD = dataclasses.replace(FINETUNE, optimizer=AdamW(betas=(0.8, 0.99)), schedule=OneCycle(rise=0.2), mixup=0.1)


@pytest.mark.parametrize("recipe", [*RECIPES.values(), ODD, dataclasses.replace(ODD, schedule=Plateau(patience=3))])
def test_every_recipe_reads_back_the_same(recipe, tmp_path: Path) -> None:
    config = TrainConfig("data", "se_resnet20", "run", recipe, trackers=("tensorboard",), root=tmp_path, fused="auto")
    write_config(tmp_path / "run.yaml", values_of_config(config, CLASSIFICATION))
    read = load_config(tmp_path / "run.yaml")
    assert read.own_recipe() == recipe
    assert dataclasses.replace(read, recipe=recipe, batch=None, rate=None, drop_path=None) == config


@pytest.mark.parametrize("name", DETECTION_RECIPES)
def test_and_every_one_of_a_detector(name: str, tmp_path: Path) -> None:
    config = DetectionConfig("data", "se_resnet18", "run", recipe=DETECTION_RECIPES[name], measure_steps=7)
    write_config(tmp_path / "run.yaml", values_of_config(config, DETECTION))
    read = load_detection_config(tmp_path / "run.yaml")
    assert read.own_recipe() == config.recipe
    assert dataclasses.replace(read, recipe=config.recipe, batch=None, rate=None) == config


def test_values_are_numbers_texts_lists_and_mappings() -> None:
    values = values_of_config(TrainConfig("data", "se_resnet20", Path("run")), CLASSIFICATION)
    assert values["optimizer"] == {"name": "sgd", "momentum": 0.9, "nesterov": True}
    assert json.loads(json.dumps(values)) == values == yaml.safe_load(as_yaml(values))


def test_a_file_by_hand_says_only_what_differs(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "data: flowers\nmodel: se_resnet50\noutput: run\nepochs: 24\n"
        "rate: 1e-3\nweight-decay: 5e-4\nschedule: one_cycle\n"
    )
    config = load_config(tmp_path / "mine.yaml")
    recipe = config.own_recipe()
    assert (recipe.epochs, recipe.head_epochs, recipe.rate, recipe.weight_decay) == (24, 2, 0.001, 0.0005)
    assert recipe.schedule == OneCycle()
    assert recipe.augmentation == FINETUNE.augmentation
    (tmp_path / "json.yaml").write_text(
        json.dumps({"data": "d", "model": "m", "output": "o", "seed": None, "rate": 0.1})
    )
    assert (load_config(tmp_path / "json.yaml").seed, load_config(tmp_path / "json.yaml").rate) == (0, 0.1)


@pytest.mark.usefixtures("without_plots")
def test_the_file_of_a_run_repeats_it_to_the_bit(colours: Path, tmp_path: Path) -> None:
    short = {"epochs": 2, "batch": 10, "workers": 0, "device": "cpu", "size": 16, "seed": 3}
    fit(TrainConfig(str(colours), "se_resnet20", tmp_path / "one", ODD, **short), Progress(io.StringIO()))
    again = dataclasses.replace(load_config(tmp_path / "one/run.yaml"), output=tmp_path / "two")
    heard = io.StringIO()
    fit(again, Progress(heard))
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two
    assert "other pictures" not in heard.getvalue()
    said = yaml.safe_load((tmp_path / "one/run.yaml").read_text())
    assert (said["seed"], said["batch"], said["epochs"]) == (3, 10, 2)
    assert {"torch", "senet_zoo", "python", "date"} <= said["made"].keys()
    (colours / "train/warm/0.png").write_bytes((colours / "train/cold/0.png").read_bytes())
    fit(dataclasses.replace(again, output=tmp_path / "three"), Progress(heard))
    assert "holds other pictures than those that this configuration was made with" in heard.getvalue()


@pytest.mark.usefixtures("without_plots")
@pytest.mark.parametrize("patience", [None, 3])
def test_the_best_and_the_last_epoch_are_kept(patience: int | None, colours: Path, tmp_path: Path) -> None:
    import senet_zoo

    forgets = Steps(((0, 0.1), (3, 10.0)))
    recipe = dataclasses.replace(FINETUNE, epochs=5, batch=8, rate=0.5, head_epochs=0, schedule=forgets)
    options = {"size": 16, "workers": 0, "device": "cpu", "patience": patience}
    found = fit(TrainConfig(str(colours), "se_resnet20", tmp_path / "run", recipe, **options), Progress(io.StringIO()))
    assert found.best_epoch < len(found.history)
    assert found.other == tmp_path / "run" / ("last" if patience else "best")
    own, other = senet_zoo.from_pretrained(tmp_path / "run"), senet_zoo.from_pretrained(found.other)
    best, last = (own, other) if patience else (other, own)
    top1 = {name: model.weights.provenance.metrics[0].value for name, model in (("best", best), ("last", last))}
    assert top1["best"] == round(found.history[found.best_epoch - 1].val_top1, 2)
    assert top1["last"] == round(found.history[-1].val_top1, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr: 0.1", "no value of a run is named 'lr'; did you mean rate"),
        ("wieght_decay: 0.1", "did you mean weight_decay"),
        ("rate: fast", "rate must be a number or null, got 'fast'"),
        ("rate: .nan", "rate must be a number"),
        ("rate: -1", "rate must be above 0"),
        ("epochs: 0", "epochs must be at least 1"),
        ("epochs: 1.5", "epochs must be a whole number"),
        ("seed: true", "seed must be a whole number"),
        ("weight_decay: -0.1", "weight_decay must be at least 0"),
        (
            "schedule: cosin",
            "schedule must be a mapping whose name is one of steps, cosine, linear, one_cycle, plateau",
        ),
        ("schedule: {name: steps}", "schedule must be whole"),
        ("schedule: {name: steps, pieces: [[1, 1.0]]}", "begin at epoch 0"),
        ("optimizer: {name: sgd, momentun: 0.9}", "optimizer has no 'momentun'; did you mean momentum"),
        ("optimizer: {name: sgd, momentum: 2}", "momentum must be at least 0 and below 1"),
        ("augmentation: flip", "augmentation must be a list"),
        ("augmentation: [{name: area_crop, area: [1]}]", "area must be a list of 2"),
        ("recipe: papper", "did you mean paper"),
        ("precision: int8", "precision must be fp32 or bf16 or fp16"),
        ("data: 2024", "data must be a text"),
        ("aa: rand-m9", "no value of a run is named 'aa'; they are augmentation, batch"),
        ("augmentation: [{name: rand_augment, strength: 99}]", "strength must be from 0 to 30"),
        ("augmentation: [{name: erase, share: 7}]", "share must be from 0 to 1"),
        ("augmentation: [{name: area_crop, area: [1, 0.1]}]", "area must be two ascending shares"),
        ("optimizer: {name: sgd, momentum: 0, nesterov: true}", "nesterov needs a momentum"),
        ("epochs: 1\nepochs: 2", "'epochs' stands twice"),
        ("trackers: &a [x]\nsizes: *a", "an alias"),
        ("epochs: [", "must be YAML"),
        ("!!python/object/apply:os.system [ls]", "must be YAML"),
        ("- epochs", "must hold names and values"),
        ("", "must hold names and values"),
        ("1: 2", "must hold names and values"),
        ("\x00", "must be YAML"),
        ("[" * 5000, "must be YAML"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    given = [line for line in ("data: d", "model: m", "output: o") if line[:4] != text[:4]]
    whole = "\n".join([*given, text]) if text[:1].isalpha() else text
    file.write_text(whole)
    with pytest.raises(UsageError, match=message):
        load_config(file)


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path, tmp_path / "none.yaml", tmp_path / "pipe.yaml"):
        with pytest.raises(TrainingError, match=f"{path} cannot be read"):
            load_config(path)
    (tmp_path / "large.yaml").write_text("#" * 2**21)
    with pytest.raises(UsageError, match="at most 1048576 bytes"):
        load_config(tmp_path / "large.yaml")
    with pytest.raises(UsageError, match="must be told its data"):
        config_of({"model": "se_resnet20"}, CLASSIFICATION)


def test_a_run_writes_over_no_configuration_of_others(colours: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.yaml").write_text("mine: true\n")
    with pytest.raises(UsageError, match=r"writes over nothing that is not its own.*run\.yaml"):
        fit(TrainConfig(str(colours), "se_resnet20", tmp_path / "run", device="cpu"))
    assert (tmp_path / "run/run.yaml").read_text() == "mine: true\n"
