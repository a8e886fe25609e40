"""What the cache holds: the checkpoints that were downloaded, where they lie, and how much of the disk they take."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from shutil import copyfile, copytree, rmtree

from senet_zoo.errors import UsageError, WeightsUnavailable
from senet_zoo.support import settings
from senet_zoo.support.files import expanded, is_file, scratch_folder
from senet_zoo.support.speeds import FILE as SPEEDS
from senet_zoo.weights import huggingface, release
from senet_zoo.weights.manifest import load_manifest
from senet_zoo.weights.rows import HubFile, ReleaseFile, Source

OURS = ("backends", "data", "hub", "pins", "releases", "verified", SPEEDS)
"""What the zoo keeps in its cache; whatever else lies there is somebody's own."""


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


def cached_size(source: Source) -> int | None:
    """Bytes of a checkpoint's file, where it lies in a cache that this user may read."""
    try:
        path = _cached(source)
    except WeightsUnavailable:
        return None
    return None if path is None else path.stat().st_size


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


def move_cache(folder: str | Path) -> tuple[CachedCheckpoint, ...]:
    """Copy everything of the zoo's into a new folder, and remove it where it was; ``SENET_ZOO_CACHE`` then names it.

    Of a hub's cache that other libraries share, the zoo's checkpoints alone are moved. What is not the zoo's stays.

    Args:
        folder: one that does not exist, or is empty.

    Returns:
        The checkpoints that were moved, where they lie now.

    Raises:
        UsageError: the folder holds something, or lies in the cache or around it.
        WeightsUnavailable: a file cannot be read or written; then nothing has been removed.
    """
    target, old = expanded(str(folder)).absolute(), settings.zoo_cache().absolute()
    if target.is_relative_to(old) or old.is_relative_to(target):
        raise UsageError(f"a cache moves to a folder of its own, and {target} and {old} lie in one another")
    if (target.exists() or target.is_symlink()) and not (target.is_dir() and not any(target.iterdir())):
        raise UsageError(f"a cache moves to an empty folder, and {target} is none: name another")
    contents, shared = cache_contents(), settings.hub_cache() is None
    moved = []
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(target.parent) as part:
            for name in OURS:
                if (old / name).is_dir():
                    copytree(old / name, part / name, symlinks=True)
                elif (old / name).is_file():
                    copyfile(old / name, part / name)
            for each in contents.checkpoints:
                under_hub = each.path.absolute().is_relative_to(contents.hub_folder.absolute())
                base = contents.hub_folder if under_hub else old
                relative = Path("hub" if under_hub else "") / each.path.absolute().relative_to(base.absolute())
                leads_out = not (part / relative).resolve().is_relative_to(part.resolve())
                if under_hub and (shared or leads_out):
                    (part / relative).parent.mkdir(parents=True, exist_ok=True)
                    (part / relative).unlink(missing_ok=True)
                    copyfile(each.path, part / relative)  # the bytes behind a link
                    _copy_refs(each.path.parents[2], part / relative.parents[2])
                moved.append(replace(each, path=target / relative))
            part.chmod(0o755)
            if target.is_dir():
                target.rmdir()
            part.rename(target)
        for each in contents.checkpoints if shared else ():
            if each.path.absolute().is_relative_to(contents.hub_folder.absolute()):
                for file in huggingface.cached_parts(each.path):
                    file.unlink(missing_ok=True)
        for name in OURS:
            path = old / name
            rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    except OSError as error:
        raise WeightsUnavailable(
            f"the cache could not be moved to {target}: {error}; make room there, or name another folder"
        ) from error
    return tuple(moved)


def _copy_refs(repository: Path, target: Path) -> None:
    """The names of commits that the hub's client keeps beside snapshots."""
    if (repository / "refs").is_dir():
        copytree(repository / "refs", target / "refs", dirs_exist_ok=True)


def _cached(source: Source) -> Path | None:
    path = None
    if isinstance(source, HubFile):
        path = huggingface.cached_path(source)
    elif isinstance(source, ReleaseFile):
        path = release.converted_path(source)
    return path if path is not None and is_file(path) else None


def _sizes(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path.stat().st_size
