"""From a manifest row to a verified file on this machine: the sources in order, and all reasons if none has it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from senet_zoo.errors import (
    UsageError,
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
from senet_zoo.support import settings
from senet_zoo.support.files import expanded, is_file, is_folder
from senet_zoo.weights import huggingface, release
from senet_zoo.weights.catalogue import get_weights
from senet_zoo.weights.file_hashes import VerifiedFile, tidy, verify, verify_one_of
from senet_zoo.weights.load import Checkpoint
from senet_zoo.weights.rows import (
    HubFile,
    PackageFile,
    ReleaseFile,
    Source,
    WeightsRow,
    require_hub_file,
    split_revision,
)

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


@dataclass(frozen=True, kw_only=True)
class VerifiedCheckpoint(Checkpoint):
    """A safetensors file on this machine, verified.

    Its header is of exactly the file that was verified; reading tensors by it notices if another took its place.

    Args:
        source: where it came from, in words.
        sha256: of the file.
        revision: commit of the hub's repository; None for other sources.
    """

    source: str
    sha256: str
    revision: str | None


class Failures:
    """Why each source of a checkpoint failed.

    Args:
        name: of the checkpoint, ``model.tag``.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._errors: list[tuple[str, WeightsError]] = []

    @contextmanager
    def recorded(self, source: str) -> Iterator[None]:
        """Keep a `WeightsError` of the block for the report, so that the next source is tried."""
        try:
            yield
        except WeightsError as e:
            _log.info("%s: %s failed: %s", self._name, source, e)
            self._errors.append((source, e))

    def error(self) -> WeightsError:
        """The error to raise when no source is left: of the most telling type, with all reasons."""
        cause = min((e for _, e in self._errors), key=lambda e: _TELLING.index(type(e)), default=None)
        kind = WeightsNotFound if cause is None else type(cause)
        message = f"{self._name} could not be loaded; tried in order:"
        error = kind(
            message,
            python="".join(f"\n  {source}: {_reason(source, str(e))}" for source, e in self._errors),
            command_line="".join(f"\n  {source}: {_reason(source, e.for_command_line)}" for source, e in self._errors),
        )
        error.__cause__ = cause
        return error


def _reason(source: str, message: str) -> str:
    subject, _, rest = message.partition(": ")
    return rest if source.endswith(subject) else message  # most messages begin with the source


def locate(row: WeightsRow) -> VerifiedCheckpoint:
    """The file of a checkpoint: from SENET_ZOO_WEIGHTS_DIR, the package, a cache, a hub or a release, in this order.

    What lies on this machine is used before anything is fetched; what is fetched is kept. Every file is verified before
    it is returned.

    Raises:
        WeightsError: no source had it; the type is that of the most telling failure, the message lists all of them.
    """
    failures = Failures(row.name)
    for _, checkpoint in candidates(row, failures):
        return checkpoint
    raise failures.error()


def download(name: str) -> VerifiedCheckpoint:
    """The verified file of a checkpoint on this machine, fetched where it is not here yet.

    Args:
        name: ``model.tag``, or ``model`` for its default weights.

    Raises:
        UnknownModelError, UnknownWeightsError: no such model or weights.
        WeightsError: it could not be had.
    """
    return locate(get_weights(name).row)


def candidates(row: WeightsRow, failures: Failures) -> Iterator[tuple[str, VerifiedCheckpoint]]:
    """The files of a checkpoint that can be had, each with its source in words, in the order of `locate`.

    A source is asked only once the files before it were turned down. What goes wrong there is recorded in ``failures``.
    """
    tidy()
    for source, find in _attempts(row):
        with failures.recorded(source):
            checkpoint = find()
            if checkpoint is not None:
                _log.info("%s: %s from %s", row.name, checkpoint.path, checkpoint.source)
                yield source, checkpoint


def locate_hub(repo: str, revision: str | None = None, filename: str = "model.safetensors") -> VerifiedCheckpoint:
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
    file = hub_file(repo, revision, filename)
    return _opened(file, None, _described(_hub_source(repo, revision, filename)))


def hub_file(repo: str, revision: str | None = None, filename: str = "model.safetensors") -> VerifiedFile:
    """The same, whatever tensors it holds: the file, its sha256 and the commit; arguments as `locate_hub`.

    Raises:
        UsageError: one of the arguments is not of that form.
        WeightsError: it could not be had.
    """
    require_hub_file(repo, revision, filename)
    tidy()
    source = _hub_source(repo, revision, filename)
    try:
        file = huggingface.find_cached(source)
    except WeightsCorrupted:
        file = None  # downloaded once more below
    return file or huggingface.download(source)


def _hub_source(repo: str, revision: str | None, filename: str) -> HubFile:
    return HubFile(repo, revision, filename, sha256=None, size=None, dialect="native")


def resolve(weights: str | Path) -> tuple[Path, Dialect | None]:
    """The file behind ``weights=...``: a path, a folder that holds ``model.safetensors``, or ``hf://org/name@revision``.

    Raises:
        UsageError: a pickle, or an address of another kind.
        WeightsError: it could not be had.
    """
    text = str(weights)
    if text.startswith("hf://"):
        located = locate_hub(*split_revision(text.removeprefix("hf://")))
        return located.path, located.dialect
    if "://" in text:
        raise UsageError(f"weights=... takes a file, a folder or hf://org/name@revision, got {text!r}")
    path = expanded(weights)
    return (path / "model.safetensors" if is_folder(path) else path), None


def find_local(source: Source) -> VerifiedFile | None:
    """The file of a source if it is on this machine, verified, without any request; None where it is not.

    Raises:
        WeightsError: it is, but not as published; or the package lacks it.
    """
    match source:
        case HubFile():
            return huggingface.find_cached(source)
        case ReleaseFile():
            return release.find_cached(source)
        case PackageFile():
            return _from_package(source)


def _download(source: Source) -> VerifiedFile | None:
    match source:
        case HubFile():
            return huggingface.download(source)
        case ReleaseFile():
            return release.download(source)
        case PackageFile():
            return None


def _attempts(row: WeightsRow) -> Iterator[tuple[str, Callable[[], VerifiedCheckpoint | None]]]:
    folder = settings.weights_dir()
    if folder is not None:
        yield f"SENET_ZOO_WEIGHTS_DIR ({folder})", partial(_from_folder, row, folder)
    for find, where in ((find_local, ", in the cache"), (_download, "")):
        for source in row.sources:
            yield f"{_described(source)}{where}", partial(_from_source, source, find)


def _from_source(source: Source, find: Callable[[Source], VerifiedFile | None]) -> VerifiedCheckpoint | None:
    file = find(source)
    return None if file is None else _opened(file, DIALECTS[source.dialect], _described(source))


def _from_package(source: PackageFile) -> VerifiedFile:
    path = Path(__file__).resolve().parents[1] / source.path
    if not path.is_file():
        raise WeightsNotFound(f"the package must hold {source.path}, but {path} is missing; install senet-zoo again")
    return verify(path, source.sha256, source.size, stamped=False)


def _from_folder(row: WeightsRow, folder: Path) -> VerifiedCheckpoint | None:
    """The file of the user's own folder, if it has one: vouched for by the manifest, a hub's record or a kit's sums."""
    known = {
        source.sha256: source.dialect
        for source in row.sources
        if not isinstance(source, ReleaseFile) and source.sha256 is not None
    }
    named = folder / row.model / row.tag / "model.safetensors"
    for path in (named, *(folder / f"{sha256}.safetensors" for sha256 in known)):
        if not is_file(path):
            continue
        accepted = {path.stem} if path != named else {*known, *_recorded(row, folder)}
        if not accepted:
            raise WeightsCorrupted(
                f"weights are used where their sha256 is known, and nothing names that of {path}: neither the "
                f"manifest, nor an earlier download, nor a kit's SHA256SUMS in {folder}. Where there is a network, "
                f"senet-zoo download {row.name} --to DIR makes such a kit; a file that you trust is loaded by "
                f"weights={str(path)!r}"
            )
        try:
            file = verify_one_of(path, accepted)
        except WeightsCorrupted as e:
            raise WeightsCorrupted(f"{e}: copy the file again") from e
        dialect = DIALECTS[known[file.sha256]] if file.sha256 in known else None
        return _opened(file, dialect, f"SENET_ZOO_WEIGHTS_DIR ({path})")
    return None


def _recorded(row: WeightsRow, folder: Path) -> set[str]:
    """What else is known of a row whose sources do not all have a sha256 in the manifest."""
    found: set[str | None] = set()
    for source in row.sources:
        match source:
            case HubFile(sha256=None):
                found.add(huggingface.recorded_sha256(source))
            case ReleaseFile():
                found.add(release.recorded_sha256(source))
            case _:
                continue
        from senet_zoo.weights import offline_kit  # which itself downloads

        found.add(offline_kit.sum_of(row, folder))
    return {sha256 for sha256 in found if sha256 is not None}


def _opened(file: VerifiedFile, dialect: Dialect | None, source: str) -> VerifiedCheckpoint:
    header = safetensors.check(file.path)
    if header.state != file.state:
        raise WeightsCorrupted(f"{file.path} changed after its sha256 was checked: another process wrote it; try again")
    dialect = dialect or recognise(header.tensors)
    return VerifiedCheckpoint(file.path, dialect, header, source=source, sha256=file.sha256, revision=file.revision)


def _described(source: Source) -> str:
    match source:
        case HubFile():
            return f"{huggingface.endpoint()}/{huggingface.describe(source)}"
        case ReleaseFile():
            return source.url
        case PackageFile():
            return f"the package's {source.path}"
