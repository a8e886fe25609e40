"""Pictures are decoded in threads and classified in batches, and come out in order, whatever computes the logits."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from senet_zoo.data.picture_paths import find_pictures
from senet_zoo.data.pictures import prepare_picture, read_picture
from senet_zoo.errors import PictureError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Prediction:
    """What the network sees in one picture.

    Args:
        path: the file.
        classes: (label, probability), the likeliest class first.
    """

    path: str
    classes: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Failure:
    """A picture that could not be read.

    Args:
        path: the file, or what the user gave if it leads to no file.
        error: the reason; its message names the file.
    """

    path: str
    error: PictureError


def classify_pictures(
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    prepare: "Callable[[Image], Item]",
    classify: Callable[[Sequence[tuple[Path, Item]]], Iterable[Prediction]],
    *,
    batch: int,
    workers: int,
) -> Iterator[Prediction | Failure]:
    """One result for each picture in the order given; one that cannot be read does not stop the others.

    Memory does not grow with the number of pictures: ``sources`` is read as needed, and at most three batches of
    prepared pictures wait.

    Args:
        sources: files, folders and ``file:`` URLs, as `find_pictures` reads them; or one of them.
        prepare: turns a picture into the network's input; it runs in a thread.
        classify: turns a batch of at least one (path, input) into predictions, in the same order.
        batch: pictures that are classified at once.
        workers: threads that decode pictures.
    """

    def load(item: Path | Failure) -> tuple[Path, Item] | Failure:
        if isinstance(item, Failure):
            return item
        try:
            return item, prepare_picture(prepare, read_picture(item), str(item))
        except PictureError as error:
            return Failure(str(item), error)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="senet_zoo-decode")
    try:
        loaded = _map_ahead(pool, load, _find(sources), ahead=2 * batch)
        while group := list(islice(loaded, batch)):
            pictures = [item for item in group if not isinstance(item, Failure)]
            found = iter(classify(pictures) if pictures else ())
            yield from (item if isinstance(item, Failure) else next(found) for item in group)
    finally:
        pool.shutdown(cancel_futures=True)


def require_counts(top: int, batch: int, workers: int) -> None:
    """Check numbers that must be at least 1.

    Raises:
        UsageError: one is smaller.
    """
    for name, value in (("top", top), ("batch", batch), ("workers", workers)):
        if value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}")


def _find(sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Iterator[Path | Failure]:
    for source in [sources] if isinstance(sources, str | bytes | os.PathLike) else sources:
        if not isinstance(source, str | bytes | os.PathLike):
            raise UsageError(
                f"a source must be a path or a file: URL, got {type(source).__name__}: give a picture in memory to the "
                "weights' transforms(), and what comes of it to the network"
            )
        try:
            yield from find_pictures(source)
        except PictureError as error:
            yield Failure(os.fsdecode(source), error)


def _map_ahead(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    # pool.map would read all items and start all work at once
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
