"""Pictures in batches of tensors, decoded by worker processes; what cannot be read is named and left out."""

import errno
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from senet_zoo.data.labelled import Labelled, Unlabelled
from senet_zoo.data.pictures import prepare_picture
from senet_zoo.errors import DataError, PictureError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

Samples = TypeVar("Samples")


class WorkerError(DataError):
    """A process that prepares pictures ended, or found no room for them in shared memory."""


@dataclass(frozen=True, eq=False)
class LoadedBatch:
    """A batch of pictures.

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
    data: Labelled | Unlabelled,
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
        WorkerError: a worker ended, or shared memory is full.
    """
    if batch < 1 or workers < 0:
        raise UsageError(f"batch must be at least 1 and workers at least 0, got {batch} and {workers}")
    chosen = range(len(data)) if indices is None else indices
    groups = [list(chosen[start : start + batch]) for start in range(0, len(chosen), batch)]
    pictures = _Pictures(data, transform)
    workers = min(workers, len(groups))
    return watched(
        DataLoader(
            pictures, batch_sampler=groups, num_workers=workers, collate_fn=_collate, worker_init_fn=start_worker
        )
    )


def watched(loader: Iterable[Samples]) -> Iterator[Samples]:
    """The batches of a `DataLoader`.

    Raises:
        WorkerError: a worker ended, or shared memory is full.
    """
    try:
        yield from loader
    except (RuntimeError, OSError) as error:
        full = "shared memory" in str(error) or getattr(error, "errno", None) == errno.ENOSPC
        if not full and not str(error).startswith("DataLoader worker"):
            raise
        what = "found no room in shared memory" if full else "ended"
        raise WorkerError(
            f"a process that prepares pictures {what} ({str(error).splitlines()[-1]}). Run the same command again with "
            "fewer workers, or none (--workers 0), or with more room in /dev/shm (docker run --shm-size 1g)"
        ) from error


def start_worker(worker: int) -> None:
    """Begin in worker number ``worker``, which is silent if its reader goes away: that was interrupted, and says so."""
    sys.excepthook = _ignore_lost_reader


def _ignore_lost_reader(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not isinstance(error, ConnectionError):
        sys.__excepthook__(kind, error, trace)


def shared(batch: Samples) -> Samples:
    """The batch with its tensors in shared memory, if this process is a worker.

    A worker would move them there by itself, but in a thread whose errors nobody sees: where shared memory is full, the
    batch would be lost and its reader would wait for ever.
    """
    if get_worker_info() is not None:
        for tensor in _tensors_in(batch):
            tensor.share_memory_()
    return batch


def _tensors_in(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
        return
    parts: Iterable[object] = ()
    if is_dataclass(value):
        parts = [getattr(value, field.name) for field in fields(value)]
    elif isinstance(value, Mapping):
        parts = value.values()
    elif isinstance(value, tuple | list):
        parts = value
    for part in parts:
        yield from _tensors_in(part)


class _Pictures(Dataset[tuple[int, Tensor | str]]):
    def __init__(self, data: Labelled | Unlabelled, transform: "Callable[[Image], Tensor]") -> None:
        self.data, self.transform = data, transform

    def __getitem__(self, index: int) -> tuple[int, Tensor | str]:
        try:
            return index, prepare_picture(self.transform, self.data.read(index), self.data.names[index])
        except PictureError as error:
            return index, str(error)


def _collate(items: list[tuple[int, Tensor | str]]) -> LoadedBatch:
    read = [(index, tensor) for index, tensor in items if isinstance(tensor, Tensor)]
    batch = LoadedBatch(
        tuple(index for index, _ in read),
        tuple(tensor for _, tensor in read),
        tuple((index, reason) for index, reason in items if isinstance(reason, str)),
    )
    return shared(batch)
