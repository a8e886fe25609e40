"""Pictures with their boxes as tensors: for training in the order of a run, and as they are for measuring."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from senet_zoo.data.pictures import read_picture
from senet_zoo.detection.coco import Boxed
from senet_zoo.errors import DataError, PictureError
from senet_zoo.training.batches import Key, Share, Unreadable, read_near
from senet_zoo.training.randomness import generator_of, order_of_epoch


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


def load(picture: Boxed, index: int, *, crowds: bool) -> Sample:
    """A picture with its boxes; only with ``crowds`` those that hold many things.

    Raises:
        PictureError: the file is no readable picture, or not of the size that its boxes are counted in.
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
    kept = [number for number, crowd in enumerate(picture.crowds) if crowds or not crowd]
    target = {
        "boxes": torch.tensor([picture.boxes[number] for number in kept], dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor([picture.labels[number] for number in kept], dtype=torch.int64),
        "area": torch.tensor([picture.areas[number] for number in kept], dtype=torch.float32),
        "iscrowd": torch.tensor([picture.crowds[number] for number in kept], dtype=torch.int64),
    }
    if picture.outlines:
        found = [mask_of(picture.outlines[number], picture.width, picture.height) for number in kept]
        target["masks"] = torch.stack(found) if found else torch.zeros(0, *image.shape[1:], dtype=torch.uint8)
    return Sample(index, image, target)


class CocoTrainingPictures(Dataset[Sample | DataError]):
    """Pictures by epoch and index, mirrored or not: the same bits whenever and wherever they are asked for."""

    def __init__(self, pictures: tuple[Boxed, ...], flip: float, seed: int) -> None:
        self.pictures, self.flip, self.seed = pictures, flip, seed

    def __getitem__(self, key: Key) -> Sample | DataError:
        """The picture, or the next readable one, and those that it stands for."""
        epoch, index = key
        try:
            sample, index, unreadable = read_near(self._load, index, len(self.pictures))
        except DataError as error:
            return error
        if float(torch.rand((), generator=generator_of(self.seed, "flip", epoch, index))) < self.flip:
            sample = mirrored(sample)
        return Sample(index, sample.image, sample.target, unreadable)

    def _load(self, index: int) -> Sample:
        return load(self.pictures[index], index, crowds=False)


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

    def __init__(self, pictures: tuple[Boxed, ...]) -> None:
        self.pictures = pictures

    def __getitem__(self, index: int) -> Sample | UnreadPicture:
        """The picture and its boxes."""
        try:
            return load(self.pictures[index], index, crowds=True)
        except PictureError as error:
            return UnreadPicture(index, str(error))


class ContinuousSampler(Sampler[list[Key]]):
    """The pictures of one process from a step to the end of the run; epochs follow one another without a gap."""

    def __init__(self, pictures: int, batch: int, steps: int, seed: int, share: Share, start: int) -> None:
        self.pictures, self.batch, self.steps, self.seed = pictures, batch, steps, seed
        self.share, self.start = share, start

    def __iter__(self) -> Iterator[list[Key]]:
        """The keys of each step."""
        known, order = -1, torch.empty(0, dtype=torch.int64)
        for step in range(self.start, self.steps):
            keys = []
            for shown in range(step * self.batch + self.share.rank, (step + 1) * self.batch, self.share.ranks):
                epoch = shown // self.pictures
                if epoch != known:
                    known, order = epoch, order_of_epoch(self.pictures, self.seed, epoch)
                keys.append((epoch, int(order[shown % self.pictures])))
            yield keys


def mask_of(outline: Any, width: int, height: int) -> Tensor:
    """The pixels of a thing, uint8 (H, W), from what `read_coco` kept of it.

    Raises:
        PictureError: the run lengths are damaged.
    """
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
            return torch.from_numpy(coco_mask.decode(encoded)).contiguous()
    except (ValueError, TypeError) as error:
        raise PictureError(f"the run lengths of a mask must be whole, and they are not: {error}") from error
