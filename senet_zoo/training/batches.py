"""Batches for a run: which pictures, in which order, for which process, decoded and augmented ahead of the step."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from senet_zoo.data.labelled import Labelled
from senet_zoo.data.loader import Samples, WorkerError, shared, start_worker, watched
from senet_zoo.data.pictures import prepare_picture, require_resizable
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.data.volumes import VolumePreprocessing
from senet_zoo.errors import DataError, PictureError, TrainingError
from senet_zoo.training.augmentation import AlternatingFlip, Flip, pipeline
from senet_zoo.training.randomness import order_of_epoch, seeded
from senet_zoo.training.recipes import TrainRecipe

if TYPE_CHECKING:
    from PIL.Image import Image
    from torchvision.transforms.v2 import Transform

Key = tuple[int, int]  # epoch, index of a picture
Unreadable = tuple[tuple[int, str], ...]  # index of a picture, and why it cannot be read
MOST_NEIGHBOURS = 100  # pictures tried instead of an unreadable one
Picture = TypeVar("Picture")
LAYOUTS = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.contiguous_format}
"""Of the maps of networks of so many dimensions in memory; volumes with channels last are slower on a CPU."""


@dataclass(frozen=True)
class Share:
    """What one process takes of every step.

    Args:
        rank: its number, from 0.
        ranks: number of processes.
        pieces: batches, one after the other, whose gradients are added up.
    """

    rank: int
    ranks: int
    pieces: int = 1

    def of(self, pictures: int, batch: int) -> list[list[int]]:
        """The indices that this process measures, batch by batch; each picture is in one process only."""
        mine = range(self.rank, pictures, self.ranks)
        return [list(mine[start : start + batch]) for start in range(0, len(mine), batch)]


def describe_share(share: Share, batch: int, device: str) -> str:
    """How many processes work, and how many pictures of a step each sees, in one line."""
    ranks, pieces = share.ranks, share.pieces
    each = batch // ranks
    seen = f"1 process on {device} sees" if ranks == 1 else f"{ranks} processes work, {device} is one's; each sees"
    of = f"all {batch}" if ranks == 1 else f"{each} of the {batch}"
    return f"{seen} {of} pictures of a step" + (f", in {pieces} pieces of {each // pieces}" if pieces > 1 else "")


class StepSampler(Sampler[list[Key]]):
    """The pictures of one process, piece by piece, from a step to the end of the run.

    A step's pictures are the next ``batch`` of the epoch's order, whatever the number of processes and pieces; what is
    left at the end of an epoch is not shown in it.
    """

    def __init__(self, pictures: int, batch: int, epochs: int, seed: int, share: Share, start: int = 0) -> None:
        self.pictures, self.batch, self.epochs, self.seed = pictures, batch, epochs, seed
        self.share, self.start = share, start

    def __iter__(self) -> Iterator[list[Key]]:
        """The keys of each piece."""
        per_epoch = self.pictures // self.batch
        size = self.batch // (self.share.ranks * self.share.pieces)
        for epoch in range(self.start // per_epoch, self.epochs):
            order = order_of_epoch(self.pictures, self.seed, epoch).tolist()
            first = self.start % per_epoch if epoch == self.start // per_epoch else 0
            for step in range(first, per_epoch):
                for piece in range(self.share.pieces):
                    begin = step * self.batch + (piece * self.share.ranks + self.share.rank) * size
                    yield [(epoch, index) for index in order[begin : begin + size]]


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


def read_near(read: Callable[[int], Picture], index: int, pictures: int) -> tuple[Picture, int, Unreadable]:
    """The picture of that index or, so that no batch shrinks, the next readable one.

    Returns:
        The picture, its own index, and the unreadable ones that it stands for.

    Raises:
        DataError: too many in a row cannot be read.
    """
    unreadable: list[tuple[int, str]] = []
    while True:
        try:
            return read(index), index, tuple(unreadable)
        except PictureError as error:
            unreadable.append((index, str(error)))
            index = (index + 1) % pictures
            if len(unreadable) == min(MOST_NEIGHBOURS, pictures):
                raise DataError(
                    f"of {len(unreadable)} training pictures in a row none can be read, the last because: {error}"
                ) from error


def batches_by_key(
    pictures: Dataset[Any],
    keys: Iterable[list[Any]],
    collate: Callable[[list[Any]], Samples],
    workers: int,
    *,
    pin: bool = False,
) -> Iterator[Samples]:
    """The pictures of each list of keys, prepared in ``workers`` processes; 0 prepares each when it is asked for.

    A picture may be a DataError, which is raised here: raised in a worker it would arrive as that worker's traceback.
    With ``pin``, batches lie where a GPU reads them by itself.

    Raises:
        DataError: too many pictures in a row cannot be read.
        WorkerError: a worker ended, or shared memory is full.
    """
    loader = DataLoader(
        pictures,
        batch_sampler=keys,
        num_workers=workers,
        collate_fn=partial(_collate, collate),
        pin_memory=pin,
        worker_init_fn=start_worker,
        # Forked where that is safe, so that nothing is sent to the workers but the keys; they touch no GPU.
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        generator=torch.Generator(),  # otherwise the workers' seed is drawn from torch's own
    )
    for batch in watched(loader):
        if isinstance(batch, DataError):
            raise batch
        yield batch


def resumable(batches: Iterable[Samples]) -> Iterator[Samples]:
    """The batches of a run, which says that it can go on if a worker ends.

    Raises:
        TrainingError: a worker ended, or shared memory is full.
    """
    try:
        yield from batches
    except WorkerError as error:
        raise TrainingError(f"{error}. The run goes on from its last checkpoint") from error


def _collate(collate: Callable[[list[Any]], Samples], pictures: list[Any]) -> Samples | DataError:
    wrong = next((picture for picture in pictures if isinstance(picture, DataError)), None)
    return wrong or shared(collate(pictures))


@dataclass(frozen=True)
class LabelledBatch:
    """Pictures that go through the network together.

    Args:
        images: (n, 3, side, side), normalised.
        labels: (n,).
        unreadable: indices of pictures that another stands for.
    """

    images: Tensor
    labels: Tensor
    unreadable: tuple[int, ...]

    def pin_memory(self) -> "LabelledBatch":
        """The same in memory that a GPU reads by itself; a `DataLoader` calls it."""
        return LabelledBatch(self.images.pin_memory(), self.labels.pin_memory(), self.unreadable)


LabelledSample = tuple[Tensor, int, tuple[int, ...]]  # image, label, unreadable


class TrainingPictures(Dataset[LabelledSample | DataError]):
    """Augmented pictures by epoch and index: the same bits whenever and wherever they are asked for."""

    def __init__(self, data: Labelled, recipe: TrainRecipe, preprocessing: Preprocessing, seed: int) -> None:
        self.data, self.recipe, self.preprocessing, self.seed = data, recipe, preprocessing, seed
        self._flips = [step for step in recipe.augmentation if isinstance(step, AlternatingFlip)]
        self._pipelines: dict[int, Transform] = {}  # by side; each process builds its own

    def __getitem__(self, key: Key) -> LabelledSample | DataError:
        """The picture, its label, and the indices of pictures that it stands for."""
        from PIL import ImageOps

        epoch, index = key
        try:
            picture, index, unreadable = read_near(self._read, index, len(self.data))
        except DataError as error:
            return error
        if any(flip.mirrors(self.seed, epoch, index) for flip in self._flips):
            picture = ImageOps.mirror(picture)
        with seeded(self.seed, "augment", epoch, index):
            image: Tensor = self._pipeline(self.recipe.side(epoch, self.preprocessing.size))(picture)
        return image, self.data.labels[index], tuple(index for index, _ in unreadable)

    def _read(self, index: int) -> "Image":
        picture = self.data.read(index)
        require_resizable(*picture.size, self.preprocessing.resize)
        return picture

    def _pipeline(self, side: int) -> "Transform":
        if side not in self._pipelines:
            self._pipelines[side] = pipeline(self.recipe.augmentation, side, self.preprocessing)
        return self._pipelines[side]


class TrainingVolumes(Dataset[LabelledSample | DataError]):
    """Volumes or signals by epoch and index; a recipe with `Flip` mirrors volumes along each axis, half of the time."""

    def __init__(self, data: Labelled, recipe: TrainRecipe, preprocessing: VolumePreprocessing, seed: int) -> None:
        self.data, self.seed = data, seed
        self.prepare = preprocessing.transforms()
        self.axes = [1, 2, 3] if _mirrors(preprocessing, recipe) else []

    def __getitem__(self, key: Key) -> LabelledSample | DataError:
        """The volume, its label, and the indices of volumes that it stands for."""
        epoch, index = key
        try:
            x, index, unreadable = read_near(self._read, index, len(self.data))
        except DataError as error:
            return error
        with seeded(self.seed, "augment", epoch, index):
            x = x.flip([axis for axis in self.axes if torch.rand(()) < 0.5])
        return x, self.data.labels[index], tuple(index for index, _ in unreadable)

    def _read(self, index: int) -> Tensor:
        return prepare_picture(self.prepare, self.data.read(index), self.data.names[index])


def _mirrors(preprocessing: VolumePreprocessing, recipe: TrainRecipe) -> bool:
    return len(preprocessing.sides) == 3 and any(isinstance(step, Flip) for step in recipe.augmentation)


def describe_volumes(preprocessing: VolumePreprocessing, recipe: TrainRecipe) -> str:
    """What volumes or signals go through, in one line."""
    sides = " x ".join(map(str, preprocessing.sides))
    flips = "mirrored at random along each axis" if _mirrors(preprocessing, recipe) else "shown as they are"
    kind = "volumes" if len(preprocessing.sides) == 3 else "signals"
    return f"{kind} are resampled to {sides}, normalised each by itself, and {flips}; nothing else of the augmentation"


def training_batches(
    pictures: TrainingPictures | TrainingVolumes, keys: StepSampler, workers: int, *, pin: bool = False
) -> Iterator[LabelledBatch]:
    """The batches of ``keys``; arguments as `batches_by_key`.

    Raises:
        DataError: too many pictures in a row cannot be read.
        TrainingError: a worker ended, or shared memory is full.
    """
    return resumable(batches_by_key(pictures, keys, _labelled_batch, workers, pin=pin))


def _labelled_batch(samples: list[LabelledSample]) -> LabelledBatch:
    images, labels, unreadable = zip(*samples, strict=True)
    return LabelledBatch(
        torch.stack(images), torch.tensor(labels), tuple(index for each in unreadable for index in each)
    )
