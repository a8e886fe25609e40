"""`Preprocessing` with Pillow and numpy: what its torchvision transform makes of a Pillow picture, to the last bit."""

from typing import TYPE_CHECKING

import numpy
from numpy.typing import NDArray

from senet_zoo.preprocessing import Interpolation, Preprocessing

if TYPE_CHECKING:
    from PIL.Image import Image


def pixels(picture: "Image", preprocessing: Preprocessing) -> NDArray[numpy.float32]:
    """A picture as the network's input.

    Shape:
        RGB -> (3, size, size).

    Source: torchvision's documented rules: the longer side is rounded down, the corner of the cut to the even pixel.
    """
    from PIL.Image import Resampling

    filters = {Interpolation.BILINEAR: Resampling.BILINEAR, Interpolation.BICUBIC: Resampling.BICUBIC}
    size, short = preprocessing.size, preprocessing.resize
    width, height = (short * side // min(picture.size) for side in picture.size)
    if (width, height) != picture.size:
        picture = picture.resize((width, height), filters[preprocessing.interpolation])
    left, top = round((width - size) / 2), round((height - size) / 2)
    cut = numpy.asarray(picture.crop((left, top, left + size, top + size)))  # (size, size, 3)
    x = cut.transpose(2, 0, 1).astype(numpy.float32) * numpy.float32(1 / 255)  # a product, as there
    mean, std = (numpy.array(v, numpy.float32)[:, None, None] for v in (preprocessing.mean, preprocessing.std))
    return numpy.ascontiguousarray((x - mean) / std)
