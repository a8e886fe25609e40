"""What the cache, or the user's folder of weights, may be like before anyone loads from it; and putting it right."""

import os
import shutil
from pathlib import Path

from chaos.schedule import YEAR


def needs_a_load(cache: str) -> bool:
    """Whether something must have been loaded before; see `chaos.schedule.CACHES`."""
    return cache not in ("empty", "occupied")


def damage(kind: str, place: Path, seed: int) -> None:
    """Make the files below a place what the kind of cache says.

    Args:
        kind: ``rotten`` has one bit of each kept file of weights turned, ``disguised`` too, under the file's old times;
            ``truncated`` half of each; ``torn`` half of every note about them; ``aged`` times of another decade;
            ``occupied`` a file where a folder should be; of ``empty`` and ``warm`` nothing is changed.
        place: the folder of the cache, or the user's of weights.
        seed: chooses among what the kind leaves open.
    """
    weights = [path for path in _files(place) if path.suffix == ".safetensors" or path.parent.name == "blobs"]
    notes = [path for path in _files(place) if path.suffix == ".json"]
    match kind:
        case "rotten" | "disguised":
            for path in weights:
                before = path.stat()
                _turn_a_bit(path, seed)
                if kind == "disguised":
                    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        case "truncated":
            for path in weights:
                os.truncate(path, path.stat().st_size // 2)
        case "torn":
            for path in notes:
                os.truncate(path, path.stat().st_size // 2)
        case "aged":
            for path in _files(place):
                moved = path.stat().st_mtime + (30 if seed % 2 else -30) * YEAR
                os.utime(path, (moved, moved))
        case "occupied":
            path = place / ("", "hub", "pins", "verified", "releases")[seed % 5]
            if path.is_dir():
                shutil.rmtree(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("in the way")


def vacate(place: Path) -> None:
    """Remove the files that stand where folders should be."""
    for path in (place, *(place / name for name in ("hub", "pins", "verified", "releases"))):
        if path.is_file():
            path.unlink()
    place.mkdir(exist_ok=True)


def forbid_writing(place: Path) -> None:
    for path in (place, *place.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o555 if path.is_dir() else 0o444)


def allow_writing(place: Path) -> None:
    for path in (place, *place.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)


def _files(place: Path) -> list[Path]:
    return [path for path in place.rglob("*") if path.is_file() and not path.is_symlink()]


def _turn_a_bit(path: Path, seed: int) -> None:
    with path.open("r+b") as file:
        at = seed * 7919 % path.stat().st_size
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << seed % 8]))
