"""Publishing: a saved model, checked first, in one tagged commit to a hub, whose sha256 is read back.

Whatever goes wrong before the commit leaves the repository as it was, except that an empty one may have been made.
"""

import hashlib
import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import torch

from senet_zoo.errors import (
    ManifestError,
    PublishError,
    WeightsCorrupted,
)
from senet_zoo.networks.network import ConvNet
from senet_zoo.support.files import expanded
from senet_zoo.weights.card import CARD, FIGURES, model_card, with_address
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
from senet_zoo.weights.file_hashes import digest
from senet_zoo.weights.fingerprint import UNSAID, compare, fingerprint_if_any
from senet_zoo.weights.foreign_files import is_own_picture
from senet_zoo.weights.hub_commit import Plan, check_names, remote_repository
from senet_zoo.weights.load import Checkpoint, open_checkpoint
from senet_zoo.weights.manifest_edit import credit_of, row_of, tag_from
from senet_zoo.weights.rows import HubFile, WeightsRow
from senet_zoo.weights.save import parameters_of
from senet_zoo.weights.signature import SIGNATURE, signature_of
from senet_zoo.weights.signing_keys import read_private_key


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


def send(plan: Plan, *, private: bool, hub: str | None, token: str | None) -> Publication:
    """Commit and tag what was checked; arguments and errors as `senet_zoo.push_to_hub`."""
    remote = remote_repository(plan.repo, hub=hub, token=token)
    commit = remote.publish(plan, private=private)
    row = None if plan.row is None else _pinned(plan.row, commit)
    return Publication(plan.repo, remote.endpoint, commit, plan.tag, plan.sha256, row, plan.no_row)


def plan_publication(folder: str | Path, repo: str, *, tag: str | None = None, sign: str | Path | None = None) -> Plan:
    """`senet_zoo.tasks.plan_publication` of a classifier's folder; errors as there."""
    path = expanded(folder)
    config = read_config(path)
    checkpoint = open_checkpoint(path / TENSORS)
    sha256 = digest(checkpoint.path)
    tag = f"sha256-{sha256[:12]}" if tag is None else tag
    check_names(repo, tag)
    try:
        model = _built(path, config)
    except WeightsCorrupted:
        _require_own_tensors(path, config.provenance, sha256)
        raise
    licence = licence_of(path, config.provenance, sha256)
    figures = {name: path / name for name in FIGURES if is_own_picture(path / name)}
    card = _card(path, config, model, repo, tag, figures)
    _check_fingerprint(path, config, model)
    files: dict[str, Path | bytes] = {TENSORS: path / TENSORS, CONFIG: path / CONFIG, CARD: card, **figures}
    processor = processor_json(config)
    if processor is not None:
        files[PROCESSOR] = processor
    config = replace(config, provenance=replace(config.provenance or Provenance(sha256), license=licence))
    row, no_row = _row(checkpoint, config, model, repo, tag, sha256)
    return signed(Plan(repo, tag, MappingProxyType(files), sha256, row, no_row), path, sign)


def signed(plan: Plan, folder: Path, key: str | Path | None) -> Plan:
    """A plan with the signature of its files; the plan itself where there is no key.

    Raises:
        PublishError: there is no key, but the folder is signed: its card gets another address, and what is sent would
            no longer be what was signed.
        UsageError: the key is none.
    """
    if key is None:
        if os.path.lexists(folder / SIGNATURE):
            raise PublishError(
                f"{folder} is signed, and its card gets the repository's address, so that {SIGNATURE} would no longer "
                f"hold; sign what is sent, or remove {SIGNATURE}",
                python=": push_to_hub(..., sign=KEY)",
                command_line=": --sign KEY",
            )
        return plan
    private = read_private_key(key)
    sums = {
        name: digest(file) if isinstance(file, Path) else hashlib.sha256(file).hexdigest()
        for name, file in plan.files.items()
    }
    files = {**plan.files, SIGNATURE: signature_of(sums, plan.repo.rpartition("/")[2], private)}
    return replace(plan, files=MappingProxyType(files))


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


def _require_own_tensors(path: Path, provenance: Provenance | None, sha256: str) -> None:
    if provenance is not None and provenance.sha256 != sha256:
        raise PublishError(
            f"{path / CONFIG} and {CARD} speak of tensors of sha256 {provenance.sha256}, but {TENSORS} has {sha256}; "
            f"save the model again"
        )


def licence_of(path: Path, provenance: Provenance | None, sha256: str) -> str:
    """The licence that the card of a folder names, once card and config are seen to speak of these tensors and it.

    Raises:
        PublishError: there is no card, it names none or another one, or they speak of other tensors.
    """
    from huggingface_hub import ModelCard

    _require_own_tensors(path, provenance, sha256)
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


def _card(path: Path, config: FolderConfig, model: ConvNet, repo: str, tag: str, figures: Collection[str]) -> bytes:
    """The card to send: the folder's own where a person wrote in it, with its address, otherwise one made anew."""
    text, parameters = (path / CARD).read_text(encoding="utf-8", errors="replace"), parameters_of(model)
    if text != model_card(config, parameters=parameters):
        return with_address(text, repo).encode()
    return model_card(config, parameters=parameters, repo=repo, tag=tag, figures=figures).encode()


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
