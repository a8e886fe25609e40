"""What a user may not read or write is one line that names it, and nothing half-written stays."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from senet_zoo.cli import main

pytestmark = pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="this user may read everything")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """``locked/`` may not be entered, ``full/`` not be written into, ``secret.png`` not be read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "locked" / "a").mkdir(parents=True)
    (tmp_path / "full").mkdir()
    for name in ("photo.png", "secret.png", "locked/a/photo.png"):
        Image.new("RGB", (32, 32), "red").save(tmp_path / name)
    (tmp_path / "secret.png").chmod(0)
    (tmp_path / "locked").chmod(0)
    (tmp_path / "full").chmod(0o555)
    yield tmp_path
    for name in ("locked", "full"):
        (tmp_path / name).chmod(0o755)


@pytest.mark.parametrize(
    "words",
    [
        "predict secret.png",
        "predict locked",
        "predict locked/a/photo.png",
        "predict photo.png --model ./locked",
        "predict photo.png -o full/classes.csv",
        "info ./locked",
        "compare ./locked",
        "verify ./locked",
        "evaluate locked",
        "evaluate locked --task detection --weights ./locked",
        "excite locked",
        "excite secret.png",
        "train locked --model se_resnet20 -o run",
        "train locked --model se_resnet18 -o run --task detection",
        "train locked --model se_resnet18 -o run --task segmentation",
        "train --config locked/run.yaml",
        "train --resume locked",
        "export --model ./locked -o net.onnx",
        "convert secret.png -o net.safetensors",
        "cache --move full/cache",
    ],
)
def test_it_is_one_line_and_leaves_nothing(words: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(folder.rglob("*"))
    assert main(words.split()) in (1, 2)
    err = capsys.readouterr().err
    assert err.startswith(f"senet-zoo {words.split()[0]}: ")
    assert err.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


def test_a_cache_that_may_not_be_entered(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SENET_ZOO_CACHE", str(folder / "locked" / "cache"))
    assert main(["list", "se_resnet20", "--weights"]) == 0
    assert main(["predict", "photo.png", "--model", "se_resnet20"]) == 0
    assert main(["cache"]) == 1
    assert "cannot be looked at: Permission denied" in capsys.readouterr().err
