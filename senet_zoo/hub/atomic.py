"""Files that are there whole or not at all, however many processes write them."""

import errno
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import disk_usage
from typing import BinaryIO

from senet_zoo.errors import WeightsUnavailable

ABANDONED = 86400.0
"""Seconds after which a part that nobody writes to belongs to a process that was killed."""


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of ``path`` once the block ends, and leaves no trace if it fails.

    A process that is killed cannot tidy up; whoever writes to the same folder a day later does.

    Raises:
        OSError: the folder cannot be made or written; see `disk_error`.
    """
    with scratch_file(path) as part:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    remove_abandoned(path.parent)


@contextmanager
def scratch_file(path: Path) -> Iterator[Path]:
    """A name beside ``path``, hidden and nobody else's, in a folder that exists; no file of it outlives the block.

    Raises:
        OSError: the folder cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield part
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


def remove_abandoned(folder: Path) -> None:
    """Remove what killed processes have left in a folder a day ago or longer."""
    for part in folder.glob(f".*.{'[0-9a-f]' * 32}.part"):
        with suppress(OSError):  # another process was quicker
            if time.time() - part.stat().st_mtime > ABANDONED:
                part.unlink()


def _free(folder: Path) -> int | str:
    for existing in (folder, *folder.parents):
        if existing.is_dir():
            return disk_usage(existing).free
    return "an unknown number of"
