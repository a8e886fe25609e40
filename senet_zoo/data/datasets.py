"""`open_data`: labelled pictures out of whatever a user calls data."""

import logging
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from stat import S_ISDIR

from senet_zoo.data.folders import class_folders, flat_folder, is_flat, tar_file
from senet_zoo.data.huggingface_datasets import PREFIX, huggingface_dataset
from senet_zoo.data.labelled import (
    DataSource,
    FetchedReader,
    FileReader,
    Labelled,
    Unlabelled,
    relabelled,
    stratified_split,
)
from senet_zoo.data.npz import npz_files
from senet_zoo.data.picture_paths import HEIF_SUFFIXES, SUFFIXES, decoded, find_pictures
from senet_zoo.data.remote_pictures import fetch_picture, is_remote
from senet_zoo.data.splits import Split
from senet_zoo.data.torchvision_datasets import DATASETS, torchvision_dataset
from senet_zoo.data.volumes import volume_source
from senet_zoo.errors import DataError, UsageError
from senet_zoo.support.settings import zoo_cache

_log = logging.getLogger("senet_zoo")
PACKED = (".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".gz", ".7z", ".rar")


def open_data(
    address: str,
    split: Split | None = None,
    *,
    labels: Path | None = None,
    classes: Path | None = None,
    root: Path | None = None,
    download: bool = False,
) -> Labelled:
    """The labelled pictures at an address; each is opened when it is read.

    Args:
        address: a folder with a subfolder for each class, or with ``train``, ``val`` or ``test`` above them; a folder
            of pictures or an uncompressed ``.tar`` with a file of labels; an ``.npz``, or several by shell wildcards;
            a name of torchvision's (``CIFAR10``, ``ImageNet``, ...); or ``hf:owner/name``.
        split: ``train``, ``val`` or ``test``; None for data in one piece, or for the split to measure on: ``val``, else
            ``test``.
        labels: file of labels for a flat folder or a tar, as `senet_zoo.data.labels.read_labels` reads it.
        classes: file of class names for ``labels``.
        root: folder of torchvision's data sets; by default ``data`` in the zoo's cache.
        download: let torchvision download a data set that is not there.

    Raises:
        DataError: there is no such data or split, a class is empty, or a label is out of range.
        UsageError: ``labels`` or ``classes`` for data that has its own.
    """
    return _find(address, labels, classes, root, download).open(split)


def train_and_val(
    address: str,
    *,
    share: float = 0.1,
    seed: int = 0,
    root: Path | None = None,
    download: bool = False,
    dims: int = 2,
) -> tuple[Labelled, Labelled]:
    """Pictures to train on and pictures to validate on, with the same classes.

    Where the data has no val, a share of each class is split off train; ``test`` is never touched.

    Args:
        address: as in `open_data`.
        share: part of each class that is split off, above 0 and below 1.
        seed: chooses the pictures that are split off.
        root: as in `open_data`.
        download: as in `open_data`.
        dims: 3 for volumes and 1 for signals, as `senet_zoo.data.volumes.volume_source` finds them.

    Raises:
        DataError: as in `open_data`; or there is only one class, or val has a class that train has not.
    """
    source = _find(address, None, None, root, download) if dims == 2 else volume_source(address, dims)
    train = source.open("train" if source.splits else None)
    if len(train.classes) < 2:
        raise DataError(
            f"there must be two classes to tell apart, and {address} has {len(train.classes)}, {train.classes[0]}: "
            "give the folder that holds a subfolder for each class"
        )
    if "val" not in source.splits:
        return stratified_split(train, share, seed)
    val = relabelled(source.open("val"), train.classes)
    unseen = [train.classes[label] for label in sorted(set(range(len(train.classes))) - set(val.labels))]
    if unseen:
        _log.warning(
            "val of %s has no picture of %s: accuracy will not tell how well these are known",
            address,
            ", ".join(unseen),
        )
    return train, val


def unlabelled_pictures(address: str) -> Unlabelled | None:
    """One picture, or those of a folder without subfolders; None where the address is data of another kind.

    Args:
        address: a file, a folder, a ``file:`` URL of either, as `find_pictures` reads them, or the address of a picture
            in the web, which is fetched.

    Raises:
        DataError: this user may not look there.
        PictureError: a URL leads nowhere.
    """
    if is_remote(address):
        return Unlabelled((decoded(address),), FetchedReader(address, fetch_picture(address)))
    if not address.startswith("file:"):
        path, kind = _at(address)
        one = kind is PathKind.FILE and path.suffix.lower() in SUFFIXES | HEIF_SUFFIXES | {""}
        if address in DATASETS or not (one or (kind is PathKind.FOLDER and is_flat(path))):
            return None
        address = str(path)
    found = tuple(find_pictures(address))
    return Unlabelled(tuple(map(decoded, found)), FileReader(found))


def any_pictures(address: str) -> Labelled | Unlabelled:
    """Pictures of whatever a user calls data, labels or not: of a folder all, to its depth, and of other data train.

    Args:
        address: a picture or a folder, as `find_pictures` reads them, or else as in `open_data`: an ``.npz``, or
            several by shell wildcards, a name of torchvision's, or ``hf:owner/name``.

    Raises:
        DataError: an ``.npz`` that cannot be read, or data of that name that is not there.
        PictureError: no picture lies there.
    """
    is_folder = not address.startswith(("file:", PREFIX)) and _at(address)[1] is PathKind.FOLDER
    named = address in DATASETS or address.startswith(PREFIX) or Path(address).suffix.lower() == ".npz"
    if is_folder or not named:
        found = tuple(find_pictures(address))
        return Unlabelled(tuple(map(str, found)), FileReader(found))
    source = _find(address, None, None, None, False)
    return source.open("train" if "train" in source.splits else None)


class PathKind(Enum):
    """What lies at a path."""

    FOLDER = "folder"
    FILE = "file"
    NOTHING = "nothing"


def _at(address: str) -> tuple[Path, PathKind]:
    """The path that an address may be, and what lies there.

    Raises:
        DataError: this user may not look there, or the address is empty, as of a variable that a shell does not have.
    """
    if not address:
        raise DataError("data must be named, got ''; . is the folder at hand")
    try:
        path = Path(address).expanduser()
        mode = path.stat().st_mode
    except PermissionError as error:
        raise DataError(
            f"data must lie where this user may read it, and {address} does not: {error.strerror}"
        ) from error
    except (OSError, RuntimeError, ValueError):  # a name that no file can have, or a user who does not exist
        return Path(address[:200].replace("\0", "")), PathKind.NOTHING
    return path, PathKind.FOLDER if S_ISDIR(mode) else PathKind.FILE


def _describe_file(path: Path) -> str:
    """What a file is that is no labelled data, and what to do with it."""
    if path.suffix.lower() in SUFFIXES | HEIF_SUFFIXES:
        return (
            "one picture, and classes are compared or measured here: give a folder with a subfolder of pictures for "
            "each class. For one picture, `senet-zoo predict` gives its class, and `senet-zoo excite` what the gates "
            "say of it (in Python, model.excitations(x))"
        )
    if any(path.name.lower().endswith(end) for end in PACKED):
        return "packed: unpack it, and give the folder"
    return (
        "a file, and data must be a folder with a subfolder of pictures for each class, an .npz, an uncompressed .tar "
        "with a file of labels, hf:owner/name, or a name of torchvision's"
    )


def _find(address: str, labels: Path | None, classes: Path | None, root: Path | None, download: bool) -> DataSource:
    path, kind = _at(address)
    if address.startswith(PREFIX):
        found = huggingface_dataset(address)
    elif address in DATASETS:
        found = torchvision_dataset(address, root or zoo_cache() / "data", download)
    elif path.suffix.lower() == ".npz":
        found = npz_files(str(path))
    elif path.suffix.lower() == ".tar" and kind is PathKind.FILE:
        if labels is None:
            raise DataError(
                f"{address} does not say what its pictures show: name a file of labels (labels=, or --labels of "
                "evaluate, excite and prune), such as "
                "the ground truth of the ILSVRC development kit with its synsets (--classes, or classes=)"
            )
        return tar_file(path, labels, classes)
    elif kind is PathKind.FOLDER:
        if labels is not None:
            return flat_folder(path, labels, classes)
        found = class_folders(path)
    elif kind is PathKind.FILE:
        raise DataError(f"{address} is {_describe_file(path)}")
    else:
        near = get_close_matches(address, DATASETS, n=3)
        raise DataError(
            "data must be a folder, an .npz, a .tar, hf:owner/name, or a name of torchvision's "
            f"({', '.join(DATASETS)}), and {address!r} is none"
            + (f"; did you mean {' or '.join(near)}?" if near else ": nothing lies there")
        )
    if labels is not None or classes is not None:
        raise UsageError(f"{address} has labels of its own; leave labels= and classes= (--labels, --classes) away")
    return found
