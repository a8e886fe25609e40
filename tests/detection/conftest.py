"""What the tests of detection share."""

from pathlib import Path

import pytest

from benchmarks.shapes import make


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight training and four validation pictures of 64 pixels with circles, squares and triangles."""
    folder = tmp_path_factory.mktemp("shapes") / "set"
    make(folder, None, {"train": 8, "val": 4}, 64, 0)
    return folder
