"""What the tests of segmentation share."""

from pathlib import Path

import numpy
import pytest
from PIL import Image

NAMES = ("background", "square", "disc")


def paint(pictures: Path, masks: Path, count: int, seed: int, *, size: tuple[int, int] = (80, 64)) -> None:
    """Pictures of noise with a bright square and a dark disc, and the number of each pixel's class."""
    pictures.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    chance = numpy.random.default_rng(seed)
    down, across = numpy.mgrid[0 : size[1], 0 : size[0]]
    for number in range(count):
        picture = chance.integers(90, 160, (size[1], size[0], 3)).astype(numpy.uint8)
        classes = numpy.zeros((size[1], size[0]), dtype=numpy.uint8)
        top, left = chance.integers(2, size[1] - 30), chance.integers(2, size[0] // 2 - 20)
        classes[top : top + 24, left : left + 20] = 1
        y, x = chance.integers(14, size[1] - 14), chance.integers(size[0] // 2 + 14, size[0] - 14)
        classes[(down - y) ** 2 + (across - x) ** 2 < 12**2] = 2
        picture[classes == 1] = (250, 220, 60)
        picture[classes == 2] = (20, 10, 60)
        Image.fromarray(picture).save(pictures / f"{number:03d}.png")
        Image.fromarray(classes).save(masks / f"{number:03d}.png")


@pytest.fixture(scope="session")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve training and four validation pictures with masks of numbers, and the names of their classes."""
    folder = tmp_path_factory.mktemp("masks") / "set"
    for part, count in (("train", 12), ("val", 4)):
        paint(folder / "images" / part, folder / "masks" / part, count, len(part))
    (folder / "classes.txt").write_text("\n".join(NAMES) + "\n")
    return folder
