"""What the tests of training runs share."""

from pathlib import Path

import pytest
from painted import paint

from senet_zoo.training import classification


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Twelve training and four validation pictures a class."""
    paint(tmp_path / "colours" / "train", 12)
    paint(tmp_path / "colours" / "val", 4, seed=1)
    return tmp_path / "colours"


@pytest.fixture
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take longer than the training."""
    monkeypatch.setattr(classification, "plot_curves", lambda *_: None)
    monkeypatch.setattr(classification, "plot_confusion", lambda *_: None)
