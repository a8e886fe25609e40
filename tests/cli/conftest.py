"""What the tests of the command line share: pictures, and weights that need no training."""

from pathlib import Path

import pytest
import torch
from PIL import Image

import senet_zoo
from senet_zoo.formats import safetensors


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, colour in (("1.png", "red"), ("2.jpg", "lime"), ("10.png", "blue")):
        Image.new("RGB", (40, 30), colour).save(folder / name)
    return folder


@pytest.fixture
def random_weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = senet_zoo.create_model("se_resnet20", num_classes=10).eval()
    path = tmp_path / "random.safetensors"
    safetensors.write(path, model.state_dict(), {})
    return path


@pytest.fixture(autouse=True)
def without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said, whatever a terminal makes of it."""
    monkeypatch.setenv("NO_COLOR", "1")
