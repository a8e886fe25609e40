"""Files from a hub, through huggingface_hub, which checks the size of what it downloads but not the bytes."""

import logging
import os
import re
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from senet_zoo.errors import WeightsCorrupted, WeightsError, WeightsUnavailable
from senet_zoo.formats.containers import MOST_BYTES
from senet_zoo.support import settings
from senet_zoo.support.files import FileState, state_of
from senet_zoo.weights import file_hashes
from senet_zoo.weights.file_hashes import VerifiedFile, verify
from senet_zoo.weights.hub_errors import explain_hub, http_library
from senet_zoo.weights.hub_limits import MOST_ANSWER_BYTES, QUICK, limited, reached
from senet_zoo.weights.rows import COMMIT, SHA256, HubFile

_log = logging.getLogger("senet_zoo")


def find_cached(source: HubFile) -> VerifiedFile | None:
    """The file where an earlier download left it, verified, without any request; None where it is not.

    Raises:
        WeightsCorrupted: it is there, but not as published.
    """
    path = cached_path(source)
    known = _with_pin(source)
    if path is None or (known.sha256 is None and _recorded_sha256(path) is None):
        return None  # not there, or nothing to check it against without asking
    return _verified(known, path)


def cached_path(source: HubFile) -> Path | None:
    """Where an earlier download left the file, not verified; None where it is not."""
    from huggingface_hub import try_to_load_from_cache

    known = _with_pin(source)
    path = try_to_load_from_cache(known.repo, known.filename, cache_dir=settings.hub_cache(), revision=_asked(known))
    return Path(path) if isinstance(path, str) else None


def recorded_sha256(source: HubFile) -> str | None:
    """The sha256 of a file, where the manifest names it or the hub named it before."""
    return _with_pin(source).sha256


def download(source: HubFile) -> VerifiedFile:
    """The file from the hub, verified; one that is not as published is downloaded once more.

    Raises:
        WeightsUnavailable, WeightsAccessDenied, WeightsNotFound: the hub did not deliver; the message says why.
        WeightsCorrupted: it delivered other bytes than published, twice; they are removed.
    """
    known = _with_pin(source)
    _log.info("fetching %s", describe(known))
    path = _download(known)
    try:
        return _verified_or_removed(known, path)
    except WeightsCorrupted as e:
        _log.warning("%s; downloading it once more", e)
    commit = _commit(path, known)
    return _verified_or_removed(known, _download(replace(known, revision=commit)))


def describe(source: HubFile) -> str:
    """The file in words: ``repo@revision/filename``."""
    asked = _asked(source)
    return f"{source.repo}@{asked[:12] if re.fullmatch(COMMIT, asked) else asked}/{source.filename}"


def endpoint() -> str:
    """Address of the hub that is asked."""
    from huggingface_hub import constants

    return settings.hub_endpoint() or constants.ENDPOINT


def _asked(source: HubFile) -> str:
    return source.revision or "main"


def _pin_name(source: HubFile) -> str:
    return f"{endpoint()}/{source.repo}@{_asked(source)}/{source.filename}"


def _with_pin(source: HubFile) -> HubFile:
    if source.revision is not None and source.sha256 is not None:
        return source
    pin = file_hashes.load_pin(_pin_name(source))
    if pin is None:
        return source
    return replace(source, revision=pin.revision, sha256=source.sha256 or pin.sha256, size=source.size or pin.size)


def _verified_or_removed(known: HubFile, path: Path) -> VerifiedFile:
    """What was downloaded, verified; a file that is not as published is removed, because other programs read it too.

    The client never downloads over a file that is there, unless it is forced to. So a good one, which another process
    verified and is about to read, is never replaced by a bad one.
    """
    bad = _state(path)
    try:
        return _verified(known, path)
    except WeightsCorrupted:
        if _state(path) == bad:  # otherwise another process replaced it meanwhile
            _remove(path)
        raise


def _state(path: Path) -> FileState | None:
    try:
        return state_of(path.stat())
    except OSError:
        return None


def _verified(known: HubFile, path: Path) -> VerifiedFile:
    commit = _commit(path, known)
    sha256 = known.sha256 or _reported_sha256(path, known, commit)
    file = verify(path, sha256, known.size, revision=commit)
    if known.sha256 is None or known.revision is None:
        what, exact = describe(known), f"hf://{known.repo}@{commit}"
        _log.info("%s is commit %s with sha256 %s; remembered. %s names it for good", what, commit, sha256, exact)
        file_hashes.store_pin(file_hashes.Pin(_pin_name(known), commit, sha256, file.state.size))
    return file


def _commit(path: Path, source: HubFile) -> str:
    # The client keeps a file as snapshots/COMMIT/FILENAME.
    commit = path.parents[source.filename.count("/")].name
    if re.fullmatch(COMMIT, commit) is None:
        raise WeightsUnavailable(
            f"{describe(source)}: {endpoint()} must name a commit of 40 hex digits, got {commit!r}"
        )
    return commit


def _recorded_sha256(path: Path) -> str | None:
    # The link's first target is named by the sha256 that the hub reported; on systems without links there is none.
    target = _link_target(path)
    return target.name if target is not None and re.fullmatch(SHA256, target.name) else None


def _link_target(path: Path) -> Path | None:
    """None where it is no link, or gone: another process may remove at any time what it refused."""
    try:
        return path.readlink()
    except OSError:
        return None


def _reported_sha256(path: Path, source: HubFile, commit: str) -> str:
    recorded = _recorded_sha256(path)
    if recorded is not None:
        return recorded
    from huggingface_hub import HfApi

    api = HfApi(endpoint=settings.hub_endpoint(), token=settings.hub_token())
    try:
        info = limited(
            lambda: api.get_paths_info(source.repo, [source.filename], revision=commit),
            what=describe(source),
            most=MOST_ANSWER_BYTES,
        )
    except WeightsError:
        raise
    except (OSError, ValueError, RuntimeError, http_library().HTTPError) as e:
        raise _explained(e, source) from e
    lfs = getattr(info[0], "lfs", None) if info else None
    if lfs is None:
        raise WeightsUnavailable(
            f"{describe(source)}: neither the manifest nor {endpoint()} names its sha256, so that its bytes cannot be "
            f"verified; give the file itself as weights= if you trust it"
        )
    return str(lfs.sha256)


def _download(source: HubFile) -> Path:
    from huggingface_hub import hf_hub_download

    def fetch() -> str:
        return hf_hub_download(
            source.repo,
            source.filename,
            revision=_asked(source),
            cache_dir=settings.hub_cache(),
            endpoint=settings.hub_endpoint(),
            token=settings.hub_token(),
            library_name="senet_zoo",
        )

    what = describe(source)
    try:
        announced = _announced_size(source)
        most = min(size for size in (announced, source.size, MOST_BYTES) if size is not None)
        size = most if announced or source.size else 0
        try:
            return Path(limited(fetch, what=what, most=most, size=size))
        except http_library().RemoteProtocolError:  # before 1.31 the client does not ask again a server that hung up
            time.sleep(1)
            return Path(limited(fetch, what=what, most=most, size=size))
    except WeightsError:
        raise
    except (OSError, ValueError, RuntimeError, http_library().HTTPError) as e:
        raise _explained(e, source) from e


def _announced_size(source: HubFile) -> int | None:
    """What the hub says of the file's size, if it does; one that cannot be reached is known at once."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    if constants.is_offline_mode():
        return None
    url = hf_hub_url(source.repo, source.filename, revision=_asked(source), endpoint=settings.hub_endpoint())
    quickly: Any = http_library().Timeout(constants.HF_HUB_ETAG_TIMEOUT, connect=QUICK)

    def ask() -> int | None:
        return get_hf_file_metadata(
            url, token=settings.hub_token(), timeout=quickly, library_name="senet_zoo", endpoint=settings.hub_endpoint()
        ).size

    httpx = http_library()
    try:
        return reached(endpoint(), lambda: limited(ask, what=describe(source), most=MOST_ANSWER_BYTES))
    except (httpx.ConnectError, httpx.ConnectTimeout):
        raise
    except (OSError, ValueError, RuntimeError, httpx.HTTPError) as e:
        if isinstance(e, WeightsError):
            raise
        return None  # the client asks once more, and says what is wrong


def _explained(error: Exception, source: HubFile) -> Exception:
    return explain_hub(
        error,
        what=describe(source),
        repo=source.repo,
        revision=_asked(source),
        endpoint=endpoint(),
        cache=_hub_cache(),
    )


def _remove(path: Path) -> None:
    for target in cached_parts(path):
        with suppress(OSError):  # a cache that cannot be written keeps it, and it is refused at every load
            target.unlink()


def cached_parts(path: Path) -> list[Path]:
    """What a file of the client's cache is made of: its blob, unless that lies somewhere else, and the snapshot's link.

    A server, or the machine's operator, may have put any path behind the link; what lies outside the cache is not ours.
    """
    cache = Path(os.path.realpath(_hub_cache()))
    targets = [path]
    for _ in range(3):  # a snapshot's link, and with Xet the link of a blob that repositories share
        link = _link_target(targets[-1])
        if link is None:
            break
        targets.append(targets[-1].parent / link)
    folders = {target: Path(os.path.realpath(target.parent)) for target in targets}
    return [each for each in reversed(targets) if folders[each] != cache and folders[each].is_relative_to(cache)]


def _hub_cache() -> Path:
    from huggingface_hub import constants

    return settings.hub_cache() or Path(constants.HF_HUB_CACHE)
