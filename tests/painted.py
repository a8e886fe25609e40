"""Two classes of tiny pictures, told apart after a few steps of training."""

import random
from pathlib import Path

from PIL import Image

COLOURS = {"cold": (40, 60, 200), "warm": (210, 80, 40)}


def paint(folder: Path, count: int, seed: int = 0) -> Path:
    """``count`` pictures of noisy colour for each class, learnt within a few steps."""
    chance = random.Random(seed)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            shade = tuple(max(0, min(255, value + chance.randint(-60, 60))) for value in colour)
            picture = Image.new("RGB", (20, 18), shade)
            picture.putpixel((3, 3), (255, 255, 255))
            picture.save(folder / name / f"{number}.png")
    return folder
