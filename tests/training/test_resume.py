"""A run that was interrupted, however, ends with the same bytes as one that was not."""

import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from senet_zoo.errors import UsageError
from senet_zoo.networks.fused import implementations
from senet_zoo.networks.fused import set_fused as switch
from senet_zoo.training import TrainConfig, fit
from senet_zoo.training.checkpoints import TrainingCheckpoint, last_good, newest_checkpoint, write_checkpoint
from senet_zoo.training.optimizers import AdamW, Plateau
from senet_zoo.training.progress import Progress
from senet_zoo.training.recipes import CIFAR_SPEED, FINETUNE, MODERN

EVERYTHING = dataclasses.replace(  # chance wherever there can be any, and a state of every kind
    MODERN, epochs=3, batch=8, rate=0.05, ema=0.5, drop_path=0.2, head_epochs=1, frozen_norm_epochs=1
)
ADAM = dataclasses.replace(
    FINETUNE, epochs=3, batch=12, rate=1e-3, optimizer=AdamW(), schedule=Plateau(patience=1), head_epochs=0
)
SPEED = dataclasses.replace(CIFAR_SPEED, epochs=3, batch=12, rate=0.05)

SHORT = dataclasses.replace(FINETUNE, epochs=1, batch=6, head_epochs=0)
pytestmark = pytest.mark.usefixtures("without_plots")


class Interrupted(BaseException):
    pass


class Stop(Progress):
    """End the run after a step, without a chance to clean up what matters."""

    def __init__(self, after: int) -> None:
        super().__init__(io.StringIO())
        self.left = after

    def advance(self, pictures: int, loss: float, top1: float | None = None) -> None:
        self.left -= 1
        if not self.left:
            raise Interrupted


def config(data: Path, output: Path, recipe=EVERYTHING, **options) -> TrainConfig:
    options = {"model": "se_resnet20", "size": 16, "workers": 0, "device": "cpu", "seed": 3, **options}
    return TrainConfig(str(data), output=output, recipe=recipe, **options)


def quiet() -> Progress:
    return Progress(io.StringIO())


def tensors(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("recipe", "options", "interruptions"),  # each after so many steps of its own
    [
        (EVERYTHING, {"checkpoint_steps": 2}, (1, 3, 2, 4)),
        (ADAM, {"checkpoint_steps": 1, "patience": 3, "class_weights": True, "pieces": 2}, (2, 3)),
        (SPEED, {"model": "se_cifarnet", "size": 32, "checkpoint_steps": 1}, (1, 2, 3)),
        (SHORT, {"model": "se_googlenet", "size": 96, "checkpoint_steps": 1}, (3,)),
    ],
    ids=["everything", "adam", "whitened", "auxiliary classifiers"],
)
def test_interrupted_at_any_steps_it_ends_with_the_same_bytes(
    recipe, options, interruptions, colours: Path, tmp_path: Path
) -> None:
    whole = fit(config(colours, tmp_path / "whole", recipe, **options), quiet())
    broken = config(colours, tmp_path / "broken", recipe, **options)
    for after in interruptions:
        with pytest.raises(Interrupted):
            fit(broken, Stop(after))
        assert not (tmp_path / "broken" / "model.safetensors").exists()
    resumed = fit(broken, quiet())
    assert tensors(tmp_path / "broken") == tensors(tmp_path / "whole")
    same = [
        [(row.epoch, row.step, row.rate, row.loss, row.top1, row.val_loss, row.val_top1) for row in result.history]
        for result in (whole, resumed)
    ]
    assert same[0] == same[1]


@pytest.mark.parametrize("pays", [True, False])
def test_whether_units_are_fused_is_measured_once_a_run_and_said(
    pays: bool, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(gain: float) -> None:
        monkeypatch.setattr(switch, "measured_speedup", lambda *_: gain)

    monkeypatch.setattr(
        implementations, "_on_cpu", lambda: implementations.Chosen(implementations.PLAIN, "")
    )  # no seconds of compilation
    recipe = dataclasses.replace(SHORT, drop_path=0.0)  # what is dropped is not fused
    options = {"recipe": recipe, "checkpoint_steps": 1}
    asked, heard = {"fused": "auto", **options}, io.StringIO()
    measured(1.5 if pays else 0.9)
    with pytest.raises(Interrupted):
        fit(config(colours, tmp_path / "broken", **asked), Stop(3))
    measured(0.9 if pays else 1.5)  # the machine has changed its mind
    fit(config(colours, tmp_path / "broken", **asked), Progress(heard))
    for word in (True, False):
        fit(config(colours, tmp_path / str(word), fused=word, **options), quiet())
    assert tensors(tmp_path / "broken") == tensors(tmp_path / str(pays)) != tensors(tmp_path / str(not pays))
    assert f"residual units are {'' if pays else 'not '}fused: as at the start of this run" in heard.getvalue()
    said = json.loads((tmp_path / "broken" / "run.json").read_text())
    assert (said["fused units"], said["units were fused"]) == ("auto", pays)


KILLED = """
import io, os, signal, sys, torch
sys.path.insert(0, sys.argv[1])
torch.set_num_threads(int(sys.argv[4]))
from test_resume import config, fit, Path, Progress

class Kill(Progress):
    seen = 0
    def advance(self, pictures, loss, top1):
        self.seen += 1
        if self.seen == 5:
            os.kill(os.getpid(), signal.SIGKILL)

fit(config(Path(sys.argv[2]), Path(sys.argv[3]), checkpoint_steps=2), Kill(io.StringIO()))
"""


def test_killed_with_minus_9_it_ends_with_the_same_bytes(colours: Path, tmp_path: Path) -> None:
    words = [str(Path(__file__).parent), str(colours), str(tmp_path / "broken"), str(torch.get_num_threads())]
    done = subprocess.run([sys.executable, "-c", KILLED, *words], timeout=120, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert newest_checkpoint(tmp_path / "broken" / "checkpoints").step == 4
    fit(config(colours, tmp_path / "broken", checkpoint_steps=2), quiet())
    fit(config(colours, tmp_path / "whole"), quiet())
    assert tensors(tmp_path / "broken") == tensors(tmp_path / "whole")


@pytest.mark.parametrize("harm", ["torn tensors", "other bytes", "no tensors", "torn state", "no state"])
def test_the_newest_whole_checkpoint_is_found_after_a_torn_write(harm: str, tmp_path: Path) -> None:
    for step in (3, 4):
        write_checkpoint(tmp_path, TrainingCheckpoint(step, {"weight": torch.full((8,), float(step))}, {"history": []}))
    newest = tmp_path / "00000004.safetensors"
    assert newest_checkpoint(tmp_path).step == 4
    if harm == "torn tensors":
        os.truncate(newest, newest.stat().st_size // 2)
    elif harm == "other bytes":
        content = bytearray(newest.read_bytes())
        content[-1] ^= 1
        newest.write_bytes(content)
    elif harm == "no tensors":
        newest.unlink()
    elif harm == "torn state":
        newest.with_suffix(".json").write_text('{"step": 4')
    else:
        newest.with_suffix(".json").unlink()
    found = newest_checkpoint(tmp_path)
    assert found.step == 3
    assert found.tensors["weight"].tolist() == [3.0] * 8
    assert "00000003.safetensors" in last_good(tmp_path)


def test_another_run_does_not_go_on_from_its_checkpoints(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        fit(config(colours, tmp_path / "run", checkpoint_steps=1), Stop(3))
    with pytest.raises(UsageError, match=r"another run: seed was 3 and is 4.*another output folder"):
        fit(config(colours, tmp_path / "run", seed=4), quiet())


def test_checkpoints_are_safetensors_and_json(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        fit(config(colours, tmp_path / "run", checkpoint_steps=1), Stop(5))
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    names.remove("run.yaml")
    assert names == ["00000003.json", "00000003.safetensors", "00000004.json", "00000004.safetensors"]
    assert json.loads((tmp_path / "run" / "checkpoints" / "00000004.json").read_text())["step"] == 4


def test_a_checkpoint_that_is_written_to_while_it_is_read_is_not_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2):
        write_checkpoint(tmp_path, TrainingCheckpoint(step, {"w": torch.full((4,), float(step))}, {}))
    read = safetensors.torch.load_file

    def swapped(path: Path) -> dict[str, torch.Tensor]:
        if path.name == "00000002.safetensors":
            path.write_bytes(path.read_bytes()[:-1] + b"x")
        return read(path)

    monkeypatch.setattr("safetensors.torch.load_file", swapped)
    assert newest_checkpoint(tmp_path).step == 1
