"""Names of classes, and the files of labels that evaluation sets come with."""

import csv
import re
from pathlib import Path

from senet_zoo.errors import DataError

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

IMAGENETTE = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
"""Ten of ImageNet's classes by their WordNet ids, which name the folders of the data set."""
SYNSET = re.compile(r"n\d{8}")
MAX_CLASSES = 10**6


def categories(labels: str, num_classes: int) -> tuple[str, ...]:
    """Names of the classes in the order of the logits.

    Args:
        labels: ``cifar10``, ``imagenette`` or ``imagenet-1k``; the classes of any other set are named by number.
        num_classes: how many there are.

    Source: CIFAR-10's own names; torchvision's metadata for ImageNet-1k and Imagenette.
    """
    if labels == "cifar10":
        return CIFAR10
    if labels == "imagenette":
        return tuple(IMAGENETTE.values())
    if labels == "imagenet-1k":
        from torchvision.models import ResNet50_Weights

        names: list[str] = ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
        return tuple(names)
    return tuple(f"class {index}" for index in range(num_classes))


def read_labels(
    labels: Path, classes: Path | None, pictures: tuple[str, ...], first: int = 0
) -> tuple[tuple[str, ...], tuple[int, ...], tuple[str, ...]]:
    """Read a file of labels.

    A line is ``name label``, with a tab between them where the name has blanks; or ``name,label`` in a ``.csv``, whose
    first line may be a head; or a label alone, for the pictures sorted by name. A label is a class's name or number.

    Args:
        labels: the file.
        classes: a file with a line for each class in the order of the numbers; a line that starts with a WordNet
            synset (``n02119789 1 kit_fox``) names the class by it. Without the file, named classes are sorted, and
            numbered ones are called by their number.
        pictures: names of the pictures that lie there.
        first: number of the first class in a file of labels alone; any but 0 needs ``classes``.

    Returns:
        Names of the labelled pictures, their labels, and the classes.

    Raises:
        DataError: a file breaks these rules, or names a picture that is not there.
    """
    rows = _rows(labels, set(pictures))
    if all(len(row) == 1 for row in rows):
        if len(rows) != len(pictures):
            raise DataError(
                f"{labels} must have a line for each picture, and has {len(rows)} for {len(pictures)}: write "
                "`name label` on each line to label some of them"
            )
        names, words = tuple(sorted(pictures)), [row[0] for row in rows]
    else:
        first = 0
        names, words = tuple(row[0] for row in rows), [row[-1] for row in rows]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(f"{labels} must label a picture once, and {twice!r} stands there twice: remove a line")
        absent = sorted(set(names) - set(pictures))
        if absent:
            raise DataError(
                f"{labels} must name pictures that are there, and {len(absent)} are not, such as {absent[0]!r}; "
                f"names look like {min(pictures)!r}"
            )
    known = _read_classes(classes) if classes else None
    if all(word.isascii() and word.isdecimal() for word in words):
        if first and known is None:
            raise DataError(
                f"{labels} numbers classes from {first} in an order of its own: name the file of that order, such as "
                "map_clsloc.txt of the development kit (--classes, or classes=)"
            )
        numbers = [int(word) - first for word in words]
        if max(numbers) >= MAX_CLASSES:
            raise DataError(f"{labels} must number classes below {MAX_CLASSES}, and has {max(numbers)}")
        return names, tuple(numbers), known or tuple(str(number) for number in range(max(numbers) + 1))
    known = known or tuple(sorted(set(words)))
    place = {name: index for index, name in enumerate(known)}
    strange = sorted(set(words) - set(known))
    if strange:
        raise DataError(f"{labels} must label with the classes of {classes}, and {strange[0]!r} is none of them")
    return names, tuple(place[word] for word in words), known


def _rows(path: Path, pictures: set[str]) -> list[list[str]]:
    lines = _lines(path)
    if path.suffix.lower() == ".csv":
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines)]
        rows = rows[1:] if rows[0][0] not in pictures else rows
    else:
        rows = [line.split("\t" if "\t" in line else None, maxsplit=1) for line in lines]
    wide = next((row for row in rows if len(row) not in (1, 2) or len(row) != len(rows[0])), None)
    if wide is not None or not rows:
        raise DataError(f"{path} must hold `name label`, `name,label` or one label on every line, got {wide}")
    return rows


def _read_classes(path: Path) -> tuple[str, ...]:
    words = (line.split(maxsplit=1)[0] for line in _lines(path))
    return tuple(word if SYNSET.fullmatch(word) else line for word, line in zip(words, _lines(path), strict=True))


def _lines(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"a file of labels or classes must be readable text, and {path} is not: {error}") from error
    if not lines:
        raise DataError(f"a file of labels or classes must have a line, and {path} is empty")
    return lines
