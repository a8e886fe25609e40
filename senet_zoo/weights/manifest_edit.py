"""Changes to a manifest: a row made of a published network, a row added, what is null filled in.

No tensor is downloaded for any of them: hubs are asked for a file's commit, sha256, size and header.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from senet_zoo.data.labels import categories
from senet_zoo.errors import ManifestError, UsageError, WeightsError, WeightsMismatch, WeightsNotFound
from senet_zoo.formats.dialects import recognise
from senet_zoo.formats.metadata import LABELS
from senet_zoo.networks import registry
from senet_zoo.networks.families.family import Model
from senet_zoo.networks.network import on_meta
from senet_zoo.networks.specs import NetworkSpec
from senet_zoo.support.files import atomic_file, disk_error
from senet_zoo.support.json_fields import as_json, read_json
from senet_zoo.weights.card import CARD, PAPER, base_row
from senet_zoo.weights.config import CONFIG, HUB, TENSORS, FolderConfig, config_at, config_inside
from senet_zoo.weights.hub_repository import RemoteFile, Servers, describe_file, fetch_header, fetch_text
from senet_zoo.weights.load import Checkpoint
from senet_zoo.weights.manifest import VERSION, default_path, document, load_manifest, parse_manifest, text_of
from senet_zoo.weights.rows import (
    COMMIT,
    ORIGIN,
    OWN,
    TAG,
    HubFile,
    PackageFile,
    ReleaseFile,
    WeightsRow,
    split_revision,
)
from senet_zoo.weights.save import parameters_of
from senet_zoo.weights.timm_config import PRETRAINED


@dataclass(frozen=True)
class Credit:
    """Whom the weights belong to: fields of a `WeightsRow`."""

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


def tag_from(text: str) -> str:
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
    if config.widths is not None:
        raise ManifestError(f"a row has no place for other widths than those of {config.architecture}")
    labels = [name for name, count in LABELS.items() if config.categories == categories(name, count)]
    if not config.categories or config.preprocessing is None:
        raise ManifestError("a row needs preprocessing and class names; save the network with both")
    row = WeightsRow(
        model=config.architecture,
        tag=tag,
        num_classes=config.num_classes,
        labels=labels[0] if labels else OWN,
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
        categories=None if labels else config.categories,
        se=None if config.se == registry.find(config.architecture).se else config.se,
    )
    return parse_manifest(json.loads(json.dumps(document([row]))), "manifest").row(row.model, row.tag)


@dataclass(frozen=True)
class Addition:
    """A new row, and what nobody says of its weights, one text for each."""

    row: WeightsRow
    unknown: tuple[str, ...]


def row_of_repository(address: str, *, model: str | None = None, tag: str | None = None) -> Addition:
    """Make the row of a repository from what its hub says, its ``config.json``, its card, and its tensors' header.

    It can be one that `push_to_hub` made, one of timm's, or one with a file of ``senet-zoo convert``. Names and
    shapes of the tensors are checked against the network; their values were not seen.

    Args:
        address: ``organisation/name@revision``, with or without ``hf://``; a commit, tag or branch, which the row pins,
            or the newest commit without one.
        model: the network, where the repository does not say it.
        tag: the row's own name after the model's; by default the one that the repository gives, else the revision's
            name, else the repository's.

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
    remote = describe_file(repo, revision, TENSORS)
    header = fetch_header(remote)
    file = Checkpoint(remote.label, recognise(header.tensors), header)
    config = _config(remote, file, model)
    entry = registry.find(config.architecture)
    _require_agreement(remote, file, entry, config)
    timm_config = _timm_config(remote)
    tag = tag or tag_from(str(timm_config.get("tag") or _as_name(revision) or repo.partition("/")[2]))
    row = row_of(
        config,
        HubFile(repo, remote.commit, remote.filename, remote.sha256, remote.size, file.dialect.name),
        tag=tag,
        parameters=parameters_of_spec(config.spec, config.num_classes, config.in_channels),
        credit=_credit(remote, config, timm_config),
    )
    return Addition(row, tuple(_not_known(row)))


def _config(remote: RemoteFile, file: Checkpoint, model: str | None) -> FolderConfig:
    """What the repository says of the network: in ``config.json``, or else in the metadata of the tensors' header."""
    config = config_at(remote.repo, remote.commit)
    if config is None:
        name = model or file.header.metadata.get("model")
        if name is None:
            raise WeightsNotFound(
                f"{remote.repo}: neither {CONFIG} nor {TENSORS} says which network its tensors belong to; name it with "
                f"model=... (--model)"
            )
        entry = registry.find(name)
        spec = entry.spec()
        config = FolderConfig(entry.name, spec.se, file.num_classes, file.in_channels(spec))
        config = config_inside(config, file.metadata) or config
    if model is not None and registry.find(model).name != config.architecture:
        raise UsageError(
            f"{remote.repo} says that it holds {config.architecture}, not {model}; drop model=... (--model)"
        )
    return config


def _require_agreement(remote: RemoteFile, file: Checkpoint, entry: Model, config: FolderConfig) -> None:
    """Refuse tensors that are not exactly those that the config speaks of."""
    known = config.provenance
    if known is not None and known.sha256 != remote.sha256:
        raise WeightsMismatch(
            f"{remote.repo}: {CONFIG} speaks of tensors of sha256 {known.sha256}, but {TENSORS} has {remote.sha256}; "
            f"its owner should publish it again"
        )
    spec = config.spec
    file.check(entry, spec, config.num_classes)
    if file.in_channels(spec) != config.in_channels:
        raise WeightsMismatch(
            f"{remote.repo}: {CONFIG} says {config.in_channels} input channels, but the tensors have "
            f"{file.in_channels(spec)}; its owner should publish it again"
        )


def _timm_config(remote: RemoteFile) -> Mapping[str, object]:
    """``pretrained_cfg`` of a config that timm wrote, as parsed; empty in others."""
    path = fetch_text(remote.repo, remote.commit, CONFIG)
    data = None if path is None else read_json(path)
    found = data.get(PRETRAINED) if isinstance(data, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _credit(remote: RemoteFile, config: FolderConfig, timm_config: Mapping[str, object]) -> Credit:
    credit = credit_of(config, remote.repo)
    licence, origin, papers = (timm_config.get(key) for key in ("license", "origin_url", "paper_ids"))
    if isinstance(papers, list):
        papers = "; ".join(map(str, papers))
    if isinstance(papers, str) and papers:
        credit = replace(credit, citation=papers)
    if isinstance(origin, str) and re.fullmatch(ORIGIN, origin):
        credit = replace(credit, origin=origin)
    if credit.license is not None:
        return credit
    if isinstance(licence, str) and licence:
        return replace(credit, license=licence, license_source=f"{CONFIG} of {remote.repo}")
    return replace(credit, license=_license_of_card(remote))


def _license_of_card(remote: RemoteFile) -> str | None:
    from huggingface_hub import ModelCard

    path = fetch_text(remote.repo, remote.commit, CARD)
    if path is None:
        return None
    try:
        licence = ModelCard(path.read_text(encoding="utf-8", errors="replace")).data.get("license")
    except Exception:  # whatever PyYAML meets in a stranger's file; a card that cannot be read names no licence
        return None
    return licence if isinstance(licence, str) and licence.strip() else None


def _as_name(revision: str | None) -> str | None:
    """A revision that is a name: neither a commit nor the branch that moves."""
    return None if revision in (None, "main") or re.fullmatch(COMMIT, str(revision)) else revision


def _not_known(row: WeightsRow) -> Iterator[str]:
    if row.license is None:
        yield f"the licence: neither {CONFIG} nor the card names one"
    if row.origin is None:
        yield "the address of whoever trained it"
    if not row.metrics:
        yield "its accuracy: nobody says what was measured of these tensors"
    if row.fingerprint is None:
        yield "its fingerprint, so that senet-zoo verify --deep cannot prove the function"


@dataclass(frozen=True)
class PinnedField:
    """A field that was null and no longer is.

    Args:
        weights: ``model.tag``.
        source: its repository, or its address.
        field: ``revision``, ``sha256`` or ``size``.
        value: what the hub or the server said.
    """

    weights: str
    source: str
    field: str
    value: str | int


@dataclass(frozen=True)
class Unpinned:
    """A source with a field that stays null, and why."""

    weights: str
    source: str
    reason: str


@dataclass(frozen=True)
class Pinning:
    """What became of the nulls of a manifest."""

    path: Path
    pinned: tuple[PinnedField, ...]
    left: tuple[Unpinned, ...]


def add_row(path: Path, row: WeightsRow) -> None:
    """Write a row into a manifest, whole or not at all; the first row of a model is its default.

    Args:
        path: the file; made where there is none.
        row: what to add.

    Raises:
        ManifestError: the file breaks a rule, or a row of that name is there already, or published by the zoo.
        WeightsUnavailable: the disk did not take it.
    """
    content: dict[str, Any] = {"manifest_version": VERSION, "models": {}}
    manifests = [default_path()]
    if path.exists():
        content = _read_checked(path)
        manifests.append(path)
    for manifest in manifests:
        if any(row.tag == other.tag for other in load_manifest(manifest).rows(row.model)):
            raise ManifestError(
                f"{row.name} must stand once, but {manifest} has a row of that name; choose another tag"
            )
        for other in (other for rows in load_manifest(manifest).models.values() for other in rows):
            if _files(row) & _files(other):
                raise ManifestError(
                    f"a file has one row, and {manifest} has {other.name} for that of {row.name}; take that row, or "
                    f"remove it first"
                )
    model = content["models"].setdefault(row.model, {"default": row.tag, "weights": {}})
    model["weights"][row.tag] = as_json(row)
    _write(path, content)


def _files(row: WeightsRow) -> set[tuple[str, ...]]:
    """What tells its files from those of other rows: where they lie, and what is in them."""
    found = set[tuple[str, ...]]()
    for source in row.sources:
        if isinstance(source, HubFile):
            found.add((source.repo, source.filename, source.revision or ""))
        if not isinstance(source, ReleaseFile) and source.sha256 is not None:
            found.add((source.sha256,))
    return found


def pin_manifest(path: Path) -> Pinning:
    """Fill what is null in a manifest's sources with what the hubs and servers say of the files, and only that.

    No file is downloaded. A source that cannot be asked stays as it is, and so does one of which the hub says
    something else than the manifest. The file is laid out as `text_of` does, so that only the lines of pinned
    fields change in a file that was.

    Raises:
        ManifestError: the file breaks a rule, and nothing is asked; or somebody changed it while hubs were.
        WeightsUnavailable: the disk did not take it; the file is as it was.
    """
    content, before = _read_checked(path), read_json(path)
    servers, pinned, left = Servers(), list[PinnedField](), list[Unpinned]()
    for row, source, fields in _open_sources(path, content):
        where = source.repo if isinstance(source, HubFile) else source.url
        try:
            values = _values_of_nulls(source, servers.describe(source))
        except WeightsError as e:
            left.append(Unpinned(row.name, where, str(e)))
            continue
        fields.update(values)
        pinned += [PinnedField(row.name, where, name, value) for name, value in values.items()]
    if pinned:
        if read_json(path) != before:
            raise ManifestError(
                f"{path} must stay as it is while hubs are asked, but somebody changed it; pin it again"
            )
        _write(path, content)
    return Pinning(path, tuple(pinned), tuple(left))


def _open_sources(
    path: Path, content: dict[str, Any]
) -> Iterator[tuple[WeightsRow, HubFile | ReleaseFile, dict[str, Any]]]:
    """Sources with a null, as values and as the JSON objects that they were read from."""
    for model, rows in load_manifest(path).models.items():
        for row in rows:
            objects = content["models"][model]["weights"][row.tag]["sources"]
            for source, fields in zip(row.sources, objects, strict=True):
                open_ = any(fields.get(name, ...) is None for name in ("revision", "sha256", "size"))
                if not isinstance(source, PackageFile) and open_:
                    yield row, source, fields


def _values_of_nulls(source: HubFile | ReleaseFile, answer: RemoteFile | int) -> dict[str, str | int]:
    """The values of a source's null fields.

    Raises:
        WeightsMismatch: of those that are not null, one is another than the hub says.
    """
    if isinstance(answer, int):
        return {"size": answer}
    values: dict[str, str | int] = {"revision": answer.commit, "sha256": answer.sha256, "size": answer.size}
    for name, value in values.items():
        known = getattr(source, name)
        if known not in (None, value):
            raise WeightsMismatch(
                f"{answer.label}: the manifest's {name} is {known}, but the hub says {value}; find out which is meant"
            )
    return {name: value for name, value in values.items() if getattr(source, name) is None}


def _read_checked(path: Path) -> dict[str, Any]:
    """The JSON object of a manifest that keeps every rule."""
    data = read_json(path)
    parse_manifest(data, path.name)
    return cast("dict[str, Any]", data)


def _write(path: Path, content: dict[str, Any]) -> None:
    text = text_of(content)
    parse_manifest(json.loads(text), path.name)
    try:
        with atomic_file(path.resolve()) as file:  # a link stays one
            file.write(text.encode())
    except OSError as e:
        raise disk_error(e, path.parent, "the path") from e
