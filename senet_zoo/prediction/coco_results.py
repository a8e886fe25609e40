"""Boxes in the form of COCO's results files, which COCO's own code and other tools score."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from senet_zoo.errors import DataError, PictureError
from senet_zoo.prediction.pipeline import Prediction
from senet_zoo.support.json_fields import read_json

ImageId = int | str


@dataclass(frozen=True)
class CocoIds:
    """Numbers of pictures and classes, as an annotations file has them.

    Args:
        images: by file name, without folders.
        categories: by class name.
    """

    images: Mapping[str, ImageId]
    categories: Mapping[str, int]


def read_ids(path: Path) -> CocoIds:
    """The numbers in an annotations file.

    Raises:
        DataError: it is not in COCO's format, or two pictures of it have one name.
        ManifestError: it is no JSON.
    """
    data: Any = read_json(path)
    try:
        pairs = [(PurePath(image["file_name"]).name, image["id"]) for image in data["images"]]
        categories = {category["name"]: int(category["id"]) for category in data["categories"]}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} must be in COCO's format, with images and categories that have ids") from error
    images = dict(pairs)
    if len(images) != len(pairs):
        raise DataError(f"pictures are found by name, and some of {path} have the same: give each a name of its own")
    return CocoIds(images, categories)


def coco_results(prediction: Prediction, ids: CocoIds | None) -> list[dict[str, object]]:
    """One object a box, with COCO's names: image_id, category_id, bbox as left, top, width, height, and score.

    Args:
        prediction: of a detector.
        ids: of an annotations file; without one a picture's number is that of its name (000139.jpg is 139), or else the
            name itself, and classes count from 1.

    Raises:
        PictureError: the annotations file does not name the picture.
        DataError: it does not name a class.
    """
    name = PurePath(prediction.path)
    image: ImageId
    if ids is None:
        image = int(name.stem) if name.stem.isascii() and name.stem.isdecimal() else name.stem
    elif name.name not in ids.images:
        raise PictureError(f"{prediction.path}: the annotations file must name the picture, and does not")
    else:
        image = ids.images[name.name]
    found = []
    for box in prediction.boxes or ():
        if ids is not None and box.label not in ids.categories:
            raise DataError(f"the annotations file must name the detector's classes, and {box.label!r} is not there")
        left, top, right, bottom = (round(value, 2) for value in box.corners)
        result: dict[str, object] = {
            "image_id": image,
            "category_id": box.number if ids is None else ids.categories[box.label],
            "bbox": [left, top, round(right - left, 2), round(bottom - top, 2)],
            "score": round(box.score, 5),
        }
        if box.mask is not None:
            result["segmentation"] = _run_lengths(box.mask)
        found.append(result)
    return found


def _run_lengths(mask: Any) -> dict[str, object]:
    from pycocotools import mask as coco_mask

    encoded = coco_mask.encode(mask.astype("uint8", order="F"))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode()}
