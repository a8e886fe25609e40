"""What a hub says of a repository's files without a download of tensors, and small files such as ``config.json``."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from senet_zoo.errors import WeightsCorrupted, WeightsError, WeightsNotFound, WeightsUnavailable, WeightsUnsafe
from senet_zoo.formats import safetensors
from senet_zoo.formats.containers import MOST_BYTES
from senet_zoo.formats.safetensors import Header
from senet_zoo.support import settings
from senet_zoo.weights.hub_errors import explain_hub, http_library, utilities
from senet_zoo.weights.hub_limits import MOST_ANSWER_BYTES, limited
from senet_zoo.weights.huggingface import endpoint
from senet_zoo.weights.release import announced_size
from senet_zoo.weights.rows import COMMIT, SHA256, HubFile, ReleaseFile, require_hub_file

MOST_TEXT_BYTES = 2**20

_FIRST_BYTES = 64  # they tell a safetensors file from anything else, and hold the length of its header
_MOST_FAILURES = 3  # of one server in a row
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class RemoteFile:
    """A large file of a repository, as the hub describes it; none of its bytes was seen.

    Args:
        repo: ``organisation/name``.
        commit: 40 hex digits.
        filename: inside the repository.
        sha256: 64 hex digits.
        size: in bytes.
    """

    repo: str
    commit: str
    filename: str
    sha256: str
    size: int

    @property
    def label(self) -> Path:
        """``repo@commit/filename``, for messages of what reads files."""
        return Path(_label(self.repo, self.commit, self.filename))


def describe_file(repo: str, revision: str | None, filename: str) -> RemoteFile:
    """Ask the hub for the commit, sha256 and size of a file.

    Args:
        repo: ``organisation/name``.
        revision: a commit of 40 hex digits, a tag or a branch; None for the newest commit.
        filename: inside the repository.

    Raises:
        UsageError: one of them is not of that form.
        WeightsNotFound: there is no such repository, revision or file.
        WeightsUnavailable: the hub did not answer, or names no sha256, which it does for large files only.
        WeightsAccessDenied: the hub refuses this user.
    """
    from huggingface_hub import constants

    require_hub_file(repo, revision, filename)

    def ask() -> tuple[str, list[tuple[str, int]]]:
        # Without a bound the client waits for a silent hub for ever.
        timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        info = _client().model_info(repo, revision=revision, files_metadata=True, timeout=timeout)
        large = [each.lfs for each in info.siblings or () if each.rfilename == filename]
        return str(info.sha), [("nothing", 0) if lfs is None else (str(lfs.sha256), int(lfs.size)) for lfs in large]

    commit, found = _ask_online(ask, repo, revision or "main", filename)
    label = _label(repo, commit, filename)
    if not found:
        raise WeightsNotFound(f"{label}: the repository has no such file; check its name at {endpoint()}/{repo}")
    sha256, size = found[0]
    if not (re.fullmatch(COMMIT, commit) and re.fullmatch(SHA256, sha256) and 1 <= size <= MOST_BYTES):
        raise WeightsUnavailable(
            f"{label}: {endpoint()} must name a commit, a sha256 and a size of at most {MOST_BYTES} bytes, but says "
            f"{commit[:80]!r}, {sha256[:80]!r} and {size}; the file must lie in its storage of large files"
        )
    return RemoteFile(repo, commit, filename, sha256, size)


def fetch_header(file: RemoteFile) -> Header:
    """Names, types and shapes of the tensors of a safetensors file, checked; only its first bytes are fetched.

    Nothing proves these bytes, because the hash is that of the whole file; it is checked when the file is loaded.

    Raises:
        WeightsUnavailable, WeightsAccessDenied, WeightsNotFound: the hub did not deliver.
        WeightsCorrupted, WeightsUnsafe: as `senet_zoo.formats.safetensors.check`.
    """
    start = _fetch_bytes(file, 0, min(_FIRST_BYTES, file.size))
    end = 8 + int.from_bytes(start[:8], "little")
    if len(start) < end <= min(file.size, 8 + safetensors.MOST_HEADER_BYTES):
        start += _fetch_bytes(file, len(start), end)
    return safetensors.check_start(start, file.label, file.size)


class Servers:
    """Servers that are asked about many files; one that fails three times in a row is not asked again.

    So a whole manifest is done with soon where the network is dead.
    """

    def __init__(self) -> None:
        self._failures: Counter[str] = Counter()

    def describe(self, source: HubFile | ReleaseFile) -> RemoteFile | int:
        """What the hub says of a file; only the size of a release's file, because its server says no more.

        Raises:
            WeightsError: it did not say.
        """
        host = endpoint() if isinstance(source, HubFile) else str(urlsplit(source.url).hostname)
        if self._failures[host] >= _MOST_FAILURES:
            raise WeightsUnavailable(
                f"{host} failed {_MOST_FAILURES} times in a row and was not asked again; try later"
            )
        try:
            if isinstance(source, HubFile):
                answer: RemoteFile | int = describe_file(source.repo, source.revision, source.filename)
            else:
                answer = announced_size(source)
        except WeightsUnavailable:
            self._failures[host] += 1
            raise
        self._failures[host] = 0
        return answer


def fetch_text(repo: str, revision: str, filename: str) -> Path | None:
    """A small file of a repository, from the client's cache or the hub; None where the commit has none of that name.

    Its few bytes are hashed at every call; a file that is not as committed is fetched once more.

    Args:
        repo: ``organisation/name``.
        revision: the commit, 40 hex digits; what is cached of it needs no request.
        filename: inside the repository.

    Raises:
        WeightsUnsafe: it is larger than such a file may be; it is not fetched.
        WeightsCorrupted: the hub delivered other bytes than committed, twice.
        WeightsUnavailable, WeightsAccessDenied, WeightsNotFound: the hub did not deliver; the message says why.
    """
    from huggingface_hub import errors, try_to_load_from_cache

    path = try_to_load_from_cache(repo, filename, cache_dir=settings.hub_cache(), revision=revision)
    if isinstance(path, str):
        if _is_as_committed(Path(path), repo, revision, filename):
            return Path(path)
    elif path is not None:
        return None  # the hub said so before, and a commit does not change
    for _ in range(2):
        try:
            fetched = _download(repo, revision, filename)
        except errors.RemoteEntryNotFoundError:
            return None
        except WeightsError:
            raise
        except _network_errors() as e:
            raise _explained(e, repo, revision, filename) from e
        if _is_as_committed(fetched, repo, revision, filename):
            return fetched
    fetched.unlink()
    raise WeightsCorrupted(
        f"{_label(repo, revision, filename)}: {endpoint()} delivered other bytes than were committed, twice: a proxy "
        f"or a disk alters them; try again elsewhere"
    )


def list_files(repo: str, commit: str) -> tuple[str, ...]:
    """Names of all files of a repository at a commit.

    Raises:
        WeightsError: the hub did not say.
    """
    from huggingface_hub import constants

    def ask() -> tuple[str, ...]:
        info = _client().model_info(repo, revision=commit, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT)
        return tuple(str(each.rfilename) for each in info.siblings or ())

    return _ask_online(ask, repo, commit, "")


def git_hash(content: bytes) -> str:
    """What git, and a hub, know a small file by: 40 hex digits."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _download(repo: str, revision: str, filename: str) -> Path:
    from huggingface_hub import hf_hub_download

    known: dict[str, Any] = {
        "revision": revision,
        "cache_dir": settings.hub_cache(),
        "endpoint": settings.hub_endpoint(),
        "token": settings.hub_token(),
        "library_name": "senet_zoo",
    }
    label = _label(repo, revision, filename)
    seen = limited(lambda: hf_hub_download(repo, filename, dry_run=True, **known), what=label, most=MOST_ANSWER_BYTES)
    size = getattr(seen, "file_size", None)
    if size is None or size > MOST_TEXT_BYTES:
        raise WeightsUnsafe(f"{label} may have {MOST_TEXT_BYTES} bytes at most, but has {size}; it is not fetched")
    fetched = limited(
        lambda: hf_hub_download(repo, filename, force_download=True, **known), what=label, most=MOST_TEXT_BYTES
    )
    return Path(str(fetched))


def _is_as_committed(path: Path, repo: str, revision: str, filename: str) -> bool:
    if path.stat().st_size > MOST_TEXT_BYTES:
        return False
    content = path.read_bytes()
    # The client names what it keeps by the hash that the hub announced: git's for small files, sha256 for large ones.
    announced = path.readlink().name if path.is_symlink() else _announced_hash(repo, revision, filename)
    return announced in (git_hash(content), hashlib.sha256(content).hexdigest())


def _announced_hash(repo: str, revision: str, filename: str) -> str:
    try:
        info = limited(
            lambda: _client().get_paths_info(repo, [filename], revision=revision),
            what=_label(repo, revision, filename),
            most=MOST_ANSWER_BYTES,
        )
    except WeightsError:
        raise
    except _network_errors() as e:
        raise _explained(e, repo, revision, filename) from e
    if not info:
        raise WeightsNotFound(f"{_label(repo, revision, filename)}: {endpoint()} does not name its hash; try again")
    lfs = getattr(info[0], "lfs", None)
    return str(getattr(info[0], "blob_id", None) if lfs is None else lfs.sha256)


def _fetch_bytes(file: RemoteFile, first: int, end: int) -> bytes:
    """Bytes ``first`` to ``end``, the last excluded."""
    from huggingface_hub import constants, hf_hub_url

    url = hf_hub_url(file.repo, file.filename, revision=file.commit, endpoint=settings.hub_endpoint())
    headers = utilities().build_hf_headers(token=settings.hub_token(), library_name="senet_zoo")
    headers |= {"Range": f"bytes={first}-{end - 1}", "Accept-Encoding": "identity"}

    def ask() -> bytes:
        session, timeout = utilities().get_session(), constants.HF_HUB_DOWNLOAD_TIMEOUT
        with session.stream("GET", url, headers=headers, follow_redirects=True, timeout=timeout) as response:
            utilities().hf_raise_for_status(response)
            content = b""
            # A server that knows no ranges answers 200 and would send everything.
            for chunk in response.iter_raw() if response.status_code == 206 else ():
                content += chunk
                if len(content) > end - first:
                    break
            return content

    content = _ask_online(ask, file.repo, file.commit, file.filename)
    if len(content) != end - first:
        raise WeightsUnavailable(
            f"{file.label}: bytes {first} to {end - 1} were asked of {endpoint()}, but {len(content)} came; without "
            f"HTTP ranges a header cannot be read from afar: download the file and name it"
        )
    return content


def _ask_online(ask: Callable[[], _Answer], repo: str, revision: str, filename: str) -> _Answer:
    """What the hub answers, or the typed error."""
    from huggingface_hub import constants

    label = _label(repo, revision, filename)
    if constants.is_offline_mode():
        raise WeightsUnavailable(f"{label}: a hub is asked over the network, but HF_HUB_OFFLINE is set; unset it")
    try:
        return limited(ask, what=label, most=MOST_ANSWER_BYTES)
    except WeightsError:
        raise
    except _network_errors() as e:
        raise _explained(e, repo, revision, filename) from e
    except (KeyError, TypeError, AttributeError) as e:  # the client takes for granted that JSON has a hub's fields
        raise WeightsUnavailable(
            f"{label}: {endpoint()} does not answer like a hub ({type(e).__name__}: {str(e)[:200]}); check "
            f"SENET_ZOO_HUB and HF_ENDPOINT"
        ) from e


def _client() -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=settings.hub_endpoint(), token=settings.hub_token(), library_name="senet_zoo")


def _network_errors() -> tuple[type[Exception], ...]:
    return OSError, ValueError, RuntimeError, http_library().HTTPError


def _explained(error: Exception, repo: str, revision: str, filename: str) -> WeightsError:
    from huggingface_hub import constants

    cache = settings.hub_cache() or Path(constants.HF_HUB_CACHE)
    label = _label(repo, revision, filename)
    return explain_hub(error, what=label, repo=repo, revision=revision, endpoint=endpoint(), cache=cache)


def _label(repo: str, revision: str, filename: str) -> str:
    return f"{repo}@{revision[:12] if re.fullmatch(COMMIT, revision) else revision}/{filename}"
