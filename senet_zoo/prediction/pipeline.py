"""Pictures are decoded in threads and classified in batches, and come out in order, whatever computes the logits."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from senet_zoo.data.drawing import Corners
from senet_zoo.data.picture_paths import find_pictures
from senet_zoo.data.pictures import prepare_picture, to_rgb
from senet_zoo.data.remote_pictures import is_remote
from senet_zoo.errors import PictureError, UsageError
from senet_zoo.prediction.sources import NamedPicture, RemotePicture, list_sources, read_source
from senet_zoo.support.terminal import visible

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray
    from PIL.Image import Image

    from senet_zoo.prediction.sources import Source

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Box:
    """One thing in a picture.

    Args:
        label: its class.
        score: from 0 to 1.
        corners: left, top, right, bottom, in pixels of the upright picture.
        number: of its class, from 1; 0 is a detector's background.
        mask: of the thing, (H, W), where the detector gives one.
    """

    label: str
    score: float
    corners: Corners
    number: int
    mask: "NDArray[numpy.bool_] | None" = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class PixelClasses:
    """The class of every pixel of a picture.

    Args:
        numbers: (H, W), of the upright picture.
        names: of the classes.
        plain: numbers of classes that are no things, such as the background; they are not coloured.
    """

    numbers: "NDArray[numpy.uint8]"
    names: tuple[str, ...]
    plain: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Prediction:
    """What the network sees in one picture.

    Args:
        path: the file; of a picture in memory, its number.
        classes: (label, probability), the likeliest class first. Of a detector: each class that it finds, with its best
            score. Of a segmenter: each class that is there, with its share of the pixels.
        network: the name of the network that answered; empty where it has none.
        boxes: what a detector finds, the most certain first; None from other networks.
        size: width and height of the picture that the boxes are counted in; None from a classifier.
        pixels: what a segmenter says of every pixel; None from other networks.
    """

    path: str
    classes: tuple[tuple[str, float], ...]
    network: str = field(default="", compare=False)
    boxes: tuple[Box, ...] | None = None
    size: tuple[int, int] | None = None
    pixels: PixelClasses | None = field(default=None, compare=False, repr=False)

    @property
    def label(self) -> str:
        """The likeliest class.

        Raises:
            UsageError: a detector found nothing.
        """
        return self._first()[0]

    @property
    def probability(self) -> float:
        """The probability of the likeliest class.

        Raises:
            UsageError: a detector found nothing.
        """
        return self._first()[1]

    @property
    def top(self) -> tuple[tuple[str, float], ...]:
        """The likeliest classes with their probabilities: `classes`, as other libraries call them."""
        return self.classes

    def drawn(self, picture: "Image | None" = None) -> "Image":
        """The picture with what was found: boxes, names and scores, masks where there are any.

        Args:
            picture: the one that was asked about; by default its file is read again.

        Raises:
            UsageError: a classifier's answer, which has no place in the picture; a picture of another size; or none
                for an answer about a picture in memory.
            PictureError: the file cannot be read any more.
        """
        from senet_zoo.data.drawing import draw_boxes, draw_map

        if self.boxes is None and self.pixels is None:
            raise UsageError("boxes and masks are drawn, and this is a classifier's answer: print its classes")
        if picture is None and not (is_remote(self.path) or os.path.isfile(self.path)):  # noqa: PTH113 (a number is no path)
            raise UsageError(f"{self.path} is no file any more, and an answer keeps no pixels: pass it, drawn(picture)")
        if picture is None:
            picture = read_source(RemotePicture(self.path) if is_remote(self.path) else Path(self.path))
        else:
            picture = to_rgb(picture)
        if picture.size != self.size:
            raise UsageError(f"the picture must be of the size that was asked about, {self.size}, got {picture.size}")
        if self.pixels is not None:
            return draw_map(picture, self.pixels.numbers, self.pixels.names, plain=self.pixels.plain)
        shown = (self.boxes or ())[::-1]  # the most certain one is drawn last, above the others
        names = [f"{box.label} {box.score:.0%}" for box in shown]
        masks = [box.mask for box in shown if box.mask is not None]
        return draw_boxes(picture, [box.corners for box in shown], names, [box.number for box in shown], masks)

    def _first(self) -> tuple[str, float]:
        if not self.classes:
            raise UsageError(f"{self.path} has no likeliest class, because nothing was found in it; see its boxes")
        return self.classes[0]

    def __str__(self) -> str:
        classes = ", ".join(f"{label} {probability:.1%}" for label, probability in self.classes)
        if self.boxes is not None:
            classes = ", ".join(f"{box.label} {box.score:.1%}" for box in self.boxes) or "nothing found"
        return visible(f"{self.path}: {classes}{self.network and f' ({self.network})'}")

    def __repr__(self) -> str:
        return f"<{self}>"  # a list of them is read as it is printed


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
    sources: "Source | Iterable[Source]",
    prepare: "Callable[[Image], Item]",
    classify: Callable[[Sequence[tuple[str, Item]]], Iterable[Prediction]],
    *,
    batch: int,
    workers: int,
) -> Iterator[Prediction | Failure]:
    """One result for each picture in the order given; one that cannot be read does not stop the others.

    Memory does not grow with the number of pictures: ``sources`` is read as needed, and at most three batches of
    prepared pictures wait.

    Args:
        sources: files, folders and ``file:`` URLs, as `find_pictures` reads them, and pictures in memory; or one.
        prepare: turns a picture into the network's input; it runs in a thread.
        classify: turns a batch of at least one (name, input) into predictions, in the same order.
        batch: pictures that are classified at once.
        workers: threads that decode pictures.
    """

    def load(item: Path | NamedPicture | RemotePicture | Failure) -> tuple[str, Item] | Failure:
        if isinstance(item, Failure):
            return item
        name = str(item) if isinstance(item, Path) else item.name
        try:
            picture = to_rgb(item.picture) if isinstance(item, NamedPicture) else read_source(item)
            return name, prepare_picture(prepare, picture, name)
        except PictureError as error:
            return Failure(name, error)

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


def _find(sources: "Source | Iterable[Source]") -> Iterator[Path | NamedPicture | RemotePicture | Failure]:
    for source in list_sources(sources):
        if isinstance(source, NamedPicture):
            yield source
            continue
        if not source:
            yield Failure(source, PictureError("a picture's path must not be empty: name a file, or . for this folder"))
            continue
        if is_remote(source):
            yield RemotePicture(source)
            continue
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
