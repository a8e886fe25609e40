"""Pictures in folders and tars: a folder for each class, or one flat folder or tar with a file of labels."""

import tarfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from senet_zoo.data.labelled import SPLITS, DataSource, FileReader, Labelled, Split
from senet_zoo.data.labels import read_labels
from senet_zoo.data.pictures import SUFFIXES, decode_picture, find_pictures
from senet_zoo.errors import DataError, PictureError

if TYPE_CHECKING:
    from PIL.Image import Image


def class_folders(folder: Path) -> DataSource:
    """A folder with a subfolder for each class, or with train, val or test above them.

    Classes are the subfolders' names, sorted as torchvision's ImageFolder sorts them; each is searched to its depth.
    """
    names = {path.name for path in _subfolders(folder)}
    splits = tuple(split for split in SPLITS if split in names and _subfolders(folder / split))
    return DataSource(str(folder), splits, partial(_open_folders, folder))


def flat_folder(folder: Path, labels: Path, classes: Path | None) -> DataSource:
    """A folder of pictures with a file of labels, whose names are relative to the folder; see `read_labels`."""

    def open_whole(_: Split | None) -> Labelled:
        paths = {path.relative_to(folder).as_posix(): path for path in _pictures(folder)}
        names, numbers, known = read_labels(labels, classes, tuple(paths))
        return Labelled(known, numbers, names, FileReader(tuple(paths[name] for name in names)))

    return DataSource(str(folder), (), open_whole)


def tar_file(path: Path, labels: Path, classes: Path | None) -> DataSource:
    """An uncompressed tar of pictures, such as ``ILSVRC2012_img_val.tar``, which are read in place.

    Args:
        path: the tar.
        labels: the file that `read_labels` reads. The development kit's ``ILSVRC2012_validation_ground_truth.txt``
            counts classes from 1, in an order of its own.
        classes: the file of that order, ``map_clsloc.txt``.
    """
    return DataSource(str(path), (), partial(_open_tar, path, labels, classes))


def _open_folders(folder: Path, split: Split | None) -> Labelled:
    root = folder / split if split else folder
    classes = sorted(path.name for path in _subfolders(root))
    if not classes:
        raise DataError(
            f"a folder of labelled pictures holds a subfolder for each class, and {root} holds none: sort the pictures "
            "into subfolders, or name a file of labels"
        )
    files, labels = [], []
    for label, name in enumerate(classes):
        found = _pictures(root / name)
        files += found
        labels += [label] * len(found)
    names = tuple(str(path.relative_to(folder)) for path in files)
    return Labelled(tuple(classes), tuple(labels), names, FileReader(tuple(files)))


def _subfolders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _pictures(folder: Path) -> list[Path]:
    try:
        return find_pictures(folder)
    except PictureError as error:
        raise DataError(f"every class must have a picture, and {folder.name} has none: {error}") from error


def _open_tar(path: Path, labels: Path, classes: Path | None, _: Split | None) -> Labelled:
    try:
        with tarfile.open(path, "r:") as tar:
            spans = {
                member.name: (member.offset_data, member.size)
                for member in tar
                if member.isreg() and PurePosixPath(member.name).suffix.lower() in SUFFIXES
            }
    except (OSError, tarfile.TarError) as error:
        raise DataError(
            f"{path} must be a tar that is not compressed, for its pictures are read in place, and is not ({error}): "
            "unpack it, or pack it again without compression"
        ) from error
    if not spans:
        raise DataError(f"a tar of labelled pictures must hold one, and {path} holds none")
    names, numbers, known = read_labels(labels, classes, tuple(spans), first=1)
    return Labelled(known, numbers, names, TarReader(path, names, tuple(spans[name] for name in names)))


@dataclass(frozen=True)
class TarReader:
    """Reads pictures inside a tar by their offsets and sizes, in bytes."""

    path: Path
    names: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]

    def __call__(self, index: int) -> "Image":
        offset, size = self.spans[index]
        with self.path.open("rb") as file:
            file.seek(offset)
            return decode_picture(file.read(size), self.names[index])
