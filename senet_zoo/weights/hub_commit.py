"""Files to a repository of a hub: one commit on the parent that was seen, a tag, and the hashes read back."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from senet_zoo.errors import (
    PublishError,
    SenetZooError,
    UsageError,
    WeightsAccessDenied,
    WeightsUnavailable,
)
from senet_zoo.support import settings
from senet_zoo.weights.card import CARD
from senet_zoo.weights.config import HUB, TENSORS
from senet_zoo.weights.file_hashes import digest
from senet_zoo.weights.hub_errors import http_library, utilities
from senet_zoo.weights.hub_repository import git_hash
from senet_zoo.weights.rows import REPO, WeightsRow

GIT_TAG = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
BRANCH = "main"
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Plan:
    """What would be sent, checked.

    Args:
        repo: ``organisation/name``.
        tag: of the commit.
        files: by name: a path, or the bytes themselves.
        sha256: of ``model.safetensors``.
        row: the manifest's row, with the commit still null; None where a row cannot say what the network is.
        no_row: why there is no row; empty where there is one.
    """

    repo: str
    tag: str
    files: Mapping[str, Path | bytes]
    sha256: str
    row: WeightsRow | None
    no_row: str

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file."""
        files = self.files.items()
        return {name: file.stat().st_size if isinstance(file, Path) else len(file) for name, file in files}


def check_names(repo: str, tag: str) -> None:
    """Refuse a repository or a tag that no hub takes."""
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


def remote_repository(repo: str, *, hub: str | None, token: str | None) -> "RemoteRepository":
    """The repository at the hub that was chosen, with the token that goes with this hub.

    A login that ``hf auth login`` saved for huggingface_hub's own hub never goes to another.
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
    return RemoteRepository(repo, endpoint, found)


@dataclass(frozen=True)
class RemoteRepository:
    """A repository that is written to.

    Args:
        repo: ``organisation/name``.
        endpoint: address of the hub, without a slash at the end.
        token: of a user who may write there.
    """

    repo: str
    endpoint: str
    token: str

    @cached_property
    def _api(self) -> Any:
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.endpoint, token=self.token, library_name="senet_zoo")

    @property
    def _address(self) -> str:
        return f"{self.endpoint}/{self.repo}"

    def publish(self, plan: Plan, *, private: bool) -> str:
        """Send the files in one commit, tag it, and compare the sha256 that the hub has with what was sent.

        Sending the same files again changes nothing and is no error, so that a call that broke off after its commit can
        be repeated. Other files of the repository stay.

        Returns:
            The commit, 40 hex digits.

        Raises:
            PublishError, WeightsError: as `push_to_hub`.
        """
        api = self._api
        self._ask(lambda: api.create_repo(self.repo, private=private or None, exist_ok=True))
        info = self._ask(lambda: api.model_info(self.repo))
        head = str(info.sha)
        if private and not info.private:
            raise PublishError(
                f"{self._address} exists and is public, so that what is sent there is not private; make it private in "
                f"its settings, or choose another name"
            )
        tags = {ref.name: ref.target_commit for ref in self._ask(lambda: api.list_repo_refs(self.repo)).tags}
        same = all(
            any(_has_hash(form, self._hash(head, name)) for form in _forms(plan, name, content, tags, head))
            for name, content in plan.files.items()
        )
        if plan.tag in tags and not (same and tags[plan.tag] == head):
            raise PublishError(
                f"the tag {plan.tag!r} of {self._address} stands at commit {tags[plan.tag]}, which is not what would "
                f"be published; a published tag does not move. Choose another tag"
            )
        commit = head if same else self._commit(plan, head)
        if plan.tag not in tags:
            self._ask(lambda: api.create_tag(self.repo, tag=plan.tag, revision=commit))
        sha256 = self._hash(commit, TENSORS)
        if sha256 != plan.sha256:
            raise PublishError(
                f"the sha256 of {TENSORS} is {plan.sha256} here, but {self._address} reports {sha256 or 'nothing'} at "
                f"commit {commit}: do not use that commit; publish again, and tell whoever runs the hub"
            )
        return commit

    def _commit(self, plan: Plan, parent: str) -> str:
        from huggingface_hub import CommitOperationAdd

        self._require_xet()
        operations = [CommitOperationAdd(name, content) for name, content in plan.files.items()]
        message = f"Publish {plan.tag} with senet_zoo"
        info = self._ask(
            lambda: self._api.create_commit(
                self.repo, operations, commit_message=message, parent_commit=parent, revision=BRANCH
            )
        )
        return str(info.oid)

    def _hash(self, commit: str, name: str) -> str | None:
        """The hub's hash of a file: sha256 of a large one, git's of a small one; None where there is no such file."""
        found = self._ask(lambda: self._api.get_paths_info(self.repo, [name], revision=commit))
        if not found:
            return None
        return str(found[0].blob_id if found[0].lfs is None else found[0].lfs.sha256)

    def _require_xet(self) -> None:
        """Ask for what an upload through Xet begins with; without it the client tries for a minute, naming no cause."""
        from huggingface_hub import constants

        if constants.HF_HUB_DISABLE_XET or find_spec("hf_xet") is None:
            return
        address = f"{self.endpoint}/api/models/{self.repo}/xet-write-token/{BRANCH}"
        headers = utilities().build_hf_headers(token=self.token)
        if self._ask(lambda: utilities().get_session().get(address, headers=headers)).status_code == 404:
            raise self._no_xet()

    def _no_xet(self) -> PublishError:
        return PublishError(
            f"{self.endpoint} has no Xet storage, which huggingface_hub uploads to wherever hf-xet is installed; set "
            f"HF_HUB_DISABLE_XET=1 in the environment and start Python again"
        )

    def _ask(self, ask: Callable[[], _Answer]) -> _Answer:
        """What the hub answers, or the typed error."""
        try:
            return ask()
        except (OSError, ValueError, RuntimeError, http_library().HTTPError) as e:
            error: Exception = e
            while isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
                error = error.__cause__  # the client wraps what happened to one file in a RuntimeError
            raise self._explained(error) from e

    def _explained(self, error: Exception) -> SenetZooError:
        from huggingface_hub import errors as hub

        text = " ".join(str(error).split())[:300] or type(error).__name__
        if isinstance(error, hub.HfHubHTTPError):
            return self._refused(error, text)
        if isinstance(error, hub.OfflineModeIsEnabled):
            return WeightsUnavailable(
                f"{self._address}: publishing needs the network, but HF_HUB_OFFLINE is set; unset it"
            )
        if "xet" in text.lower() or "no-url" in text:
            return self._no_xet()
        if isinstance(error, ValueError):
            return PublishError(f"{self._address} does not take this: {text}; correct it and publish again")
        return WeightsUnavailable(
            f"{self._address}: the connection broke off ({text}); check the network and publish again, which sends "
            f"only what is missing"
        )

    def _refused(self, error: Any, text: str) -> SenetZooError:
        status = int(error.response.status_code)
        reason = str(error.server_message or error.response.headers.get("X-Error-Message") or text)[:300]
        known: dict[int, tuple[type[SenetZooError], str]] = {
            401: (
                WeightsAccessDenied,
                "the hub refuses this token (HTTP 401); it may have expired or be another hub's: set HF_TOKEN to one "
                "with write access",
            ),
            403: (
                WeightsAccessDenied,
                f"this user may not write there (HTTP 403: {reason}); ask its owner, or choose an organisation of your "
                f"own",
            ),
            404: (PublishError, f"not found (HTTP 404: {reason}); check the organisation's name and the address"),
            409: (PublishError, f"another change is under way there (HTTP 409: {reason}); wait, then publish again"),
            412: (
                PublishError,
                "somebody else committed there since it was looked at (HTTP 412), and nothing of this was committed; "
                "look at what changed, then publish again",
            ),
        }
        if status in known:
            return known[status][0](f"{self._address}: {known[status][1]}")
        if status == 429 or status >= 500:
            return WeightsUnavailable(f"{self._address}: the hub failed (HTTP {status}: {reason}); publish again later")
        return PublishError(
            f"{self._address} does not take this (HTTP {status}: {reason}); correct it and publish again"
        )


def _forms(plan: Plan, name: str, content: Path | bytes, tags: Mapping[str, str], head: str) -> Iterator[Path | bytes]:
    """A file as it would be sent now, and a card as it was sent under each other tag of that commit."""
    yield content
    if name == CARD and isinstance(content, bytes):
        address = f"{HUB}{plan.repo}@"
        for tag in (tag for tag, commit in tags.items() if commit == head):
            yield content.replace(f"`{address}{plan.tag}`".encode(), f"`{address}{tag}`".encode())


def _has_hash(content: Path | bytes, announced: str | None) -> bool:
    """Whether a file is the one whose sha256, or git's hash, a hub announces."""
    if len(announced or "") == 64:
        return announced == (digest(content) if isinstance(content, Path) else hashlib.sha256(content).hexdigest())
    return announced is not None and announced == git_hash(
        content.read_bytes() if isinstance(content, Path) else content
    )
