"""Pictures with the class of every pixel as tensors: cropped and mirrored for training, resized for measuring."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from senet_zoo.data.pictures import read_picture
from senet_zoo.errors import DataError, PictureError
from senet_zoo.segmentation.config import SegmentationRecipe
from senet_zoo.segmentation.layouts import MaskedPictures
from senet_zoo.segmentation.masks import IGNORED
from senet_zoo.training.batches import Key, Unreadable, read_near
from senet_zoo.training.randomness import seeded
from senet_zoo.weights.task_folders import Triple

if TYPE_CHECKING:
    from PIL.Image import Image
    from torchvision.transforms.v2 import Transform


@dataclass(frozen=True)
class PixelSample:
    """One picture.

    Args:
        index: of the picture.
        image: (3, H, W), normalised.
        classes: of each pixel, uint8: (H, W) in training; for measuring, of the picture as it lies in its file.
        unreadable: indices of pictures that this one stands for, and why each.
    """

    index: int
    image: Tensor
    classes: Tensor
    unreadable: Unreadable = ()


@dataclass(frozen=True)
class UnreadMask:
    """A picture that could not be read, or whose mask could not, and why."""

    index: int
    reason: str


def augmentation(recipe: SegmentationRecipe, mean: Triple) -> "Transform":
    """What happens to a training picture and to its mask alike: torchvision v2's transforms, as in its references.

    A picture that is smaller than the crop is filled up with the mean colour, its mask with `IGNORED`.
    """
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    least, greatest = (max(1, round(recipe.side * scale)) for scale in recipe.scales)
    fill: Any = {tv_tensors.Image: [round(255 * value) for value in mean], tv_tensors.Mask: IGNORED}
    steps: list[Transform] = [
        v2.RandomResize(least, max(least + 1, greatest), antialias=True),
        v2.RandomHorizontalFlip(recipe.flip),
        v2.RandomCrop(recipe.side, pad_if_needed=True, fill=fill),
    ]
    if recipe.colour:
        by = recipe.colour
        steps.append(v2.ColorJitter(by, by, by, 0.2 * by))
    return v2.Compose(steps)


def normalised(image: Tensor, mean: Triple, std: Triple) -> Tensor:
    """A picture of uint8 as the network takes it."""
    from torchvision.transforms.v2 import functional as F

    x: Tensor = F.normalize(image.as_subclass(Tensor).float() / 255.0, list(mean), list(std))
    return x


def resized(picture: "Image", side: int, mean: Triple, std: Triple) -> Tensor:
    """A picture for the network, its shorter side ``side`` pixels: (3, H, W)."""
    from torchvision.transforms.v2 import functional as F

    from senet_zoo.data.pictures import require_resizable

    require_resizable(*picture.size, side)
    return normalised(F.resize(F.pil_to_tensor(picture), [side], antialias=True), mean, std)


class MaskedTrainingPictures(Dataset[PixelSample | DataError]):
    """Pictures by epoch and index, augmented: the same bits whenever and wherever they are asked for."""

    def __init__(self, data: MaskedPictures, recipe: SegmentationRecipe, mean: Triple, std: Triple, seed: int) -> None:
        self.data, self.recipe, self.mean, self.std, self.seed = data, recipe, mean, std, seed
        self._transform: Transform | None = None  # each process builds its own

    def __getitem__(self, key: Key) -> PixelSample | DataError:
        """The picture, or the next readable one, and those that it stands for."""
        epoch, index = key
        try:
            (image, classes), index, unreadable = read_near(self._load, index, len(self.data.pictures))
        except DataError as error:
            return error
        if self._transform is None:
            self._transform = augmentation(self.recipe, self.mean)
        with seeded(self.seed, "augment", epoch, index):
            image, classes = self._transform(image, classes)
        return PixelSample(index, normalised(image, self.mean, self.std), classes.as_subclass(Tensor), unreadable)

    def _load(self, index: int) -> tuple[Tensor, Tensor]:
        from torchvision import tv_tensors
        from torchvision.transforms.v2 import functional as F

        masked = self.data.pictures[index]
        picture = read_picture(masked.path)
        classes = torch.from_numpy(self.data.form.read(masked, picture.size))
        return tv_tensors.Image(F.pil_to_tensor(picture)), tv_tensors.Mask(classes)


class MaskedValidationPictures(Dataset[PixelSample | UnreadMask | DataError]):
    """Pictures with their shorter side at ``side``, by index, and their masks as they are."""

    def __init__(self, data: MaskedPictures, side: int, mean: Triple, std: Triple) -> None:
        self.data, self.side, self.mean, self.std = data, side, mean, std

    def __getitem__(self, index: int) -> PixelSample | UnreadMask | DataError:
        """The picture and the class of each pixel."""
        masked = self.data.pictures[index]
        try:
            picture = read_picture(masked.path)
            classes = torch.from_numpy(self.data.form.read(masked, picture.size))
            return PixelSample(index, resized(picture, self.side, self.mean, self.std), classes)
        except PictureError as error:
            return UnreadMask(index, str(error))
        except DataError as error:
            return error
