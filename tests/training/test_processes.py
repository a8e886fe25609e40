"""Several processes train one network, meeting over gloo on this machine."""

import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from meeting import run_together

import senet_zoo
from senet_zoo.errors import UsageError
from senet_zoo.training import TrainConfig, fit
from senet_zoo.training.checkpoints import newest_checkpoint
from senet_zoo.training.progress import Progress
from senet_zoo.training.recipes import FINETUNE

# Batch norms measure each process's share of a step, so that only frozen ones are the same in one process and in two.
FROZEN = dataclasses.replace(FINETUNE, epochs=3, batch=8, rate=0.02, head_epochs=1, frozen_norm_epochs=3)

SCRIPT = """
import io, json, os, signal, sys
sys.path[:0] = sys.argv[1].split(os.pathsep)
from test_processes import Curve, Path, config, fit
from senet_zoo.training import classification

classification.plot_curves = classification.plot_confusion = lambda *_: None
curve = Curve(int(sys.argv[4]) if os.environ["RANK"] == "1" else None)
fit(config(Path(sys.argv[2]), Path(sys.argv[3])), curve)
if os.environ["RANK"] == "0":
    print(json.dumps(curve.losses))
"""


class Curve(Progress):
    """Remember the mean loss after every step; in the process that is to be killed, do that at one of them."""

    def __init__(self, kill_at: int | None = None) -> None:
        super().__init__(io.StringIO())
        self.losses: list[float] = []
        self.kill_at = kill_at

    def advance(self, pictures: int, loss: float, top1: float | None = None) -> None:
        self.losses.append(loss)
        if len(self.losses) == self.kill_at:
            sys.stdout.write(f"{time.time()}\n")
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)


def config(data: Path, output: Path) -> TrainConfig:
    return TrainConfig(str(data), "se_resnet20", output, FROZEN, size=16, workers=0, device="cpu", checkpoint_steps=2)


def averaged(data: Path, output: Path) -> TrainConfig:
    recipe = dataclasses.replace(FROZEN, ema=0.3)
    return dataclasses.replace(config(data, output), recipe=recipe)


def words(data: Path, output: Path, kill_at: int) -> list[str]:
    here = Path(__file__).parent
    return [os.pathsep.join([str(here), str(here.parent)]), str(data), str(output), str(kill_at)]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **more}


@pytest.mark.usefixtures("without_plots")
def test_two_processes_walk_down_the_same_curve_as_one(colours: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(
        [*launcher, *words(colours, tmp_path / "two", 0)],
        env=environment(),
        timeout=300,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    curve = Curve()
    one = fit(config(colours, tmp_path / "one"), curve)
    assert json.loads(done.stdout) == pytest.approx(curve.losses, rel=1e-5)
    assert len(curve.losses) == 9
    two = [line.split(",") for line in (tmp_path / "two" / "metrics.csv").read_text().splitlines()]
    assert [float(row[two[0].index("val_loss")]) for row in two[1:]] == pytest.approx(
        [row.val_loss for row in one.history], rel=1e-5
    )
    assert {path.name for path in (tmp_path / "two").iterdir()} == {path.name for path in one.folder.iterdir()}
    assert senet_zoo.from_pretrained(tmp_path / "two").num_classes == 2


@pytest.mark.slow
@pytest.mark.usefixtures("without_plots")
def test_a_network_in_shards_walks_down_the_same_curve_goes_on_and_is_saved_whole(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharded = SCRIPT.replace("config(Path", "averaged(Path").replace("config, fit", "averaged, fit")
    curve = Curve()
    fit(averaged(colours, tmp_path / "one"), curve)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    _, killed = run_together(sharded, *words(colours, tmp_path / "two", 6))
    assert killed.status == -signal.SIGKILL, killed
    step = newest_checkpoint(tmp_path / "two" / "checkpoints").step
    ended = run_together(sharded, *words(colours, tmp_path / "two", 0))
    assert [each.status for each in ended] == [0, 0], ended
    assert json.loads(ended[0].said) == pytest.approx(curve.losses[step:], rel=1e-4)
    one, two = (senet_zoo.from_pretrained(tmp_path / name).state_dict() for name in ("one", "two"))
    assert {key: tensor.shape for key, tensor in one.items()} == {key: tensor.shape for key, tensor in two.items()}
    for key, tensor in one.items():
        torch.testing.assert_close(two[key], tensor, rtol=1e-3, atol=1e-5)


BEFORE = "fit(config(Path(sys.argv[2]), Path(sys.argv[3] + '-before')), Curve())"
TWICE = SCRIPT.replace("fit(config(", f"{BEFORE}\nfit(config(")


@pytest.mark.slow
def test_two_runs_of_one_process_do_not_meet_where_the_other_left(colours: Path, tmp_path: Path) -> None:
    ended = run_together(TWICE, *words(colours, tmp_path / "run", 0))
    assert [each.status for each in ended] == [0, 0], ended
    assert senet_zoo.from_pretrained(tmp_path / "run-before").num_classes == 2
    assert senet_zoo.from_pretrained(tmp_path / "run").num_classes == 2


def test_what_shards_cannot_have_is_refused(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in {**meeting, "ACCELERATE_USE_FSDP": "true"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="compiled or sharded, not both"):
        fit(dataclasses.replace(config(colours, tmp_path / "run"), compile=True))
    monkeypatch.setenv("FSDP_OFFLOAD_PARAMS", "true")
    with pytest.raises(UsageError, match="FSDP_OFFLOAD_PARAMS asks for more"):
        fit(config(colours, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_when_one_process_is_killed_the_other_ends_and_the_checkpoint_loads(colours: Path, tmp_path: Path) -> None:
    left, killed = run_together(SCRIPT, *words(colours, tmp_path / "run", 6))
    assert killed.status == -signal.SIGKILL, killed
    assert left.status == 1, left
    said = left.complaint
    assert time.time() - float(killed.said) < 60
    assert "TrainingError: the processes of the run lost each other" in said
    assert "last good checkpoint is" in said
    assert newest_checkpoint(tmp_path / "run" / "checkpoints").step >= 4
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize("missing", ["RANK", "MASTER_ADDR"])
def test_processes_without_a_meeting_place_are_refused(
    missing: str, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meeting = {"RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name, value in meeting.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(missing)
    with pytest.raises(UsageError, match=rf"WORLD_SIZE=2 .*{missing} must say .*torchrun"):
        fit(config(colours, tmp_path / "run"))
