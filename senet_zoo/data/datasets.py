"""From what a user calls data to its labelled pictures."""

import logging
from difflib import get_close_matches
from pathlib import Path

from senet_zoo.data.folders import class_folders, flat_folder, tar_file
from senet_zoo.data.huggingface_datasets import PREFIX, hugging_face_set
from senet_zoo.data.labelled import Labelled, Part, Source, split_off, with_classes
from senet_zoo.data.npz import npz_files
from senet_zoo.data.torchvision_datasets import SETS, torchvision_set
from senet_zoo.errors import DataError, UsageError
from senet_zoo.support.settings import zoo_cache

_log = logging.getLogger("senet_zoo")


def open_data(
    address: str,
    split: Part | None = None,
    *,
    labels: Path | None = None,
    classes: Path | None = None,
    root: Path | None = None,
    download: bool = False,
) -> Labelled:
    """The labelled pictures of an address; pictures are opened when they are asked for.

    Args:
        address: a folder with a subfolder for each class, or with ``train``, ``val`` or ``test`` above them; a folder
            of pictures or an uncompressed ``.tar`` with a file of labels; an ``.npz``, or several by shell wildcards;
            a name of torchvision's (``CIFAR10``, ``ImageNet``, ...); or ``hf:owner/name``.
        split: the part; None for data in one piece, or for the part to measure on: ``val``, else ``test``.
        labels: file of labels of a flat folder or a tar; see `senet_zoo.data.labels`.
        classes: file of class names, likewise.
        root: folder of torchvision's data sets; by default ``data`` in the zoo's cache.
        download: let torchvision fetch a set that is not there.

    Raises:
        DataError: there is no such data or part, a class is empty, or a label is out of range.
    """
    return _find(address, labels, classes, root, download).open(split)


def train_and_val(
    address: str, *, share: float = 0.1, seed: int = 0, root: Path | None = None, download: bool = False
) -> tuple[Labelled, Labelled]:
    """Pictures to learn from and pictures to choose the best epoch on, under the same classes.

    Where the data has no val, a share of each class is split off; ``test`` is never touched.

    Args:
        address: as `open_data` reads it.
        share: of each class, above 0 and below 1.
        seed: of the choice.
        root: likewise.
        download: likewise.

    Raises:
        DataError: all of `open_data`; one class only; or val shows a class that train does not.
    """
    source = _find(address, None, None, root, download)
    train = source.open("train" if source.parts else None)
    if len(train.classes) < 2:
        raise DataError(f"there must be two classes to tell apart, and {address} has {len(train.classes)}")
    if "val" not in source.parts:
        return split_off(train, share, seed)
    val = with_classes(source.open("val"), train.classes)
    unseen = [train.classes[label] for label in sorted(set(range(len(train.classes))) - set(val.labels))]
    if unseen:
        _log.warning(
            "val of %s has no picture of %s: accuracy will not tell how well these are known",
            address,
            ", ".join(unseen),
        )
    return train, val


def _find(address: str, labels: Path | None, classes: Path | None, root: Path | None, download: bool) -> Source:
    path = Path(address).expanduser()
    if address.startswith(PREFIX):
        found = hugging_face_set(address)
    elif address in SETS:
        found = torchvision_set(address, root or zoo_cache() / "data", download)
    elif path.suffix.lower() == ".npz":
        found = npz_files(str(path))
    elif path.suffix.lower() == ".tar" and path.is_file():
        if labels is None:
            raise DataError(
                f"{address} does not say what its pictures show: name a file of labels (--labels, or labels=), such as "
                "the ground truth of the ILSVRC development kit with its synsets (--classes, or classes=)"
            )
        return tar_file(path, labels, classes)
    elif path.is_dir():
        if labels is not None:
            return flat_folder(path, labels, classes)
        found = class_folders(path)
    else:
        near = get_close_matches(address, SETS, n=3)
        raise DataError(
            "data must be a folder, an .npz, a .tar, hf:owner/name, or a name of torchvision's "
            f"({', '.join(SETS)}), and {address!r} is none"
            + (f"; did you mean {' or '.join(near)}?" if near else ": nothing lies there")
        )
    if labels is not None or classes is not None:
        raise UsageError(f"{address} has labels of its own; leave labels= and classes= (--labels, --classes) away")
    return found
