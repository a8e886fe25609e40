"""``senet-zoo convert``: what it prints, and how it ends."""

import json
from pathlib import Path

import pytest
import timm
import torch

from senet_zoo.cli import main


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "run.pth"
    torch.save({"state_dict": timm.create_model("legacy_seresnet18", num_classes=3).state_dict()}, path)
    return path


def test_a_checkpoint_becomes_safetensors(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = checkpoint.with_name("run.safetensors")
    assert main(["convert", str(checkpoint), "-o", str(out)]) == 0
    text = capsys.readouterr().out
    assert f"{checkpoint}: se_resnet18, 3 classes, names of cadene" in text
    assert f"{out}: names of native, {out.stat().st_size} bytes, sha256 " in text
    assert main(["convert", str(out), "-o", str(out.with_name("t.safetensors")), "--to", "timm", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["model"], done["written_as"], done["foreign_model"]) == ("se_resnet18", "cadene", "legacy_seresnet18")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["-o", "run.npz"], 2, "end its name so"),
        (["-o", "o.safetensors", "--model", "se_resnt18"], 2, "did you mean"),
        (["-o", "o.safetensors", "--model", "se_resnet34"], 1, "must be exactly the network's"),
        (["-o", "o.safetensors", "--to", "torchvision"], 2, "torchvision has no network"),
        (["-o", "o.safetensors", "--to", "keras"], 2, "invalid choice"),
        ([], 2, "required: -o"),
    ],
)
def test_what_cannot_be_done_is_said(
    words: list[str],
    status: int,
    message: str,
    checkpoint: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(checkpoint.parent)
    assert main(["convert", checkpoint.name, *words]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert [path.name for path in checkpoint.parent.iterdir()] == ["run.pth"]
