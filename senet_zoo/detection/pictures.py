"""Pictures and their boxes as tensors, read ahead of the step that looks at them."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from senet_zoo.data.pictures import read_picture
from senet_zoo.detection.coco import Boxed
from senet_zoo.errors import DataError, PictureError
from senet_zoo.training.randomness import generator_of, order_of_epoch

Key = tuple[int, int]  # epoch, index of a picture
MOST_NEIGHBOURS = 100  # pictures tried in the place of an unreadable one


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
    unreadable: tuple[tuple[int, str], ...] = ()


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
    kept = [place for place, crowd in enumerate(picture.crowds) if crowds or not crowd]
    target = {
        "boxes": torch.tensor([picture.boxes[place] for place in kept], dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor([picture.labels[place] for place in kept], dtype=torch.int64),
        "area": torch.tensor([picture.areas[place] for place in kept], dtype=torch.float32),
        "iscrowd": torch.tensor([picture.crowds[place] for place in kept], dtype=torch.int64),
    }
    return Sample(index, image, target)


class TrainingPictures(Dataset[Sample | DataError]):
    """Pictures by epoch and index, mirrored or not: the same bits whenever and wherever they are asked for.

    An unreadable picture is replaced by the next readable one. An error is handed over like a picture: raised in a
    worker it would arrive as that worker's traceback.
    """

    def __init__(self, pictures: tuple[Boxed, ...], flip: float, seed: int) -> None:
        self.pictures, self.flip, self.seed = pictures, flip, seed

    def __getitem__(self, key: Key) -> Sample | DataError:
        """The picture, and those that it stands for."""
        epoch, index = key
        unreadable: list[tuple[int, str]] = []
        while True:
            try:
                sample = load(self.pictures[index], index, crowds=False)
                break
            except PictureError as error:
                unreadable.append((index, str(error)))
                index = (index + 1) % len(self.pictures)
                if len(unreadable) == min(MOST_NEIGHBOURS, len(self.pictures)):
                    return DataError(
                        f"of {len(unreadable)} training pictures in a row none can be read, the last because: {error}"
                    )
        if float(torch.rand((), generator=generator_of(self.seed, "flip", epoch, index))) < self.flip:
            sample = mirrored(sample)
        return Sample(index, sample.image, sample.target, tuple(unreadable))


def mirrored(sample: Sample) -> Sample:
    """Left and right exchanged."""
    boxes = sample.target["boxes"].clone()
    boxes[:, [0, 2]] = sample.image.shape[2] - boxes[:, [2, 0]]
    return Sample(sample.index, sample.image.flip(2), {**sample.target, "boxes": boxes}, sample.unreadable)


class ValidationPictures(Dataset[Sample | tuple[int, str]]):
    """Pictures as they are, by index; the index and the reason where one cannot be read."""

    def __init__(self, pictures: tuple[Boxed, ...]) -> None:
        self.pictures = pictures

    def __getitem__(self, index: int) -> Sample | tuple[int, str]:
        """The picture and its boxes."""
        try:
            return load(self.pictures[index], index, crowds=True)
        except PictureError as error:
            return index, str(error)


class Steps(Sampler[list[Key]]):
    """The pictures of one process from a step to the end of the run; epochs follow one another without a gap.

    Args:
        pictures: their number.
        batch: pictures a step, all processes together.
        steps: of the run.
        seed: of the epochs' orders.
        rank: of the process.
        ranks: number of processes.
        start: step to begin with.
    """

    def __init__(self, pictures: int, batch: int, steps: int, seed: int, rank: int, ranks: int, start: int) -> None:
        self.pictures, self.batch, self.steps, self.seed = pictures, batch, steps, seed
        self.rank, self.ranks, self.start = rank, ranks, start

    def __iter__(self) -> Iterator[list[Key]]:
        """The keys of each step."""
        known, order = -1, torch.empty(0, dtype=torch.int64)
        for step in range(self.start, self.steps):
            keys = []
            for place in range(step * self.batch + self.rank, (step + 1) * self.batch, self.ranks):
                epoch = place // self.pictures
                if epoch != known:
                    known, order = epoch, order_of_epoch(self.pictures, self.seed, epoch)
                keys.append((epoch, int(order[place % self.pictures])))
            yield keys


def batches(pictures: Dataset[Any], keys: Iterable[list[Any]], workers: int) -> Iterator[list[Any]]:
    """The samples of each list of keys, read in ``workers`` processes; 0 reads each when it is asked for.

    Raises:
        DataError: too many pictures in a row cannot be read.
    """
    # Forked where that is safe, so that nothing is sent to the workers but the keys; they touch no GPU.
    context = "fork" if workers and sys.platform == "linux" else None
    loader: DataLoader[list[Any]] = DataLoader(
        pictures,
        batch_sampler=keys,
        num_workers=workers,
        collate_fn=list,
        multiprocessing_context=context,
        generator=torch.Generator(),  # otherwise the workers' seed is drawn from torch's own
    )
    for samples in loader:
        for sample in samples:
            if isinstance(sample, DataError):
                raise sample
        yield samples
