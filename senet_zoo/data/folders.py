"""Pictures in folders and tars: a folder for each class, or one flat folder or tar with a file of labels."""

import logging
import tarfile
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING

from senet_zoo.data.labelled import DataSource, FileReader, Labelled, first_few
from senet_zoo.data.labels import read_labels
from senet_zoo.data.picture_paths import (
    SYSTEM_FOLDERS,
    decoded,
    describe_passed_over,
    files_in,
    holds_picture,
    is_system_folder,
    picture_suffixes,
    say_passed_over,
    suffixes_of,
)
from senet_zoo.data.pictures import decode_picture
from senet_zoo.data.splits import SPLITS, Split, split_in, split_of
from senet_zoo.errors import DataError
from senet_zoo.support.files import open_regular

if TYPE_CHECKING:
    from PIL.Image import Image

_log = logging.getLogger("senet_zoo")
_LOOSE = "pictures outside the folders of the classes"
MOST_WRAPPERS = 4  # folders of one folder each, around the parts of a data set
_PURPOSE: Mapping[Split, str] = MappingProxyType({"train": "train on", "val": "validate on", "test": "test on"})


def class_folders(folder: Path) -> DataSource:
    """A folder with a subfolder for each class, or with train, val or test above them, as `split_of` knows them.

    Classes are the subfolders' names, sorted as torchvision's ImageFolder sorts them; each is searched to its depth. A
    folder around the parts, such as an archive's own or YOLO's ``images``, is entered.

    Raises:
        DataError: it cannot be told whether subfolders are parts or classes, or two are the same part.
    """
    inner = folder_of_parts(folder)
    parts = parts_of_folder(inner)
    return DataSource(str(folder), tuple(split for split in SPLITS if split in parts), partial(_open, inner, parts))


def flat_folder(folder: Path, labels: Path, classes: Path | None) -> DataSource:
    """A folder of pictures with a file of labels, whose names are relative to the folder; see `read_labels`."""

    def open_whole(_: Split | None) -> Labelled:
        found = files_in(folder)
        if not found.pictures:
            raise DataError(f"a folder of labelled pictures must hold one, and {folder} holds none")
        paths = {path.relative_to(folder).as_posix(): path for path in found.pictures}
        names, numbers, known = read_labels(labels, classes, tuple(paths))
        say_passed_over(str(folder), found.passed_over + _unlabelled(names, paths))
        return Labelled(known, numbers, names, FileReader(tuple(paths[name] for name in names)))

    return DataSource(str(folder), (), open_whole)


def is_flat(folder: Path) -> bool:
    """Whether a folder holds pictures and no subfolder, so that nothing says what they show.

    Raises:
        DataError: the folder cannot be listed.
    """
    return not subfolders(folder) and holds_picture(folder)


def tar_file(path: Path, labels: Path, classes: Path | None) -> DataSource:
    """An uncompressed tar of pictures, such as ``ILSVRC2012_img_val.tar``, which are read in place.

    Args:
        path: the tar.
        labels: the file that `read_labels` reads. The development kit's ``ILSVRC2012_validation_ground_truth.txt``
            counts classes from 1, in an order of its own.
        classes: the file of that order, ``map_clsloc.txt``.
    """
    return DataSource(str(path), (), partial(_open_tar, path, labels, classes))


def folder_of_parts(folder: Path) -> Path:
    """The folder that holds the parts: the given one, or one inside of it, on a way without another to take."""
    here = folder
    for _ in range(MOST_WRAPPERS + 1):
        inside = subfolders(here)
        if any(split_of(path.name) for path in inside):
            if here != folder:
                _log.warning("%s: its data lies in %s", folder, decoded(here.relative_to(folder)))
            return here
        filled = [path for path in inside if holds_picture(path)]
        if len(filled) != 1:
            break
        here = filled[0]
    return folder


def parts_of_folder(folder: Path) -> dict[Split, Path]:
    """The subfolders that are parts: called by the word for one, with a subfolder for each class."""
    inside = subfolders(folder)
    called = {path: split for path in inside if (split := split_of(path.name))}
    parts: dict[Split, Path] = {}
    for path, split in called.items():
        if not subfolders(path):
            continue
        if split in parts:
            raise DataError(
                f"a data set has one part to {_PURPOSE[split]}, and {folder} has both {parts[split].name} and "
                f"{path.name}: rename one of them"
            )
        parts[split] = path
    others = [path for path in inside if path not in parts.values()]
    if not parts:
        if len(set(called.values())) > 1 or (called and len(called) == len(inside)):
            raise DataError(
                f"{_names(called)} in {folder} are called as parts of a data set are, not as classes, and hold no "
                "subfolder for each class: sort their pictures into subfolders, or name a file of "
                "labels (--labels of evaluate, excite and prune)"
            )
        words = {path: split for path in inside if (split := split_in(path.name)) and subfolders(path)}
        if not called and len(words) == len(inside) and len(set(words.values())) > 1:
            raise DataError(
                f"{_names(words)} in {folder} may be parts of a data set or classes: call parts train, val and test, "
                "or give the folder of one"
            )
        if called:
            _log.warning(
                "%s: %s is taken for a class, though a part of a data set is called so", folder, _names(called)
            )
        return {}
    strange = [path for path in others if holds_picture(path)]
    if len(parts) == 1 and any(path not in called for path in strange):
        raise DataError(
            f"{_names(parts.values())} in {folder} is called as a part of a data set is, and beside it lie pictures in "
            f"{_names(strange)}: move those elsewhere if they are no part, or rename it if it is a class"
        )
    if strange:
        _log.warning(
            "%s: passed over the folders %s, which are no parts with a subfolder for each class; parts are %s",
            folder,
            _names(strange),
            _names(parts.values()),
        )
    return {split: _unwrapped(path, split) for split, path in parts.items()}


def _unwrapped(folder: Path, split: Split) -> Path:
    """The folder of classes; some archives have the part's folder twice, one in the other."""
    inner = subfolders(folder)
    return inner[0] if len(inner) == 1 and split_of(inner[0].name) == split and subfolders(inner[0]) else folder


def _open(folder: Path, parts: dict[Split, Path], split: Split | None) -> Labelled:
    root = parts[split] if split else folder
    classes = subfolders(root)
    if not classes:
        raise DataError(
            f"a folder of labelled pictures holds a subfolder for each class, and {root} holds none: sort the pictures "
            "into subfolders, or name a file of labels (labels=, or --labels of evaluate, excite and prune)"
        )
    _say_one_class(root, classes)
    files: list[Path] = []
    labels: list[int] = []
    passed_over = _beside(root)
    for label, path in enumerate(classes):
        found = files_in(path)
        if not found.pictures:
            listed = f" ({describe_passed_over(found.passed_over)})" if found.passed_over else ""
            raise DataError(
                f"every class must have a picture, and {decoded(path.name)} has none{listed}: put one into {path}, or "
                "remove it"
            )
        files += found.pictures
        labels += [label] * len(found.pictures)
        passed_over += found.passed_over
    say_passed_over(str(root), passed_over)
    names = tuple(decoded(path.relative_to(folder)) for path in files)
    return Labelled(tuple(decoded(path.name) for path in classes), tuple(labels), names, FileReader(tuple(files)))


def _say_one_class(root: Path, classes: list[Path]) -> None:
    """Log that what may be the folder of all classes is taken for one."""
    inside = subfolders(classes[0]) if len(classes) == 1 else []
    if len(inside) > 1 and not _beside(classes[0])[_LOOSE]:
        _log.warning(
            "%s: %s is taken for the one class; give that folder, if %s are the classes",
            root,
            _names(classes),
            _names(inside),
        )


def _beside(root: Path) -> Counter[str]:
    """What lies beside the folders of the classes."""
    files = [path for path in root.iterdir() if not path.is_dir() and not path.name.startswith(".")]
    loose = [path for path in files if path.suffix.lower() in picture_suffixes()]
    counted = suffixes_of(path for path in files if path not in loose)
    if loose:
        counted[_LOOSE] = len(loose)
    counted.update(f"folders {path.name}" for path in root.iterdir() if path.name.casefold() in SYSTEM_FOLDERS)
    return counted


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder by name, without those that systems make."""
    try:
        found = [path for path in folder.iterdir() if path.is_dir() and not is_system_folder(path.name)]
    except OSError as error:
        raise DataError(f"{folder} must be a folder that can be listed, and is not: {error.strerror}") from error
    return sorted(found, key=lambda path: path.name)


def _names(paths: Iterable[Path]) -> str:
    return first_few([decoded(path.name) for path in paths])


def _open_tar(path: Path, labels: Path, classes: Path | None, _: Split | None) -> Labelled:
    suffixes = picture_suffixes()
    try:
        with open_regular(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            spans = {member.name: (member.offset_data, member.size) for member in tar if member.isreg()}
    except (OSError, tarfile.TarError) as error:
        raise DataError(
            f"{path} must be a tar that is not compressed, for its pictures are read in place, and is not ({error}): "
            "unpack it, or pack it again without compression"
        ) from error
    pictures = tuple(name for name in spans if PurePosixPath(name).suffix.lower() in suffixes)
    if not pictures:
        raise DataError(f"a tar of labelled pictures must hold one, and {path} holds none")
    names, numbers, known = read_labels(labels, classes, pictures, first=1)
    say_passed_over(str(path), suffixes_of(spans.keys() - set(pictures)) + _unlabelled(names, pictures))
    return Labelled(known, numbers, names, TarReader(path, names, tuple(spans[name] for name in names)))


def _unlabelled(names: Sequence[str], pictures: Collection[str]) -> Counter[str]:
    return Counter({"pictures without a label": len(pictures) - len(names)})


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
