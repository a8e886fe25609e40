"""The sha256 of files: checked against what was published, and kept as stamps and pins in the cache.

A file is hashed once; its stamp holds until the file changes. A pin is the exact file that a hub or a release once
answered with where the manifest names none, so that later loads get the same. Both are believed only where nobody but
this user and the system's administrator can have written them.
"""

import hashlib
import json
import logging
import os
import re
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from senet_zoo.errors import UsageError, WeightsCorrupted, WeightsNotFound, WeightsUnavailable
from senet_zoo.support import settings
from senet_zoo.support.files import FileState, atomic_file, open_file, remove_abandoned, state_of
from senet_zoo.weights.rows import COMMIT, SHA256

_MOST_NOTE_BYTES = 2**16
_log = logging.getLogger("senet_zoo")
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
    with _opened(path) as file:
        state, _ = _verify(file, path, (sha256,), size, stamped)
    return VerifiedFile(path, sha256, revision, state)


def verify_one_of(path: Path, sha256s: Collection[str], *, stamped: bool = True) -> VerifiedFile:
    """`verify` for a file that may be any one of several, such as what different hubs publish of one checkpoint."""
    with _opened(path) as file:
        state, sha256 = _verify(file, path, tuple(sorted(sha256s)), None, stamped)
    return VerifiedFile(path, sha256, None, state)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with open_file(path, "a file") as file:
            yield file
    except WeightsNotFound as e:
        raise WeightsUnavailable(f"{e}; if it was there, another process removed it: try again") from e


def _verify(
    file: BinaryIO, path: Path, sha256s: tuple[str, ...], size: int | None, stamped: bool
) -> tuple[FileState, str]:
    """What the file is like, and which of the hashes it has."""
    # All of it through one descriptor: what takes the place of the name meanwhile is not what is hashed.
    state = state_of(os.fstat(file.fileno()))
    _require_size(path, state.size, size)
    mode = settings.verify_mode()
    if mode == "never" and len(sha256s) == 1:
        return state, sha256s[0]
    known = [each for each in sha256s if mode == "once" and stamped and _is_stamped(path, each, state)]
    if known:
        return state, known[0]
    actual = digest(file)
    if actual not in sha256s:
        raise WeightsCorrupted(
            f"the sha256 of {path} must be {' or '.join(sha256s)}, but is {actual} ({state.size} bytes): a proxy, a "
            f"disk or another program altered it; delete it and fetch it again"
        )
    if stamped and state_of(os.fstat(file.fileno())) == state:  # else whoever opens it next finds it changed
        _stamp(path, actual, state)
    return state, actual


def _require_size(path: Path, actual: int, size: int | None) -> None:
    if size is not None and actual != size:
        raise WeightsCorrupted(f"{path} must have {size} bytes, but has {actual}; delete it and fetch it again")


def digest(file: Path | BinaryIO) -> str:
    """The sha256 of a file, 64 hex digits."""
    if isinstance(file, Path):
        with file.open("rb") as opened:
            return digest(opened)
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type] # a file has readinto


def _stamp(path: Path, sha256: str, state: FileState) -> None:
    """Remember that ``path``, in that state, has ``sha256``. A cache that cannot be written is no failure."""
    note = _note(path, sha256, state)
    _stamped_here.add(note)
    try:
        with atomic_file(_stamp_file(path, sha256)) as file:
            file.write(note.encode())
            _forbid_others(file)
    except OSError:
        return


def tidy() -> None:
    """Remove what killed processes left in any folder of the cache: nobody may write to that folder again."""
    try:
        folders = list(settings.zoo_cache().iterdir())
    except (OSError, UsageError):  # without a home there is no cache either
        return
    for folder in folders:
        remove_abandoned(folder)


def _is_stamped(path: Path, sha256: str, state: FileState) -> bool:
    """Whether ``path`` had ``sha256`` when it was last hashed, and has not changed since."""
    note = _note(path, sha256, state)
    return note in _stamped_here or _own_text(_stamp_file(path, sha256)) == note


def _note(path: Path, sha256: str, state: FileState) -> str:
    return json.dumps({"path": os.path.realpath(path), "sha256": sha256, **asdict(state)})


def _own_text(path: Path) -> str | None:
    """What stands in a small file that nobody else can have written; None of others, and of what cannot be read.

    A shared cache is no reason to believe who shares it: another user's file, one that everybody may write to, and one
    in a folder of such kind proves nothing.
    """
    try:
        with path.open("rb") as file:
            states = (os.fstat(file.fileno()), path.parent.stat(), path.parent.parent.stat())
            if all(map(_is_ours, states)):
                return file.read(_MOST_NOTE_BYTES).decode()
    except (OSError, UnicodeDecodeError):
        pass
    return None


def _is_ours(found: os.stat_result) -> bool:
    if not hasattr(os, "geteuid"):
        return True  # Windows keeps each user's folders apart by other means
    return found.st_uid in (os.geteuid(), 0) and not found.st_mode & stat.S_IWOTH


def _forbid_others(file: BinaryIO) -> None:
    """Let nobody else write to a file, whatever the user's umask."""
    if hasattr(os, "fchmod"):
        os.fchmod(file.fileno(), 0o644)


def _stamp_file(path: Path, sha256: str) -> Path:
    folder = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:16]
    return settings.zoo_cache() / "verified" / f"{sha256}-{folder}.json"


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
        data = json.loads(_own_text(_file(what)) or "")
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
            _forbid_others(file)
    except OSError as e:
        _log.info("%s is not remembered: %s", pin.what, e)


def _file(what: str) -> Path:
    return settings.zoo_cache() / "pins" / f"{hashlib.sha256(what.encode()).hexdigest()[:32]}.json"
