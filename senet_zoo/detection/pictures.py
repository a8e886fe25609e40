"""Pictures and their boxes as tensors, read ahead of the step that looks at them."""

from collections.abc import Iterator
from dataclasses import dataclass

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
            area (n,) and iscrowd (n,).
        unreadable: indices of pictures that this one stands for, and why each.
    """

    index: int
    image: Tensor
    target: dict[str, Tensor]
    unreadable: Unreadable = ()


def load(picture: Boxed, index: int, *, crowds: bool) -> Sample:
    """A picture with its boxes.

    Args:
        picture: the file and its boxes.
        index: of the picture.
        crowds: keep boxes that hold many things.

    Raises:
        PictureError: the file is no readable picture, or not of the size that its boxes are counted in.
    """
    from torchvision.transforms.v2 import functional as F

    image = F.pil_to_tensor(read_picture(picture.path)).float() / 255.0
    if image.shape[1:] != (picture.height, picture.width):
        raise PictureError(
            f"{picture.path}: a picture must be of the size that its boxes are counted in, {picture.width} x "
            f"{picture.height} pixels, and this one is {image.shape[2]} x {image.shape[1]}"
        )
    kept = [number for number, crowd in enumerate(picture.crowds) if crowds or not crowd]
    target = {
        "boxes": torch.tensor([picture.boxes[number] for number in kept], dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor([picture.labels[number] for number in kept], dtype=torch.int64),
        "area": torch.tensor([picture.areas[number] for number in kept], dtype=torch.float32),
        "iscrowd": torch.tensor([picture.crowds[number] for number in kept], dtype=torch.int64),
    }
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
    return Sample(sample.index, sample.image.flip(2), {**sample.target, "boxes": boxes}, sample.unreadable)


class CocoValidationPictures(Dataset[Sample | tuple[int, str]]):
    """Pictures as they are, by index; the index and the reason where one cannot be read."""

    def __init__(self, pictures: tuple[Boxed, ...]) -> None:
        self.pictures = pictures

    def __getitem__(self, index: int) -> Sample | tuple[int, str]:
        """The picture and its boxes."""
        try:
            return load(self.pictures[index], index, crowds=True)
        except PictureError as error:
            return index, str(error)


class ContinuousSampler(Sampler[list[Key]]):
    """The pictures of one process from a step to the end of the run; epochs follow one another without a gap.

    Args:
        pictures: their number.
        batch: pictures a step, all processes together.
        steps: of the run.
        seed: of the epochs' orders.
        share: what the process takes of a step.
        start: step to begin with.
    """

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
