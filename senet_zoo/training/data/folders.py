"""Folders of pictures: a folder a class, with or without train and val; or one flat folder and a file of labels."""

from functools import partial
from pathlib import Path

from senet_zoo.errors import DataError, PictureError
from senet_zoo.pictures import find_pictures
from senet_zoo.training.data.label_files import labelled_names
from senet_zoo.training.data.labelled import Labelled
from senet_zoo.training.data.source import PARTS, FileReader, Part, Source


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
