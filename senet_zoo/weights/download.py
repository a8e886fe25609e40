"""From a manifest row to a verified file on this machine: the sources in order, and all reasons if none has it."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from senet_zoo.errors import (
    WeightsAccessDenied,
    WeightsCorrupted,
    WeightsError,
    WeightsMismatch,
    WeightsNotFound,
    WeightsUnavailable,
    WeightsUnsafe,
)
from senet_zoo.formats import safetensors
from senet_zoo.formats.dialects import DIALECTS, Dialect, recognise
from senet_zoo.formats.safetensors import Header
from senet_zoo.support import settings
from senet_zoo.weights import huggingface, release
from senet_zoo.weights.cache import digest, verify
from senet_zoo.weights.huggingface import Found
from senet_zoo.weights.rows import HubFile, PackageFile, ReleaseFile, Source, WeightsRow, require_hub_file

# Of several failures, the one that a user can do most about gives the error its type.
_TELLING = (
    WeightsCorrupted,
    WeightsAccessDenied,
    WeightsUnsafe,
    WeightsMismatch,
    WeightsUnavailable,
    WeightsNotFound,
    WeightsError,
)

_log = logging.getLogger("senet_zoo")


@dataclass(frozen=True)
class Located:
    """A safetensors file on this machine, verified.

    Args:
        path: the file.
        dialect: how its tensors are named.
        source: where it came from, in words.
        sha256: of the file.
        revision: commit of the hub's repository; None for other sources.
        header: of exactly the file that was verified; reading tensors by it notices if another took its place.
    """

    path: Path
    dialect: Dialect
    source: str
    sha256: str
    revision: str | None
    header: Header


@dataclass(frozen=True)
class _Attempt:
    source: str
    run: Callable[[], Located | None]


def locate(row: WeightsRow, accept: Callable[[Located], None] = lambda _: None) -> Located:
    """The file of a checkpoint: from SENET_ZOO_WEIGHTS_DIR, the package, a cache, a hub or a release, in this order.

    What lies on this machine is used before anything is fetched; what is fetched is kept. Every file is verified before
    it is returned.

    Args:
        row: the checkpoint.
        accept: raises a `WeightsError` where the file does not fit the network; then the next source is tried.

    Raises:
        WeightsError: no source had it; the type is that of the most telling failure, the message lists all of them.
    """
    failures: list[tuple[str, WeightsError]] = []
    for attempt in _attempts(row):
        try:
            located = attempt.run()
            if located is not None:
                accept(located)
                _log.info("%s: %s from %s", row.name, located.path, located.source)
                return located
        except WeightsError as e:
            _log.info("%s: %s failed: %s", row.name, attempt.source, e)
            failures.append((attempt.source, e))
    raise _summary(row, failures) from _most_telling(failures)


def locate_hub(repo: str, revision: str | None = None, filename: str = "model.safetensors") -> Located:
    """A safetensors file of any repository of the hub, checked against the sha256 that the hub itself reports.

    Args:
        repo: ``organisation/name``.
        revision: a commit of 40 hex digits; or a tag, a branch or, with None, the newest: these are resolved to a
            commit once, which is logged and remembered.
        filename: inside the repository.

    Raises:
        UsageError: one of them is not of that form.
        WeightsError: as `locate`; WeightsMismatch where no dialect knows the tensors' names.
    """
    require_hub_file(repo, revision, filename)
    source = HubFile(repo, revision, filename, sha256=None, size=None, dialect="native")
    try:
        found = huggingface.cached(source)
    except WeightsCorrupted:
        found = None  # downloaded once more below
    found = found or huggingface.fetched(source)
    return _located(found, None, _words(source))


def _attempts(row: WeightsRow) -> Iterator[_Attempt]:
    folder = settings.weights_dir()
    if folder is not None:
        yield _Attempt(f"SENET_ZOO_WEIGHTS_DIR ({folder})", lambda: _from_folder(row, folder))
    for step in (here, _fetched):
        for source in row.sources:
            yield _Attempt(f"{_words(source)}{', in the cache' if step is here else ''}", _bind(step, source))


def _bind(step: Callable[[Source], Found | None], source: Source) -> Callable[[], Located | None]:
    def run() -> Located | None:
        found = step(source)
        return None if found is None else _located(found, DIALECTS[source.dialect], _words(source))

    return run


def here(source: Source) -> Found | None:
    """The file of a source if it is on this machine, verified, without any request; None where it is not.

    Raises:
        WeightsError: it is, but not as published; or the package lacks it.
    """
    match source:
        case HubFile():
            return huggingface.cached(source)
        case ReleaseFile():
            return release.cached(source)
        case PackageFile():
            return _from_package(source)


def _fetched(source: Source) -> Found | None:
    """The file from elsewhere."""
    match source:
        case HubFile():
            return huggingface.fetched(source)
        case ReleaseFile():
            return release.fetched(source)
        case PackageFile():
            return None


def _from_package(source: PackageFile) -> Found:
    path = Path(__file__).resolve().parents[1] / source.path
    if not path.is_file():
        raise WeightsNotFound(f"the package must hold {source.path}, but {path} is missing; install senet-zoo again")
    return Found(path, source.sha256, None, verify(path, source.sha256, source.size, stamped=False))


def _from_folder(row: WeightsRow, folder: Path) -> Located | None:
    known = {source.sha256: source.dialect for source in row.sources if isinstance(source, HubFile | PackageFile)}
    named = folder / row.model / row.tag / "model.safetensors"
    for path in (named, *(folder / f"{sha256}.safetensors" for sha256 in known if sha256)):
        if not path.is_file():
            continue
        header = safetensors.check(path)
        sha256 = digest(path)
        words = f"SENET_ZOO_WEIGHTS_DIR ({path})"
        if sha256 in known:
            return Located(path, DIALECTS[known[sha256]], words, sha256, None, header)
        if path == named and not all(isinstance(source, PackageFile) or _hash_of(source) for source in row.sources):
            _log.warning("%s: the manifest knows no sha256 to check %s against; it has %s", row.name, path, sha256)
            return Located(path, recognise(header.tensors), words, sha256, None, header)
        expected = " or ".join(sorted(filter(None, known)))
        raise WeightsCorrupted(f"the sha256 of {path} must be {expected}, but is {sha256}; copy the file again")
    return None


def _hash_of(source: Source) -> str | None:
    return None if isinstance(source, ReleaseFile) else source.sha256


def _located(found: Found, dialect: Dialect | None, source: str) -> Located:
    header = safetensors.check(found.path)
    if header.state != found.state:
        raise WeightsCorrupted(
            f"{found.path} changed after its sha256 was checked: another process wrote it; try again"
        )
    dialect = dialect or recognise(header.tensors)
    return Located(found.path, dialect, source, found.sha256, found.revision, header)


def _words(source: Source) -> str:
    match source:
        case HubFile():
            return f"{huggingface.endpoint()}/{huggingface.describe(source)}"
        case ReleaseFile():
            return source.url
        case PackageFile():
            return f"the package's {source.path}"


def _summary(row: WeightsRow, failures: list[tuple[str, WeightsError]]) -> WeightsError:
    telling = _most_telling(failures)
    kind = WeightsNotFound if telling is None else type(telling)
    reasons = "".join(f"\n  {source}: {_reason(source, e)}" for source, e in failures)
    return kind(f"{row.name} could not be loaded; tried in order:{reasons}")


def _reason(source: str, error: WeightsError) -> str:
    subject, _, rest = str(error).partition(": ")
    return rest if source.endswith(subject) else str(error)  # most messages begin with the source


def _most_telling(failures: list[tuple[str, WeightsError]]) -> WeightsError | None:
    return min((e for _, e in failures), key=lambda e: _TELLING.index(type(e)), default=None)
