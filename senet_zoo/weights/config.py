"""The ``config.json`` beside a model's tensors: all that rebuilds the network around them, and where they come from."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeGuard

from senet_zoo.data.labels import categories
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.data.volumes import VolumePreprocessing
from senet_zoo.errors import ManifestError, SpecError, UsageError, WeightsCorrupted, WeightsNotFound
from senet_zoo.formats.metadata import LABELS, FileMetadata, Fingerprint
from senet_zoo.networks import registry
from senet_zoo.networks.dimensions import PLANE, DepthPadding, Dimensions
from senet_zoo.networks.specs import SE, NetworkSpec
from senet_zoo.networks.widths import Widths
from senet_zoo.support.files import FileState, atomic_file, disk_error, expanded, is_file
from senet_zoo.support.json_fields import (
    BAD,
    WIDTHS,
    Cursor,
    FieldRule,
    Items,
    Member,
    Nullable,
    Record,
    Text,
    Whole,
    as_json,
    read_as,
    read_json,
    shown,
)
from senet_zoo.weights.file_hashes import verify
from senet_zoo.weights.rows import MODEL_NAME, SHA256, TAG, Metric, split_revision
from senet_zoo.weights.timm_config import OURS, PRETRAINED, TIMM_WRAPPER, TimmConfig, names_ours, read_timm, timm_json
from senet_zoo.weights.variant import from_json, to_json

if TYPE_CHECKING:
    from torch import Tensor
    from torchvision.transforms.v2 import Transform

CONFIG, TENSORS = "config.json", "model.safetensors"
HUB = "hf://"
# By these transformers finds the classes of `senet_zoo.integrations.transformers`.
MODEL_TYPE, PROCESSOR_TYPE = "senet_zoo", "SenetZooImageProcessor"
PROCESSOR = "preprocessor_config.json"
LICENSE = r"[a-z0-9][a-z0-9.+-]{0,63}"
_BASE = rf"{MODEL_NAME}\.{TAG}"


class SavedTask(Enum):
    """What a saved network is for. The values stand in config.json; a classifier's has no such field."""

    CLASSIFICATION = "classification"
    DETECTION = "detection"
    SEGMENTATION = "segmentation"


@dataclass(frozen=True)
class Provenance:
    """Where the tensors of a folder come from, and what was measured of them.

    Args:
        sha256: of the ``model.safetensors`` that the rest speaks of.
        base: the published weights (``model.tag``) that they are, or were trained on from; None for neither.
        license: SPDX name in lower case, or None where nobody chose one.
        metrics: measured with exactly these tensors.
    """

    sha256: Annotated[str, Text(SHA256, "the 64 hex digits of a sha256")]
    base: Annotated[str | None, Nullable(Text(_BASE, "the name of published weights, model.tag"))] = None
    license: Annotated[str | None, Nullable(Text(LICENSE, "an SPDX name in lower case, such as apache-2.0"))] = None
    metrics: Annotated[tuple[Metric, ...], Items(Record(Metric))] = ()


class _Gate(FieldRule):
    """A variant of `SE`."""

    def read(self, value: Any, cursor: Cursor) -> Any:
        if not isinstance(value, dict):
            return cursor.refuse("an object, or null for a plain twin", value)
        try:
            return from_json(value)
        except UsageError as e:
            cursor.report(f"{cursor.path}: {e}")
            return BAD

    def write(self, value: Any) -> object:
        return to_json(value)


@dataclass(frozen=True)
class _AxesFields:
    """`Dimensions` as JSON has it."""

    count: Annotated[int, Whole(1, 3)]
    depth_kernel: Annotated[int | None, Nullable(Whole(1, 15))] = None
    depth_stride: Annotated[int | None, Nullable(Whole(1, 8))] = None
    depth_padding: Annotated[DepthPadding, Member(tuple(each.value for each in DepthPadding), DepthPadding)] = (
        DepthPadding.ZEROS
    )


class _Axes(FieldRule):
    """A value of `Dimensions`."""

    def read(self, value: Any, cursor: Cursor) -> Any:
        fields = Record(_AxesFields).read(value, cursor)
        if fields is BAD:
            return BAD
        try:
            return Dimensions(fields.count, fields.depth_kernel, fields.depth_stride, fields.depth_padding)
        except SpecError as e:
            cursor.report(f"{cursor.path}: {e}")
            return BAD

    def write(self, value: Any) -> object:
        fields = _AxesFields(value.count, value.depth_kernel, value.depth_stride, value.depth_padding)
        return Record(_AxesFields).write(fields)


_PROVENANCE = Nullable(Record(Provenance), may_lack=True)
_FINGERPRINT = Nullable(Record(Fingerprint), may_lack=True)
_CATEGORIES = Nullable(Items(Text(r"(?s).*"), words="a list of texts, or null"))


@dataclass(frozen=True)
class _TimmAdditions:
    """What this zoo writes into a config of timm's form."""

    provenance: Annotated[Provenance | None, _PROVENANCE]
    fingerprint: Annotated[Fingerprint | None, _FINGERPRINT]


@dataclass(frozen=True)
class FolderConfig:
    """What the ``config.json`` of a saved folder says of its network.

    Args:
        architecture: name of the model.
        se: its gate, with every choice spelt out; None for a plain twin.
        num_classes: logits; 0 for pooled features.
        in_channels: of the pictures.
        preprocessing: from a picture to the input, or None where it is not known.
        categories: class names in the order of the logits, or None where they are not known.
        provenance: whose tensors these are; None in folders that do not say it.
        fingerprint: what the network answers to a fixed picture; None in older folders, and for a network that has
            none, as one that ends in maps.
        timm: what timm calls the network, where names and config are written so that timm reads the folder too.
        widths: channels of the stem's map and of each stage's, where some were removed; None for the architecture's
            own.
        dims: the axes of its maps, where it reads signals or volumes; None for pictures.
        volumes: from a volume or signal to the input, where it was trained here on them; None where it is not known.
    """

    architecture: Annotated[str, Text()]
    se: Annotated[SE | None, Nullable(_Gate())]
    num_classes: Annotated[int, Whole(0, 10**6)]
    in_channels: Annotated[int, Whole(1, 10**4)]
    preprocessing: Annotated[Preprocessing | None, Nullable(Record(Preprocessing))] = None
    categories: Annotated[tuple[str, ...] | None, _CATEGORIES] = None
    provenance: Annotated[Provenance | None, _PROVENANCE] = None
    fingerprint: Annotated[Fingerprint | None, _FINGERPRINT] = None
    timm: str | None = None
    widths: Annotated[Widths | None, WIDTHS] = None
    dims: Annotated[Dimensions | None, Nullable(_Axes(), may_lack=True)] = None
    volumes: Annotated[VolumePreprocessing | None, Nullable(Record(VolumePreprocessing), may_lack=True)] = None

    @property
    def spec(self) -> NetworkSpec:
        """The network's architecture.

        Raises:
            UsageError: the architecture has no such gate or widths.
        """
        return registry.find(self.architecture).spec(self.se, self.widths, self.dims or PLANE)

    def without_classes(self) -> "FolderConfig":
        """The record for a network with a fresh classifier, whose classes have no names yet."""
        return replace(self, categories=None)

    def transforms(self) -> "Transform | Callable[[Any], Tensor]":
        """The torchvision v2 transform of the preprocessing; of volumes a function of an array (C, D, H, W) or (C, L).

        Raises:
            UsageError: the folder does not say what it is.
        """
        if self.volumes is not None:
            return self.volumes.transforms()
        if self.preprocessing is None:
            raise UsageError(f"{CONFIG} of {self.architecture} names no preprocessing; save it with one")
        return self.preprocessing.transforms()


def read_config(folder: Path) -> FolderConfig:
    """What the ``config.json`` of a saved model's folder says.

    Raises:
        WeightsNotFound: there is none.
        ManifestError: it breaks a rule; the message names the field.
        UnknownModelError: its architecture is none of the zoo's.
    """
    path = folder / CONFIG
    if not is_file(path):
        raise WeightsNotFound(
            f"a saved model is a folder with {TENSORS} and {CONFIG}, but there is no {path}; without it, name the "
            "model",
            python=f": create_model(NAME, weights={str(folder)!r})",
            command_line=f": --model NAME --weights {folder}",
        )
    return parse_config(read_json(path), str(path))


def saved_config(folder: str | Path) -> FolderConfig:
    """What ``config.json`` says in a saved folder, or in a hub's repository.

    Args:
        folder: the folder, or ``hf://org/name@revision``.

    Raises:
        WeightsNotFound: there is none, or of no network of the zoo.
        ManifestError: it breaks a rule.
    """
    if not str(folder).startswith(HUB):
        if Path(folder).name == TENSORS:
            folder = Path(folder).parent
        return read_config(expanded(folder))
    config = config_beside(folder)
    if config is None:
        raise WeightsNotFound(
            f"a saved model has a {CONFIG} that says which network its tensors belong to, but {folder} has none of "
            "this zoo; name the model",
            python=f": create_model(NAME, weights={str(folder)!r})",
            command_line=f": --model NAME --weights {folder}",
        )
    return config


def parse_config(data: object, where: str) -> FolderConfig:
    """What a parsed ``config.json`` says, every field checked.

    Args:
        data: the JSON value: of the zoo's own form, or of timm's, whoever wrote it.
        where: its file or address, for messages.

    Raises:
        ManifestError: it breaks a rule; the message names the field.
        UnknownModelError: its architecture is none of the zoo's.
    """
    return _from_timm(data, where) if _is_timms(data) else _from_own(data, where)


def _from_own(data: object, where: str) -> FolderConfig:
    if isinstance(data, Mapping) and "task" in data:
        raise ManifestError(
            f"{where} is of a network for {str(data['task'])[:40]}, and this takes classifiers alone",
            python="; senet_zoo.from_pretrained, Predictor, verify and push_to_hub take both",
            command_line="; predict, info, verify, evaluate, train, export and publish take both",
        )
    if isinstance(data, Mapping) and data.get("model_type") == MODEL_TYPE:
        data = {name: value for name, value in data.items() if name != "model_type"}
    config = read_as(FolderConfig, data, where, {"timm": None})
    model = registry.find(config.architecture)
    if (model.se is None) != (config.se is None):
        kind = "null" if model.se is None else "an object"
        raise ManifestError(f"{where}.se must be {kind}, for {model.name}, got {shown(config.se)}")
    if config.categories is not None and len(config.categories) != config.num_classes:
        rule = f"as many names as num_classes ({config.num_classes})"
        raise ManifestError(f"{where}.categories must be {rule}, got {shown(config.categories)}")
    if config.widths is not None:
        try:
            model.spec(config.se, config.widths)
        except SpecError as e:
            raise ManifestError(f"{where}.widths: {e}") from e
    if config.dims is not None:
        try:
            model.spec(config.se, config.widths, config.dims)
        except SpecError as e:
            raise ManifestError(f"{where}.dims: {e}") from e
    if config.volumes is not None and (config.dims is None or len(config.volumes.sides) != config.dims.count):
        rule = "a side for each axis of the network, which dims says"
        raise ManifestError(f"{where}.volumes.sides must be {rule}, got {shown(config.volumes.sides)}")
    return replace(config, architecture=model.name)


def _from_timm(data: Mapping[str, object], where: str) -> FolderConfig:
    theirs = read_timm(data, where)
    written = {} if theirs.ours is None else theirs.ours
    ours = read_as(_TimmAdditions, written, f"{where}.{OURS}", {"num_classes": theirs.num_classes})
    if (
        "transformers_version" in data
    ):  # it saved the folder again, perhaps after training: other tensors, other answers
        ours = _TimmAdditions(None, None)
    return FolderConfig(
        architecture=theirs.model.name,
        se=theirs.model.se,
        num_classes=theirs.num_classes,
        in_channels=theirs.in_channels,
        preprocessing=theirs.preprocessing,
        categories=theirs.categories,
        provenance=ours.provenance,
        fingerprint=ours.fingerprint,
        timm=theirs.name,
    )


def config_beside(weights: str | Path) -> FolderConfig | None:
    """What the ``config.json`` of a folder, or of a hub's repository, says; None where it is of no network of the zoo.

    Args:
        weights: a path, or ``hf://org/name@revision``.

    Raises:
        ManifestError: it breaks a rule.
        WeightsError: the hub did not deliver it.
    """
    if str(weights).startswith(HUB):
        from senet_zoo.weights.download import locate_hub

        repo, revision = split_revision(str(weights).removeprefix(HUB))
        # The tensors come first: they settle which commit a name means, and the config is read at the same one.
        commit = locate_hub(repo, revision).revision
        return None if commit is None else config_at(repo, commit)
    folder = expanded(weights)
    if folder.name == TENSORS and is_file(folder):  # the file that `save_pretrained` writes, named by itself
        folder = folder.parent
    path = folder / CONFIG
    data = read_json(path) if is_file(path) else None
    return parse_config(data, str(path)) if _is_known(data) else None


def require_saved(config: FolderConfig, path: Path, state: FileState | None) -> None:
    """Refuse tensors that are not those that a folder's config was written for.

    Args:
        config: what `config_beside` found.
        path: of the tensors.
        state: what their file was like when it was opened.

    Raises:
        WeightsCorrupted: the file has another sha256 than the config says, or was written to meanwhile.
    """
    if config.provenance is None:
        return
    try:
        file = verify(path, config.provenance.sha256, None)
    except WeightsCorrupted as e:
        raise WeightsCorrupted(f"{e}. {CONFIG} beside it says so; save or copy the folder again") from e
    if file.state != state:
        raise WeightsCorrupted(f"{path} changed while it was checked: another process wrote it; try again")


def config_at(repo: str, commit: str) -> FolderConfig | None:
    """What the ``config.json`` of a hub's repository says; None where it is of no network of the zoo.

    Args:
        repo: ``organisation/name``.
        commit: 40 hex digits.

    Raises:
        ManifestError: it breaks a rule.
        WeightsError: the hub did not deliver it.
    """
    from senet_zoo.weights.hub_repository import fetch_text

    path = fetch_text(repo, commit, CONFIG)
    data = None if path is None else read_json(path)
    return parse_config(data, f"{HUB}{repo}@{commit}/{CONFIG}") if _is_known(data) else None


def _is_timms(data: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(data, Mapping) and (PRETRAINED in data or data.get("model_type") == TIMM_WRAPPER)


def _is_known(data: object) -> bool:
    # Other libraries write a config.json too; none of them says which gate its network carries.
    return names_ours(data) if _is_timms(data) else isinstance(data, Mapping) and "se" in data


def config_inside(config: FolderConfig, metadata: FileMetadata) -> FolderConfig | None:
    """What the tensors of a file show, and what the file says of itself; None where it says nothing.

    Args:
        config: what the tensors show.
        metadata: of the file.
    """
    if metadata == FileMetadata():
        return None
    names = None if metadata.labels is None else categories(metadata.labels, LABELS[metadata.labels])
    if names is not None and len(names) != config.num_classes:
        names = None
    return replace(config, preprocessing=metadata.preprocessing, categories=names, fingerprint=metadata.fingerprint)


def write_config(folder: Path, config: FolderConfig) -> None:
    """Write the ``config.json`` of a folder, and what transformers needs beside it, each whole or not at all.

    Raises:
        WeightsUnavailable: the disk did not take it.
    """
    processor = processor_json(config)
    try:
        with atomic_file(folder / CONFIG) as file:
            file.write(json.dumps(_as_json(config), indent=2, ensure_ascii=False).encode() + b"\n")
        if processor is None:
            (folder / PROCESSOR).unlink(missing_ok=True)  # of an earlier save
        else:
            with atomic_file(folder / PROCESSOR) as file:
                file.write(processor)
    except OSError as e:
        raise disk_error(e, folder, "the path") from e


def processor_json(config: FolderConfig) -> bytes | None:
    """``preprocessor_config.json``, in which transformers looks for the preprocessing; None where it needs none.

    That is where the preprocessing is not known, or ``config.json`` is in timm's form, which says it.
    """
    if config.preprocessing is None or config.timm is not None:
        return None
    written = {"image_processor_type": PROCESSOR_TYPE, "preprocessing": as_json(config.preprocessing)}
    return json.dumps(written, indent=2).encode() + b"\n"


def check_license(name: str) -> None:
    """Raise a UsageError unless the name has the form of a licence's."""
    if re.fullmatch(LICENSE, name) is None:
        raise UsageError(f"a licence is an SPDX name in lower case, such as apache-2.0 or mit, got {name!r}")


def _as_json(config: FolderConfig) -> dict[str, object]:
    if config.timm is not None:
        ours = as_json(_TimmAdditions(config.provenance, config.fingerprint))
        shape = (config.num_classes, config.in_channels)
        return timm_json(TimmConfig(config.timm, *shape, config.preprocessing, config.categories, ours))
    values = as_json(config)
    changed = {name: value for name in ("widths", "dims", "volumes") if (value := values.pop(name)) is not None}
    first = {"model_type": MODEL_TYPE, "architecture": values.pop("architecture"), "se": values.pop("se")}
    return {**first, **changed, **values}
