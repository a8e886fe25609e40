"""Small files beside a checkpoint on a hub, such as ``config.json``: of one commit, checked against its hash."""

import hashlib
from pathlib import Path
from typing import Any

from senet_zoo.errors import WeightsCorrupted, WeightsError, WeightsNotFound, WeightsUnsafe
from senet_zoo.support import settings
from senet_zoo.weights.hub_errors import explain_hub, http_library
from senet_zoo.weights.huggingface import endpoint

MOST_TEXT_BYTES = 2**20


def fetch_text(repo: str, revision: str, filename: str) -> Path | None:
    """A small file of a repository, from the client's cache or the hub; None where the commit has none of that name.

    The bytes are hashed at every call, for there are few of them; a file that is not as committed is fetched once more.

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

    what = f"{repo}@{revision[:12]}/{filename}"
    path = try_to_load_from_cache(repo, filename, cache_dir=settings.hub_cache(), revision=revision)
    if isinstance(path, str):
        if _is_whole(Path(path), repo, revision, filename):
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
        except (OSError, ValueError, RuntimeError, http_library().HTTPError) as e:
            raise _explained(e, what, repo, revision) from e
        if _is_whole(fetched, repo, revision, filename):
            return fetched
    fetched.unlink()
    raise WeightsCorrupted(
        f"{what}: {endpoint()} delivered other bytes than were committed, twice: a proxy or a disk alters them; try "
        f"again elsewhere"
    )


def _download(repo: str, revision: str, filename: str) -> Path:
    from huggingface_hub import hf_hub_download

    known: dict[str, Any] = {
        "revision": revision,
        "cache_dir": settings.hub_cache(),
        "endpoint": settings.hub_endpoint(),
        "token": settings.hub_token(),
        "library_name": "senet_zoo",
    }
    size = getattr(hf_hub_download(repo, filename, dry_run=True, **known), "file_size", None)
    if size is None or size > MOST_TEXT_BYTES:
        raise WeightsUnsafe(
            f"{repo}@{revision[:12]}/{filename} may have {MOST_TEXT_BYTES} bytes at most, but has {size}; it is not "
            f"fetched"
        )
    return Path(str(hf_hub_download(repo, filename, force_download=True, **known)))


def _is_whole(path: Path, repo: str, revision: str, filename: str) -> bool:
    if path.stat().st_size > MOST_TEXT_BYTES:
        return False
    content = path.read_bytes()
    # The client names what it keeps by the hash that the hub announced: git's for small files, sha256 for large ones.
    announced = path.readlink().name if path.is_symlink() else _asked(repo, revision, filename)
    return announced in (git_hash(content), hashlib.sha256(content).hexdigest())


def git_hash(content: bytes) -> str:
    """What git, and a hub, know a small file by: 40 hex digits."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _asked(repo: str, revision: str, filename: str) -> str:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=settings.hub_endpoint(), token=settings.hub_token())
    try:
        info = api.get_paths_info(repo, [filename], revision=revision)
    except (OSError, ValueError, RuntimeError, http_library().HTTPError) as e:
        raise _explained(e, f"{repo}@{revision[:12]}/{filename}", repo, revision) from e
    if not info:
        raise WeightsNotFound(f"{repo}@{revision[:12]}/{filename}: {endpoint()} does not name its hash; try again")
    lfs = getattr(info[0], "lfs", None)
    return str(getattr(info[0], "blob_id", None) if lfs is None else lfs.sha256)


def _explained(error: Exception, what: str, repo: str, revision: str) -> Exception:
    from huggingface_hub import constants

    cache = settings.hub_cache() or Path(constants.HF_HUB_CACHE)
    return explain_hub(error, what=what, repo=repo, revision=revision, endpoint=endpoint(), cache=cache)
