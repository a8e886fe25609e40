"""Folders of pictures: a folder a class, with or without train and val; or one flat folder and a file of labels.

Pictures in a tar file, read where they lie: the official ILSVRC validation set.
"""

import tarfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from senet_zoo.data.labelled import PARTS, FileReader, Labelled, Part, Source
from senet_zoo.data.labels import labelled_names
from senet_zoo.data.pictures import SUFFIXES, decode_picture, find_pictures
from senet_zoo.errors import DataError, PictureError


def class_folders(folder: Path) -> Source:
    """A folder whose subfolders are classes, or parts (train, val, test) with a subfolder a class.

    Classes are the names of the subfolders in the order of their characters, as torchvision's ImageFolder sorts them;
    pictures are searched in each to its depth.
    """
    names = {path.name for path in _subfolders(folder)}
    parts = tuple(part for part in PARTS if part in names and _subfolders(folder / part))
    return Source(str(folder), parts, partial(_open, folder))


def flat_folder(folder: Path, labels: Path, classes: Path | None) -> Source:
    """A folder of pictures that a file of labels names.

    Args:
        folder: the file's names are relative to it; a file without names labels its pictures in natural order.
        labels: as `labelled_names` reads it.
        classes: likewise.
    """

    def open_whole(_: Part | None) -> Labelled:
        found = _pictures(folder)
        paths = {path.relative_to(folder).as_posix(): path for path in found}
        names, numbers, known = labelled_names(labels, classes, tuple(paths))
        return Labelled(known, numbers, names, FileReader(tuple(paths[name] for name in names)))

    return Source(str(folder), (), open_whole)


def _open(folder: Path, part: Part | None) -> Labelled:
    root = folder / part if part else folder
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


if TYPE_CHECKING:
    from PIL.Image import Image


def tar_file(path: Path, labels: Path, classes: Path | None) -> Source:
    """An uncompressed tar of pictures, such as ``ILSVRC2012_img_val.tar``.

    Args:
        path: of the tar.
        labels: as `labelled_names` reads it. The development kit's ``ILSVRC2012_validation_ground_truth.txt`` counts
            classes from 1, in an order of its own, that of ``map_clsloc.txt``.
        classes: that order.
    """
    return Source(str(path), (), partial(_open_tar, path, labels, classes))


def _open_tar(path: Path, labels: Path, classes: Path | None, _: Part | None) -> Labelled:
    try:
        with tarfile.open(path, "r:") as tar:
            places = {
                member.name: (member.offset_data, member.size)
                for member in tar
                if member.isreg() and PurePosixPath(member.name).suffix.lower() in SUFFIXES
            }
    except (OSError, tarfile.TarError) as error:
        raise DataError(
            f"{path} must be a tar that is not compressed, for its pictures are read in place, and is not ({error}): "
            "unpack it, or pack it again without compression"
        ) from error
    if not places:
        raise DataError(f"a tar of labelled pictures must hold one, and {path} holds none")
    names, numbers, known = labelled_names(labels, classes, tuple(places), first=1)
    return Labelled(known, numbers, names, TarReader(path, names, tuple(places[name] for name in names)))


@dataclass(frozen=True)
class TarReader:
    """Pictures inside a tar file by offset and size, in bytes."""

    path: Path
    names: tuple[str, ...]
    places: tuple[tuple[int, int], ...]

    def __call__(self, index: int) -> "Image":
        """One of them, as `read_picture` reads it."""
        offset, size = self.places[index]
        with self.path.open("rb") as file:
            file.seek(offset)
            return decode_picture(file.read(size), self.names[index])
