"""torchvision's data sets by name."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from senet_zoo.data.labelled import ArrayReader, FileReader, Labelled, Part, Source
from senet_zoo.errors import DataError


@dataclass(frozen=True)
class Entry:
    """How one of torchvision's classes gives labelled pictures.

    Args:
        option: the argument that chooses a part.
        parts: its value for each part.
        read: from an instance to its pictures.
        by_path: whether it takes a loader, and so tells paths without opening pictures.
        downloads: whether it can.
    """

    option: str
    parts: dict[Part, str | bool]
    read: "Callable[[Any], Labelled]"
    by_path: bool = True
    downloads: bool = True


def _files(dataset: Any) -> Labelled:
    # The loader is `str`: an item is the picture's path and its label.
    paths, labels = zip(*(dataset[index] for index in range(len(dataset))), strict=True)
    # ImageNet's classes are tuples of synonyms, some of them in two classes; its synsets are unambiguous.
    classes = dataset.wnids if hasattr(dataset, "wnids") else dataset.classes
    return _in_files(dataset, classes, paths, labels)


def _pets(dataset: Any) -> Labelled:
    # This class takes no loader, and tells its files nowhere else.
    return _in_files(dataset, dataset.classes, dataset._images, dataset._labels)


def _in_files(dataset: Any, classes: Iterable[str], paths: Iterable[str | Path], labels: Iterable[int]) -> Labelled:
    files = tuple(map(Path, paths))
    names = tuple(str(path.relative_to(dataset.root)) for path in files)
    return Labelled(tuple(classes), tuple(labels), names, FileReader(files))


def _array(dataset: Any) -> Labelled:
    names = tuple(f"{type(dataset).__name__}[{index}]" for index in range(len(dataset)))
    return Labelled(tuple(dataset.classes), tuple(dataset.targets), names, ArrayReader(dataset.data))


_TRAIN_TEST: dict[Part, str | bool] = {"train": "train", "test": "test"}
_TRAIN_VAL: dict[Part, str | bool] = {"train": "train", "val": "val"}
_ALL_THREE: dict[Part, str | bool] = {"train": "train", "val": "val", "test": "test"}
_FLAG: dict[Part, str | bool] = {"train": True, "test": False}

SETS = MappingProxyType(
    {
        "CIFAR10": Entry("train", _FLAG, _array, by_path=False),
        "CIFAR100": Entry("train", _FLAG, _array, by_path=False),
        "Country211": Entry("split", {"train": "train", "val": "valid", "test": "test"}, _files),
        "DTD": Entry("split", _ALL_THREE, _files),
        "FGVCAircraft": Entry("split", _ALL_THREE, _files),
        "Flowers102": Entry("split", _ALL_THREE, _files),
        "Food101": Entry("split", _TRAIN_TEST, _files),
        "ImageNet": Entry("split", _TRAIN_VAL, _files, downloads=False),
        "Imagenette": Entry("split", _TRAIN_VAL, _files),
        "OxfordIIITPet": Entry("split", {"train": "trainval", "test": "test"}, _pets, by_path=False),
        "Places365": Entry("split", {"train": "train-standard", "val": "val"}, _files),
        "StanfordCars": Entry("split", _TRAIN_TEST, _files),
    }
)
"""By torchvision's own names."""


def torchvision_set(name: str, root: Path, download: bool) -> Source:
    """One of `SETS`.

    Args:
        name: of the set.
        root: the folder in which torchvision keeps it.
        download: let torchvision fetch it where it is not there.
    """
    return Source(name, tuple(SETS[name].parts), partial(_open, name, root, download))


def _open(name: str, root: Path, download: bool, part: Part | None) -> Labelled:
    from torchvision import datasets

    entry = SETS[name]
    assert part is not None  # every entry has parts
    options: dict[str, Any] = {entry.option: entry.parts[part]}
    if entry.by_path:
        options["loader"] = str
    if entry.downloads:
        options["download"] = download
    try:
        with _alone(root, name) if download and entry.downloads else nullcontext():
            dataset = getattr(datasets, name)(root, **options)
    # torchvision tells what is missing by errors of several types.
    except (RuntimeError, OSError, ImportError) as error:
        way = "download it (--download, or download=True)" if entry.downloads else "put its archives there by hand"
        raise DataError(
            f"{name} must lie in {root} as torchvision keeps it, and does not ({error}): "
            f"name its folder (--root, or root=), or {way}"
        ) from error
    return entry.read(dataset)


def _alone(root: Path, name: str) -> AbstractContextManager[object]:
    """One process at a time: of those that open a set together, the first fetches it and the others find it."""
    from filelock import FileLock

    root.mkdir(parents=True, exist_ok=True)
    return FileLock(root / f".{name}.lock")
