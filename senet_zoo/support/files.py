"""Files that are there whole or not at all: written beside their name first, read in one piece, seen when replaced."""

import errno
import os
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage, rmtree
from tempfile import TemporaryDirectory
from typing import BinaryIO

from senet_zoo.errors import (
    ExportError,
    UsageError,
    WeightsCorrupted,
    WeightsNotFound,
    WeightsUnavailable,
    WeightsUnsafe,
)

ABANDONED = 86400.0
"""Seconds after which a part that nobody writes to belongs to a process that was killed."""
LOCK = ".senet_zoo.lock"
MOST_BYTES = 2**31 - 1
"""Of a file that `read_whole` reads: what protobuf allows; the authors' largest file, SENet-154, has 440 MiB."""


@contextmanager
def scratch_file(path: Path) -> Iterator[Path]:
    """A hidden name beside ``path`` that nobody else uses; a file of that name is removed when the block ends.

    Raises:
        OSError: the folder cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def remove_abandoned(folder: Path) -> None:
    """Remove parts of files, and of folders, that killed processes left in a folder a day ago or earlier."""
    for part in folder.glob(f".*.{'[0-9a-f]' * 32}.part"):
        with suppress(OSError):  # another process was quicker
            if time.time() - part.lstat().st_mtime > ABANDONED:
                rmtree(part) if part.is_dir() and not part.is_symlink() else part.unlink()


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder inside ``folder`` that nobody else uses; it is removed when the block ends.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder)
    part = folder / f".save.{uuid.uuid4().hex}.part"
    part.mkdir()
    try:
        yield part
    finally:
        rmtree(part, ignore_errors=True)


@contextmanager
def folder_lock(folder: Path, *, wait: float = 0.0) -> Iterator[None]:
    """Keep other processes from filling the same folder; the lock of a process that is killed is gone with it.

    Where the system or the disk knows no locks, there is none.

    Args:
        folder: made where there is none.
        wait: seconds to wait for another process.

    Raises:
        UsageError: another process fills it, or it cannot be made.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    path, end = folder / LOCK, time.monotonic() + wait
    made = not folder.exists()
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = path.open("a")
        except OSError as e:
            raise UsageError(f"{folder} cannot be written: {e.strerror}; choose another folder") from e
        try:
            # A lock of POSIX, which the workers that a run starts do not inherit.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            if e.errno not in (errno.EACCES, errno.EAGAIN):
                break  # a disk without locks
            file.close()
            if time.monotonic() >= end:
                raise UsageError(
                    f"another process is writing to {folder}; wait until it ends, or choose another folder"
                ) from e
            time.sleep(0.05)
            continue
        with suppress(OSError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
        file.close()  # whoever had it removed it meanwhile
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()
        if made:
            with suppress(OSError):  # it is filled now
                folder.rmdir()


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of ``path`` once the block ends, and leaves no trace if it fails.

    A process that is killed leaves a part, which the next write to the same folder removes a day later.

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
def atomic_files(path: Path) -> Iterator[Path]:
    """A path of the same name in a temporary folder, from which all files move beside ``path`` if the block succeeds.

    Raises:
        ExportError: the folder does not take files.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent, ignore_cleanup_errors=True) as folder:
            yield Path(folder, path.name)
            # OpenVINO's weights go before the file that needs them.
            for made in sorted(Path(folder).iterdir(), key=lambda file: file.name == path.name):
                made.replace(path.parent / made.name)
    except OSError as error:
        raise ExportError(
            f"{path.parent} did not take {path.name}: {error}; choose a folder that can be written"
        ) from error


def disk_error(error: OSError, folder: Path, setting: str) -> WeightsUnavailable:
    """The typed error where a folder does not take a file.

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


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file for reading; a pipe, on which one would wait for ever, and a device without an end are refused.

    Raises:
        OSError: it cannot be opened, is no regular file, or has a name that no file can have.
    """
    try:
        file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 (whoever asked for it closes it)
    except ValueError as error:
        raise OSError(errno.EINVAL, f"no file can have this name ({error})") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file but a folder, a pipe or a device")
    return file


def _open_at_once(path: str, flags: int) -> int:
    # A pipe without a writer opens at once only so; reading a regular file is not changed by it.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def expanded(path: str | Path) -> Path:
    """A path with ``~`` and ``~name`` replaced by home folders.

    Raises:
        UsageError: there is no such user, this user has no home folder, or no file can have such a name.
    """
    try:
        os.fsencode(path)
        if "\0" in str(path):
            raise UsageError(f"a path holds no NUL, got {str(path)[:120]!r}")
        return Path(path).expanduser()
    except RuntimeError as e:
        raise UsageError(
            f"{str(path)[:120]!r} names a home folder that this machine does not know; set HOME, or give the whole path"
        ) from e
    except UnicodeEncodeError as e:
        raise UsageError(f"no file can be named {str(path)[:120]!r}: {e.reason}") from e


def stat_of(path: Path) -> os.stat_result | None:
    """What the system says of a file or folder; None where there is none.

    Raises:
        WeightsUnavailable: the system does not say, as below a folder that this user may not enter.
    """
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as e:
        raise WeightsUnavailable(
            f"{str(path)[:400]} cannot be looked at: {getattr(e, 'strerror', None) or e}; check the permissions of its "
            f"folders, or name another place"
        ) from e


def is_folder(path: Path) -> bool:
    """Whether there is a folder; raises as `stat_of`."""
    found = stat_of(path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def is_file(path: Path) -> bool:
    """Whether there is a plain file, or a link to one; raises as `stat_of`."""
    found = stat_of(path)
    return found is not None and stat.S_ISREG(found.st_mode)


@contextmanager
def open_file(path: Path, kind: str) -> Iterator[BinaryIO]:
    """Open a plain file to read; nothing that blocks or never ends, such as a pipe or a device, is opened.

    What goes wrong while the block reads is raised in the same types.

    Args:
        path: the file.
        kind: what it should be, for messages: ``a safetensors file``.

    Raises:
        WeightsNotFound: there is no file, or something that is none.
        WeightsUnavailable: the system does not let it be read.
    """
    if is_folder(path):
        raise WeightsNotFound(f"weights must be {kind}, but {path} is a folder; name the file inside")
    try:
        with open_regular(path) as file:
            yield file
    except FileNotFoundError as e:
        raise WeightsNotFound(f"weights must be {kind}, but there is no {path}") from e
    except OSError as e:
        raise WeightsUnavailable(
            f"{path} cannot be read: {e.strerror}; check the file's permissions and its disk"
        ) from e


def read_whole(path: Path, kind: str) -> bytes:
    """The bytes of a file of another framework, read in one piece before it is taken apart.

    Args:
        path: the file.
        kind: what it should be, for messages: ``a .caffemodel file``.

    Raises:
        WeightsNotFound: there is no file.
        WeightsUnavailable: the system does not let it be read.
        WeightsCorrupted: it is empty.
        WeightsUnsafe: it has more than 2 GiB.
    """
    with open_file(path, kind) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MOST_BYTES:
            raise WeightsUnsafe(f"{kind} may have {MOST_BYTES} bytes at most, but {path} has {size}; it is not opened")
        content = file.read(size)
    if not content:
        raise WeightsCorrupted(f"{path} must be {kind}, but is empty; fetch it again")
    return content


@dataclass(frozen=True)
class FileState:
    """What changes when another process replaces a file or writes to it.

    Args:
        device: the disk that it lies on; inodes are numbers of one disk.
        inode: another one where another file took its place.
        size: in bytes.
        mtime_ns: when it was last written to; programs such as rsync and tar set it at will.
        ctime_ns: when anything of it last changed, its times included; no program sets it.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


def state_of(found: os.stat_result) -> FileState:
    """The state of a file, from what ``stat`` says of it."""
    return FileState(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _free(folder: Path) -> int | str:
    for existing in (folder, *folder.parents):
        if existing.is_dir():
            return disk_usage(existing).free
    return "an unknown number of"
