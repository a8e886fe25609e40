"""Files to a repository of a hub: one commit on the parent that was seen, a tag, and the sha256 read back.

Whatever goes wrong before the commit leaves the repository as it was, but for an empty one that had to be made first.
"""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from senet_zoo.errors import PublishError, SenetZooError, UsageError, WeightsAccessDenied, WeightsUnavailable
from senet_zoo.support import settings
from senet_zoo.weights.cache import digest
from senet_zoo.weights.hub_errors import http_library, utilities
from senet_zoo.weights.hub_repository import git_hash
from senet_zoo.weights.rows import REPO

GIT_TAG = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
BRANCH = "main"
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Target:
    """Where files go.

    Args:
        repo: ``organisation/name``.
        endpoint: address of the hub, without a slash at the end.
        token: of a user who may write there.
    """

    repo: str
    endpoint: str
    token: str


@dataclass(frozen=True)
class Published:
    """What the hub holds now: the commit, 40 hex digits, and the sha256 that it reports of the checked file."""

    commit: str
    sha256: str


def check_names(repo: str, tag: str) -> None:
    """Refuse a repository or a tag that no hub takes.

    Raises:
        UsageError: one of them breaks the hub's rules.
    """
    from huggingface_hub.errors import HFValidationError

    if re.fullmatch(REPO, repo) is None:
        raise UsageError(
            f"a hub's repository is organisation/name in letters, digits, -, _ and . (no . in the organisation), got "
            f"{repo!r}"
        )
    try:
        utilities().validate_repo_id(repo)
    except HFValidationError as e:
        raise UsageError(f"the hub does not take {repo!r} as a repository's name: {e} Choose another name") from e
    if re.fullmatch(GIT_TAG, tag) is None or ".." in tag or tag.endswith((".", ".lock")):
        raise UsageError(f"a tag must be one word of letters, digits, -, _ and single dots, such as v1.0, got {tag!r}")
    if tag == BRANCH:
        raise UsageError(f"a tag must not be named like the branch, {BRANCH!r}; choose another, such as v1.0")


def target(repo: str, *, hub: str | None, token: str | None) -> Target:
    """The repository at the hub that was chosen, with the token that goes with this hub.

    Args:
        repo: ``organisation/name``.
        hub: its address; None for SENET_ZOO_HUB, or huggingface_hub's own.
        token: None for HF_TOKEN or, at huggingface_hub's own hub, what ``hf auth login`` saved; a login saved for one
            hub never goes to another.

    Raises:
        UsageError: ``hub`` is no address.
        WeightsAccessDenied: there is no token.
    """
    from huggingface_hub import constants, get_token

    other = (hub or settings.hub_endpoint() or "").rstrip("/")
    if other and re.fullmatch(r"https?://[^\s/@]+(/[^\s@]*)?", other) is None:
        raise UsageError(f"a hub is an http(s) address without user name, such as https://hub.example.org, got {hub!r}")
    endpoint = other or constants.ENDPOINT
    found = token or (os.environ.get("HF_TOKEN") if other else get_token())
    if not found:
        login = "" if other else ", or run hf auth login"
        raise WeightsAccessDenied(f"publishing needs a token with write access to {endpoint}; set HF_TOKEN{login}")
    return Target(repo, endpoint, found)


def publish(
    where: Target, files: Mapping[str, Path | bytes], *, checked: str, tag: str, message: str, private: bool
) -> Published:
    """Send files in one commit, tag it, and compare what the hub says it has with what was sent.

    Sending the same files again changes nothing and is no error; so a call that broke off after its commit is repeated.

    Args:
        where: the repository; made where there is none.
        files: what it should hold, by name; other files of it stay.
        checked: name of the file, a `Path`, whose sha256 is read back.
        tag: of the commit; one that stands at another commit is refused before anything is sent.
        message: of the commit.
        private: whether the repository must be hidden from strangers; one that is public already is refused.

    Raises:
        PublishError: the hub holds something else than what this would follow, lacks Xet, breaks a rule or delivers
            another sha256; the message says what to do.
        WeightsAccessDenied: the token is refused, or may not write there.
        WeightsUnavailable: the hub or the network did not answer.
    """
    from huggingface_hub import HfApi

    api = HfApi(endpoint=where.endpoint, token=where.token, library_name="senet_zoo")
    _asked(where, lambda: api.create_repo(where.repo, private=private or None, exist_ok=True))
    info = _asked(where, lambda: api.model_info(where.repo))
    head = str(info.sha)
    if private and not info.private:
        raise PublishError(
            f"{_place(where)} exists and is public, so that what is sent there is not private; make it private in its "
            f"settings, or choose another name"
        )
    tagged = {ref.name: ref.target_commit for ref in _asked(where, lambda: api.list_repo_refs(where.repo)).tags}
    same = all(_holds(api, where, head, name, content) for name, content in files.items())
    if tag in tagged and not (same and tagged[tag] == head):
        raise PublishError(
            f"the tag {tag!r} of {_place(where)} stands at commit {tagged[tag]}, which is not what would be published; "
            f"a published tag does not move. Choose another tag"
        )
    commit = head if same else _commit(api, where, files, message, head)
    if tag not in tagged:
        _asked(where, lambda: api.create_tag(where.repo, tag=tag, revision=commit))
    return Published(commit, _read_back(api, where, commit, checked, files[checked]))


def _commit(api: Any, where: Target, files: Mapping[str, Path | bytes], message: str, parent: str) -> str:
    from huggingface_hub import CommitOperationAdd

    _check_xet(where)
    operations = [CommitOperationAdd(name, content) for name, content in files.items()]
    info = _asked(
        where,
        lambda: api.create_commit(
            where.repo, operations, commit_message=message, parent_commit=parent, revision=BRANCH
        ),
    )
    return str(info.oid)


def _holds(api: Any, where: Target, commit: str, name: str, content: Path | bytes) -> bool:
    """Whether the hub reports the very content for a file of that commit."""
    found = _asked(where, lambda: api.get_paths_info(where.repo, [name], revision=commit))
    if not found:
        return False
    if found[0].lfs is not None:
        sha256 = digest(content) if isinstance(content, Path) else hashlib.sha256(content).hexdigest()
        return bool(found[0].lfs.sha256 == sha256)
    whole = content.read_bytes() if isinstance(content, Path) else content
    return bool(found[0].blob_id == git_hash(whole))


def _read_back(api: Any, where: Target, commit: str, name: str, sent: Path | bytes) -> str:
    ours = digest(Path(sent)) if isinstance(sent, Path) else ""
    found = _asked(where, lambda: api.get_paths_info(where.repo, [name], revision=commit))
    lfs = getattr(found[0], "lfs", None) if found else None
    theirs = "nothing" if lfs is None else lfs.sha256
    if theirs != ours:
        raise PublishError(
            f"the sha256 of {name} is {ours} here, but {_place(where)} reports {theirs} at commit {commit}: do not use "
            f"that commit; publish again, and tell whoever runs the hub"
        )
    return ours


def _check_xet(where: Target) -> None:
    """Ask for what an upload through Xet begins with; without it the client tries for a minute and names no cause."""
    from huggingface_hub import constants

    if constants.HF_HUB_DISABLE_XET or find_spec("hf_xet") is None:
        return
    address = f"{where.endpoint}/api/models/{where.repo}/xet-write-token/{BRANCH}"
    headers = utilities().build_hf_headers(token=where.token)
    answer = _asked(where, lambda: utilities().get_session().get(address, headers=headers))
    if answer.status_code == 404:
        raise _no_xet(where)


def _no_xet(where: Target) -> PublishError:
    return PublishError(
        f"{where.endpoint} has no Xet storage, which huggingface_hub uploads to wherever hf-xet is installed; set "
        f"HF_HUB_DISABLE_XET=1 in the environment and start Python again"
    )


def _asked(where: Target, ask: Callable[[], _Result]) -> _Result:
    """What the hub answers, or the typed error."""
    try:
        return ask()
    except (OSError, ValueError, RuntimeError, http_library().HTTPError) as e:
        raise _explained(_root(e), where) from e


def _root(error: Exception) -> Exception:
    # The client wraps what happened to one file in a RuntimeError.
    while isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error


def _explained(error: Exception, where: Target) -> SenetZooError:
    from huggingface_hub import errors as hub

    text = " ".join(str(error).split())[:300] or type(error).__name__
    if isinstance(error, hub.HfHubHTTPError):
        return _status(error, where, text)
    if isinstance(error, hub.OfflineModeIsEnabled):
        return WeightsUnavailable(f"{_place(where)}: publishing needs the network, but HF_HUB_OFFLINE is set; unset it")
    if "xet" in text.lower() or "no-url" in text:
        return _no_xet(where)
    if isinstance(error, ValueError):
        return PublishError(f"{_place(where)} does not take this: {text}; correct it and publish again")
    return WeightsUnavailable(
        f"{_place(where)}: the connection broke off ({text}); check the network and publish again, which sends only "
        f"what is missing"
    )


def _status(error: Any, where: Target, text: str) -> SenetZooError:
    status = int(error.response.status_code)
    place = _place(where)
    said = str(error.server_message or error.response.headers.get("X-Error-Message") or text)[:300]
    if status == 401:
        return WeightsAccessDenied(
            f"{place}: the hub refuses this token (HTTP 401); it may have expired or be another hub's: set HF_TOKEN to "
            f"one with write access"
        )
    if status == 403:
        return WeightsAccessDenied(
            f"{place}: this user may not write there (HTTP 403: {said}); ask its owner, or choose an organisation of "
            f"your own"
        )
    if status == 404:
        return PublishError(f"{place}: not found (HTTP 404: {said}); check the organisation's name and the address")
    if status == 412:
        return PublishError(
            f"{place}: somebody else committed there since it was looked at (HTTP 412), and nothing of this was "
            f"committed; look at what changed, then publish again"
        )
    if status == 409:
        return PublishError(
            f"{place}: another change is under way there (HTTP 409: {said}); wait for it, then publish again"
        )
    if status == 429 or status >= 500:
        return WeightsUnavailable(f"{place}: the hub failed (HTTP {status}: {said}); publish again later")
    return PublishError(f"{place} does not take this (HTTP {status}: {said}); correct it and publish again")


def _place(where: Target) -> str:
    return f"{where.endpoint}/{where.repo}"
