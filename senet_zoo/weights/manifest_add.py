"""The manifest's row of a published network, from what its config says.

A manifest's row of a hub's repository, made without downloading its tensors.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from senet_zoo.data.labels import categories
from senet_zoo.errors import ManifestError, UsageError, WeightsMismatch, WeightsNotFound
from senet_zoo.formats.dialects import recognise
from senet_zoo.formats.metadata import LABELS
from senet_zoo.networks import registry
from senet_zoo.networks.families.family import Model
from senet_zoo.networks.network import on_meta
from senet_zoo.networks.specs import NetworkSpec
from senet_zoo.support.json_fields import read_json
from senet_zoo.weights.card import CARD, PAPER, base_row
from senet_zoo.weights.config import CONFIG, HUB, TENSORS, FolderConfig, config_at, config_inside
from senet_zoo.weights.hub_metadata import RemoteFile, describe_file, fetch_header
from senet_zoo.weights.hub_text import fetch_text
from senet_zoo.weights.load import Checkpoint
from senet_zoo.weights.manifest import document, parse_manifest
from senet_zoo.weights.rows import COMMIT, ORIGIN, TAG, HubFile, WeightsRow, split_revision
from senet_zoo.weights.save import parameters_of
from senet_zoo.weights.timm_config import PRETRAINED


@dataclass(frozen=True)
class Credit:
    """Whose weights are: fields of a `WeightsRow`."""

    license: str | None
    license_source: str
    origin: str | None
    citation: str


def credit_of(config: FolderConfig, repo: str) -> Credit:
    """What a config's provenance says of it, and the row of the weights that it comes from.

    Args:
        config: of the network.
        repo: whose card names the licence.
    """
    base = base_row(config)
    licence = config.provenance.license if config.provenance else None
    if base is None:
        return Credit(licence, f"the model card of {repo}", None, PAPER)
    source = base.license_source if base.license == licence else f"the model card of {repo}"
    return Credit(licence, source, base.origin, base.citation)


def parameters_of_spec(spec: NetworkSpec, num_classes: int, in_channels: int) -> int:
    """Number of learnt values of a network that is never filled with any."""
    return parameters_of(on_meta(spec, num_classes=num_classes, in_channels=in_channels))


def as_tag(text: str) -> str:
    """A row's tag for what a repository calls its weights, such as ``v1_0`` for ``v1.0``."""
    return re.sub("[^a-z0-9]+", "_", text.lower()).strip("_")


def row_of(config: FolderConfig, source: HubFile, *, tag: str, parameters: int, credit: Credit) -> WeightsRow:
    """The row; what it says is what a reader of the manifest accepts.

    Args:
        config: of the network.
        source: where its tensors lie.
        tag: the row's own name after the model's.
        parameters: learnt values of the network.
        credit: whose it is.

    Raises:
        ManifestError: a row has no place for such a network; the message says why.
    """
    if config.se != registry.find(config.architecture).se:
        raise ManifestError(f"a row has no place for another gate than that of {config.architecture}")
    if config.widths is not None:
        raise ManifestError(f"a row has no place for other widths than those of {config.architecture}")
    labels = [name for name, count in LABELS.items() if config.categories == categories(name, count)]
    if not labels or config.preprocessing is None:
        raise ManifestError(f"a row needs preprocessing, and the class names of one of {', '.join(LABELS)}")
    row = WeightsRow(
        model=config.architecture,
        tag=tag,
        num_classes=config.num_classes,
        labels=labels[0],
        in_channels=config.in_channels,
        parameters=parameters,
        preprocessing=config.preprocessing,
        sources=(source,),
        metrics=config.provenance.metrics if config.provenance else (),
        license=credit.license,
        license_source=credit.license_source,
        origin=credit.origin,
        citation=credit.citation,
        training=None,
        fingerprint=config.fingerprint,
    )
    return parse_manifest(json.loads(json.dumps(document([row]))), "manifest").row(row.model, row.tag)


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
        config = config_inside(shown, file.metadata) or shown
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
