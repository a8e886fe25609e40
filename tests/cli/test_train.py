"""``senet-zoo train``."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from painted import paint

from senet_zoo.cli import main
from senet_zoo.cli.train import _interruptible
from senet_zoo.networks.fused import implementations
from senet_zoo.training import classification


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
    assert err.splitlines()[-1].endswith("The same command goes on from there")
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
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert (shown["batch"], shown["rate"], shown["epochs"], shown["weight_decay"]) == ("1024", "0.6", "100", "0.0001")
    assert main(["train", "--recipe", "paper", "--show", "--json", "--epochs", "10"]) == 0
    assert (
        json.loads(capsys.readouterr().out)["schedule"]
        == "Steps(pieces=((0.0, 1.0), (3.0, 0.1), (6.0, 0.01), (9.0, 0.001)))"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train"], "training needs DATA"),
        (["train", "x", "-o", "y"], "training needs --model"),
        (["train", "x", "--model", "se_resnet20"], "training needs --output"),
        (["train", "--recipe", "papper", "--show"], "did you mean paper"),
        (["train", "x", "--rate", "0"], "must be a number above 0"),
        (["train", "x", "--val-share", "1"], "above 0 and below 1"),
    ],
)
def test_wrong_words_are_status_2(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err
