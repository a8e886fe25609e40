"""Pictures with masks in a folder: which layout it is, its classes, and whether the masks hold them.

Four layouts are known, and found by themselves; parts may have any of their usual names:

- pictures in ``images/`` and masks of the same names in ``masks/``, with ``train/`` and ``val/`` below or above them,
  or neither: then a tenth of the pictures is measured on;
- Pascal VOC: ``JPEGImages/``, ``SegmentationClass/``, ``ImageSets/Segmentation/train.txt``;
- COCO panoptic: ``annotations/panoptic_train2017.json`` and the folder of that name, pictures in ``train2017/``;
- COCO stuff: ``annotations/stuff_train2017.json``, with outlines or with ``stuff_train2017_pixelmaps/``.
"""

import csv
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy

from senet_zoo.data.folders import subfolders
from senet_zoo.data.labels import numbered_classes
from senet_zoo.data.picture_paths import picture_suffixes
from senet_zoo.data.pictures import ORIENTATION
from senet_zoo.data.splits import split_of
from senet_zoo.errors import DataError, PictureError, UsageError, WeightsUnavailable
from senet_zoo.segmentation.masks import (
    IGNORED,
    SUFFIXES,
    Colour,
    ColourMasks,
    IndexMasks,
    Masked,
    MaskForm,
    OutlineMasks,
    PanopticMasks,
    indices_of,
)
from senet_zoo.support.files import expanded, is_folder, open_regular

Part = Literal["train", "val"]
PARTS: tuple[Part, ...] = ("train", "val")
IMAGES = ("images", "image", "imgs", "img", "pictures", "jpegimages", "img_dir")
MASKS = ("masks", "mask", "labels", "label", "annotations", "segmentations", "gt", "segmentationclass", "ann_dir")
ENDINGS = ("", "_mask", "_label", "_labels", "_gt", "_L")  # of a mask's name behind its picture's
BESIDE = ("annot", "_masks", "_labels", "_annotations")  # of a folder's name behind its part's: trainannot
MOST_SCANNED = 2000  # masks that are looked at before training; of more, so many spread over all
SHARE = 10  # every so manieth picture is measured on where there are no parts
VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


@dataclass(frozen=True)
class MaskedPictures:
    """One part of a folder.

    Args:
        classes: in the order of their numbers.
        pictures: with a mask.
        form: how the masks are written.
        skipped: how much was left out or guessed, by reason.
    """

    classes: tuple[str, ...]
    pictures: tuple[Masked, ...]
    form: MaskForm
    skipped: Mapping[str, int] = field(default_factory=dict)


def read_masks(
    folder: str | Path,
    parts: tuple[Part, ...] = PARTS,
    *,
    ignored: int = IGNORED,
    classes: tuple[str, ...] | None = None,
) -> tuple[MaskedPictures, ...]:
    """The pictures to train on and those to measure on, their masks checked before anything is learnt.

    Args:
        folder: that holds a layout.
        parts: that are wanted, ``train`` and ``val``.
        ignored: the number, in masks of numbers, of pixels that are neither learnt nor measured.
        classes: names for masks of numbers, where no file beside them has names; by default they are numbered.

    Raises:
        DataError: no known layout, no picture with a mask, fewer than two classes, a value that is no class, or masks
            that cannot be read or are of other sizes than their pictures.
    """
    root = expanded(folder)
    if not is_folder(root):
        raise DataError(f"pictures with masks must lie in a folder, and {root} is none")
    subfolders(root)  # where it may not be listed this says so
    inner = root / "VOCdevkit"
    voc = next(
        (path for path in (root, *sorted(root.glob("VOC*")), *sorted(inner.glob("VOC*"))) if _is_voc(path)), None
    )
    if voc is not None:
        found = {part: _voc(voc, part, ignored) for part in parts}
    elif any((root / "annotations").glob("panoptic_*.json")):
        found = {part: _panoptic(root, part) for part in parts}
    elif any((root / "annotations").glob("stuff_*.json")):
        found = {part: _stuff(root, part) for part in parts}
    else:
        found = _folders(root, parts, ignored, classes)
    for part, data in found.items():
        if not data.pictures:
            raise DataError(f"{root} must have pictures with masks for {part}, and has none")
        if data.classes != found[parts[0]].classes:
            raise DataError(f"the classes of train and val must be the same, and {part} has {data.classes[:9]}")
        counts, wrong = _scan(data)
        if wrong and "train" in parts:
            told = f"masks that cannot be used, and are skipped, the first because: {wrong[0]}"
            found[part] = data = replace(data, skipped={**data.skipped, told: len(wrong)})
        if sum(counts.values()) == 0:
            raise DataError(f"the masks of {root} for {part} must hold a class, and every pixel of them is left out")
        missing = [name for number, name in enumerate(data.classes) if not counts[number]]
        if missing and part == "train":
            told = f"classes without a pixel to learn: {', '.join(missing[:10])}{' and others' if missing[10:] else ''}"
            found[part] = replace(data, skipped={**data.skipped, told: len(missing)})
    return tuple(found[part] for part in parts)


def holds_masks(folder: str) -> bool:
    """Whether there is a folder laid out as pictures with masks, whatever they are worth."""
    try:
        root = expanded(folder)
        if not is_folder(root):
            return False
    except (UsageError, WeightsUnavailable):  # a name that no folder can have
        return False
    if not os.access(root, os.R_OK | os.X_OK):  # which is told by what opens it
        return False
    coco = any(any((root / "annotations").glob(f"{kind}_*.json")) for kind in ("panoptic", "stuff"))
    voc = any(_is_voc(path) for path in (root, *root.glob("VOC*"), *root.glob("VOCdevkit/VOC*")))
    places = (root, *(path for path in root.glob("*/") if split_of(path.name)))
    return coco or voc or any(_named(path, IMAGES) and _named(path, MASKS) for path in places)


def digest_of(*parts: MaskedPictures) -> str:
    """A hash of which pictures and classes there are; their pixels are not read."""
    found = hashlib.sha256()
    for part in parts:
        found.update(repr((part.classes, [(each.path.name, each.segments) for each in part.pictures])).encode())
    return found.hexdigest()


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a picture as it is upright; its pixels are not read.

    Raises:
        PictureError: it cannot be opened.
    """
    from PIL import Image

    try:
        with open_regular(path) as file, Image.open(file) as picture:
            width, height = picture.size
            orientation = picture.getexif().get(ORIENTATION)
    except Exception as error:  # Pillow meets damaged bytes with errors of many types
        raise PictureError(f"{path}: a picture must be readable, and this one is not ({error})") from error
    return (height, width) if isinstance(orientation, int) and 5 <= orientation <= 8 else (width, height)


def _scan(data: MaskedPictures) -> tuple[Counter[int], list[str]]:
    """Pixels of each class in the masks, or in some of them where there are many; and why some cannot be used."""
    counts: Counter[int] = Counter()
    step = max(1, len(data.pictures) // MOST_SCANNED)
    wrong: list[str] = []
    looked = data.pictures[::step]
    for masked in looked:
        try:
            values, numbers = numpy.unique(data.form.read(masked, size_of(masked.path)), return_counts=True)
        except PictureError as error:
            wrong.append(str(error))
            continue
        counts.update({int(v): int(n) for v, n in zip(values, numbers, strict=True) if v != IGNORED})
    if len(wrong) == len(looked):
        raise DataError(f"of {len(looked)} masks none can be used, the first because: {wrong[0]}")
    return counts, wrong


def _folders(
    root: Path, parts: tuple[Part, ...], ignored: int, names: tuple[str, ...] | None
) -> dict[Part, MaskedPictures]:
    skipped: dict[str, int] = {}
    found = {part: _pairs_of_part(root, part, skipped) for part in ("train", "val", "test")}
    found["val"] = found["val"] or found["test"]
    if not found["train"] and not (found["val"] and "train" not in parts):
        images, masks = _named(root, IMAGES), _named(root, MASKS)
        pairs = [] if images is None or masks is None else _pairs(images, masks, skipped)
        if not pairs:
            raise DataError(
                f"a folder of masks must have images/ and masks/ of the same names, with train/ and val/ in or above "
                f"them, or be laid out as Pascal VOC or COCO panoptic or stuff; {root} is not"
            )
        found["train"] = [each for number, each in enumerate(pairs) if number % SHARE]
        found["val"] = pairs[::SHARE]
    elif not found["val"]:
        pairs = found["train"]
        found["train"], found["val"] = [each for number, each in enumerate(pairs) if number % SHARE], pairs[::SHARE]
    if "train" in parts and not found["train"]:
        raise DataError(f"{root} must have at least two pictures with masks: one to learn from, one to measure on")
    classes, form, notes = _classes(root, found["train"] + found["val"], ignored, names)
    return {
        part: MaskedPictures(classes, tuple(found[part]), form, skipped | notes if part == parts[0] else {})
        for part in parts
    }


def _pairs_of_part(root: Path, part: str, skipped: dict[str, int]) -> list[Masked]:
    for images, masks in _places(root, part):
        without: dict[str, int] = {}
        pairs = _pairs(images, masks, without)
        if pairs:
            for reason, number in without.items():
                skipped[reason] = skipped.get(reason, 0) + number
            return pairs
    return []


def _places(root: Path, part: str) -> Iterable[tuple[Path, Path]]:
    """Where the pictures and the masks of a part may lie."""
    images, masks = _named(root, IMAGES), _named(root, MASKS)
    if images is not None and masks is not None:
        for below in (path for path in sorted(images.glob("*/")) if split_of(path.name) == part):
            yield below, masks / below.name
    for above in (path for path in sorted(root.glob("*/")) if split_of(path.name) == part):
        inner_images, inner_masks = _named(above, IMAGES), _named(above, MASKS)
        if inner_images is not None and inner_masks is not None:
            yield inner_images, inner_masks
        yield from ((above, root / f"{above.name}{ending}") for ending in BESIDE)


def _named(root: Path, names: tuple[str, ...]) -> Path | None:
    folders = {path.name.lower(): path for path in sorted(root.glob("*/"))}
    return next((folders[name] for name in names if name in folders), None)


def _pairs(images: Path, masks: Path, skipped: dict[str, int]) -> list[Masked]:
    if not is_folder(images) or not is_folder(masks):
        return []
    by_name = {path.relative_to(masks).with_suffix("").as_posix(): path for path in masks.rglob("*") if _is_mask(path)}
    found = []
    for path in sorted(path for path in images.rglob("*") if path.suffix.lower() in picture_suffixes()):
        name = path.relative_to(images).with_suffix("").as_posix()
        mask = next((by_name[name + ending] for ending in ENDINGS if name + ending in by_name), None)
        if mask is None:
            skipped["pictures without a mask"] = skipped.get("pictures without a mask", 0) + 1
        elif mask != path:
            found.append(Masked(path, mask))
    return found


def _is_mask(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _classes(
    root: Path, pairs: list[Masked], ignored: int, given: tuple[str, ...] | None
) -> tuple[tuple[str, ...], MaskForm, dict[str, int]]:
    """Names of the classes and how masks spell them: from a file beside the pictures, or from the masks."""
    for name in ("classes.csv", "class_dict.csv"):
        if (root / name).is_file():
            return _coloured(_csv_rows(root / name), root / name)
    if (root / "labelmap.txt").is_file():
        rows = [line.split(":") for line in _lines(root / "labelmap.txt") if not line.startswith("#")]
        return _coloured([(row[0], *row[1].split(",")) for row in rows if len(row) > 1], root / "labelmap.txt")
    if (root / "classes.txt").is_file():
        names = tuple(_lines(root / "classes.txt"))
        if len(names) < 2 or len(set(names)) != len(names):
            raise DataError(f"{root / 'classes.txt'} must name at least two classes, each once, a line each")
        return names, IndexMasks(len(names), ignored), {}
    values: set[int] = set()
    for masked in pairs[:: max(1, len(pairs) // MOST_SCANNED)]:
        try:
            values |= set(numpy.unique(indices_of(masked, size_of(masked.path))).tolist())
        except PictureError:
            continue  # `_scan` names it
    if values == {0, 255} and ignored == 255:
        note = "masks of 0 and 255 are read as background and foreground"
        names = given if given and len(given) == 2 else ("background", "foreground")
        return names, IndexMasks(2, -1, {0: 0, 255: 1}), {note: len(pairs)}
    if given is not None:
        return given, IndexMasks(len(given), ignored), {}
    kept = sorted(values - {ignored})
    if not kept:
        raise DataError(f"the masks of {root} must hold numbers of classes, and hold none that is not {ignored}")
    if kept[-1] > 254 or kept[0] < 0:
        raise DataError(f"masks must hold numbers of classes from 0 to 254, and those of {root} hold {kept[-1]}")
    names = numbered_classes(max(2, kept[-1] + 1))
    return names, IndexMasks(len(names), ignored), {"classes are numbered, because there is no classes.txt": len(names)}


def _coloured(rows: list[tuple[str, ...]], file: Path) -> tuple[tuple[str, ...], MaskForm, dict[str, int]]:
    colours: dict[Colour, int] = {}
    names: list[str] = []
    for row in rows:
        try:
            red, green, blue = (int(value) for value in row[1:4])
        except ValueError as error:
            raise DataError(f"{file}: a line must be a name and three numbers from 0 to 255, got {row}") from error
        if not all(0 <= value <= 255 for value in (red, green, blue)) or (red, green, blue) in colours:
            raise DataError(f"{file}: each class must have a colour of its own, from 0 to 255, got {row}")
        if row[0].strip().lower() in ("void", "ignore", "ignored"):
            colours[red, green, blue] = IGNORED
        else:
            colours[red, green, blue] = len(names)
            names.append(row[0].strip())
    if len(names) < 2 or len(names) > 255:
        raise DataError(f"{file} must name from 2 to 255 classes, and names {len(names)}")
    return tuple(names), ColourMasks(colours), {}


def _csv_rows(file: Path) -> list[tuple[str, ...]]:
    rows = [tuple(cell.strip() for cell in row) for row in csv.reader(_lines(file))]
    return [row for row in rows if len(row) >= 4 and row[1].lower() not in ("r", "red")]


def _lines(file: Path) -> list[str]:
    try:
        with open_regular(file) as opened:
            text = opened.read(2**20).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} must be text in UTF-8, and cannot be read: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _is_voc(root: Path) -> bool:
    return all(is_folder(root / name) for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"))


def _voc(root: Path, part: Part, ignored: int) -> MaskedPictures:
    listed = _lines(root / "ImageSets" / "Segmentation" / f"{part}.txt")
    skipped: dict[str, int] = {}
    pictures = []
    for name in listed:
        path, mask = root / "JPEGImages" / f"{name}.jpg", root / "SegmentationClass" / f"{name}.png"
        path = path if path.is_file() else path.with_suffix(".png")
        if ".." in PurePath(name).parts or not path.is_file() or not mask.is_file():
            skipped["listed pictures without file or mask"] = skipped.get("listed pictures without file or mask", 0) + 1
        else:
            pictures.append(Masked(path, mask))
    if (root / "labelmap.txt").is_file():
        classes, form, _ = _classes(root, pictures, ignored, None)
    elif (root / "classes.txt").is_file():
        classes = tuple(_lines(root / "classes.txt"))
        form = IndexMasks(len(classes), ignored)
    else:
        classes, form = VOC, IndexMasks(len(VOC), ignored)
    return MaskedPictures(classes, tuple(pictures), form, skipped)


def _panoptic(root: Path, part: Part) -> MaskedPictures:
    file, data = _coco(root, "panoptic", part)
    numbers, classes = _categories(data, file)
    images = {entry.get("id"): entry.get("file_name") for entry in data["images"] if isinstance(entry, dict)}
    pictures, skipped = [], Counter[str]()
    for entry in data["annotations"]:
        name, mask_name, segments = (
            images.get(entry.get("image_id")),
            entry.get("file_name"),
            entry.get("segments_info"),
        )
        if not isinstance(name, str) or not isinstance(mask_name, str) or not isinstance(segments, list):
            skipped["annotations without picture, mask or segments"] += 1
            continue
        path, mask = _below(_pictures_of(root, file, "panoptic"), name), _below(file.with_suffix(""), mask_name)
        if path is None or mask is None:
            skipped["pictures whose file or mask is not there"] += 1
            continue
        known = [(each.get("id"), each.get("category_id")) for each in segments if isinstance(each, dict)]
        good = tuple((identity, numbers[key]) for identity, key in known if type(identity) is int and key in numbers)
        skipped["segments of an unknown category"] += len(segments) - len(good)
        pictures.append(Masked(path, mask, good))
    return MaskedPictures(classes, tuple(pictures), PanopticMasks(), +skipped)


def _stuff(root: Path, part: Part) -> MaskedPictures:
    file, data = _coco(root, "stuff", part)
    numbers, classes = _categories(data, file)
    maps = file.with_name(f"{file.stem}_pixelmaps")
    folder = _pictures_of(root, file, "stuff")
    outlines: dict[object, list[tuple[Any, int]]] = {}
    for entry in data["annotations"] if not maps.is_dir() else ():
        if isinstance(entry, dict) and entry.get("category_id") in numbers and entry.get("segmentation"):
            outlines.setdefault(entry.get("image_id"), []).append(
                (entry["segmentation"], numbers[entry["category_id"]])
            )
    pictures, skipped = [], Counter[str]()
    for entry in data["images"]:
        name = entry.get("file_name") if isinstance(entry, dict) else None
        path = _below(folder, name) if isinstance(name, str) else None
        mask = _below(maps, f"{PurePath(name).stem}.png") if isinstance(name, str) and maps.is_dir() else None
        segments = tuple(outlines.get(entry.get("id"), ()))
        if path is None or (mask is None and not segments):
            skipped["pictures whose file or mask is not there"] += 1
            continue
        pictures.append(Masked(path, mask, segments))
    form: MaskForm = IndexMasks(len(classes), -1, numbers) if maps.is_dir() else OutlineMasks()
    return MaskedPictures(classes, tuple(pictures), form, +skipped)


def _coco(root: Path, kind: str, part: Part) -> tuple[Path, dict[str, Any]]:
    files = [
        path
        for path in sorted((root / "annotations").glob(f"{kind}_*.json"))
        if split_of(path.stem.removeprefix(f"{kind}_")) == part
    ]
    if len(files) != 1:
        raise DataError(f"{root / 'annotations'} must have one {kind}_{part}*.json, and has {len(files)}")
    try:
        with open_regular(files[0]) as opened:
            data = json.loads(opened.read())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{files[0]} must be JSON in COCO's format, and cannot be read: {error}") from error
    if not isinstance(data, dict) or not all(
        isinstance(data.get(name), list) for name in ("images", "annotations", "categories")
    ):
        raise DataError(f"{files[0]} must hold lists of images, annotations and categories")
    return files[0], data


def _categories(data: Mapping[str, Any], file: Path) -> tuple[dict[int, int], tuple[str, ...]]:
    pairs = [(each.get("id"), each.get("name")) for each in data["categories"] if isinstance(each, dict)]
    names = {key: name for key, name in pairs if type(key) is int and isinstance(name, str) and name.strip()}
    if len(names) != len(data["categories"]) or not 2 <= len(names) <= 255:
        raise DataError(f"{file} must have from 2 to 255 categories, each with a whole number as id, and a name")
    order = sorted(names)
    return {key: number for number, key in enumerate(order)}, tuple(names[key] for key in order)


def _pictures_of(root: Path, file: Path, kind: str) -> Path:
    return root / file.stem.removeprefix(f"{kind}_")


def _below(folder: Path, name: str) -> Path | None:
    """The file of that name in a folder; None where there is none, or the name leads elsewhere."""
    path = PurePath(name)
    try:
        return None if path.is_absolute() or ".." in path.parts or not (folder / path).is_file() else folder / path
    except (OSError, ValueError):
        return None
