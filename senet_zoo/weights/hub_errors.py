"""Errors of the hub and the network: huggingface_hub names a symptom, these name the reason and the way out.

What other files use of the client's own helpers is here too, imported when first needed.
"""

import importlib
import re
from pathlib import Path
from typing import Any

from senet_zoo.errors import WeightsAccessDenied, WeightsError, WeightsNotFound, WeightsUnavailable
from senet_zoo.support.files import disk_error
from senet_zoo.weights.rows import COMMIT


def http_library() -> Any:
    """The HTTP library of the installed huggingface_hub: httpx under 1.x, httpx2 under 2.x, of one interface."""
    return getattr(utilities(), "httpx", None) or importlib.import_module("httpx")


def utilities() -> Any:
    """The client's own helpers: its session, headers and rules of names."""
    return importlib.import_module("huggingface_hub.utils")


def progress_bar(total: int | None, what: str) -> Any:
    """A bar over ``total`` bytes, shown on a terminal only, that heeds HF_HUB_DISABLE_PROGRESS_BARS."""
    bar = utilities().tqdm
    return bar(total=total, unit="B", unit_scale=True, desc=what, disable=None)


def explain_hub(error: Exception, *, what: str, repo: str, revision: str, endpoint: str, cache: Path) -> WeightsError:
    """The typed error for what huggingface_hub raised.

    Args:
        error: as caught; its causes are looked at, because the client wraps most of them in "check your connection".
        what: the file that was wanted, in words.
        repo: its repository.
        revision: commit, tag or branch that was asked.
        endpoint: address of the hub.
        cache: where the file should have gone.
    """
    from huggingface_hub import errors as hub

    error = _root(error)
    if isinstance(error, hub.GatedRepoError):
        return WeightsAccessDenied(
            f"{what}: access must be granted first; request it at {endpoint}/{repo}, then run hf auth login or set "
            f"HF_TOKEN"
        )
    if isinstance(error, hub.RepositoryNotFoundError):
        return WeightsNotFound(
            f"{what}: {endpoint} knows no such repository, or hides it; if it is private, set HF_TOKEN; if "
            f"{endpoint} is a mirror, unset SENET_ZOO_HUB and HF_ENDPOINT"
        )
    if isinstance(error, hub.RevisionNotFoundError) and re.fullmatch(COMMIT, revision) is None:
        return WeightsNotFound(
            f"{what}: {endpoint} has no tag or branch {revision!r} there, and a commit is named by all of its 40 hex "
            f"digits; choose one of those at {endpoint}/{repo}/tree/main"
        )
    if isinstance(error, hub.RevisionNotFoundError):
        return WeightsNotFound(
            f"{what}: {endpoint} has no commit {revision}; refresh the mirror, or pip install --upgrade senet-zoo"
        )
    if isinstance(error, hub.EntryNotFoundError):
        return WeightsNotFound(
            f"{what}: the repository has no such file at {revision}; check its name at {endpoint}/{repo}"
        )
    if isinstance(error, hub.OfflineModeIsEnabled):
        return WeightsUnavailable(
            f"{what}: HF_HUB_OFFLINE is set and the file is not in {cache}; unset it once to download, copy the file "
            f"there from another machine, or give a local one",
            python=" as weights=",
            command_line=" as --weights",
        )
    if isinstance(error, hub.HfHubHTTPError) and not _is_plain_404(error):
        return _http_status(error, what, endpoint)
    if isinstance(error, hub.FileMetadataError | hub.HfHubHTTPError):
        return WeightsUnavailable(
            f"{what}: {endpoint} does not answer like a hub (no X-Repo-Commit): check SENET_ZOO_HUB and HF_ENDPOINT, "
            f"or a login page of the network stands in between"
        )
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError | TimeoutError):
        return disk_error(error, cache, "SENET_ZOO_CACHE")
    return explain_network(error, what=what, endpoint=endpoint)


def explain_network(error: Exception, *, what: str, endpoint: str) -> WeightsError:
    """The typed error for a connection that failed."""
    httpx = http_library()
    text = " ".join(str(error).split())[:300] or type(error).__name__
    if isinstance(error, httpx.HTTPStatusError):
        return _http_status(error, what, endpoint)
    if isinstance(error, httpx.ProxyError):
        return WeightsUnavailable(f"{what}: the proxy refused ({text}); check HTTPS_PROXY and NO_PROXY")
    if "CERTIFICATE" in text.upper():
        return WeightsUnavailable(
            f"{what}: the certificate of {endpoint} is not trusted ({text}); behind an inspecting proxy set "
            f"SSL_CERT_FILE"
        )
    if isinstance(error, httpx.TimeoutException):
        return WeightsUnavailable(
            f"{what}: {endpoint} did not answer in time; try again, or raise HF_HUB_DOWNLOAD_TIMEOUT (seconds)"
        )
    if isinstance(error, httpx.ConnectError):
        return WeightsUnavailable(
            f"{what}: {endpoint} cannot be reached ({text}); check the network and HTTPS_PROXY, or give a local file",
            python=" as weights=",
            command_line=" as --weights",
        )
    return WeightsUnavailable(f"{what}: the download from {endpoint} broke off ({text}); try again")


def _http_status(error: Exception, what: str, endpoint: str) -> WeightsError:
    response = error.response  # type: ignore[attr-defined]
    status = int(response.status_code)
    if status in (401, 403):
        return WeightsAccessDenied(
            f"{what}: {endpoint} refuses this user (HTTP {status}); if HF_TOKEN is set it may have expired: unset it, "
            f"or run hf auth login"
        )
    if status == 404:
        return WeightsNotFound(f"{what}: {endpoint} has no such file (HTTP 404); pip install --upgrade senet-zoo")
    if status == 429:
        wait = response.headers.get("Retry-After")
        when = f"after {wait} s" if wait else "later"
        return WeightsUnavailable(
            f"{what}: {endpoint} limits the rate of requests (HTTP 429); try again {when}, or set HF_TOKEN: "
            f"without one the limit is shared by everyone at this address"
        )
    request = response.headers.get("X-Request-Id")
    return WeightsUnavailable(
        f"{what}: {endpoint} failed (HTTP {status}{f', request {request}' if request else ''}); try again later"
    )


def _root(error: Exception) -> Exception:
    from huggingface_hub.errors import LocalEntryNotFoundError

    while isinstance(error, LocalEntryNotFoundError | ValueError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error


def _is_plain_404(error: Exception) -> bool:
    # A hub says which part is missing in X-Error-Code; a bare 404 comes from a server that is none.
    return error.response.status_code == 404  # type: ignore[attr-defined,no-any-return]
