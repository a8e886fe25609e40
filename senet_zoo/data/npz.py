"""Labelled pictures in numpy's ``.npz`` files."""

import zipfile
from glob import glob
from pathlib import Path

import numpy as np

from senet_zoo.data.labelled import ArrayReader, DataSource, Labelled
from senet_zoo.data.splits import Split
from senet_zoo.errors import DataError
from senet_zoo.support.files import open_regular


def npz_files(pattern: str) -> DataSource:
    """One file, or all that match shell wildcards (``cifar10_train_*.npz``), joined in the order of their names.

    Each holds ``images`` (N, H, W, 3) uint8 RGB, ``labels`` (N,) of whole numbers, and ``classes``, the names in the
    order of the labels, equal in all files.
    """
    paths = [Path(pattern)] if Path(pattern).exists() else [Path(path) for path in sorted(glob(pattern))]  # noqa: PTH207 - an absolute pattern
    if not paths:
        raise DataError(f"an .npz of labelled pictures must exist, and nothing lies at {pattern}: check the path")

    def open_whole(_: Split | None) -> Labelled:
        parts = [_read(path) for path in paths]
        images, labels, classes = parts[0]
        for path, part in zip(paths[1:], parts[1:], strict=True):
            if part[2] != classes or part[0].shape[1:] != images.shape[1:]:
                raise DataError(f"files read as one must agree in classes and size, and {path} differs from {paths[0]}")
        if len(parts) > 1:
            images, labels = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        names = [f"{path.name}[{i}]" for path, part in zip(paths, parts, strict=True) for i in range(len(part[1]))]
        return Labelled(classes, tuple(labels.tolist()), names, ArrayReader(images))

    return DataSource(pattern, (), open_whole)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    try:
        with open_regular(path) as opened, np.load(opened, allow_pickle=False) as file:
            of_volumes = next((each for each in ("volumes", "signals", "train_images") if each in file.files), None)
            if of_volumes and "images" not in file.files:
                dims = 1 if of_volumes == "signals" else 3
                raise DataError(f"{path} holds {of_volumes}, which are learnt with --dims {dims} (dims={dims})")
            images, labels, classes = (file[name] for name in ("images", "labels", "classes"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} must be an .npz of images, labels and classes without pickles, and is not: {error}"
        ) from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise DataError(f"images in {path} must be uint8 (N, H, W, 3), got {images.dtype} {images.shape}")
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        raise DataError(
            f"labels in {path} must be {len(images)} whole numbers, one a picture, got {labels.dtype} {labels.shape}"
        )
    if classes.dtype.kind != "U" or classes.ndim != 1:
        raise DataError(f"classes in {path} must be a row of texts, got {classes.dtype} {classes.shape}")
    return images, labels, tuple(classes.tolist())
