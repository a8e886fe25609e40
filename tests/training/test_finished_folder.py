"""What a finished run leaves."""

import csv
import dataclasses
import io
import re
from pathlib import Path

import pytest
from PIL import Image

import senet_zoo
from senet_zoo.errors import UsageError
from senet_zoo.training import TrainConfig, fit
from senet_zoo.training.progress import Progress
from senet_zoo.training.recipes import FINETUNE


def test_the_folder_holds_a_network_that_knows_its_classes_and_how_it_came_about(colours: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(FINETUNE, epochs=5, batch=8, rate=0.05, head_epochs=0)
    folder, stream = tmp_path / "run", io.StringIO()
    config = TrainConfig(str(colours), "se_resnet20", folder, recipe, size=16, workers=0, device="cpu")
    result = fit(config, Progress(stream))
    names = {"model.safetensors", "config.json", "preprocessor_config.json", "README.md", "run.json", "run.yaml"}
    names |= {"metrics.csv", "curves.png", "confusion.png"}
    assert {path.name for path in folder.iterdir()} == names
    model = senet_zoo.from_pretrained(folder)
    assert model.weights.categories == ("cold", "warm")
    assert model.weights.preprocessing.size == 16
    assert f"| {round(result.val_top1, 2):g} % |" in (folder / "README.md").read_text()
    for name in ("curves.png", "confusion.png"):
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 200
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5]
    assert float(rows[-1]["val_loss"]) == result.history[-1].val_loss
    assert result.val_top1 == 100.0
    assert result.confusion == ((4, 0), (0, 4))
    assert len(re.findall(r"^epoch \d/5: loss", stream.getvalue(), re.M)) == 5
    assert "learning rate 0.05 at a batch of 8" in stream.getvalue()


class Killed(BaseException):
    pass


@pytest.mark.usefixtures("without_plots")
@pytest.mark.parametrize("call", ["unlink", "rmdir"])
def test_a_kill_over_the_last_removal_is_tidied_by_the_next_run(
    call: str, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = dataclasses.replace(FINETUNE, epochs=1, batch=8, head_epochs=0)
    config = TrainConfig(str(colours), "se_resnet20", tmp_path / "run", recipe, size=16, workers=0, device="cpu")
    original = getattr(Path, call)

    def kill(path: Path, *words: bool, **options: bool) -> None:
        if path.parent.name == "checkpoints" and (tmp_path / "run" / "model.safetensors").exists():
            raise Killed
        original(path, *words, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, call, kill)
        with pytest.raises(Killed):
            fit(config, Progress(io.StringIO()))
    assert (tmp_path / "run" / "checkpoints").exists()
    with pytest.raises(UsageError, match="holds a finished run"):
        fit(config, Progress(io.StringIO()))
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert senet_zoo.from_pretrained(tmp_path / "run").num_classes == 2


@pytest.mark.usefixtures("without_plots")
def test_files_that_no_run_wrote_are_left_alone(colours: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(FINETUNE, epochs=1, batch=8, head_epochs=0)
    folder = tmp_path / "run"
    config = TrainConfig(str(colours), "se_resnet20", folder, recipe, size=16, workers=0, device="cpu")
    kept = folder / "checkpoints" / "mine.ckpt"
    kept.parent.mkdir(parents=True)
    kept.write_text("hours of work")
    for name, content in (
        ("metrics.csv", "epoch,loss\n1,0.5\n"),
        ("metrics.csv", ""),
        ("run.json", "{}"),
        ("run.json", "no json"),
        ("config.json", '{"model_type": "bert"}'),
        ("README.md", "# mine"),
    ):
        (folder / name).write_text(content)
        with pytest.raises(UsageError, match=re.escape(name)):
            fit(config, Progress(io.StringIO()))
        assert (folder / name).read_text() == content
        (folder / name).unlink()
    fit(config, Progress(io.StringIO()))
    assert [path.name for path in kept.parent.iterdir()] == ["mine.ckpt"]
    assert kept.read_text() == "hours of work"


@pytest.mark.usefixtures("without_plots")
def test_a_run_whose_network_was_removed_is_trained_again_over_its_own_files(colours: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(FINETUNE, epochs=1, batch=8, head_epochs=0)
    config = TrainConfig(str(colours), "se_resnet20", tmp_path / "run", recipe, size=16, workers=0, device="cpu")
    for _ in range(2):
        fit(config, Progress(io.StringIO()))
        assert len(list((tmp_path / "run").glob("*.csv"))) == 1
        (tmp_path / "run" / "model.safetensors").unlink()
