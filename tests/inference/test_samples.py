"""The pictures in samples/ are what its README says."""

from pathlib import Path

import pytest

from senet_zoo.data.picture_paths import find_pictures
from senet_zoo.data.pictures import read_picture

SAMPLES = Path(__file__).parents[2] / "samples"
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def test_there_is_one_of_each_class() -> None:
    assert [path.name for path in find_pictures(SAMPLES)] == [f"{name}.png" for name in CLASSES]


@pytest.mark.parametrize("name", CLASSES)
def test_each_is_as_large_as_in_the_data_set(name: str) -> None:
    assert read_picture(SAMPLES / f"{name}.png").size == (32, 32)
