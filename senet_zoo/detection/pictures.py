"""Pictures with their boxes as tensors: for training in the order of a run, and as they are for measuring."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from senet_zoo.data.outlines import mask_of
from senet_zoo.data.pictures import read_picture, require_visible
from senet_zoo.detection.coco import Boxed
from senet_zoo.detection.design import STANDARD
from senet_zoo.errors import DataError, PictureError
from senet_zoo.training.batches import Key, Unreadable, read_near
from senet_zoo.training.randomness import generator_of, seeded


@dataclass(frozen=True)
class Sample:
    """One picture.

    Args:
        index: of the picture.
        image: (3, H, W), pixels in [0, 1].
        target: as torchvision's detectors take it: boxes (n, 4) as left, top, right, bottom, and labels (n,); besides,
            area (n,), iscrowd (n,) and, where they were asked for, masks (n, H, W) of uint8.
        unreadable: indices of pictures that this one stands for, and why each.
    """

    index: int
    image: Tensor
    target: dict[str, Tensor]
    unreadable: Unreadable = ()


def load(picture: Boxed, index: int, *, crowds: bool, longest: int = STANDARD.longest) -> Sample:
    """A picture with its boxes; only with ``crowds`` those that hold many things.

    Raises:
        PictureError: the file is no readable picture, is not of the size that its boxes are counted in, or is so thin
            that nothing is left of it where its longer side has ``longest`` pixels.
    """
    from torchvision.transforms.v2 import functional as F

    image = F.pil_to_tensor(read_picture(picture.path)).float() / 255.0
    if image.shape[1:] != (picture.height, picture.width):
        turned = ""
        if image.shape[1:] == (picture.width, picture.height):
            turned = (
                "; if its EXIF turns it, its boxes were counted before: save the picture without that tag, or count "
                "its boxes upright"
            )
        raise PictureError(
            f"{picture.path}: a picture must be of the size that its boxes are counted in, {picture.width} x "
            f"{picture.height} pixels, and this one is {image.shape[2]} x {image.shape[1]}{turned}"
        )
    try:
        require_visible(picture.width, picture.height, longest)
    except PictureError as error:
        raise PictureError(f"{picture.path}: {error}") from error
    kept = [number for number, crowd in enumerate(picture.crowds) if crowds or not crowd]
    target = {
        "boxes": torch.tensor([picture.boxes[number] for number in kept], dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor([picture.labels[number] for number in kept], dtype=torch.int64),
        "area": torch.tensor([picture.areas[number] for number in kept], dtype=torch.float32),
        "iscrowd": torch.tensor([picture.crowds[number] for number in kept], dtype=torch.int64),
    }
    if picture.outlines:
        outlines = [mask_of(picture.outlines[number], picture.width, picture.height) for number in kept]
        found = [torch.from_numpy(mask) for mask in outlines]
        target["masks"] = torch.stack(found) if found else torch.zeros(0, *image.shape[1:], dtype=torch.uint8)
    return Sample(index, image, target)


class CocoTrainingPictures(Dataset[Sample | DataError]):
    """Pictures by epoch and index, mirrored or not: the same bits whenever and wherever they are asked for."""

    def __init__(
        self,
        pictures: tuple[Boxed, ...],
        flip: float,
        seed: int,
        photometric: float = 0.0,
        longest: int = STANDARD.longest,
    ) -> None:
        self.pictures, self.flip, self.seed, self.photometric = pictures, flip, seed, photometric
        self.longest = longest

    def __getitem__(self, key: Key) -> Sample | DataError:
        """The picture, or the next readable one, and those that it stands for."""
        epoch, index = key
        try:
            sample, index, unreadable = read_near(self._load, index, len(self.pictures))
        except DataError as error:
            return error
        if float(torch.rand((), generator=generator_of(self.seed, "flip", epoch, index))) < self.flip:
            sample = mirrored(sample)
        if self.photometric:
            from torchvision.transforms.v2 import RandomPhotometricDistort

            with seeded(self.seed, "photometric", epoch, index):
                image = RandomPhotometricDistort(p=self.photometric)(sample.image)
            return Sample(index, image, sample.target, unreadable)
        return Sample(index, sample.image, sample.target, unreadable)

    def _load(self, index: int) -> Sample:
        return load(self.pictures[index], index, crowds=False, longest=self.longest)


def mirrored(sample: Sample) -> Sample:
    """Left and right exchanged."""
    boxes = sample.target["boxes"].clone()
    boxes[:, [0, 2]] = sample.image.shape[2] - boxes[:, [2, 0]]
    target = {**sample.target, "boxes": boxes}
    if "masks" in target:
        target["masks"] = target["masks"].flip(2)
    return Sample(sample.index, sample.image.flip(2), target, sample.unreadable)


@dataclass(frozen=True)
class UnreadPicture:
    """A picture that could not be read, and why."""

    index: int
    reason: str


class CocoValidationPictures(Dataset[Sample | UnreadPicture]):
    """Pictures as they are, by index."""

    def __init__(self, pictures: tuple[Boxed, ...], longest: int = STANDARD.longest) -> None:
        self.pictures, self.longest = pictures, longest

    def __getitem__(self, index: int) -> Sample | UnreadPicture:
        """The picture and its boxes."""
        try:
            return load(self.pictures[index], index, crowds=True, longest=self.longest)
        except PictureError as error:
            return UnreadPicture(index, str(error))
