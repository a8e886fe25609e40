"""Outlines of things as COCO writes them, polygons and run lengths, and the pixels inside of them."""

import math
import warnings
from typing import TYPE_CHECKING, Any, TypeGuard

from senet_zoo.errors import PictureError

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray


def is_number(value: object) -> TypeGuard[float]:
    """Whether a JSON value is a finite number."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number of some hundred digits
        return False


def is_outline(value: object, width: int, height: int) -> bool:
    """Whether COCO's code reads it: polygons of at least three points, or run lengths of the picture's size."""
    if isinstance(value, list):
        return bool(value) and all(
            isinstance(ring, list) and len(ring) >= 6 and len(ring) % 2 == 0 and all(map(is_number, ring))
            for ring in value
        )
    if not isinstance(value, dict) or value.get("size") != [height, width]:
        return False
    counts = value.get("counts")
    if isinstance(counts, list):
        return all(type(run) is int and run >= 0 for run in counts) and sum(counts) == width * height
    return isinstance(counts, str) and bool(counts)


def mask_of(outline: Any, width: int, height: int) -> "NDArray[numpy.uint8]":
    """The pixels of a thing, (H, W), from an outline that `is_outline` takes.

    Raises:
        PictureError: the run lengths are damaged.
    """
    import numpy
    from pycocotools import mask as coco_mask

    try:
        if isinstance(outline, dict) and isinstance(outline["counts"], str):
            encoded = outline
        else:
            encoded = coco_mask.frPyObjects(outline, height, width)
        if isinstance(encoded, list):
            encoded = coco_mask.merge(encoded)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of COCO's code about NumPy
            return numpy.ascontiguousarray(coco_mask.decode(encoded))
    except (ValueError, TypeError) as error:
        raise PictureError(f"the run lengths of a mask must be whole, and they are not: {error}") from error
