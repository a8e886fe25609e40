"""`push_to_hub`: a saved model, checked first, in one tagged commit to a hub, whose sha256 is read back.

Whatever goes wrong before the commit leaves the repository as it was, except that an empty one may have been made.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import torch

from senet_zoo.errors import (
    ManifestError,
    PublishError,
    SenetZooError,
    UsageError,
    WeightsAccessDenied,
    WeightsCorrupted,
    WeightsUnavailable,
)
from senet_zoo.networks.network import ConvNet
from senet_zoo.support import settings
from senet_zoo.support.files import expanded
from senet_zoo.weights.cache import digest
from senet_zoo.weights.card import CARD, model_card
from senet_zoo.weights.config import (
    CONFIG,
    HUB,
    PROCESSOR,
    TENSORS,
    FolderConfig,
    Provenance,
    processor_json,
    read_config,
)
from senet_zoo.weights.create import create_model
from senet_zoo.weights.fingerprint import UNSAID, compare, fingerprint_if_any
from senet_zoo.weights.hub_errors import http_library, utilities
from senet_zoo.weights.hub_repository import git_hash
from senet_zoo.weights.load import Checkpoint, open_checkpoint
from senet_zoo.weights.manifest_edit import credit_of, row_of, tag_from
from senet_zoo.weights.rows import REPO, HubFile, WeightsRow
from senet_zoo.weights.save import parameters_of, save_pretrained

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


@dataclass(frozen=True)
class Publication:
    """What a hub holds now.

    Args:
        repo: ``organisation/name``.
        hub: its address.
        commit: 40 hex digits.
        tag: of the commit.
        sha256: of ``model.safetensors``, as the hub reports it and as it is here.
        row: the manifest's row; None where a row cannot say what the network is.
        no_row: why there is no row; empty where there is one.
    """

    repo: str
    hub: str
    commit: str
    tag: str
    sha256: str
    row: WeightsRow | None
    no_row: str

    @property
    def address(self) -> str:
        """What ``from_pretrained`` and ``create_model(weights=...)`` load for good."""
        return f"{HUB}{self.repo}@{self.commit}"


def push_to_hub(
    model_or_folder: ConvNet | str | Path,
    repo: str,
    *,
    private: bool = False,
    hub: str | None = None,
    token: str | None = None,
    tag: str | None = None,
) -> Publication:
    """Publish a model: tensors, config and card in one commit, a tag on it, and the sha256 read back.

    The folder is checked first: the card names a licence, and the network that the config spells is built and takes
    every tensor. Publishing the same again changes nothing.

    Args:
        model_or_folder: a network, or a folder of `save_pretrained`. A network trained from scratch has no licence yet:
            save it with one, and publish the folder.
        repo: ``organisation/name``; made where there is none.
        private: hide it from strangers; a repository that is public already is refused.
        hub: address of the hub; by default SENET_ZOO_HUB, or huggingface_hub's own.
        token: of a user who may write there; by default HF_TOKEN, or what ``hf auth login`` saved for
            huggingface_hub's own hub.
        tag: of the commit; it never moves. By default the first twelve digits of the tensors' sha256.

    Raises:
        UsageError: ``repo``, ``hub`` or ``tag`` is not of the form that hubs take.
        PublishError: the folder lacks something, or the hub does not take it; the message says what to do.
        WeightsError: the folder's tensors are damaged or another network's; no token, or a refused one; no network.
        ManifestError: ``config.json`` breaks a rule.
    """
    if isinstance(model_or_folder, ConvNet):
        with tempfile.TemporaryDirectory(prefix="senet-zoo-") as folder:
            save_pretrained(model_or_folder, folder)
            return push_to_hub(folder, repo, private=private, hub=hub, token=token, tag=tag)
    plan = plan_publication(model_or_folder, repo, tag=tag)
    remote = _remote(repo, hub=hub, token=token)
    commit = remote.publish(plan, private=private)
    row = None if plan.row is None else _pinned(plan.row, commit)
    return Publication(repo, remote.endpoint, commit, plan.tag, plan.sha256, row, plan.no_row)


def plan_publication(folder: str | Path, repo: str, *, tag: str | None = None) -> Plan:
    """Check a folder and say what `push_to_hub` would send; nothing is asked or changed anywhere.

    Raises:
        UsageError: ``repo`` or ``tag`` is not of the form that hubs take.
        PublishError: the card lacks a licence, or speaks of other tensors than those of the folder.
        WeightsError: a file is missing or damaged, or holds another network's tensors.
        ManifestError: ``config.json`` breaks a rule.
    """
    path = expanded(folder)
    config = read_config(path)
    checkpoint = open_checkpoint(path / TENSORS)
    sha256 = digest(checkpoint.path)
    tag = f"sha256-{sha256[:12]}" if tag is None else tag
    _check_names(repo, tag)
    try:
        model = _built(path, config)
    except WeightsCorrupted:
        _require_own_tensors(path, config, sha256)
        raise
    licence = _licence(path, config, sha256)
    card = _card(path, config, model, repo)
    _check_fingerprint(path, config, model)
    files: dict[str, Path | bytes] = {TENSORS: path / TENSORS, CONFIG: path / CONFIG, CARD: card}
    processor = processor_json(config)
    if processor is not None:
        files[PROCESSOR] = processor
    config = replace(config, provenance=replace(config.provenance or Provenance(sha256), license=licence))
    row, no_row = _row(checkpoint, config, model, repo, tag, sha256)
    return Plan(repo, tag, MappingProxyType(files), sha256, row, no_row)


def _built(path: Path, config: FolderConfig) -> ConvNet:
    """The network of a folder, every tensor loaded and finite."""
    model = create_model(config.architecture, weights=path)
    for name, tensor in model.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise PublishError(f"every value of a published network must be finite, but {name} has one that is not")
    return model


def _check_fingerprint(path: Path, config: FolderConfig, model: ConvNet) -> None:
    if config.fingerprint is None:
        return
    deviation = compare(model, config.preprocessing or UNSAID, config.fingerprint)
    if not deviation.ok:
        raise PublishError(
            f"the network of {path} must answer what its {CONFIG} promises, but {deviation.where}; save the model again"
        )


def _require_own_tensors(path: Path, config: FolderConfig, sha256: str) -> None:
    provenance = config.provenance
    if provenance is not None and provenance.sha256 != sha256:
        raise PublishError(
            f"{path / CONFIG} and {CARD} speak of tensors of sha256 {provenance.sha256}, but {TENSORS} has {sha256}; "
            f"save the model again"
        )


def _licence(path: Path, config: FolderConfig, sha256: str) -> str:
    """The licence that the card of a folder names, once card and config are seen to speak of these tensors and it."""
    from huggingface_hub import ModelCard

    _require_own_tensors(path, config, sha256)
    provenance = config.provenance
    file = path / CARD
    if not file.is_file():
        raise PublishError(f"a published model has a card, but there is no {file}; save the model again")
    text = file.read_text(encoding="utf-8", errors="replace")
    try:
        licence = ModelCard(text, ignore_metadata_errors=False).data.get("license")
    except Exception as e:  # the client raises ValueError, but lets errors of PyYAML through too
        raise PublishError(f"{file} must begin with valid YAML between two lines of ---: {e}; correct it there") from e
    if not licence:
        raise PublishError(
            f"a published model names its licence, but {file} does not; write license: into the card",
            python=", or save_pretrained(model, folder, license='apache-2.0')",
            command_line=" between its two lines of ---, such as license: apache-2.0",
        )
    stated = provenance.license if provenance else None
    if not isinstance(licence, str) or stated not in (None, licence):
        raise PublishError(
            f"card and {CONFIG} of a published model name one licence, but {file} says {licence} and {CONFIG} says "
            f"{stated}; save it with the licence that holds",
            python=": save_pretrained(model, folder, license=...)",
            command_line=", or correct the card",
        )
    return licence


def _card(path: Path, config: FolderConfig, model: ConvNet, repo: str) -> bytes:
    """The card to send: the folder's own where a person wrote in it, otherwise one that names the repository."""
    file = path / CARD
    parameters = parameters_of(model)
    if file.read_text(encoding="utf-8", errors="replace") != model_card(config, parameters=parameters):
        return file.read_bytes()
    return model_card(config, parameters=parameters, repo=repo).encode()


def _row(
    checkpoint: Checkpoint, config: FolderConfig, model: ConvNet, repo: str, tag: str, sha256: str
) -> tuple[WeightsRow | None, str]:
    """The manifest's row, or why there is none."""
    source = HubFile(repo, None, TENSORS, sha256, checkpoint.path.stat().st_size, checkpoint.dialect.name)
    if config.fingerprint is None and config.preprocessing is not None:
        config = replace(config, fingerprint=fingerprint_if_any(model, config.preprocessing))
    credit = credit_of(config, repo)
    try:
        return row_of(config, source, tag=tag_from(tag), parameters=parameters_of(model), credit=credit), ""
    except ManifestError as e:
        return None, str(e)


def _pinned(row: WeightsRow, commit: str) -> WeightsRow:
    sources = (replace(source, revision=commit) for source in row.sources if isinstance(source, HubFile))
    return replace(row, sources=tuple(sources))


def _check_names(repo: str, tag: str) -> None:
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


def _remote(repo: str, *, hub: str | None, token: str | None) -> "_RemoteRepository":
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
    return _RemoteRepository(repo, endpoint, found)


@dataclass(frozen=True)
class _RemoteRepository:
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
        same = all(_has_hash(content, self._hash(head, name)) for name, content in plan.files.items())
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


def _has_hash(content: Path | bytes, announced: str | None) -> bool:
    """Whether a file is the one whose sha256, or git's hash, a hub announces."""
    if len(announced or "") == 64:
        return announced == (digest(content) if isinstance(content, Path) else hashlib.sha256(content).hexdigest())
    return announced is not None and announced == git_hash(
        content.read_bytes() if isinstance(content, Path) else content
    )
