"""Is this the published file? Hashed once: a stamp in the zoo's cache holds the answer until the file changes."""

import hashlib
import json
import os
from pathlib import Path

from senet_zoo.errors import WeightsCorrupted
from senet_zoo.hub import settings
from senet_zoo.hub.atomic import atomic_file

_stamped_here: set[str] = set()  # where the cache cannot be written, this process remembers


def verify(path: Path, sha256: str, size: int | None, *, stamped: bool = True) -> None:
    """Check a file's size, then its sha256, unless its stamp says that this was done and nothing changed since.

    Args:
        path: the file.
        sha256: as published, 64 hex digits.
        size: in bytes; None where it is not known.
        stamped: read and leave a stamp; without, nothing outside the file is touched.

    Raises:
        WeightsCorrupted: the file is another one than published.
    """
    check_size(path, size)
    mode = settings.verify_mode()
    if mode == "never" or (mode == "once" and stamped and is_stamped(path, sha256)):
        return
    actual = digest(path)
    if actual != sha256:
        raise WeightsCorrupted(
            f"the sha256 of {path} must be {sha256}, but is {actual} ({path.stat().st_size} bytes): a proxy, a disk or "
            f"another program altered it; delete it and fetch it again"
        )
    if stamped:
        stamp(path, sha256)


def check_size(path: Path, size: int | None) -> None:
    """Check a file's size, where it is known.

    Raises:
        WeightsCorrupted: it has another one.
    """
    actual = path.stat().st_size
    if size is not None and actual != size:
        raise WeightsCorrupted(f"{path} must have {size} bytes, but has {actual}; delete it and fetch it again")


def digest(path: Path) -> str:
    """The sha256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stamp(path: Path, sha256: str) -> None:
    """Remember that ``path``, as it is now, has ``sha256``. A cache that cannot be written is no failure."""
    state = _state(path)
    _stamped_here.add(sha256 + state)
    try:
        with atomic_file(_stamp_file(path, sha256)) as file:
            file.write(state.encode())
    except OSError:
        return


def is_stamped(path: Path, sha256: str) -> bool:
    """Whether ``path`` had ``sha256`` when it was last hashed, and has not changed since."""
    state = _state(path)
    if sha256 + state in _stamped_here:
        return True
    try:
        return _stamp_file(path, sha256).read_text() == state
    except (OSError, UnicodeDecodeError):
        return False


def _state(path: Path) -> str:
    real = os.path.realpath(path)
    stat = Path(real).stat()
    return json.dumps({"path": real, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "inode": stat.st_ino})


def _stamp_file(path: Path, sha256: str) -> Path:
    place = hashlib.sha256(os.path.realpath(path).encode()).hexdigest()[:16]
    return settings.zoo_cache() / "verified" / f"{sha256}-{place}.json"
