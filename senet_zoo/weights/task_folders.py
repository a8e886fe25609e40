"""Folders of detectors and segmenters: tensors, a ``config.json`` that names its task, a card and pictures."""

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import KW_ONLY, dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from senet_zoo.errors import ManifestError, UsageError, WeightsCorrupted, WeightsMismatch, WeightsNotFound
from senet_zoo.formats import safetensors
from senet_zoo.formats.metadata import Fingerprint
from senet_zoo.networks import registry
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.specs import SE
from senet_zoo.networks.widths import Widths
from senet_zoo.support.files import disk_error, expanded, folder_lock, is_file, scratch_folder
from senet_zoo.support.json_fields import (
    WIDTHS,
    Fields,
    Items,
    Nullable,
    Number,
    Record,
    Text,
    Whole,
    as_json,
    read_json,
)
from senet_zoo.support.memory import enough_memory
from senet_zoo.weights.card import CARD
from senet_zoo.weights.catalogue import Weights
from senet_zoo.weights.config import CONFIG, HUB, TENSORS, FolderConfig, Provenance, SavedTask, check_license
from senet_zoo.weights.file_hashes import digest
from senet_zoo.weights.fingerprint import Deviation, deviation_of, fingerprint_of, picture
from senet_zoo.weights.foreign_files import refuse_foreign
from senet_zoo.weights.rows import split_revision
from senet_zoo.weights.save import WAIT, spdx_of
from senet_zoo.weights.task_card import TaskCard, percents
from senet_zoo.weights.variant import from_json, to_json

Triple = tuple[float, float, float]
SIDE = 128  # of the picture that a fingerprint answers, in pixels
MOST_NUMBERS = 2**16  # of an answer, spread over all of it
TRIPLE = Items(Number(-1e9, 1e9), 3, 3, "a list of 3 numbers")
PERCENT = Nullable(Number(0.0, 100.0))


@dataclass(frozen=True)
class TaskMeasurement:
    """What a saved network scores.

    Args:
        data: which pictures, such as ``coco val``.
        pictures: their number.
    """

    data: Annotated[str, Text()]
    pictures: Annotated[int, Whole(0, 10**9)]


@dataclass(frozen=True)
class TaskConfig:
    """What every ``config.json`` of a detector or a segmenter says; the network has it as its ``weights``.

    Args:
        kind: of detector or segmenter.
        backbone: name of its network.
        se: the network's gate; None for a plain twin.
        classes: in the order of the logits; of a detector, of the labels from 1.
        widths: channels of the network's maps, where some were removed; None for its own.
        measured: figures of exactly these tensors, on pictures that were not trained on; None where nobody has.
        provenance: whose tensors these are; None before they are saved, and in folders that do not say it.
        fingerprint: what the network answers to a fixed picture; None before it is saved, and in older folders.
    """

    kind: Enum
    backbone: str
    se: SE | None
    classes: tuple[str, ...]
    _: KW_ONLY
    widths: Widths | None = None
    measured: TaskMeasurement | None = None
    provenance: Provenance | None = field(default=None, compare=False)
    fingerprint: Fingerprint | None = field(default=None, compare=False)

    @property
    def description(self) -> str:
        """The network in words, such as ``faster_rcnn on se_resnet18``."""
        return f"{self.kind.value} on {self.backbone}"


Config = TypeVar("Config", bound=TaskConfig)
_log = logging.getLogger("senet_zoo")


class FolderFormat(ABC, Generic[Config]):
    """How the folders of one task are read, built and described.

    Attributes:
        TASK: which.
        NOUN: what its networks are called, ``detector``; the name of the config's field for their kind, too.
        KINDS: of them.
        CONFIG: class of the config.
        MEASUREMENT: class of its figures.
    """

    TASK: ClassVar[SavedTask]
    NOUN: ClassVar[str]
    KINDS: ClassVar[type[Enum]]
    CONFIG: type[Config]
    MEASUREMENT: ClassVar[type[TaskMeasurement]]

    @abstractmethod
    def _read_own(self, fields: Fields) -> dict[str, object]:
        """The values of the config that only this task has, by name."""

    @abstractmethod
    def _write_own(self, config: Config) -> dict[str, object]:
        """The fields from which `_read_own` reads the same."""

    @abstractmethod
    def build(self, config: Config) -> nn.Module:
        """The network that a config describes, with random weights."""

    @abstractmethod
    def answer(self, network: nn.Module, config: Config, picture: Tensor) -> Tensor:
        """What the network's heads say of a picture (3, S, S) of pixels in [0, 1], before anything is chosen: (n,)."""

    @abstractmethod
    def card(self, config: Config, parameters: int) -> TaskCard:
        """What the model card says, for a number of parameters."""

    def read(self, data: Mapping[str, object], where: str) -> Config:
        """What a parsed ``config.json`` says.

        Args:
            data: parsed.
            where: it lies, for messages.

        Raises:
            ManifestError: it breaks a rule, or is of another task; the message names the field.
            UnknownModelError: its backbone is none of the zoo's.
        """
        fields = Fields(data, where)
        if fields.take_optional("task") != self.TASK.value:
            raise ManifestError(
                f"{where} must say task {self.TASK.value!r}, and does not: it is no {self.NOUN}'s; a classifier is "
                "read by senet_zoo.from_pretrained"
            )
        kind = self.KINDS(fields.choice(self.NOUN, tuple(kind.value for kind in self.KINDS)))
        backbone, se, widths = take_backbone(fields)
        classes = take_classes(fields)
        try:
            own = self._read_own(fields)
            measured = fields.read("measured", Nullable(Record(self.MEASUREMENT), may_lack=True))
            provenance = fields.read("provenance", Nullable(Record(Provenance), may_lack=True))
            known = fields.read("fingerprint", Nullable(Record(Fingerprint), may_lack=True))
            fields.done()
            make: Callable[..., Config] = self.CONFIG
            found = {"measured": measured, "provenance": provenance, "fingerprint": known}
            return make(kind, backbone, se, classes, widths=widths, **found, **own)
        except UsageError as error:
            raise ManifestError(f"{where}: {error}") from error

    def write(self, config: Config) -> dict[str, object]:
        """The JSON values from which `read` reads the same again, without provenance and fingerprint."""
        gate = None if config.se is None else to_json(config.se)
        return {
            "task": self.TASK.value,
            self.NOUN: config.kind.value,
            "backbone": config.backbone,
            "se": gate,
            **({} if config.widths is None else {"widths": config.widths}),
            "classes": config.classes,
            **self._write_own(config),
            "measured": None if config.measured is None else as_json(config.measured),
        }

    def fingerprint(self, network: nn.Module, config: Config) -> Fingerprint | None:
        """What travels with a network's tensors; None, and a line in the log, where there can be none."""
        try:
            return fingerprint_of(self._numbers(deepcopy(network).cpu().double().eval(), config), SIDE)
        except UsageError as error:
            _log.info("no fingerprint: %s", error)
            return None

    def deviation(self, network: nn.Module, config: Config, known: Fingerprint) -> Deviation:
        """How far a network in eval mode is from a fingerprint."""
        return deviation_of(self._numbers(network, config), known)

    @torch.inference_mode()
    def _numbers(self, network: nn.Module, config: Config) -> Tensor:
        like = next(network.parameters())
        found = self.answer(network, config, (picture(SIDE).double() / 255.0).to(like.device, like.dtype)).flatten()
        spread = torch.arange(min(MOST_NUMBERS, len(found))) * len(found) // min(MOST_NUMBERS, len(found))
        return found[spread.to(found.device)].double().cpu()

    def _card(
        self,
        config: Config,
        parameters: int,
        *,
        network: tuple[tuple[str, str], ...],
        figures: tuple[tuple[str, float | None], ...],
        index: tuple[tuple[str, float | None], ...],
        pictures: str,
        papers: tuple[str, ...],
    ) -> TaskCard:
        """A card, all of it that configs of every task say filled in; ``index`` is what a hub lists."""
        found = config.measured
        return TaskCard(
            task=self.TASK,
            title=config.description,
            backbone=config.backbone,
            se=config.se,
            widths=config.widths,
            classes=config.classes,
            parameters=parameters,
            network=network,
            measured=None if found is None else (f"{found.data} ({found.pictures} pictures)", percents(figures)),
            index=tuple((name, value) for name, value in index if value is not None),
            pictures=pictures,
            papers=papers,
            provenance=config.provenance,
        )


@dataclass(frozen=True)
class TaskFiles:
    """The files of a saved detector or segmenter, on this machine.

    Args:
        config: the parsed ``config.json``.
        where: its path or address, for messages.
        tensors: path of ``model.safetensors``; it may be missing.
    """

    config: Mapping[str, object]
    where: str
    tensors: Path


def task_at(place: str | Path) -> SavedTask:
    """What the network is for that lies in a folder or a hub's repository.

    Args:
        place: the folder, its ``model.safetensors``, or ``hf://org/name@revision``. Whatever else it is, or where
            nothing lies there, it counts as a classifier's, whose reader says what is wrong.

    Raises:
        ManifestError: ``config.json`` cannot be read, or names an unknown task.
        WeightsError: the hub did not deliver.
    """
    config, where = _config(place)
    if config is None or "task" not in config:
        return SavedTask.CLASSIFICATION
    known = [task.value for task in SavedTask]
    if config["task"] not in known:
        raise ManifestError(f"{where}.task must be one of {', '.join(known)}, got {str(config['task'])[:100]!r}")
    return SavedTask(config["task"])


def task_files(place: str | Path) -> TaskFiles:
    """The files at a place as `task_at` takes it.

    Raises:
        WeightsNotFound: there is no ``config.json``.
        ManifestError: it cannot be read.
        WeightsError: the hub did not deliver.
    """
    config, where = _config(place)
    if config is None:
        raise WeightsNotFound(f"a saved network is a folder with {TENSORS} and {CONFIG}, but there is no {where}")
    if str(place).startswith(HUB):
        from senet_zoo.weights.download import hub_file

        return TaskFiles(config, where, hub_file(*split_revision(str(place).removeprefix(HUB))).path)
    return TaskFiles(config, where, _folder(place) / TENSORS)


def read_task_folder(
    format: FolderFormat[Config],  # noqa: A002 (the word of file formats)
    files: TaskFiles,
    device: str | torch.device,
) -> tuple[nn.Module, Config]:
    """The network of a folder, in eval mode, and what its config says; it is the network's ``weights``, too.

    Raises:
        WeightsError: a file is missing or damaged, or holds another network's tensors.
        ManifestError: ``config.json`` breaks a rule.
    """
    config = format.read(files.config, files.where)
    header = safetensors.check(files.tensors)
    if config.provenance is not None:
        found = digest(files.tensors)
        if found != config.provenance.sha256:
            raise WeightsCorrupted(
                f"the sha256 of {files.tensors} must be {config.provenance.sha256}, as its {CONFIG} says, but is "
                f"{found}; save or copy the folder again"
            )
    with enough_memory(f"the {config.description} that {CONFIG} describes"):
        network = format.build(config)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if expected != header.shapes:
        other = sorted(
            name for name in expected.keys() | header.shapes.keys() if expected.get(name) != header.shapes.get(name)
        )
        raise WeightsMismatch(
            f"{files.tensors} must hold the tensors of the {config.description} that {CONFIG} describes, and "
            f"{len(other)} differ, such as {other[0]}: restore both files from one save"
        )
    network.load_state_dict(safetensors.read(files.tensors, header))
    cast("Any", network).weights = config
    return network.to(device).eval(), config


def write_task_folder(
    format: FolderFormat[Config],  # noqa: A002
    network: nn.Module,
    folder: str | Path,
    config: Config,
    *,
    license: str | None = None,  # noqa: A002 (the word of every model card)
) -> Config:
    """Write a network to a folder that `read_task_folder` reads, and return its config with what is known now.

    Args:
        format: of its task.
        network: what the config describes.
        folder: made where there is none; files of an earlier save are replaced, files of others never.
        config: its provenance says what the tensors were trained on from, where that is known.
        license: SPDX name for the card; None for that of the provenance.

    Raises:
        UsageError: a file of others in the way, another process that writes there, or a malformed licence.
        WeightsUnavailable: the disk did not take it; nothing half-written is left.
    """
    if license is not None:
        check_license(license)
    target, known = expanded(folder), config.provenance
    described = config.description
    refuse_foreign(target)
    try:
        with folder_lock(target, wait=WAIT), scratch_folder(target) as made:
            metadata = {"format": "pt", "model": described}
            sha256 = safetensors.write(made / TENSORS, network.state_dict(), metadata)
            provenance = Provenance(
                sha256, known.base if known else None, license or (known.license if known else None)
            )
            answered = format.fingerprint(network, config)
            config = replace(config, provenance=provenance, fingerprint=answered)
            values = format.write(config) | {"provenance": as_json(provenance)}
            values["fingerprint"] = None if answered is None else as_json(answered)
            (made / CONFIG).write_bytes(_encoded(values))
            parameters = sum(parameter.numel() for parameter in network.parameters())
            (made / CARD).write_text(
                format.card(config, parameters).text(), encoding="utf-8", errors="backslashreplace"
            )
            # The config last: until then the one that is there names other tensors, which is noticed.
            for path in sorted(made.iterdir(), key=lambda path: path.name == CONFIG):
                path.replace(target / path.name)
    except OSError as error:
        raise disk_error(error, target, "the path") from error
    cast("Any", network).weights = config
    return config


def provenance_from(network: ConvNet) -> Provenance | None:
    """What a network that was loaded passes on to what is trained from it: the published base, and the licence."""
    record: object = network.weights
    if isinstance(record, Weights):
        return Provenance("0" * 64, record.name, spdx_of(record))
    known = record.provenance if isinstance(record, FolderConfig | TaskConfig) else None
    return None if known is None else Provenance(known.sha256, known.base, known.license)


def take_backbone(fields: Fields) -> tuple[str, SE | None, Widths | None]:
    """The network that the fields ``backbone``, ``se`` and ``widths`` of a config spell.

    Raises:
        ManifestError: one of them breaks a rule, or there is no such network.
        UnknownModelError: no model of that name.
    """
    model = registry.find(fields.text("backbone"))
    se = fields.take("se")
    if (se is None) != (model.se is None) or not isinstance(se, dict | None):
        raise fields.refuse("se", se, f"{'null' if model.se is None else 'an object'}, for {model.name}")
    try:
        gate = None if se is None else from_json(se)
        widths = fields.read("widths", WIDTHS)
        model.spec(gate, widths)
    except UsageError as error:
        raise ManifestError(f"{fields.where}: {error}") from error
    return model.name, gate, widths


def take_classes(fields: Fields) -> tuple[str, ...]:
    """The field ``classes``."""
    classes = fields.take("classes")
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise fields.refuse("classes", classes, "a list of names")
    return tuple(classes)


def build_backbone(backbone: str, se: SE | None, widths: Widths | None) -> ConvNet:
    """The network that a config names, with random weights."""
    return ConvNet(registry.find(backbone).spec(se, widths))


def _folder(place: str | Path) -> Path:
    path = expanded(place)
    return path.parent if path.name == TENSORS else path


def _config(place: str | Path) -> tuple[Mapping[str, object] | None, str]:
    """The parsed ``config.json``, None where there is none, and where it lies."""
    data: Any = None
    if str(place).startswith(HUB):
        from senet_zoo.weights.download import hub_file
        from senet_zoo.weights.hub_repository import fetch_text

        repo, revision = split_revision(str(place).removeprefix(HUB))
        commit = hub_file(repo, revision).revision
        path = None if commit is None else fetch_text(repo, commit, CONFIG)
        where = f"{HUB}{repo}@{commit}/{CONFIG}"
        data = None if path is None else read_json(path)
    else:
        path = _folder(place) / CONFIG
        where = str(path)
        data = read_json(path) if is_file(path) else None
    return data if isinstance(data, Mapping) else None, where


def _encoded(values: Mapping[str, object]) -> bytes:
    return json.dumps(values, indent=2, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
