"""Pictures as values: `Labelled`, which every kind of data becomes, `Unlabelled`, and what is done with them."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from senet_zoo.data.pictures import decode_picture, read_picture
from senet_zoo.data.splits import Split
from senet_zoo.errors import DataError, PictureError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image


DIGESTED = 64  # pictures whose pixels a digest looks at, evenly spaced


@dataclass(frozen=True)
class Labelled:
    """Labelled pictures, each opened when it is read.

    Args:
        classes: names of the classes; a label is an index into them.
        labels: one for each picture.
        names: one for each picture, for messages.
        read: takes a picture's index and returns it upright as RGB, or raises a `PictureError` that names it. It can be
            pickled, and several threads may call it at once.

    Raises:
        DataError: there is no picture, names and labels do not pair, two classes share a name, or a label is out of
            range.
    """

    classes: tuple[str, ...]
    labels: tuple[int, ...]
    names: Sequence[str]
    read: "Callable[[int], Image]"

    def __post_init__(self) -> None:
        if not self.labels:
            raise DataError("labelled pictures must be at least one, and there is none")
        if len(self.labels) != len(self.names):
            raise DataError(f"each picture has one label: got {len(self.names)} pictures and {len(self.labels)} labels")
        twice = sorted(name for name, count in Counter(self.classes).items() if count > 1)
        if twice:
            raise DataError(f"classes must differ in their names, and {', '.join(twice)} stands twice: rename one")
        for name, label in zip(self.names, self.labels, strict=True):
            if not 0 <= label < len(self.classes):
                raise DataError(
                    f"a label must be an index into the {len(self.classes)} classes, from 0 to "
                    f"{len(self.classes) - 1}, and that of {name} is {label}: correct the label or name the classes"
                )

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Unlabelled:
    """Pictures of which nothing says what they show, each opened when it is read.

    Args:
        names: as of `Labelled`.
        read: as of `Labelled`.
    """

    names: Sequence[str]
    read: "Callable[[int], Image]"

    def __len__(self) -> int:
        return len(self.names)


Pictures = TypeVar("Pictures", bound=Labelled | Unlabelled)


def subset(data: Pictures, indices: Sequence[int]) -> Pictures:
    """The pictures of these indices, in this order, under the same classes."""
    chosen = tuple(indices)
    labels: dict[str, Any] = {"labels": tuple(data.labels[i] for i in chosen)} if isinstance(data, Labelled) else {}
    return replace(data, names=tuple(data.names[i] for i in chosen), read=SubsetReader(data.read, chosen), **labels)


def first_of_each_class(data: Labelled, limit: int) -> Labelled:
    """The first pictures of each class, at most ``limit``, in the order they have."""
    seen = Counter[int]()
    chosen = []
    for index, label in enumerate(data.labels):
        seen[label] += 1
        if seen[label] <= limit:
            chosen.append(index)
    return subset(data, chosen)


def stratified_split(data: Labelled, share: float, seed: int) -> tuple[Labelled, Labelled]:
    """Split a share of every class off: the pictures that stay, and the share.

    Both keep the order of the pictures, and are the same at every call. A class of one picture keeps it; any larger
    class gives at least one.

    Args:
        data: the pictures to split.
        share: part of each class's pictures, above 0 and below 1.
        seed: chooses the pictures.

    Raises:
        UsageError: ``share`` is out of range.
        DataError: no class has two pictures.
    """
    import torch

    if not 0.0 < share < 1.0:
        raise UsageError(f"the share split off must be above 0 and below 1, got {share}")
    generator = torch.Generator().manual_seed(seed)
    of_class: list[list[int]] = [[] for _ in data.classes]
    for index, label in enumerate(data.labels):
        of_class[label].append(index)
    off: set[int] = set()
    for indices in of_class:
        count = min(max(1, round(share * len(indices))), len(indices) - 1)
        order = torch.randperm(len(indices), generator=generator).tolist()
        off.update(indices[i] for i in order[: max(count, 0)])
    if not off:
        raise DataError("a share can be split off a class of two pictures or more, and every class here has one")
    kept = [index for index in range(len(data)) if index not in off]
    return subset(data, kept), subset(data, sorted(off))


def digest_of(*parts: Labelled) -> str:
    """A digest that is the same for the same pictures: sha256 of classes, labels, names, and the pixels of some.

    Args:
        parts: such as the pictures to train and those to validate on, in this order.
    """
    found = hashlib.sha256()
    for data in parts:
        found.update(json.dumps([data.classes, data.labels, [*data.names]]).encode())
        for index in range(0, len(data), -(-len(data) // DIGESTED)):
            try:
                found.update(data.read(index).tobytes())
            except PictureError:
                found.update(b"unreadable")
    return found.hexdigest()


def relabelled(data: Labelled, classes: Sequence[str]) -> Labelled:
    """The same pictures, labelled by another list of classes that has all of theirs by name.

    Raises:
        DataError: a class is missing from the list.
    """
    place = {name: index for index, name in enumerate(classes)}
    missing = [name for name in data.classes if name not in place]
    if missing:
        raise DataError(
            f"every class must be among the {len(classes)} known ones, and {first_few(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not: those are {first_few(classes)}"
        )
    labels = tuple(place[data.classes[label]] for label in data.labels)
    return replace(data, classes=tuple(classes), labels=labels)


def first_few(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are, for a message."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


@dataclass(frozen=True)
class DataSource:
    """Data that was found and is not open yet.

    Args:
        address: what the user calls it.
        splits: what it is divided into; empty where it is in one piece.
        open_split: opens one split, or for None the one piece.
    """

    address: str
    splits: tuple[Split, ...]
    open_split: Callable[[Split | None], Labelled]

    def open(self, split: Split | None) -> Labelled:
        """Open one split; for None the one piece, or where there are splits the one to measure on: val, else test.

        Raises:
            DataError: there is no such split.
        """
        if split is None and self.splits:
            split = next((name for name in ("val", "test") if name in self.splits), None)
        if split not in (self.splits or (None,)):
            raise DataError(
                f"{self.address} has "
                + (f"the parts {', '.join(self.splits)}" if self.splits else "no parts")
                + f", and not {split or 'val or test'}: choose another (--split, or split=), or none"
            )
        return self.open_split(split)


@dataclass(frozen=True)
class SubsetReader:
    """Reads the pictures of these indices by another reader."""

    read: "Callable[[int], Image]"
    indices: tuple[int, ...]

    def __call__(self, index: int) -> "Image":
        return self.read(self.indices[index])


@dataclass(frozen=True)
class FileReader:
    """Reads pictures that are files of their own."""

    paths: tuple[Path, ...]

    def __call__(self, index: int) -> "Image":
        return read_picture(self.paths[index])


@dataclass(frozen=True)
class FetchedReader:
    """Reads one picture whose bytes were fetched."""

    name: str
    content: bytes

    def __call__(self, index: int) -> "Image":
        return decode_picture(self.content, self.name)


@dataclass(frozen=True, eq=False)
class ArrayReader:
    """Reads pictures out of one array, (N, H, W, 3) uint8."""

    images: "np.ndarray"

    def __call__(self, index: int) -> "Image":
        from PIL import Image

        return Image.fromarray(self.images[index])
