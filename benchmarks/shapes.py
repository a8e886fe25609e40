"""A small detection set in COCO's format: coloured circles, squares and triangles on photographs.

    python benchmarks/shapes.py OUTPUT [--backgrounds FOLDER] [--train 200] [--val 50] [--side 128] [--seed 0]

A class is a shape; colours say nothing. The same seed and backgrounds give the same pictures. Without backgrounds they
are smooth gradients under noise.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

SHAPES = ("circle", "square", "triangle")
SUFFIXES = {".jpg", ".jpeg", ".png"}
MOST = 4  # things a picture
OVERLAP = 0.05  # intersection over union that two things may have


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--backgrounds", type=Path, help="a folder of photographs, searched to its depth")
    parser.add_argument("--train", type=int, default=200)
    parser.add_argument("--val", type=int, default=50)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    make(
        arguments.output, arguments.backgrounds, {"train": arguments.train, "val": arguments.val},
        arguments.side, arguments.seed,
    )  # fmt: skip


def make(output: Path, backgrounds: Path | None, counts: dict[str, int], side: int, seed: int) -> None:
    """Write ``annotations/instances_SPLIT.json`` and ``SPLIT/*.png`` for each split; no photograph serves in two."""
    photographs = photographs_in(backgrounds) if backgrounds else []
    order = np.random.default_rng(seed).permutation(len(photographs))
    free = [photographs[index] for index in order]
    if backgrounds and len(free) < sum(counts.values()):
        raise SystemExit(f"{sum(counts.values())} photographs are needed, and {backgrounds} has {len(free)}")
    (output / "annotations").mkdir(parents=True)
    for number, (split, count) in enumerate(counts.items()):
        (output / split).mkdir()
        images, annotations = [], []
        for index in range(count):
            chance = np.random.default_rng((seed, number, index))
            canvas = photograph(free.pop(), side) if backgrounds else gradient(chance, side)
            name = f"{index:05d}.png"
            for shape, box in draw(canvas, chance):
                area = (box[2] - box[0]) * (box[3] - box[1])
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": index + 1,
                        "category_id": shape + 1,
                        "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                        "area": area,
                        "iscrowd": 0,
                    }
                )
            canvas.save(output / split / name)
            images.append({"id": index + 1, "file_name": name, "width": side, "height": side})
        categories = [{"id": number + 1, "name": name} for number, name in enumerate(SHAPES)]
        document = {"images": images, "annotations": annotations, "categories": categories}
        (output / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))


def photographs_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def photograph(path: Path, side: int) -> Image.Image:
    with Image.open(path) as picture:
        return ImageOps.fit(picture.convert("RGB"), (side, side))


def gradient(chance: np.random.Generator, side: int) -> Image.Image:
    corners = chance.uniform(0, 255, (2, 2, 3))
    at = np.linspace(0, 1, side)
    rows = corners[0][None] * (1 - at)[:, None, None] + corners[1][None] * at[:, None, None]
    field = rows[:, :1] * (1 - at)[None, :, None] + rows[:, 1:] * at[None, :, None]
    noisy = field + chance.normal(0, 12, field.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def draw(canvas: Image.Image, chance: np.random.Generator) -> list[tuple[int, tuple[int, int, int, int]]]:
    """Draw one to `MOST` things; returns the shape and the box (left, top, right, bottom) of each."""
    pen, side = ImageDraw.Draw(canvas), canvas.width
    things: list[tuple[int, tuple[int, int, int, int]]] = []
    wanted = int(chance.integers(1, MOST + 1))
    for _ in range(20 * wanted):
        size = int(chance.integers(side // 6, side // 3))
        left, top = (int(value) for value in chance.integers(0, side - size, 2))
        box = (left, top, left + size, top + size)
        if any(overlap(box, other) > OVERLAP for _, other in things):
            continue
        shape, colour = int(chance.integers(len(SHAPES))), tuple(int(value) for value in chance.integers(0, 256, 3))
        # Pillow fills the last pixel too; a box ends before it.
        inside = (left, top, left + size - 1, top + size - 1)
        if shape == 0:
            pen.ellipse(inside, fill=colour)
        elif shape == 1:
            pen.rectangle(inside, fill=colour)
        else:
            pen.polygon([(inside[0], inside[3]), (inside[2], inside[3]), ((left + inside[2]) / 2, top)], fill=colour)
        things.append((shape, box))
        if len(things) == wanted:
            break
    return things


def overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    return shared / (math.prod((a[2] - a[0], a[3] - a[1])) + math.prod((b[2] - b[0], b[3] - b[1])) - shared)


if __name__ == "__main__":
    main()
