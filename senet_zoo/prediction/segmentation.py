"""What a segmenter says of every pixel of pictures, as `Prediction`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from senet_zoo.prediction.pipeline import PixelClasses, Prediction

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH = 4
"""Pictures that wait for a segmenter, which looks at one at a time, because they differ in size."""


class Preparation:
    """A picture as a segmenter takes it, and its size.

    Args:
        config: of the segmenter.
    """

    def __init__(self, config: Any) -> None:
        self.config = config

    def __call__(self, picture: "Image") -> tuple[tuple[int, int], Tensor]:
        """Width and height, and (3, h, w)."""
        from senet_zoo.segmentation.pictures import resized

        return picture.size, resized(picture, self.config.side, self.config.mean, self.config.std)


@torch.inference_mode()
def classify_pixels(
    model: nn.Module, pictures: Sequence[tuple[str, tuple[tuple[int, int], Tensor]]], top: int, name: str
) -> list[Prediction]:
    """The class of every pixel of each picture."""
    from senet_zoo.segmentation.evaluation import classes_of

    given: Any = model
    config, like = given.weights, next(model.parameters())
    answers = []
    for path, (size, x) in pictures:
        numbers = classes_of(model, x[None].to(like.device, like.dtype), size)
        counts = torch.bincount(numbers.flatten().int(), minlength=len(config.classes)).tolist()
        order = sorted((number for number, count in enumerate(counts) if count), key=lambda n: -counts[n])
        shares = tuple((config.classes[number], counts[number] / (size[0] * size[1])) for number in order[:top])
        pixels = PixelClasses(numbers.cpu().numpy(), config.classes, config.plain)
        answers.append(Prediction(path, shares, name, None, size, pixels))
    return answers
