"""Files that are there whole or not at all, however many processes write them."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import disk_usage
from typing import BinaryIO

from senet_zoo.errors import WeightsUnavailable


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of ``path`` once the block ends, and leaves no trace if it fails.

    Raises:
        OSError: the folder cannot be made or written; see `disk_error`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def disk_error(error: OSError, folder: Path, setting: str) -> WeightsUnavailable:
    """The typed error of a folder that did not take a file.

    Args:
        error: what the system said.
        folder: where the file should have gone.
        setting: environment variable that names another folder.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return WeightsUnavailable(
            f"the disk is full: {_free(folder)} bytes are free under {folder} ({error.strerror}); free some, or set "
            f"{setting} to a folder on another disk"
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return WeightsUnavailable(
            f"{folder} is read-only for this user ({error.strerror}); set {setting} to a folder that can be written, "
            f"or give a local file as weights="
        )
    return WeightsUnavailable(f"{folder} did not take the file: {error}; set {setting} to another folder")


def _free(folder: Path) -> int | str:
    for existing in (folder, *folder.parents):
        if existing.is_dir():
            return disk_usage(existing).free
    return "an unknown number of"
