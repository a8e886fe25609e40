"""Is this still the same file? Another process may put a new one in its place at any moment."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class FileState:
    """What changes when a file is replaced or written to.

    Args:
        inode: another one where another file took its place.
        size: in bytes.
        mtime_ns: when it was last written to; programs such as rsync and tar set it at will.
        ctime_ns: when anything of it last changed, its times included; no program sets it.
    """

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


def state_of(stat: os.stat_result) -> FileState:
    """The state of the file of which ``stat`` was asked."""
    return FileState(stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
