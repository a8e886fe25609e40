"""Labelled pictures in batches of tensors, decoded by worker processes; what cannot be read is named and left out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from senet_zoo.data.labelled import Labelled
from senet_zoo.data.pictures import prepare_picture
from senet_zoo.errors import PictureError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, eq=False)
class LoadedBatch:
    """A batch of labelled pictures.

    Args:
        indices: of the pictures that were read.
        tensors: one for each of them.
        unreadable: index of each picture that could not be read, and why.
    """

    indices: tuple[int, ...]
    tensors: tuple[Tensor, ...]
    unreadable: tuple[tuple[int, str], ...]

    def __len__(self) -> int:
        return len(self.indices) + len(self.unreadable)


def load_batches(
    data: Labelled,
    transform: "Callable[[Image], Tensor]",
    batch: int,
    workers: int = 0,
    indices: Sequence[int] | None = None,
) -> Iterator[LoadedBatch]:
    """Pictures in their order, ``batch`` at once.

    Args:
        data: the pictures.
        transform: turns a picture into a tensor.
        batch: pictures in a batch.
        workers: processes that read pictures; 0 reads in this one.
        indices: the pictures to read; by default all.

    Raises:
        UsageError: ``batch`` or ``workers`` is out of range.
    """
    if batch < 1 or workers < 0:
        raise UsageError(f"batch must be at least 1 and workers at least 0, got {batch} and {workers}")
    chosen = range(len(data)) if indices is None else indices
    groups = [list(chosen[start : start + batch]) for start in range(0, len(chosen), batch)]
    pictures = _Pictures(data, transform)
    workers = min(workers, len(groups))
    return iter(DataLoader(pictures, batch_sampler=groups, num_workers=workers, collate_fn=_collate))


class _Pictures(Dataset[tuple[int, Tensor | str]]):
    def __init__(self, data: Labelled, transform: "Callable[[Image], Tensor]") -> None:
        self.data, self.transform = data, transform

    def __getitem__(self, index: int) -> tuple[int, Tensor | str]:
        try:
            return index, prepare_picture(self.transform, self.data.read(index), self.data.names[index])
        except PictureError as error:
            return index, str(error)


def _collate(items: list[tuple[int, Tensor | str]]) -> LoadedBatch:
    read = [(index, tensor) for index, tensor in items if isinstance(tensor, Tensor)]
    return LoadedBatch(
        tuple(index for index, _ in read),
        tuple(tensor for _, tensor in read),
        tuple((index, reason) for index, reason in items if isinstance(reason, str)),
    )
