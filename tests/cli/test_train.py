"""``senet-zoo train``."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from painted import paint

from senet_zoo.cli import main
from senet_zoo.cli.train import _interruptible
from senet_zoo.networks.fused import implementations
from senet_zoo.training import classification
from senet_zoo.training.run import Run


@pytest.fixture
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Words of a run of seconds."""
    monkeypatch.setattr(classification, "plot_curves", lambda *_: None)
    monkeypatch.setattr(classification, "plot_confusion", lambda *_: None)
    monkeypatch.setattr(
        implementations, "_on_cpu", lambda: implementations.Chosen(implementations.PLAIN, "no compiler")
    )
    data = paint(tmp_path / "data", 12)
    return [
        *("train", str(data), "--model", "se_resnet20", "-o", str(tmp_path / "my run"), "--size", "16"),
        *("--epochs", "2", "--batch", "8", "--workers", "0", "--device", "cpu", "--val-share", "0.25"),
    ]


def test_it_trains_and_prints_the_command_that_predicts(
    short: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*short, "--fused", "auto"]) == 0
    out, err = capsys.readouterr()
    assert err.count("residual units are not fused: no compiler") == 1
    assert "validation: top-1 " in out
    assert "of 6 pictures" in out
    assert err.count("epoch 2/2: ") == 1
    assert "learning rate 0.0025 at a batch of 8: in proportion to the recipe's 0.01 at 32" in err
    import shlex

    words = shlex.split(out.splitlines()[-1])
    assert words[0] == "senet-zoo"
    assert main([*words[1:-1], str(tmp_path / "data/cold/1.png"), "--json"]) == 0
    (prediction,) = json.loads(capsys.readouterr().out)["predictions"]
    assert {each["label"] for each in prediction["classes"]} == {"cold", "warm"}


def test_json_is_the_whole_result_and_an_unreadable_picture_is_status_1(
    short: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data/warm/5.png").write_bytes(b"no picture")
    assert main([*short, "--json"]) == 1
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert result["unreadable"] == ["warm/5.png"]
    assert [row["epoch"] for row in result["history"]] == [1, 2]
    assert err.count("warm/5.png") == 1


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_cleanly_and_the_same_command_goes_on(
    number: signal.Signals, status: int, short: list[str], tmp_path: Path
) -> None:
    words = [*short, "--epochs", "10000", "--checkpoint-steps", "1", "--workers", "1"]
    run = [sys.executable, "-m", "senet_zoo", *words]
    process = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    checkpoints, end = tmp_path / "my run" / "checkpoints", time.monotonic() + 120
    while not list(checkpoints.glob("*.json")) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert out == ""
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith(f"senet-zoo train: interrupted. The last good checkpoint is {checkpoints}/")
    assert err.splitlines()[-1].endswith(f"senet-zoo train --resume '{tmp_path / 'my run'}' goes on from there")
    assert not [path.name for path in (tmp_path / "my run").rglob("*.part")]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_meets_a_destructor_is_not_lost(number: signal.Signals, status: int, tmp_path: Path) -> None:
    class Destroyed:
        def __del__(self) -> None:
            os.kill(os.getpid(), number)
            time.sleep(0.01)  # what is raised here is swallowed

    def run() -> None:
        with _interruptible(tmp_path):
            Destroyed()
            time.sleep(10)

    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == status


def test_show_prints_a_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--recipe", "paper", "--show"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert (shown["batch"], shown["rate"], shown["epochs"], shown["weight_decay"]) == (1024, 0.6, 100, 0.0001)
    assert (shown["recipe"], shown["data"]) == ("paper", None)
    assert main(["train", "--recipe", "paper", "--show", "--json", "--epochs", "10"]) == 0
    pieces = [[0.0, 1.0], [3.0, 0.1], [6.0, 0.01], [9.0, 0.001]]
    assert json.loads(capsys.readouterr().out)["schedule"] == {"name": "steps", "pieces": pieces}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train"], "training needs DATA"),
        (["train", "x", "-o", "y"], "training needs --model"),
        (["train", "x", "--model", "se_resnet20"], "training needs --output"),
        (["train", "--recipe", "papper", "--show"], "did you mean paper"),
        (["train", "x", "--model", "se_resnet20", "-o", ""], "a run's output must be named, got ''"),
        (["train", "", "--model", "se_resnet20", "-o", "out"], "a run's data must be named, got ''"),
        (["train", "x", "--rate", "0"], "must be a number above 0"),
        (["train", "x", "--val-share", "1"], "above 0 and below 1"),
    ],
)
def test_wrong_words_are_status_2(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("task", ["classification", "detection", "segmentation"])
def test_an_error_of_the_data_stands_alone(task: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["--model", "se_resnet18", "-o", str(tmp_path / "run"), "--task", task]
    assert main(["train", str(tmp_path / "nothing"), *words]) == 1
    err = capsys.readouterr().err
    assert err.startswith("senet-zoo train: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_wrong_value_of_a_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("data: flowers\nmodel: se_resnet20\noutput: run\ndevice: tpu\n")
    assert main(["train", "--config", str(file)]) == 2
    message = "a run's device must be cpu or cuda, got 'tpu'; leave it out for whatever there is"
    assert capsys.readouterr().err == f"senet-zoo train: {message}\n"


def test_published_weights_of_the_same_size_are_the_start(
    short: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    small = [*short, "--epochs", "1"]
    of_weights = [*small[: small.index("--size")], *small[small.index("--size") + 2 :]]
    assert main([*of_weights, "--show"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert (shown["model"], shown["pretrained"], shown["data"]) == ("se_resnet20.cifar10", True, small[1])
    assert main(of_weights) == 0
    assert "se_resnet20 starts from se_resnet20.cifar10; --from-random for a fresh start" in capsys.readouterr().err
    other = str(tmp_path / "other")
    assert main([*small, "-o", other]) == 0  # 16 pixels
    said = capsys.readouterr().err
    assert "se_resnet20 starts from random weights; --pretrained starts from se_resnet20.cifar10, made for 32" in said
    for words in (["--from-random"], ["--recipe", "scratch"]):
        assert main([*of_weights, *words, "--show"]) == 0
        assert yaml.safe_load(capsys.readouterr().out)["pretrained"] is False
    assert main([*small, "-o", other, "--from-random", "--pretrained"]) == 2
    assert "--from-random is a start of its own" in capsys.readouterr().err


def test_a_config_repeats_a_run_and_options_go_before_it(
    short: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*short, "--from-random"]) == 0
    run, out = tmp_path / "my run", capsys.readouterr().out
    assert [line for line in out.splitlines() if line.endswith(("best", "best, saved"))]
    said = yaml.safe_load((run / "run.yaml").read_text())
    assert said["command"].startswith(f"senet-zoo train {tmp_path / 'data'} --model se_resnet20 -o '{run}'")
    assert main(["train", "--config", str(run / "run.yaml"), "-o", str(tmp_path / "two")]) == 0
    assert (run / "model.safetensors").read_bytes() == (tmp_path / "two/model.safetensors").read_bytes()
    assert main(["train", "--config", str(run / "run.yaml"), "--seed", "7", "--weight-decay", "0.5", "--show"]) == 0
    capsys.readouterr()
    assert main(["train", "--config", str(run / "run.yaml"), "--seed", "7", "--show", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["seed"], shown["epochs"], shown["size"]) == (7, 2, 16)
    for words, message in (
        (["--config", str(run / "run.yaml")], "holds a finished run"),
        (["--config", str(run / "model.safetensors")], "at most 1048576 bytes"),
        (["--resume", str(run)], "is finished; --config"),
        (["--resume"], "--resume must name the folder of a run"),
        (["--resume", str(run), "--config", "x"], "leave --config out"),
        (["--detector", "retinanet", "--show"], "--detector is a detector's"),
    ):
        assert main(["train", *words]) == 2
        assert message in capsys.readouterr().err
    for words, message in (
        (["--config", str(tmp_path / "none.yaml")], "cannot be read"),
        (["--resume", str(tmp_path)], "an interrupted run must lie in"),
    ):
        assert main(["train", *words]) == 1
        assert message in capsys.readouterr().err


def test_resume_goes_on_to_the_same_bits(short: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main([*short, "-o", str(tmp_path / "whole")]) == 0
    step = Run._step

    def interrupted(self: Run, batches: object) -> None:
        if self.step == 3:
            raise KeyboardInterrupt
        step(self, batches)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_step", interrupted)
        assert main(short) == 130
    config = yaml.safe_load((tmp_path / "my run/checkpoints/run.yaml").read_text())
    assert main(["train", "--resume", str(tmp_path / "my run"), "--workers", "1"]) == 0
    whole, broken = (tmp_path / name / "model.safetensors" for name in ("whole", "my run"))
    assert whole.read_bytes() == broken.read_bytes()
    assert yaml.safe_load((tmp_path / "my run/run.yaml").read_text())["command"] == config["command"]
