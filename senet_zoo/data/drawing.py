"""Boxes and masks drawn on pictures, with names that can be read at any size of picture."""

import colorsys
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy import bool_
    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

LEAST_SIDE = 512  # pixels of the longer side of a drawn picture; smaller ones are enlarged by a whole factor
CELL = 360  # pixels of the longer side of a picture among others
LETTERS = 17  # pixels of height at least
MOST_LETTERS = 32  # of a class's name
GOLDEN = 0.618034  # of a turn between the colours of two classes, so that neighbours differ
Colour = tuple[int, int, int]
Corners = tuple[float, float, float, float]


def colour_of(number: int) -> Colour:
    """The colour of a class by its number, always the same."""
    hue = number * GOLDEN % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85 if number % 2 else 0.65, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_boxes(
    picture: "Image",
    boxes: Sequence[Corners],
    names: Sequence[str],
    numbers: Sequence[int],
    masks: "Sequence[NDArray[bool_]]" = (),
) -> "Image":
    """A copy of a picture with boxes in the colours of their classes, and a name at each.

    A picture under `LEAST_SIDE` pixels is enlarged by a whole factor; lines and letters grow with the picture.

    Args:
        picture: RGB.
        boxes: left, top, right, bottom in its pixels; the later ones lie above.
        names: what stands at each box; a name that the font cannot draw is replaced by the class's number.
        numbers: of the class of each.
        masks: of each thing, (H, W), or none at all.
    """
    import torch
    from PIL import Image, ImageDraw
    from torchvision.transforms.v2 import functional as F
    from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

    factor = enlargement(picture)
    canvas: Image.Image = picture.convert("RGB").resize(
        (picture.width * factor, picture.height * factor), Image.Resampling.BICUBIC if factor > 1 else None
    )
    colours: list[str | Colour] = [colour_of(number) for number in numbers]
    if not boxes:
        return canvas
    drawn = F.pil_to_tensor(canvas)
    if masks:
        stacked = torch.stack([torch.from_numpy(mask) for mask in masks])  # (n, H, W)
        stacked = stacked.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
        drawn = draw_segmentation_masks(drawn, stacked, alpha=0.45, colors=colours)
    width = line_width(canvas)
    scaled = torch.tensor(boxes, dtype=torch.float32) * factor
    scaled[:, 0::2] = scaled[:, 0::2].clamp(0, canvas.width - 1)
    scaled[:, 1::2] = scaled[:, 1::2].clamp(0, canvas.height - 1)
    canvas = F.to_pil_image(draw_bounding_boxes(drawn, scaled, colors=colours, width=width))
    pen = ImageDraw.Draw(canvas)
    taken: list[Corners] = []
    # The best names first: they get the best places.
    for box, name, number in reversed(list(zip(scaled.tolist(), names, numbers, strict=True))):
        _write_name(pen, canvas.size, box, name, number, taken)
    return canvas


def draw_map(picture: "Image", classes: "NDArray[Any]", names: Sequence[str], *, plain: frozenset[int]) -> "Image":
    """A copy of a picture under the colours of its pixels' classes, and the names of those that are there below it.

    Args:
        picture: RGB.
        classes: (H, W), the number of each pixel's class.
        names: of the classes.
        plain: numbers that are not coloured, such as the background's.
    """
    import numpy
    import torch
    from PIL import Image
    from torchvision.transforms.v2 import functional as F
    from torchvision.utils import draw_segmentation_masks

    factor = enlargement(picture)
    size = (picture.width * factor, picture.height * factor)
    canvas = picture.convert("RGB").resize(size, Image.Resampling.BICUBIC if factor > 1 else None)
    large = classes.repeat(factor, 0).repeat(factor, 1)
    here = [int(number) for number in numpy.unique(classes) if int(number) not in plain and number < len(names)]
    if here:
        masks = torch.stack([torch.from_numpy(large == number) for number in here])
        colours: list[str | Colour] = [colour_of(number) for number in here]
        canvas = F.to_pil_image(draw_segmentation_masks(F.pil_to_tensor(canvas), masks, alpha=0.55, colors=colours))
    return _with_legend(canvas, [(number, names[number]) for number in here])


def enlargement(picture: "Image") -> int:
    """The whole factor by which a small picture is enlarged before it is drawn on."""
    return max(1, -(-LEAST_SIDE // max(picture.size)))


def line_width(canvas: "Image") -> int:
    """Of a box, in pixels."""
    return max(3, round(max(canvas.size) / 250))


def cell(picture: "Image") -> "Image":
    """A picture of at most `CELL` pixels for a sheet of several."""
    by = min(1.0, CELL / max(picture.size))
    return picture.resize((max(1, round(picture.width * by)), max(1, round(picture.height * by))))


def beside(pictures: "Sequence[Image]", columns: int, gap: int = 8) -> "Image":
    """Pictures in rows of ``columns``, on white; each cell as large as the largest picture."""
    from PIL import Image

    width, height = (max(size) for size in zip(*(picture.size for picture in pictures), strict=True))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), "white")
    for number, picture in enumerate(pictures):
        sheet.paste(picture, (number % columns * (width + gap), number // columns * (height + gap)))
    return sheet


def _write_name(
    pen: "ImageDraw",
    size: tuple[int, int],
    box: list[float],
    name: str,
    number: int,
    taken: list[Corners],
) -> None:
    """A name on a plate of its colour: above its box, inside or below it, wherever no other name stands."""
    height, colour = max(LETTERS, round(max(size) / 36)), colour_of(number)
    font, text = _font_for(name, height, number)
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    pad = max(2, height // 6)
    wide, high = right - left + 2 * pad, bottom - top + 2 * pad
    x = min(max(0.0, box[0]), max(0.0, size[0] - wide))
    places = [box[1] - high, box[1], box[3], box[3] - high]
    inside = [y for y in places if 0 <= y <= size[1] - high] or [min(max(0.0, box[1]), max(0.0, size[1] - high))]
    y = next((y for y in inside if not any(_meet((x, y, x + wide, y + high), other) for other in taken)), inside[0])
    taken.append((x, y, x + wide, y + high))
    pen.rectangle((x, y, x + wide, y + high), fill=colour)
    pen.text((x + pad - left, y + pad - top), text, fill=_ink(colour), font=font)


def _with_legend(canvas: "Image", entries: list[tuple[int, str]]) -> "Image":
    from PIL import Image, ImageDraw

    height = max(LETTERS, round(max(canvas.size) / 36))
    line = height + height // 2
    pen, places, x, y = ImageDraw.Draw(canvas), [], height // 2, height // 4
    for number, name in entries:
        font, text = _font_for(name, height, number)
        wide = height + height // 2 + round(pen.textlength(text, font=font)) + height
        if x + wide > canvas.width and x > height // 2:
            x, y = height // 2, y + line
        places.append((x, y, number, text, font))
        x += wide
    if not places:
        return canvas
    sheet = Image.new("RGB", (canvas.width, canvas.height + y + line), "white")
    sheet.paste(canvas, (0, 0))
    pen = ImageDraw.Draw(sheet)
    for x, y, number, text, font in places:
        top = canvas.height + y
        pen.rectangle((x, top, x + height, top + height), fill=colour_of(number), outline="black")
        pen.text((x + height + height // 2, top), text, fill="black", font=font)
    return sheet


def _meet(a: Corners, b: Corners) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _ink(colour: Colour) -> str:
    red, green, blue = colour
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"


def _font_for(name: str, height: int, number: int) -> tuple[Any, str]:
    """A font that can draw a name, and the name; where no font here can, the class's number in its place."""
    name = "".join(letter if letter.isprintable() else " " for letter in name)
    start, _, last = name.rpartition(" ")
    percent = f" {last}" if start and last.endswith("%") else ""
    if len(name) > MOST_LETTERS + len(percent):
        name = f"{name[: MOST_LETTERS - 1]}…{percent}"
    for font in _fonts(height):
        missing = bytes(font.getmask("\U0010fffe"))
        if all(bytes(font.getmask(letter)) != missing for letter in {*name} - {" "}):
            return font, name
    return _fonts(height)[0], f"class {number}{percent}"


@lru_cache
def _fonts(height: int) -> tuple[Any, ...]:
    """Pillow's own font and, where matplotlib is installed, its font of more scripts."""
    from PIL import ImageFont

    fonts: list[Any] = [ImageFont.load_default(height)]
    found = find_spec("matplotlib")
    if found is not None and found.origin is not None:
        wide = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if wide.is_file():
            fonts.append(ImageFont.truetype(wide, height))
    return tuple(fonts)
