"""Pictures with boxes from a folder in COCO's format: what of it can be used, and what cannot.

Three layouts are known, and found by themselves; SPLIT is train or val by any of their usual names, or test where there
is no val:

- COCO's own: ``annotations/instances_SPLIT2017.json`` (any year, or none) and pictures in ``SPLIT2017/``;
- pictures and ``annotations.json`` in ``SPLIT/``, the pictures perhaps in ``SPLIT/images/``;
- the same with ``_annotations.coco.json``, as labelling services export it.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal, TypeGuard

from senet_zoo.data.drawing import Corners
from senet_zoo.data.outlines import is_number, is_outline
from senet_zoo.data.splits import split_of
from senet_zoo.errors import DataError, UsageError, WeightsUnavailable
from senet_zoo.support.files import expanded, is_folder, open_regular

Split = Literal["train", "val"]
SPLITS_FOR: Mapping[Split, tuple[str, ...]] = {"train": ("train",), "val": ("val", "test")}  # the first that is there
ANNOTATIONS = ("annotations.json", "_annotations.coco.json")  # names of an annotations file beside its pictures
LEAST_SIDE = 0.1  # pixels of a box; in float32 and on a resized picture a thinner one may have no side at all
# Layouts of other tools, by a file that tells them.
OTHER_LAYOUTS: Mapping[str, str] = {
    "data.yaml": ". It looks like YOLO's; its tools, or Roboflow, export COCO's format, too",
    "**/labels/*.txt": ". It looks like YOLO's; its tools, or Roboflow, export COCO's format, too",
    "annotations/instances_default.json": ". It looks like CVAT's, undivided: export the subsets Train and Val",
    "result.json": ". It looks like Label Studio's, undivided: divide its images into train and val, each with a file",
    "Annotations/*.xml": ". It looks like Pascal VOC's boxes; convert them to COCO's format first",
}
MOST_PIXELS = 10**6  # of a picture's side; JPEG has 65,535


@dataclass(frozen=True)
class Boxed:
    """A picture and the things in it.

    Args:
        path: of the file.
        width: in pixels, as annotated.
        height: in pixels, as annotated.
        boxes: left, top, right, bottom, in pixels.
        labels: of each box, from 1: the number of its class; 0 is a detector's background.
        areas: of each thing in square pixels, which tells COCO's small from its large.
        crowds: whether a box holds many things, which counts neither as found nor as missed.
        outlines: of each thing, as COCO writes its mask: polygons or run lengths; empty where masks were not asked for.
    """

    path: Path
    width: int
    height: int
    boxes: tuple[Corners, ...]
    labels: tuple[int, ...]
    areas: tuple[float, ...]
    crowds: tuple[bool, ...]
    outlines: tuple[object, ...] = ()


@dataclass(frozen=True)
class CocoData:
    """One split of a folder.

    Args:
        classes: in ascending order of their category ids.
        pictures: with a file, in the order of the annotations file.
        skipped: how much of the annotations file was left out, or changed, by reason; what did not happen is not there.
    """

    classes: tuple[str, ...]
    pictures: tuple[Boxed, ...]
    skipped: Mapping[str, int]


def digest_of(*parts: CocoData) -> str:
    """A digest that is the same for the same pictures: sha256 of classes, names of files, sizes and boxes."""
    found = hashlib.sha256()
    for data in parts:
        pictures = [(each.path.name, each.width, each.height, each.boxes, each.labels) for each in data.pictures]
        found.update(json.dumps([data.classes, pictures]).encode())
    return found.hexdigest()


def find_annotations(root: Path, split: Split) -> tuple[Path, Path]:
    """The annotations file of a split, and the folder of its pictures.

    Raises:
        DataError: there is none, or there are two.
    """
    for part in SPLITS_FOR[split]:
        base = root / "annotations"
        stems = {path: path.stem.removeprefix("instances_") for path in sorted(base.glob("instances_*.json"))}
        found = [(path, root / stem) for path, stem in stems.items() if split_of(stem) == part]
        if not found:
            base = root
            folders = [path for path in sorted(root.glob("*/")) if split_of(path.name) == part]
            found = [
                (path / file, path / "images" if (path / "images").is_dir() else path)
                for path in folders
                for file in ANNOTATIONS
                if _is_file(path / file)
            ]
        if len(found) > 1:
            names = ", ".join(str(path.relative_to(base)) for path, _ in found)
            raise DataError(f"{base} must have one file of annotations for {part}, and has {names}")
        if found:
            return found[0]
    other = next((words for name, words in OTHER_LAYOUTS.items() if any(root.glob(name))), "")
    raise DataError(
        f"a COCO folder must have annotations/instances_{split}*.json with pictures in {split}*/, or "
        f"{split}/{ANNOTATIONS[0]} or {split}/{ANNOTATIONS[1]} beside the pictures; {root} has none of them{other}"
    )


def holds_annotations(folder: str) -> bool:
    """Whether there is a folder laid out as COCO's, whatever its annotations are worth."""
    try:
        root = expanded(folder)
        if not is_folder(root):
            return False
    except (UsageError, WeightsUnavailable):  # a name that no folder can have
        return False
    for split in SPLITS_FOR:
        try:
            find_annotations(root, split)
        except (DataError, OSError):  # what may not be looked into is told by what opens it
            continue
        return True
    return False


def read_coco(folder: str | Path, split: Split, *, masks: bool = False) -> CocoData:
    """A split of a COCO folder, with everything checked that can be checked without opening pictures.

    A picture whose file is not there is left out, and so is a box that is malformed, lies outside its picture, has no
    area once it is cut at its picture's edge, or names a category or a picture that the file does not have; each is
    counted under its reason in ``skipped``.

    Args:
        folder: that holds the layout.
        split: which part.
        masks: read the masks of things, too; a box without one is left out then.

    Raises:
        DataError: no annotations of that split, or two; a file that is not COCO's format; no category, no picture or
            no box that can be used.
    """
    root = Path(folder).expanduser()
    try:
        path, pictures = find_annotations(root, split)
    except PermissionError as error:
        raise DataError(f"{root} must be a folder that can be listed, and is not: {error.strerror}") from error
    try:
        with open_regular(path) as file:
            data = json.loads(file.read())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} must be a JSON file in COCO's format, and cannot be read: {error}") from error
    return _Reader(path, pictures, masks).read(data)


def check_classes(data: CocoData, classes: tuple[str, ...]) -> None:
    """Refuse data whose labels mean other classes.

    Raises:
        DataError: they do.
    """
    if data.classes != classes:
        raise DataError(
            f"the categories of the data, in the order of their ids, must be {', '.join(classes)}, and are "
            f"{', '.join(data.classes)}"
        )


class _Reader:
    """One annotations file; it counts what it leaves out."""

    def __init__(self, path: Path, pictures: Path, masks: bool) -> None:
        self.path, self.pictures, self.masks = path, pictures, masks
        self.skipped: Counter[str] = Counter()
        self.ids: set[int | str] = set()  # of the pictures so far

    def read(self, data: object) -> CocoData:
        if not isinstance(data, dict):
            raise DataError(f"{self.path} must hold a JSON object with images, annotations and categories")
        numbers, classes = self._categories(data)
        boxes = self._annotations(data)
        found = [self._picture(entry, boxes, numbers) for entry in self._list(data, "images")]
        self._count("boxes of no picture in the file", sum(map(len, boxes.values())))
        pictures = tuple(picture for picture in found if picture is not None)
        left_out = self._skipped_text()
        if not pictures:
            raise DataError(f"{self.path} must name pictures that lie in {self.pictures}, and none does{left_out}")
        if not any(picture.boxes for picture in pictures):
            raise DataError(f"{self.path} must have boxes on its pictures, and no usable one is there{left_out}")
        return CocoData(classes, pictures, dict(self.skipped))

    def _skipped_text(self) -> str:
        return f" (left out: {describe_skipped(self.skipped)})" if self.skipped else ""

    def _list(self, data: dict[str, Any], name: str) -> list[dict[str, Any]]:
        value = data.get(name)
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise DataError(f"{self.path} must be in COCO's format: {name} must be a list of objects")
        return value

    def _categories(self, data: dict[str, Any]) -> tuple[dict[int, int], tuple[str, ...]]:
        """From a category's id to its number from 1, and the classes' names."""
        names: dict[int, str] = {}
        for entry in self._list(data, "categories"):
            key, name = entry.get("id"), entry.get("name")
            if type(key) is not int or not isinstance(name, str) or not name.strip():
                raise DataError(
                    f"{self.path}: a category must have a whole number as id, and a name, got {str(entry)[:200]}"
                )
            if key in names or name in names.values():
                raise DataError(f"{self.path}: each category must stand once, and {name!r} (id {key}) stands twice")
            names[key] = name
        if not names:
            raise DataError(f"{self.path} must have categories, and has none")
        order = sorted(names)
        return {key: number for number, key in enumerate(order, 1)}, tuple(names[key] for key in order)

    def _annotations(self, data: dict[str, Any]) -> dict[object, list[dict[str, Any]]]:
        boxes: dict[object, list[dict[str, Any]]] = {}
        for entry in self._list(data, "annotations"):
            key = entry.get("image_id")
            boxes.setdefault(key if isinstance(key, int | str) else None, []).append(entry)
        return boxes

    def _picture(
        self, entry: dict[str, Any], boxes: dict[object, list[dict[str, Any]]], numbers: dict[int, int]
    ) -> Boxed | None:
        name, width, height, key = (entry.get(field) for field in ("file_name", "width", "height", "id"))
        if not isinstance(name, str) or not isinstance(key, int | str) or not (_is_side(width) and _is_side(height)):
            self._count("pictures without id, file name, width or height")
            return None
        if key in self.ids:
            self._count("pictures whose id another has")
            return None
        self.ids.add(key)
        mine = boxes.pop(key, [])
        path = self.pictures / name
        if not _is_below(name) or not _is_file(path):
            self._count("pictures whose file is not there")
            self._count("boxes of such pictures", len(mine))
            return None
        things = [thing for each in mine if (thing := self._thing(each, width, height, numbers)) is not None]
        return Boxed(
            path,
            width,
            height,
            boxes=tuple(thing[0] for thing in things),
            labels=tuple(thing[1] for thing in things),
            areas=tuple(thing[2] for thing in things),
            crowds=tuple(thing[3] for thing in things),
            outlines=tuple(thing[4] for thing in things) if self.masks else (),
        )

    def _thing(
        self, entry: dict[str, Any], width: int, height: int, numbers: dict[int, int]
    ) -> tuple[Corners, int, float, bool, object] | None:
        category, box = entry.get("category_id"), entry.get("bbox")
        if type(category) is not int or category not in numbers:
            self._count("boxes of an unknown category")
            return None
        if not isinstance(box, list) or len(box) != 4 or not all(is_number(value) for value in box):
            self._count("boxes that are not four finite numbers")
            return None
        x, y, w, h = map(float, box)
        if w <= 0.0 or h <= 0.0:
            self._count("boxes without area")
            return None
        cut = (max(x, 0.0), max(y, 0.0), min(x + w, float(width)), min(y + h, float(height)))
        if cut[0] >= cut[2] or cut[1] >= cut[3]:
            self._count("boxes outside their picture")
            return None
        if min(cut[2] - cut[0], cut[3] - cut[1]) < LEAST_SIDE:
            self._count(f"boxes thinner than {LEAST_SIDE} pixels")
            return None
        if cut != (x, y, x + w, y + h):
            self._count("boxes cut at their picture's edge")
        outline = entry.get("segmentation")
        if self.masks and not is_outline(outline, width, height):
            self._count("boxes without a mask")
            return None
        area = entry.get("area")
        known = float(area) if is_number(area) and area > 0 else (cut[2] - cut[0]) * (cut[3] - cut[1])
        return cut, numbers[category], known, entry.get("iscrowd") == 1, outline

    def _count(self, reason: str, number: int = 1) -> None:
        if number:
            self.skipped[reason] += number


def describe_skipped(skipped: Mapping[str, int]) -> str:
    """What was left out: ``3 boxes without area, 1 pictures whose file is not there``."""
    return ", ".join(f"{number} {reason}" for reason, number in skipped.items())


def _is_side(value: object) -> TypeGuard[int]:
    return type(value) is int and 1 <= value <= MOST_PIXELS


def _is_below(name: str) -> bool:
    """Whether a name stays in the folder; a link there may lead elsewhere, because its owner made it."""
    path = PurePath(name)
    return not path.is_absolute() and ".." not in path.parts


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have, or a folder that this user may not enter
        return False
