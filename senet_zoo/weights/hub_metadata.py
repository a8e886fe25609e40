"""What a hub says of a file, asked without downloading it: its commit, its hash, its size, and names of its tensors."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from senet_zoo.errors import WeightsNotFound, WeightsUnavailable
from senet_zoo.formats import safetensors
from senet_zoo.formats.containers import MOST_BYTES
from senet_zoo.formats.safetensors import Header
from senet_zoo.support import settings
from senet_zoo.weights.hub_errors import explain_hub, http_library, utilities
from senet_zoo.weights.huggingface import endpoint
from senet_zoo.weights.release import announced_size
from senet_zoo.weights.rows import COMMIT, SHA256, HubFile, ReleaseFile, require_hub_file

_START = 64  # bytes that tell a safetensors file from anything else, its header's length among them
_PATIENCE = 3  # failures of one server in a row
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
    def place(self) -> Path:
        """The file in words, ``repo@commit/filename``, for messages of what reads files."""
        return Path(f"{self.repo}@{self.commit[:12]}", self.filename)


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
    from huggingface_hub import HfApi, constants

    require_hub_file(repo, revision, filename)
    api = HfApi(endpoint=settings.hub_endpoint(), token=settings.hub_token(), library_name="senet_zoo")

    def ask() -> tuple[str, list[tuple[str, int]]]:
        # Without a bound the client waits for a silent hub for ever.
        patience = constants.HF_HUB_DOWNLOAD_TIMEOUT
        info = api.model_info(repo, revision=revision, files_metadata=True, timeout=patience)
        large = [each.lfs for each in info.siblings or () if each.rfilename == filename]
        return str(info.sha), [("nothing", 0) if lfs is None else (str(lfs.sha256), int(lfs.size)) for lfs in large]

    commit, found = _asked(ask, repo, revision or "main", filename)
    what = f"{repo}@{commit[:12]}/{filename}"
    if not found:
        raise WeightsNotFound(f"{what}: the repository has no such file; check its name at {endpoint()}/{repo}")
    sha256, size = found[0]
    if not (re.fullmatch(COMMIT, commit) and re.fullmatch(SHA256, sha256) and 1 <= size <= MOST_BYTES):
        raise WeightsUnavailable(
            f"{what}: {endpoint()} must name a commit, a sha256 and a size of at most {MOST_BYTES} bytes, but says "
            f"{commit[:80]!r}, {sha256[:80]!r} and {size}; the file must lie in its storage of large files"
        )
    return RemoteFile(repo, commit, filename, sha256, size)


def fetch_header(file: RemoteFile) -> Header:
    """Names, types and shapes of the tensors of a safetensors file, checked; only its first bytes are fetched.

    Nothing proves these bytes: a file's hash is that of all of it, and is checked when it is loaded.

    Raises:
        WeightsUnavailable, WeightsAccessDenied, WeightsNotFound: the hub did not deliver.
        WeightsCorrupted, WeightsUnsafe: as `tensor_files.check`.
    """
    start = _part(file, 0, min(_START, file.size))
    end = 8 + int.from_bytes(start[:8], "little")
    if len(start) < end <= min(file.size, 8 + safetensors.MOST_HEADER_BYTES):
        start += _part(file, len(start), end)
    return safetensors.check_start(start, file.place, file.size)


class Servers:
    """Servers that are asked about many files; one that fails a few times in a row is not asked again.

    So a whole manifest is done with soon where the network is dead.
    """

    def __init__(self) -> None:
        self._failures: Counter[str] = Counter()

    def describe(self, source: HubFile | ReleaseFile) -> RemoteFile | int:
        """What the hub says of a file; of a release's file its size, for its server says no more.

        Raises:
            WeightsError: it did not say.
        """
        host = endpoint() if isinstance(source, HubFile) else str(urlsplit(source.url).hostname)
        if self._failures[host] >= _PATIENCE:
            raise WeightsUnavailable(f"{host} failed {_PATIENCE} times in a row and was not asked again; try later")
        try:
            if isinstance(source, HubFile):
                said: RemoteFile | int = describe_file(source.repo, source.revision, source.filename)
            else:
                said = announced_size(source)
        except WeightsUnavailable:
            self._failures[host] += 1
            raise
        self._failures[host] = 0
        return said


def _part(file: RemoteFile, first: int, end: int) -> bytes:
    """Bytes ``first`` to ``end``, the last excluded."""
    from huggingface_hub import constants, hf_hub_url

    url = hf_hub_url(file.repo, file.filename, revision=file.commit, endpoint=settings.hub_endpoint())
    headers = utilities().build_hf_headers(token=settings.hub_token(), library_name="senet_zoo")
    headers |= {"Range": f"bytes={first}-{end - 1}", "Accept-Encoding": "identity"}

    def ask() -> bytes:
        session, patience = utilities().get_session(), constants.HF_HUB_DOWNLOAD_TIMEOUT
        with session.stream("GET", url, headers=headers, follow_redirects=True, timeout=patience) as response:
            utilities().hf_raise_for_status(response)
            part = b""
            # A server that knows no ranges answers 200 and would send everything.
            for chunk in response.iter_raw() if response.status_code == 206 else ():
                part += chunk
                if len(part) > end - first:
                    break
            return part

    part = _asked(ask, file.repo, file.commit, file.filename)
    if len(part) != end - first:
        raise WeightsUnavailable(
            f"{file.place}: bytes {first} to {end - 1} were asked of {endpoint()}, but {len(part)} came; without HTTP "
            f"ranges a header cannot be read from afar: download the file and name it"
        )
    return part


def _asked(ask: Callable[[], _Answer], repo: str, revision: str, filename: str) -> _Answer:
    """What the hub answers, or the typed error."""
    from huggingface_hub import constants

    what = f"{repo}@{revision[:12] if re.fullmatch(COMMIT, revision) else revision}/{filename}"
    if constants.is_offline_mode():
        raise WeightsUnavailable(f"{what}: a hub is asked over the network, but HF_HUB_OFFLINE is set; unset it")
    try:
        return ask()
    except (OSError, ValueError, RuntimeError, http_library().HTTPError) as e:
        cache = settings.hub_cache() or Path(constants.HF_HUB_CACHE)
        raise explain_hub(e, what=what, repo=repo, revision=revision, endpoint=endpoint(), cache=cache) from e
    except (KeyError, TypeError, AttributeError) as e:  # the client takes for granted that JSON has a hub's fields
        raise WeightsUnavailable(
            f"{what}: {endpoint()} does not answer like a hub ({type(e).__name__}: {str(e)[:200]}); check "
            f"SENET_ZOO_HUB and HF_ENDPOINT"
        ) from e
