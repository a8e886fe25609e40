"""The picture files at a path, and what beside them is passed over, which one line says."""

import logging
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path, PurePath
from urllib.parse import urlsplit

from senet_zoo.errors import PictureError

_log = logging.getLogger("senet_zoo")

HEIF_SUFFIXES = frozenset({".heic", ".heif"})
SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff"}
    | {".tga", ".webp"}
)
"""What is taken from a folder, besides `HEIF_SUFFIXES` where pillow-heif is installed."""
TEXT_SUFFIXES = frozenset(
    {".cfg", ".csv", ".db", ".html", ".ini", ".json", ".log", ".md", ".py", ".rst", ".toml", ".tsv", ".txt", ".xml"}
    | {".yaml", ".yml"}
)
"""Files that nobody takes for pictures, such as a README or ``Thumbs.db``; they are not counted as passed over."""
SYSTEM_FOLDERS = frozenset(
    {"@eadir", "__macosx", "#recycle", "$recycle.bin", "lost+found", "system volume information"}
)
"""Folders that a disk station, an archiver or a file system adds, in lower case; pictures in them are copies."""
MOST_SUFFIXES = 8  # named in one line


@dataclass(frozen=True)
class PictureFiles:
    """What a folder holds.

    Args:
        pictures: the files in natural order (``2.png`` before ``10.png``), those of a folder before those of its
            subfolders.
        passed_over: how many things are no pictures, by suffix or by what they are.
    """

    pictures: list[Path]
    passed_over: Counter[str] = field(default_factory=Counter)


def find_pictures(source: str | os.PathLike[str]) -> list[Path]:
    """The picture files at a path; what a folder holds besides is counted in one line of the log.

    Args:
        source: a file, whatever its suffix; a folder, searched to its depth for the suffixes in `SUFFIXES`; or a
            ``file:`` URL of either. Inside a folder, hidden names (``.x``), `SYSTEM_FOLDERS` and links to folders are
            passed over.

    Returns:
        The files in natural order (``2.png`` before ``10.png``), those of a folder before those of its subfolders.

    Raises:
        PictureError: nothing lies there, it is no file or folder, the folder holds no picture, or the URL leads
            elsewhere.
    """
    path = _local_path(os.fspath(source))
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise PictureError(f"a picture must exist, and nothing lies at {str(path)!r}: check the path") from error
    except (OSError, ValueError) as error:
        raise PictureError(
            f"a picture must lie where this user may read it, and {_short(path)} cannot be looked up "
            f"({_reason(error)}): check the path and its permissions"
        ) from error
    if not stat.S_ISDIR(mode):
        return [path]
    found = files_in(path)
    if not found.pictures:
        listed = f" (there are {describe_passed_over(found.passed_over)})" if found.passed_over else ""
        raise PictureError(
            f"a folder to read must hold a picture, and {str(path)!r} and its subfolders hold none{listed}: "
            f"give another folder, or files ending in {' '.join(sorted(picture_suffixes()))}"
        )
    say_passed_over(str(path), found.passed_over)
    return found.pictures


def files_in(folder: Path) -> PictureFiles:
    """The pictures of a folder and its subfolders, and what is passed over there."""
    found = PictureFiles([])
    found.pictures.extend(_walk(folder, picture_suffixes(), found.passed_over))
    return found


def holds_picture(folder: Path) -> bool:
    """Whether there is a picture in a folder or its subfolders."""
    return next(_walk(folder, picture_suffixes(), Counter()), None) is not None


def picture_suffixes() -> frozenset[str]:
    """The suffixes of files that can be read here."""
    return SUFFIXES | HEIF_SUFFIXES if find_spec("pillow_heif") else SUFFIXES


def is_system_folder(name: str) -> bool:
    """Whether a folder holds nothing that its user put there."""
    return name.startswith(".") or name.casefold() in SYSTEM_FOLDERS


def decoded(name: str | os.PathLike[str]) -> str:
    """A name as text that can be written anywhere: a byte that is not UTF-8 becomes its number in escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def suffixes_of(names: Iterable[str | os.PathLike[str]]) -> Counter[str]:
    """How many files there are of each suffix, texts aside, in the words of `describe_passed_over`."""
    suffixes = (PurePath(name).suffix.lower() for name in names)
    return Counter(suffix or "without a suffix" for suffix in suffixes if suffix not in TEXT_SUFFIXES)


def say_passed_over(where: str, passed_over: Mapping[str, int]) -> None:
    """Log in one line what of some data is not read; nothing where all of it is."""
    if passed_over:
        _log.warning("%s: passed over %s", where, describe_passed_over(passed_over))


def describe_passed_over(passed_over: Mapping[str, int]) -> str:
    """What is not read, the most frequent first: ``2 .heic (pip install ...), 1 without a suffix``."""
    counts = sorted(passed_over.items(), key=lambda item: (-item[1], item[0]))
    named = [
        f"{count:,} {what[:60]}" + (" (to read them: pip install 'senet-zoo[heif]')" if what in HEIF_SUFFIXES else "")
        for what, count in counts[:MOST_SUFFIXES]
    ]
    rest = sum(count for _, count in counts[MOST_SUFFIXES:])
    return ", ".join(named) + (f" and {rest:,} others" if rest else "")


def _local_path(source: str | bytes) -> Path:
    source = os.fsdecode(source)
    scheme = source.partition(":")[0].lower()
    if scheme == "file":
        from urllib.request import url2pathname  # and with it an HTTP client, which is 40 ms for nothing

        url = urlsplit(source)
        if url.netloc not in ("", "localhost"):
            raise PictureError(
                f"a file: URL must lead to this machine, and {source!r} names the host {url.netloc!r}: "
                "write file:///folder/picture.png"
            )
        return Path(url2pathname(url.path))
    if scheme in ("http", "https", "ftp", "s3", "hf") and "://" in source:
        raise PictureError(f"a path must lead to this machine, and {source!r} is elsewhere: download it first")
    return Path(source)


def _walk(folder: Path, suffixes: frozenset[str], passed_over: Counter[str]) -> Iterator[Path]:
    # A subfolder that cannot be listed is passed on as if it were a picture, so that reading it names it.
    unlistable: list[Path] = []
    for parent, folders, files in os.walk(folder, onerror=lambda error: unlistable.append(Path(error.filename))):
        links = [name for name in folders if not is_system_folder(name) and Path(parent, name).is_symlink()]
        passed_over.update({"links to folders": len(links)} if links else {})
        passed_over.update(f"folders {name}" for name in folders if name.casefold() in SYSTEM_FOLDERS)
        folders[:] = sorted((name for name in folders if not is_system_folder(name)), key=_natural)
        shown = [name for name in files if not name.startswith(".")]
        passed_over.update(suffixes_of(name for name in shown if PurePath(name).suffix.lower() not in suffixes))
        for name in sorted(shown, key=_natural):
            if PurePath(name).suffix.lower() in suffixes:
                yield Path(parent, name)
    yield from unlistable


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in re.split(r"(\d+)", name)]


def _short(path: Path) -> str:
    text = repr(str(path))
    return text if len(text) <= 200 else f"{text[:100]}... ({len(text):,} characters)"


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
