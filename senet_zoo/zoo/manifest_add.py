"""A manifest's row of a hub's repository, made without downloading its tensors."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from senet_zoo import registry
from senet_zoo.errors import UsageError, WeightsMismatch, WeightsNotFound
from senet_zoo.families.family import Model
from senet_zoo.hub.dialects import recognise
from senet_zoo.hub.fields import read_json
from senet_zoo.hub.remote import RemoteFile, describe_file, fetch_header
from senet_zoo.hub.rows import ORIGIN, TAG, WeightsRow
from senet_zoo.hub.sources import COMMIT, HubFile, split_revision
from senet_zoo.hub.text_files import fetch_text
from senet_zoo.zoo.card import CARD
from senet_zoo.zoo.config import CONFIG, HUB, TENSORS, FolderConfig, config_at, config_inside
from senet_zoo.zoo.loading import Checkpoint
from senet_zoo.zoo.manifest_row import Credit, as_tag, credit_of, parameters_of_spec, row_of
from senet_zoo.zoo.timm_config import PRETRAINED


@dataclass(frozen=True)
class Addition:
    """A row, and what nobody says of its weights, in words."""

    row: WeightsRow
    unknown: tuple[str, ...]


def row_of_repository(address: str, *, model: str | None = None, tag: str | None = None) -> Addition:
    """Make the row of a repository from what its hub says, its ``config.json``, its card, and its tensors' header.

    For repositories that `push_to_hub` made, for timm's, and for those with a file of ``senet-zoo convert``. Names and
    shapes of the tensors are checked against the network; their values were not seen.

    Args:
        address: ``organisation/name@revision``, with or without ``hf://``; a commit, tag or branch, which the row pins,
            or the newest commit without one.
        model: the network, where the repository does not say it.
        tag: the row's own name after the model's; by default the one that the repository gives, else the revision's
            name, else the first digits of the tensors' sha256.

    Raises:
        UsageError: ``address`` or ``tag`` is not of the form, or ``model`` is not what the repository says.
        UnknownModelError: the zoo has no such network.
        ManifestError: ``config.json`` breaks a rule, or a row has no place for such a network.
        WeightsMismatch: the tensors are another network's, or others than the config speaks of.
        WeightsError: the hub did not answer, or there is no such repository or file.
    """
    if tag is not None and re.fullmatch(TAG, tag) is None:
        raise UsageError(f"a row's tag is lower-case words with _ between, such as caffe_in1k, got {tag!r}")
    repo, revision = split_revision(address.removeprefix(HUB))
    said = describe_file(repo, revision, TENSORS)
    header = fetch_header(said)
    file = Checkpoint(said.place, recognise(header.tensors), header)
    config = _config(said, file, model)
    entry = registry.find(config.architecture)
    _agree(said, file, entry, config)
    theirs = _timms_own(said)
    named = tag or as_tag(str(theirs.get("tag") or _name(revision) or f"sha256_{said.sha256[:12]}"))
    row = row_of(
        config,
        HubFile(repo, said.commit, said.filename, said.sha256, said.size, file.dialect.name),
        tag=named,
        parameters=parameters_of_spec(config.spec, config.num_classes, config.in_channels),
        credit=_credit(said, config, theirs),
    )
    return Addition(row, tuple(_unknown(row)))


def _config(said: RemoteFile, file: Checkpoint, model: str | None) -> FolderConfig:
    """What the repository says of the network: in ``config.json``, or else in the remarks of the tensors' header."""
    config = config_at(said.repo, said.commit)
    if config is None:
        name = model or file.header.metadata.get("model")
        if name is None:
            raise WeightsNotFound(
                f"{said.repo}: neither {CONFIG} nor {TENSORS} says which network its tensors belong to; name it with "
                f"model=... (--model)"
            )
        entry = registry.find(name)
        spec = entry.spec()
        shown = FolderConfig(entry.name, spec.se, file.num_classes, file.in_channels(spec))
        config = config_inside(shown, file.header.metadata, file.path) or shown
    if model is not None and registry.find(model).name != config.architecture:
        raise UsageError(f"{said.repo} says that it holds {config.architecture}, not {model}; drop model=... (--model)")
    return config


def _agree(said: RemoteFile, file: Checkpoint, entry: Model, config: FolderConfig) -> None:
    """Refuse tensors that are not exactly those that the config speaks of."""
    known = config.provenance
    if known is not None and known.sha256 != said.sha256:
        raise WeightsMismatch(
            f"{said.repo}: {CONFIG} speaks of tensors of sha256 {known.sha256}, but {TENSORS} has {said.sha256}; its "
            f"owner should publish it again"
        )
    spec = config.spec
    file.check(entry, spec, config.num_classes)
    if file.in_channels(spec) != config.in_channels:
        raise WeightsMismatch(
            f"{said.repo}: {CONFIG} says {config.in_channels} input channels, but the tensors have "
            f"{file.in_channels(spec)}; its owner should publish it again"
        )


def _timms_own(said: RemoteFile) -> Mapping[str, object]:
    """``pretrained_cfg`` of a config that timm wrote, as parsed; empty in others."""
    path = fetch_text(said.repo, said.commit, CONFIG)
    data = None if path is None else read_json(path)
    found = data.get(PRETRAINED) if isinstance(data, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _credit(said: RemoteFile, config: FolderConfig, theirs: Mapping[str, object]) -> Credit:
    credit = credit_of(config, said.repo)
    licence, origin, papers = (theirs.get(key) for key in ("license", "origin_url", "paper_ids"))
    if isinstance(papers, list):
        papers = "; ".join(map(str, papers))
    if isinstance(papers, str) and papers:
        credit = replace(credit, citation=papers)
    if isinstance(origin, str) and re.fullmatch(ORIGIN, origin):
        credit = replace(credit, origin=origin)
    if credit.license is not None:
        return credit
    if isinstance(licence, str) and licence:
        return replace(credit, license=licence, license_source=f"{CONFIG} of {said.repo}")
    return replace(credit, license=_license_of_card(said))


def _license_of_card(said: RemoteFile) -> str | None:
    from huggingface_hub import ModelCard

    path = fetch_text(said.repo, said.commit, CARD)
    if path is None:
        return None
    try:
        licence = ModelCard(path.read_text(encoding="utf-8", errors="replace")).data.get("license")
    except Exception:  # whatever PyYAML meets in a stranger's file; a card that cannot be read names no licence
        return None
    return licence if isinstance(licence, str) and licence.strip() else None


def _name(revision: str | None) -> str | None:
    """A revision that is a name: neither a commit nor the branch that moves."""
    return None if revision in (None, "main") or re.fullmatch(COMMIT, str(revision)) else revision


def _unknown(row: WeightsRow) -> Iterator[str]:
    if row.license is None:
        yield f"the licence: neither {CONFIG} nor the card names one"
    if row.origin is None:
        yield "the address of whoever trained it"
    if not row.metrics:
        yield "its accuracy: nobody says what was measured of these tensors"
    if row.fingerprint is None:
        yield "its fingerprint, so that senet-zoo verify --deep cannot prove the function"
