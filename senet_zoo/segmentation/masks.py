"""Masks as they lie in files, as numbers of classes: indices, colours, COCO's panoptic ids and outlines."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy

from senet_zoo.data.outlines import is_outline, mask_of
from senet_zoo.errors import DataError, PictureError
from senet_zoo.support.files import open_regular

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

IGNORED = 255  # a pixel that is neither learnt nor measured
FORMATS = ("PNG", "BMP", "TIFF", "GIF")  # JPEG would blur numbers
SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif")
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Masked:
    """A picture and where its mask lies.

    Args:
        path: of the picture.
        mask: file of the mask; None where ``segments`` hold it.
        segments: of COCO's: the id of each segment of the mask, or an outline, and its class.
    """

    path: Path
    mask: Path | None
    segments: tuple[tuple[Any, int], ...] = ()


class MaskForm(Protocol):
    """How the masks of a data set are written."""

    def read(self, masked: Masked, size: tuple[int, int]) -> "NDArray[numpy.uint8]":
        """The class of each pixel, (H, W), `IGNORED` among them.

        Args:
            masked: the picture.
            size: its width and height.

        Raises:
            PictureError: the mask cannot be read, or is of another size.
            DataError: a value is the number or the colour of no class.
        """
        ...


@dataclass(frozen=True)
class IndexMasks:
    """Numbers of classes, as grey values or as entries of a palette.

    Args:
        classes: how many there are.
        ignored: the number of pixels that are left out.
        numbers: class of each number in the file, where they are not the same; what is not named is left out.
    """

    classes: int
    ignored: int = IGNORED
    numbers: Mapping[int, int] | None = None

    def read(self, masked: Masked, size: tuple[int, int]) -> "NDArray[numpy.uint8]":
        values = indices_of(masked, size)
        found = numpy.full(values.shape, IGNORED, dtype=numpy.uint8)
        for value in numpy.unique(values).tolist():
            number = value if self.numbers is None else self.numbers.get(value, self.ignored)
            if number == self.ignored:
                continue
            if not 0 <= number < self.classes:
                raise DataError(
                    f"{masked.mask}: a mask must hold numbers of classes, 0 to {self.classes - 1}, or {self.ignored} "
                    f"for pixels to leave out, and holds {value}: correct it, or name more classes in classes.txt"
                )
            found[values == value] = number
        return found


@dataclass(frozen=True)
class ColourMasks:
    """Colours of classes.

    Args:
        colours: the class of each; pixels of class `IGNORED` are left out.
    """

    colours: Mapping[Colour, int]

    def read(self, masked: Masked, size: tuple[int, int]) -> "NDArray[numpy.uint8]":
        codes = _codes(_opened(masked, size).convert("RGB"))
        found = numpy.full(codes.shape, IGNORED, dtype=numpy.uint8)
        for code in numpy.unique(codes).tolist():
            colour = (code & 255, code >> 8 & 255, code >> 16)
            if colour not in self.colours:
                raise DataError(
                    f"{masked.mask}: a mask must hold the colours of classes, and holds {colour}, which is of none: "
                    "name it beside the others, or save the mask without smoothing"
                )
            found[codes == code] = self.colours[colour]
        return found


@dataclass(frozen=True)
class PanopticMasks:
    """COCO's panoptic segments: a pixel's colour is the id of its segment; what no segment names is left out."""

    def read(self, masked: Masked, size: tuple[int, int]) -> "NDArray[numpy.uint8]":
        codes = _codes(_opened(masked, size).convert("RGB"))
        found = numpy.full(codes.shape, IGNORED, dtype=numpy.uint8)
        for identity, number in masked.segments:
            found[codes == identity] = number
        return found


@dataclass(frozen=True)
class OutlineMasks:
    """COCO's outlines of things and stuff: polygons and run lengths; what none covers is left out."""

    def read(self, masked: Masked, size: tuple[int, int]) -> "NDArray[numpy.uint8]":
        found = numpy.full((size[1], size[0]), IGNORED, dtype=numpy.uint8)
        for outline, number in masked.segments:
            if not is_outline(outline, *size):
                raise PictureError(f"{masked.path}: an outline must be COCO's, of {size[0]} x {size[1]} pixels")
            found[mask_of(outline, *size) > 0] = number
        return found


def indices_of(masked: Masked, size: tuple[int, int]) -> "NDArray[Any]":
    """The values in a mask of numbers, (H, W).

    Raises:
        PictureError: it cannot be read, or is of another size.
        DataError: it holds colours.
    """
    picture = _opened(masked, size)
    values = numpy.asarray(picture)
    if picture.mode == "1":
        return values.astype(numpy.uint8)
    if (values.ndim == 2 and picture.mode in ("L", "P")) or picture.mode.startswith("I"):
        return values
    colours = values[..., :3] if values.ndim == 3 else values[..., None]
    if picture.mode in ("RGB", "RGBA") and (colours == colours[..., :1]).all():
        return colours[..., 0]  # grey, saved as colour
    if picture.mode == "LA":
        return values[..., 0]
    raise DataError(
        f"{masked.mask}: a mask of colours is read where classes.csv says which is which: a line `name,red,green,blue` "
        "for each class. Without it a mask must hold numbers of classes"
    )


def _opened(masked: Masked, size: tuple[int, int]) -> "Image":
    from PIL import Image

    assert masked.mask is not None
    try:
        with open_regular(masked.mask) as file, Image.open(file, formats=FORMATS) as picture:
            picture.load()
    except Exception as error:  # Pillow's decoders meet damaged bytes with errors of many types
        raise PictureError(
            f"{masked.mask}: a mask must be a PNG, BMP, TIFF or GIF that can be read, and this one is not "
            f"({str(error) or type(error).__name__})"
        ) from error
    if picture.size != size:
        turned = "; its picture is turned by EXIF" if picture.size == size[::-1] else ""
        raise PictureError(
            f"{masked.mask}: a mask must be of its picture's size, {size[0]} x {size[1]} pixels, and this one is "
            f"{picture.width} x {picture.height}{turned}: save both upright and alike"
        )
    return picture


def _codes(picture: "Image") -> "NDArray[numpy.int32]":
    """Red + 256 green + 65536 blue of each pixel: COCO's ids of segments."""
    values = numpy.asarray(picture).astype(numpy.int32)
    codes: NDArray[numpy.int32] = values[..., 0] + (values[..., 1] << 8) + (values[..., 2] << 16)
    return codes
