"""What the cache holds: the checkpoints that were downloaded, where they lie, and how much of the disk they take."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from senet_zoo.errors import WeightsUnavailable
from senet_zoo.support import settings
from senet_zoo.weights import huggingface, release
from senet_zoo.weights.manifest import load_manifest
from senet_zoo.weights.rows import HubFile, ReleaseFile, Source


@dataclass(frozen=True)
class CachedCheckpoint:
    """A published checkpoint on this machine.

    Args:
        name: ``model.tag``.
        path: its file.
        size: in bytes.
    """

    name: str
    path: Path
    size: int


@dataclass(frozen=True)
class CacheContents:
    """What the cache holds.

    Args:
        folder: of the zoo: stamps of verified files, resolved commits, converted releases, data sets.
        folder_size: in bytes, with all that it holds.
        hub_folder: where downloads from hubs lie, those of other libraries too.
        checkpoints: the zoo's, in natural order.
    """

    folder: Path
    folder_size: int
    hub_folder: Path
    checkpoints: tuple[CachedCheckpoint, ...]


def cache_contents() -> CacheContents:
    """What lies in the cache; nothing is hashed, and no hub is asked."""
    from huggingface_hub import constants

    folder = settings.zoo_cache()
    found = [
        CachedCheckpoint(row.name, path, path.stat().st_size)
        for rows in load_manifest().models.values()
        for row in rows
        for source in row.sources
        if (path := _cached(source)) is not None
    ]
    hub = settings.hub_cache() or Path(constants.HF_HUB_CACHE)
    return CacheContents(folder, sum(_sizes(folder)), hub, tuple(found))


def prune_cache(pattern: str) -> tuple[CachedCheckpoint, ...]:
    """Remove the cached checkpoints whose names match; they are fetched again when they are next asked for.

    Args:
        pattern: shell wildcards over ``model.tag``; without a dot, over the model's name too.

    Returns:
        What was removed; empty where nothing matches.

    Raises:
        WeightsUnavailable: a file cannot be removed.
    """
    removed = [
        each
        for each in cache_contents().checkpoints
        if fnmatchcase(each.name, pattern) or fnmatchcase(each.name.partition(".")[0], pattern)
    ]
    for each in removed:
        try:
            # A hub's file is a link to its bytes; a converted release lies in the zoo's own cache.
            is_release = each.path.is_relative_to(settings.zoo_cache() / "releases")
            for part in [each.path] if is_release else huggingface.cached_parts(each.path):
                part.unlink(missing_ok=True)
        except OSError as error:
            raise WeightsUnavailable(
                f"{each.path} cannot be removed: {error.strerror}; remove it as its owner"
            ) from error
    return tuple(removed)


def _cached(source: Source) -> Path | None:
    path = None
    if isinstance(source, HubFile):
        path = huggingface.cached_path(source)
    elif isinstance(source, ReleaseFile):
        path = release.converted_path(source)
    return path if path is not None and path.is_file() else None


def _sizes(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path.stat().st_size
