"""Torch files of public releases: fetched once, their hash checked, and kept as safetensors from then on."""

import hashlib
import logging
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from sys import maxsize
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

from torch import Tensor

from senet_zoo.errors import WeightsCorrupted, WeightsError, WeightsUnavailable
from senet_zoo.formats import safetensors
from senet_zoo.formats.containers import MOST_BYTES, read_container
from senet_zoo.support import settings
from senet_zoo.support.files import disk_error, scratch_file
from senet_zoo.weights import file_hashes
from senet_zoo.weights.file_hashes import VerifiedFile, verify
from senet_zoo.weights.hub_errors import explain_network, http_library, progress_bar
from senet_zoo.weights.hub_limits import MOST_ANSWER_BYTES, QUICK, limited, reached, watch
from senet_zoo.weights.rows import ReleaseFile

TRIES = 3
MOST_UNKNOWN = 2**29
"""Bytes of a release whose size is not known, for the time that it may take; SENet-154's has 440 MiB."""

_log = logging.getLogger("senet_zoo")


def find_cached(source: ReleaseFile) -> VerifiedFile | None:
    """The converted file, verified, without any request; None where the release was not converted yet.

    Raises:
        WeightsCorrupted: it is there, but not as it was written.
    """
    pin, path = file_hashes.load_pin(_pin_name(source)), converted_path(source)
    if pin is None or not path.is_file():
        return None
    return verify(path, pin.sha256, pin.size)


def recorded_sha256(source: ReleaseFile) -> str | None:
    """The sha256 of the converted file, where this machine converted the release before."""
    pin = file_hashes.load_pin(_pin_name(source))
    return None if pin is None else pin.sha256


def download(source: ReleaseFile) -> VerifiedFile:
    """The release's tensors as a safetensors file: downloaded, hash checked, read by `read_container`, written.

    Raises:
        WeightsUnavailable, WeightsAccessDenied, WeightsNotFound: the server did not deliver; the message says why.
        WeightsCorrupted: it delivered other bytes than published, twice.
        WeightsUnsafe: the file wants to run code.
        WeightsMismatch: it holds no tensors by name.
    """
    from huggingface_hub import constants

    if constants.is_offline_mode():
        raise WeightsUnavailable(
            f"{source.url}: HF_HUB_OFFLINE is set and the file was not converted before; unset it once to download, or "
            f"give a local file",
            python=" as weights=",
            command_line=" as --weights",
        )
    path = converted_path(source)
    try:
        with scratch_file(path) as part:
            sha256 = _download(source, part)
            tensors = _tensors(part, source)
            kept = safetensors.write(path, tensors, {"format": "pt", "source": source.url, "source_sha256": sha256})
    except OSError as e:
        raise disk_error(e, path.parent, "SENET_ZOO_CACHE") from e
    file = verify(path, kept, None)
    file_hashes.store_pin(file_hashes.Pin(_pin_name(source), None, kept, file.state.size))
    _log.info("%s (sha256 %s) is kept as %s", source.url, sha256, path)
    return file


def announced_size(source: ReleaseFile) -> int:
    """How many bytes the server says that the file has; it is not downloaded.

    Raises:
        WeightsUnavailable, WeightsAccessDenied, WeightsNotFound: the server did not answer, or does not say.
    """
    from huggingface_hub import constants

    if constants.is_offline_mode():
        raise WeightsUnavailable(f"{source.url}: it is asked over the network, but HF_HUB_OFFLINE is set; unset it")
    try:
        response = reached(source.url, lambda: limited(lambda: _head(source), what=source.url, most=MOST_ANSWER_BYTES))
    except http_library().HTTPError as e:
        raise explain_network(e, what=source.filename, endpoint=source.url) from e
    size = int(response.headers.get("Content-Length", 0))
    if not 1 <= size <= MOST_BYTES:
        raise WeightsUnavailable(
            f"{source.url}: the server must announce a size of 1 to {MOST_BYTES} bytes, but says {size}"
        )
    return size


def _pin_name(source: ReleaseFile) -> str:
    return f"{source.url} {source.sha256_prefix or source.sha1}"


def converted_path(source: ReleaseFile) -> Path:
    """Where the converted file is kept."""
    return settings.zoo_cache() / "releases" / f"{Path(source.filename).stem}.safetensors"


def _download(source: ReleaseFile, part: Path) -> str:
    """Write the release file to ``part`` and return its sha256; its hash is the published one."""
    httpx = http_library()
    transport_failures, size = 0, source.size or MOST_UNKNOWN
    mismatches: list[str] = []
    while len(mismatches) < 2:
        try:
            sha256 = reached(
                source.url,
                lambda: limited(lambda: _stream(source, part), what=source.url, most=maxsize, size=size),
            )
        except httpx.HTTPError as e:
            transport_failures += 1
            hopeless = isinstance(e, httpx.HTTPStatusError | httpx.ConnectError)
            if hopeless or transport_failures == TRIES:
                raise explain_network(e, what=source.filename, endpoint=source.url) from e
            continue
        found = sha256 if source.sha256_prefix is not None else _sha1_inside(part, source)
        if found.startswith(source.sha256_prefix or source.sha1 or " "):
            return sha256
        mismatches.append(found)
    published = (
        f"sha1 of {source.url} must be {source.sha1}"
        if source.sha256_prefix is None
        else f"sha256 of {source.url} must start with {source.sha256_prefix}"
    )
    raise WeightsCorrupted(
        f"the {published}, but two downloads gave "
        f"{' and '.join(mismatches)}: a proxy or a disk alters data, or the release was replaced; give a local "
        f"file",
        python=" as weights=",
        command_line=" as --weights",
    )


def _sha1_inside(part: Path, source: ReleaseFile) -> str:
    """The sha1 of the torch file: of the one that a zip archive holds, or of the file itself."""
    sha1 = hashlib.sha1(usedforsecurity=False)
    try:
        with part.open("rb") as packed, _content(packed, source) as file:
            while chunk := file.read(2**20):
                sha1.update(chunk)
    except (BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError, ValueError) as e:
        return f"no archive of one file ({type(e).__name__})"
    return sha1.hexdigest()


@contextmanager
def _content(file: IO[bytes], source: ReleaseFile) -> Iterator[IO[bytes]]:
    if not source.url.endswith(".zip"):
        yield file
        return
    with ZipFile(file) as archive:
        (member,) = archive.infolist()
        if member.file_size > (source.size or MOST_BYTES):
            raise ValueError(member.file_size)
        with archive.open(member) as inner:
            yield inner


def _stream(source: ReleaseFile, part: Path) -> str:
    _log.info("fetching %s", source.url)
    most, received, sha256 = source.size or MOST_BYTES, 0, hashlib.sha256()
    with _client() as client, client.stream("GET", source.url) as response, part.open("wb") as file:
        _require_https(source, response)
        response.raise_for_status()
        total = int(response.headers.get("Content-Length", 0)) or source.size
        with progress_bar(total, source.filename) as bar:
            for chunk in response.iter_raw():
                received += len(chunk)
                if received > most:
                    raise WeightsCorrupted(
                        f"{source.url} must have {most} bytes at most, but goes on; check the address"
                    )
                sha256.update(chunk)
                file.write(chunk)
                bar.update(len(chunk))
    return sha256.hexdigest()


def _head(source: ReleaseFile) -> Any:
    with _client() as client:
        response = client.head(source.url)
        _require_https(source, response)
        return response.raise_for_status()


def _client() -> Any:
    from huggingface_hub import constants

    client = http_library().Client(
        follow_redirects=True,
        max_redirects=5,
        timeout=http_library().Timeout(constants.HF_HUB_DOWNLOAD_TIMEOUT, connect=QUICK),
        headers={"Accept-Encoding": "identity"},
    )
    watch(client)
    return client


def _require_https(source: ReleaseFile, response: Any) -> None:
    hops = [*response.history, response]
    if source.url.startswith("https:") and any(hop.url.scheme != "https" for hop in hops):
        raise WeightsUnavailable(f"{source.url}: https must not be redirected to {response.url}; check the network")


def _tensors(part: Path, source: ReleaseFile) -> Mapping[str, Tensor]:
    try:
        return read_container(part).tensors
    except WeightsError as e:
        raise type(e)(str(e).replace(str(part), source.url)) from e  # the scratch file's name says nothing to a user
