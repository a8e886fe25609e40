"""The picture beside a trained detector: what it finds in some validation pictures."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from senet_zoo.data.drawing import beside, cell, draw_boxes
from senet_zoo.data.pictures import read_picture
from senet_zoo.detection.coco import CocoData
from senet_zoo.errors import PictureError
from senet_zoo.weights.foreign_files import MARK

if TYPE_CHECKING:
    from PIL.Image import Image

DRAWN = 4  # pictures, true boxes above and found ones below
CERTAIN = 0.5  # score of a box that is drawn


@torch.inference_mode()
def draw_predictions(file: Path, detector: nn.Module, data: CocoData) -> None:
    """The first readable pictures with boxes: the true ones above, and below them what the detector finds."""
    from torchvision.transforms.v2 import functional as F

    detector.eval()
    device = next(detector.parameters()).device
    true: list[Image] = []
    found: list[Image] = []
    for each in data.pictures:
        if len(true) == DRAWN:
            break
        try:
            picture = read_picture(each.path) if each.boxes else None
        except PictureError:
            continue
        if picture is None:
            continue
        names = [data.classes[label - 1] for label in each.labels]
        true.append(cell(draw_boxes(picture, each.boxes, names, each.labels)))
        (answer,) = detector([F.pil_to_tensor(picture).to(device).float() / 255.0])
        kept = (
            ((answer["scores"] >= CERTAIN) & (answer["labels"] > 0)).nonzero().flatten().flip(0).tolist()
        )  # the best is drawn last
        labels = [int(answer["labels"][number]) for number in kept]
        names = [
            f"{data.classes[label - 1]} {float(answer['scores'][number]):.0%}"
            for number, label in zip(kept, labels, strict=True)
        ]
        boxes = [tuple(answer["boxes"][number].tolist()) for number in kept]
        masks = [answer["masks"][number, 0].cpu().numpy() > 0.5 for number in kept] if "masks" in answer else []
        found.append(cell(draw_boxes(picture, boxes, names, labels, masks)))
    if true:
        from PIL.PngImagePlugin import PngInfo

        mark = PngInfo()
        mark.add_text("Software", MARK)
        beside([*true, *found], columns=len(true)).save(file, pnginfo=mark, optimize=True)
