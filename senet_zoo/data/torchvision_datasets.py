"""torchvision's data sets by name."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from senet_zoo.data.labelled import ArrayReader, DataSource, FileReader, Labelled
from senet_zoo.data.splits import Split
from senet_zoo.errors import DataError


@dataclass(frozen=True)
class TorchvisionDataset:
    """How one of torchvision's classes gives labelled pictures.

    Args:
        option: the argument that chooses a split.
        splits: its value for each split.
        read: turns an instance into labelled pictures.
        by_path: whether the class takes a loader, and so gives paths without opening pictures.
        downloads: whether the class can download.
    """

    option: str
    splits: dict[Split, str | bool]
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


_TRAIN_TEST: dict[Split, str | bool] = {"train": "train", "test": "test"}
_TRAIN_VAL: dict[Split, str | bool] = {"train": "train", "val": "val"}
_ALL_THREE: dict[Split, str | bool] = {"train": "train", "val": "val", "test": "test"}
_FLAG: dict[Split, str | bool] = {"train": True, "test": False}

DATASETS = MappingProxyType(
    {
        "CIFAR10": TorchvisionDataset("train", _FLAG, _array, by_path=False),
        "CIFAR100": TorchvisionDataset("train", _FLAG, _array, by_path=False),
        "Country211": TorchvisionDataset("split", {"train": "train", "val": "valid", "test": "test"}, _files),
        "DTD": TorchvisionDataset("split", _ALL_THREE, _files),
        "FGVCAircraft": TorchvisionDataset("split", _ALL_THREE, _files),
        "Flowers102": TorchvisionDataset("split", _ALL_THREE, _files),
        "Food101": TorchvisionDataset("split", _TRAIN_TEST, _files),
        "ImageNet": TorchvisionDataset("split", _TRAIN_VAL, _files, downloads=False),
        "Imagenette": TorchvisionDataset("split", _TRAIN_VAL, _files),
        "OxfordIIITPet": TorchvisionDataset("split", {"train": "trainval", "test": "test"}, _pets, by_path=False),
        "Places365": TorchvisionDataset("split", {"train": "train-standard", "val": "val"}, _files),
        "StanfordCars": TorchvisionDataset("split", _TRAIN_TEST, _files),
    }
)
"""By torchvision's own names."""


def torchvision_dataset(name: str, root: Path, download: bool) -> DataSource:
    """One of `DATASETS`, kept by torchvision in the folder ``root``; ``download`` lets it fetch what is not there."""
    return DataSource(name, tuple(DATASETS[name].splits), partial(_open, name, root, download))


def _open(name: str, root: Path, download: bool, split: Split | None) -> Labelled:
    from torchvision import datasets

    entry = DATASETS[name]
    assert split is not None  # every data set here has splits
    options: dict[str, Any] = {entry.option: entry.splits[split]}
    if entry.by_path:
        options["loader"] = str
    if entry.downloads:
        options["download"] = download
    try:
        with _locked(root, name) if download and entry.downloads else nullcontext():
            dataset = getattr(datasets, name)(root, **options)
    # torchvision tells what is missing by errors of several types.
    except (RuntimeError, OSError, ImportError) as error:
        way = "download it (--download, or download=True)" if entry.downloads else "put its archives there by hand"
        raise DataError(
            f"{name} must lie in {root} as torchvision keeps it, and does not ({error}): "
            f"name its folder (--root, or root=), or {way}"
        ) from error
    return entry.read(dataset)


def _locked(root: Path, name: str) -> AbstractContextManager[object]:
    """One process at a time: of those that open a data set together, the first downloads it for all."""
    from filelock import FileLock

    root.mkdir(parents=True, exist_ok=True)
    return FileLock(root / f".{name}.lock")
