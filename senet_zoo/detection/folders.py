"""A detector as a folder: its tensors, and a config.json with what rebuilds the detector around them."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from senet_zoo.detection.models import Design, Kind, build
from senet_zoo.errors import ManifestError, UsageError, WeightsMismatch, WeightsNotFound
from senet_zoo.formats import safetensors
from senet_zoo.networks import registry
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.specs import SE
from senet_zoo.networks.widths import Widths
from senet_zoo.support.files import atomic_file, disk_error
from senet_zoo.support.json_fields import WIDTHS, Fields, read_as, read_json
from senet_zoo.weights.config import CONFIG, TENSORS
from senet_zoo.weights.variant import from_json, to_json

TASK = "detection"


@dataclass(frozen=True)
class DetectorConfig:
    """What ``config.json`` beside a detector's tensors says.

    Args:
        kind: of detector.
        backbone: name of its network.
        se: the network's gate; None for a plain twin.
        classes: of things, in the order of the labels from 1; 0 is the background.
        design: sizes of the detector, mean and std included.
        widths: channels of the network's maps, where some were removed; None for its own.
    """

    kind: Kind
    backbone: str
    se: SE | None
    classes: tuple[str, ...]
    design: Design
    widths: Widths | None = None


def save_pretrained(detector: nn.Module, folder: str | Path, config: DetectorConfig) -> None:
    """Write a detector to a folder that `from_pretrained` reads, the tensors last.

    Args:
        detector: made by `senet_zoo.detection`.
        folder: made where there is none; files of an earlier save are replaced.
        config: what rebuilds it.

    Raises:
        WeightsUnavailable: the disk did not take it; nothing half-written is left.
    """
    target = Path(folder).expanduser()
    design = asdict(_resolved(detector, config).design)
    values = {
        "task": TASK,
        "detector": config.kind.value,
        "backbone": config.backbone,
        "se": None if config.se is None else to_json(config.se),
        **({} if config.widths is None else {"widths": config.widths}),
        "classes": config.classes,
        "design": design,
    }
    try:
        with atomic_file(target / CONFIG) as file:
            file.write(json.dumps(values, indent=2, ensure_ascii=False).encode(errors="backslashreplace") + b"\n")
    except OSError as error:
        raise disk_error(error, target, "the path") from error
    metadata = {"format": "pt", "model": config.backbone, "detector": config.kind.value}
    safetensors.write(target / TENSORS, detector.state_dict(), metadata)


def from_pretrained(folder: str | Path, *, device: str | torch.device = "cpu") -> nn.Module:
    """The detector that `save_pretrained` wrote, in eval mode; `read_config` tells its classes.

    Raises:
        WeightsError: a file is missing or damaged, or holds another detector's tensors.
        ManifestError: ``config.json`` breaks a rule.
    """
    path = Path(folder).expanduser()
    config = read_config(path)
    header = safetensors.check(path / TENSORS)
    network = ConvNet(registry.find(config.backbone).spec(config.se, config.widths))
    detector = build(config.kind, network, len(config.classes) + 1, design=config.design)
    expected = {name: tuple(tensor.shape) for name, tensor in detector.state_dict().items()}
    if expected != header.shapes:
        other = sorted(
            name for name in expected.keys() | header.shapes.keys() if expected.get(name) != header.shapes.get(name)
        )
        raise WeightsMismatch(
            f"{path / TENSORS} must hold the tensors of the {config.kind.value} on {config.backbone} that {CONFIG} "
            f"describes, and {len(other)} differ, such as {other[0]}: restore both files from one save"
        )
    detector.load_state_dict(safetensors.read(path / TENSORS, header))
    return detector.to(device).eval()


def read_config(folder: str | Path) -> DetectorConfig:
    """What the ``config.json`` of a detector's folder says.

    Raises:
        WeightsNotFound: there is none.
        ManifestError: it breaks a rule, or is a classifier's; the message names the field.
        UnknownModelError: its backbone is none of the zoo's.
    """
    path = Path(folder).expanduser() / CONFIG
    if not path.is_file():
        raise WeightsNotFound(f"a saved detector is a folder with {TENSORS} and {CONFIG}, but there is no {path}")
    fields = Fields(read_json(path), str(path))
    if fields.take_optional("task") != TASK:
        raise ManifestError(
            f"{path} must say task {TASK!r}, and does not: it is no detector's; a classifier is read by "
            "senet_zoo.from_pretrained"
        )
    kind = Kind(fields.choice("detector", tuple(kind.value for kind in Kind)))
    model = registry.find(fields.text("backbone"))
    se, classes = fields.take("se"), fields.take("classes")
    if (se is None) != (model.se is None) or not isinstance(se, dict | None):
        raise fields.refuse("se", se, f"{'null' if model.se is None else 'an object'}, for {model.name}")
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise fields.refuse("classes", classes, "a list of names")
    try:
        gate = None if se is None else from_json(se)
        design = read_as(Design, fields.take("design"), f"{path}.design")
        widths = fields.read("widths", WIDTHS)
        model.spec(gate, widths)
    except UsageError as error:
        raise ManifestError(f"{path}: {error}") from error
    fields.done()
    return DetectorConfig(kind, model.name, gate, tuple(classes), design, widths)


def _resolved(detector: nn.Module, config: DetectorConfig) -> DetectorConfig:
    """The config with the mean and std that the detector was made with."""
    transform = detector.transform
    mean, std = tuple(transform.image_mean), tuple(transform.image_std)  # type: ignore[union-attr, arg-type]
    return replace(config, design=replace(config.design, mean=mean, std=std))
