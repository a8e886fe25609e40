"""What the zoo's cache keeps: stamps of files whose sha256 was checked, and pins.

A file is hashed once; its stamp holds until the file changes. A pin is the exact file that a hub or a release once
answered with where the manifest names none, so that later loads get the same.
"""

import hashlib
import json
import logging
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from senet_zoo.errors import WeightsCorrupted, WeightsUnavailable
from senet_zoo.support import settings
from senet_zoo.support.files import FileState, atomic_file, remove_abandoned, state_of
from senet_zoo.weights.rows import COMMIT, SHA256

_stamped_here: set[str] = set()  # where the cache cannot be written, this process remembers


@dataclass(frozen=True)
class VerifiedFile:
    """A file on this machine whose bytes are those that were published; it was not opened yet.

    Args:
        path: the file.
        sha256: of the file.
        revision: the hub's commit that it came from; None for other sources.
        state: what the file was like when it was verified. Whoever reads its tensors later must find it so.
    """

    path: Path
    sha256: str
    revision: str | None
    state: FileState


def verify(
    path: Path, sha256: str, size: int | None, *, revision: str | None = None, stamped: bool = True
) -> VerifiedFile:
    """Check a file's size, then its sha256, unless its stamp says that this was done and nothing changed since.

    Args:
        path: the file.
        sha256: as published, 64 hex digits.
        size: in bytes; None where it is not known.
        revision: the hub's commit that it came from; None for other sources.
        stamped: read and leave a stamp; without, nothing outside the file is touched.

    Raises:
        WeightsCorrupted: the file is another one than published.
        WeightsUnavailable: it cannot be read; another process may have removed it.
    """
    try:
        return VerifiedFile(path, sha256, revision, _verify(path, sha256, size, stamped))
    except OSError as e:
        raise WeightsUnavailable(
            f"{path} cannot be read: {e.strerror}; if it is not there, another process removed it: try again"
        ) from e


def _verify(path: Path, sha256: str, size: int | None, stamped: bool) -> FileState:
    state = state_of(path.stat())  # before it is hashed: what takes its place meanwhile is not what was hashed
    check_size(path, size)
    mode = settings.verify_mode()
    if mode == "never" or (mode == "once" and stamped and _is_stamped(path, sha256, state)):
        return state
    actual = digest(path)
    if actual != sha256:
        raise WeightsCorrupted(
            f"the sha256 of {path} must be {sha256}, but is {actual} ({path.stat().st_size} bytes): a proxy, a disk or "
            f"another program altered it; delete it and fetch it again"
        )
    if stamped:
        _stamp(path, sha256, state)
    return state


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


def _stamp(path: Path, sha256: str, state: FileState) -> None:
    """Remember that ``path``, in that state, has ``sha256``. A cache that cannot be written is no failure."""
    note = _note(path, state)
    _stamped_here.add(sha256 + note)
    try:
        with atomic_file(_stamp_file(path, sha256)) as file:
            file.write(note.encode())
    except OSError:
        return


def tidy() -> None:
    """Remove what killed processes left in any folder of the cache: nobody may write to that folder again."""
    try:
        folders = list(settings.zoo_cache().iterdir())
    except OSError:
        return
    for folder in folders:
        remove_abandoned(folder)


def _is_stamped(path: Path, sha256: str, state: FileState) -> bool:
    """Whether ``path`` had ``sha256`` when it was last hashed, and has not changed since."""
    note = _note(path, state)
    if sha256 + note in _stamped_here:
        return True
    try:
        return _stamp_file(path, sha256).read_text() == note
    except (OSError, UnicodeDecodeError):
        return False


def _note(path: Path, state: FileState) -> str:
    return json.dumps({"path": os.path.realpath(path), **asdict(state)})


def _stamp_file(path: Path, sha256: str) -> Path:
    folder = hashlib.sha256(os.path.realpath(path).encode()).hexdigest()[:16]
    return settings.zoo_cache() / "verified" / f"{sha256}-{folder}.json"


_log = logging.getLogger("senet_zoo")


@dataclass(frozen=True)
class Pin:
    """The exact file behind a name.

    Args:
        what: the name, for whoever reads the cache.
        revision: commit of 40 hex digits; None for a release file.
        sha256: of the safetensors file.
        size: of the safetensors file, in bytes.
    """

    what: str
    revision: str | None
    sha256: str
    size: int


def load_pin(what: str) -> Pin | None:
    """The pin that was kept for ``what``; None where there is none, or an unreadable one."""
    try:
        data = json.loads(_file(what).read_text())
        pin = Pin(what=data["what"], revision=data["revision"], sha256=data["sha256"], size=data["size"])
        sound = (
            pin.what == what
            and (pin.revision is None or re.fullmatch(COMMIT, pin.revision))
            and re.fullmatch(SHA256, pin.sha256)
            and type(pin.size) is int
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pin if sound else None


def store_pin(pin: Pin) -> None:
    """Keep ``pin`` for later loads. A cache that cannot be written is no failure: the next load asks again."""
    try:
        with atomic_file(_file(pin.what)) as file:
            file.write(json.dumps(asdict(pin), sort_keys=True).encode())
    except OSError as e:
        _log.info("%s is not remembered: %s", pin.what, e)


def _file(what: str) -> Path:
    return settings.zoo_cache() / "pins" / f"{hashlib.sha256(what.encode()).hexdigest()[:32]}.json"
