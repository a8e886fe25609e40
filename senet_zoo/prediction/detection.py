"""What a detector finds in pictures, as `Prediction`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from senet_zoo.data.pictures import require_visible
from senet_zoo.errors import UsageError, WeightsError
from senet_zoo.prediction.pipeline import Box, Prediction

if TYPE_CHECKING:
    from PIL.Image import Image

THRESHOLD = 0.5
"""The least score of a box that is told, where nobody chose one."""
MOST = 100
"""Boxes of a picture, where nobody chose another number; COCO counts as many."""
BATCH = 4
"""Pictures that a detector looks at at once; each is about 20 times as large as a classifier's."""


def prepare(picture: "Image", longest: int) -> "tuple[Image, Tensor]":
    """A picture, and the same as uint8 (3, H, W); the detector resizes and normalises it.

    Raises:
        PictureError: it is so thin that nothing is left of it where its longer side has ``longest`` pixels.
    """
    from torchvision.transforms.v2 import functional as F

    require_visible(*picture.size, longest)
    return picture, F.pil_to_tensor(picture)


def check_threshold(threshold: float) -> None:
    """Refuse a threshold that no score can be compared with.

    Raises:
        UsageError: it is not from 0 to 1.
    """
    if not 0.0 <= threshold <= 1.0:
        raise UsageError(f"threshold must be a score from 0 to 1, got {threshold}")


@torch.inference_mode()
def find_boxes(
    model: nn.Module,
    pictures: "Sequence[tuple[str, tuple[Image, Tensor]]]",
    categories: Sequence[str],
    threshold: float,
    most: int,
    name: str,
) -> list[Prediction]:
    """What a detector finds in each of some pictures; those from files keep no pixels."""
    like = next(model.parameters())
    found: list[dict[str, Tensor]] = model([x.to(like.device, like.dtype) / 255.0 for _, (_, x) in pictures])
    answers = []
    for (path, (picture, _)), each in zip(pictures, found, strict=True):
        if not (each["scores"].isfinite().all() and each["boxes"].isfinite().all()):
            raise WeightsError(
                f"boxes and scores must be finite, and those of {path} are not: check the weights",
                python=" with senet_zoo.verify",
                command_line=" with senet-zoo verify",
            )
        # In descending order of their scores; a RetinaNet may name the background, 0, too.
        kept = ((each["scores"] >= threshold) & (each["labels"] > 0)).nonzero().flatten()[:most]
        values: dict[str, Any] = {key: value[kept].cpu() for key, value in each.items()}
        masks = values["masks"][:, 0].numpy() >= 0.5 if "masks" in values else [None] * len(kept)
        boxes = tuple(
            Box(categories[label - 1], score, (box[0], box[1], box[2], box[3]), label, mask)
            for box, label, score, mask in zip(
                values["boxes"].tolist(), values["labels"].tolist(), values["scores"].tolist(), masks, strict=True
            )
        )
        best: dict[str, float] = {}
        for box in boxes:
            best.setdefault(box.label, box.score)
        answers.append(Prediction(path, tuple(best.items()), name, boxes, picture.size))
    return answers
