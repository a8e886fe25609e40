"""The picture beside a trained segmenter: what it says of some validation pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from senet_zoo.data.drawing import beside, cell, draw_map
from senet_zoo.data.pictures import read_picture
from senet_zoo.errors import PictureError
from senet_zoo.segmentation.evaluation import classes_of
from senet_zoo.segmentation.layouts import MaskedPictures
from senet_zoo.segmentation.masks import IGNORED
from senet_zoo.segmentation.pictures import resized
from senet_zoo.weights.foreign_files import MARK

if TYPE_CHECKING:
    from PIL.Image import Image

DRAWN = 4  # pictures, true masks above and said ones below


def draw_maps(file: Path, segmenter: nn.Module, data: MaskedPictures) -> None:
    """The first readable pictures under their masks: the true ones above, and below them what the segmenter says."""
    from PIL.PngImagePlugin import PngInfo

    given: Any = segmenter
    config, device = given.weights, next(segmenter.parameters()).device
    segmenter.eval()
    true: list[Image] = []
    said: list[Image] = []
    for masked in data.pictures:
        if len(true) == DRAWN:
            break
        try:
            picture = read_picture(masked.path)
            classes = data.form.read(masked, picture.size)
        except PictureError:
            continue
        x = resized(picture, config.side, config.mean, config.std)[None].to(device)
        answer = classes_of(segmenter, x, picture.size).cpu().numpy()
        plain = config.plain | {IGNORED}
        true.append(cell(draw_map(picture, classes, data.classes, plain=plain)))
        said.append(cell(draw_map(picture, answer, data.classes, plain=plain)))
    if true:
        mark = PngInfo()
        mark.add_text("Software", MARK)
        beside([*true, *said], columns=len(true)).save(file, pnginfo=mark, optimize=True)
