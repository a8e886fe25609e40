"""A model as a folder: its tensors, a config with what rebuilds the network around them, and a model card."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.data.volumes import VolumePreprocessing
from senet_zoo.errors import ManifestError, UsageError, WeightsError, WeightsMismatch
from senet_zoo.formats import safetensors
from senet_zoo.networks import registry
from senet_zoo.networks.dimensions import PLANE
from senet_zoo.networks.families.family import Model
from senet_zoo.networks.network import ConvNet, on_meta
from senet_zoo.networks.specs import NetworkSpec
from senet_zoo.networks.widths import Widths
from senet_zoo.support.files import disk_error, expanded, folder_lock, scratch_folder
from senet_zoo.weights.card import CARD, FIGURES, model_card
from senet_zoo.weights.catalogue import Weights
from senet_zoo.weights.config import (
    CONFIG,
    HUB,
    LICENSE,
    PROCESSOR,
    TENSORS,
    FolderConfig,
    Provenance,
    check_license,
    read_config,
    saved_config,
    write_config,
)
from senet_zoo.weights.create import create_model
from senet_zoo.weights.download import locate
from senet_zoo.weights.file_hashes import digest
from senet_zoo.weights.fingerprint import UNSAID, compare, fingerprint_if_any
from senet_zoo.weights.foreign_files import is_own_picture, refuse_foreign
from senet_zoo.weights.libraries import target_of
from senet_zoo.weights.load import open_checkpoint, shapes_of
from senet_zoo.weights.rows import Metric

_log = logging.getLogger("senet_zoo")

WAIT = 30.0
"""Seconds for which a save waits for another process that saves to the same folder."""


def save_pretrained(
    model: nn.Module,
    folder: str | Path,
    *,
    preprocessing: Preprocessing | VolumePreprocessing | None = None,
    categories: Sequence[str] | Mapping[str, int] | None = None,
    license: str | None = None,  # noqa: A002 (the word of every model card)
    metrics: tuple[Metric, ...] | None = None,
) -> None:
    """`senet_zoo.save_pretrained` of a classifier; arguments and errors as there.

    Of a network over volumes or signals, ``preprocessing`` is how they are resampled.
    """
    model = unwrapped(model)
    num_classes = _logits(model)
    record = model.weights if isinstance(model.weights, Weights | FolderConfig) else None
    pictures, volumes = _preparation(model, record, preprocessing)
    known = (record.categories if record else None) or ()
    if categories is None and known and len(known) == num_classes:
        categories = known
    categories = None if categories is None else class_names(categories, num_classes)
    if license is not None:
        check_license(license)
    entry, widths = architecture_of(model.spec)
    target = expanded(folder)
    own = widths is None and model.spec.dimensions == PLANE
    timm = target_of("timm", entry, model.spec.se) if own else None
    _require_values(model.state_dict())
    refuse_foreign(target)
    try:
        with folder_lock(target, wait=WAIT), scratch_folder(target) as made:
            sha256 = _write_tensors(model, made / TENSORS)
            provenance = _provenance(model, record, sha256)
            provenance = replace(
                provenance,
                license=license or provenance.license,
                metrics=provenance.metrics if metrics is None else metrics,
            )
            config = FolderConfig(
                architecture=entry.name,
                se=model.spec.se,
                num_classes=num_classes,
                in_channels=model.in_channels,
                preprocessing=pictures,
                categories=categories,
                provenance=provenance,
                fingerprint=fingerprint_if_any(model, pictures),
                timm=None if timm is None else timm.name,
                widths=widths,
                dims=None if model.spec.dimensions == PLANE else model.spec.dimensions,
                volumes=volumes,
            )
            write_config(made, config)
            (made / CARD).write_text(model_card(config, parameters=parameters_of(model)), encoding="utf-8")
            _read_back(made, config)
            stale = _stale_figures(target, sha256)
            # The config last: until then the one that is there names other tensors, which is noticed.
            for path in sorted(made.iterdir(), key=lambda path: path.name == CONFIG):
                path.replace(target / path.name)
            for path in stale:  # they show how other tensors were trained
                path.unlink(missing_ok=True)
            if config.preprocessing is None or config.timm is not None:
                (target / PROCESSOR).unlink(missing_ok=True)  # of an earlier save
    except OSError as e:
        raise disk_error(e, target, "the path") from e


def _stale_figures(folder: Path, sha256: str) -> list[Path]:
    """A run's pictures, where the tensors beside them are not those that are saved now."""
    figures, tensors = [folder / name for name in FIGURES if is_own_picture(folder / name)], folder / TENSORS
    same = bool(figures) and tensors.is_file() and digest(tensors) == sha256
    return [] if same else figures


def _preparation(
    model: ConvNet, record: Weights | FolderConfig | None, given: Preprocessing | VolumePreprocessing | None
) -> tuple[Preprocessing | None, VolumePreprocessing | None]:
    """What pictures, or volumes and signals, go through, as far as it is known.

    Raises:
        UsageError: it is that of the other kind, or of other axes.
    """
    dimensions = model.spec.dimensions
    if dimensions == PLANE:
        if isinstance(given, VolumePreprocessing):
            raise UsageError("this network reads pictures: give a Preprocessing, not one of volumes")
        return given or (None if record is None else record.preprocessing), None
    if given is None and isinstance(record, FolderConfig):
        given = record.volumes
    if given is not None and (not isinstance(given, VolumePreprocessing) or len(given.sides) != dimensions.count):
        raise UsageError(
            f"this network has {dimensions.count} dimensions: give a senet_zoo.data.volumes.VolumePreprocessing of as "
            f"many sides, got {given}"
        )
    return None, given


def _write_tensors(model: ConvNet, path: Path) -> str:
    """The tensors under timm's names, where timm has the network, else under the zoo's; returns the file's sha256."""
    entry, widths = architecture_of(model.spec)
    own = widths is None and model.spec.dimensions == PLANE
    timm = target_of("timm", entry, model.spec.se) if own else None
    tensors = model.state_dict() if timm is None else timm.tensors(model, model.state_dict())
    return safetensors.write(path, tensors, {"format": "pt", "model": entry.name})


def sha256_of(model: ConvNet) -> str:
    """Of the ``model.safetensors`` that `save_pretrained` would write, which names the weights wherever they came from.

    Raises:
        UsageError: no name of the zoo builds the network.
    """
    with TemporaryDirectory() as folder:
        return _write_tensors(model, Path(folder) / TENSORS)


def unwrapped(model: nn.Module) -> ConvNet:
    """The network inside of what compiles, distributes or averages it.

    Raises:
        UsageError: there is no network of the zoo inside.
    """
    inner: object = model
    while not isinstance(inner, ConvNet):
        found = getattr(inner, "_orig_mod", None) or getattr(inner, "module", None)
        if not isinstance(found, nn.Module):
            raise UsageError(
                f"a network of the zoo is saved, bare or in torch.compile, DataParallel, DistributedDataParallel or "
                f"AveragedModel, got {type(model).__name__}; save its state_dict() with safetensors"
            )
        inner = found
    return inner


def _logits(model: ConvNet) -> int:
    """How many logits the classifier gives that the network has by now.

    Raises:
        UsageError: it is of another kind than the network's own.
    """
    weight = getattr(model.classifier, "weight", None)
    found = 0 if weight is None else len(weight)
    usual = on_meta(model.spec, num_classes=found, in_channels=model.in_channels).classifier
    if type(model.classifier) is not type(usual) or shapes_of(model.classifier) != shapes_of(usual):
        raise UsageError(
            f"a network is saved with a classifier of its own kind, {usual}, got {str(model.classifier)[:200]}; put "
            f"one there, model.reset_classifier({model.num_classes or 10}), or save the state_dict() with safetensors"
        )
    return found


def _require_values(tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors of the meta device, and log those that hold NaN or infinity.

    Raises:
        UsageError: a tensor has no values.
    """
    empty = [name for name, tensor in tensors.items() if tensor.is_meta]
    if empty:
        raise UsageError(
            f"a network is saved with its values, and {len(empty)} of its tensors, such as {empty[0]}, are on the meta "
            f"device and have none; fill them, or create the network on cpu"
        )
    infinite = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if infinite:
        _log.warning("%d tensors that are saved hold NaN or infinity, such as %s", len(infinite), infinite[0])


def _read_back(folder: Path, config: FolderConfig) -> None:
    """Read what was written as `from_pretrained` will read it, and ask the network for the same answer.

    Raises:
        UsageError: it cannot be read, or is another function than the network that was to be saved.
    """
    try:
        checkpoint = open_checkpoint(folder / TENSORS)
        read = read_config(folder)
        net = checkpoint.matching_network(registry.find(read.architecture), read.spec, read.num_classes)
        checkpoint.load_into(net)
    except (ManifestError, WeightsMismatch) as e:
        text = str(e).replace(f"{folder}/", "")
        raise UsageError(
            f"a network is saved so that it can be read again, and this one cannot: {text}. Undo what changed its "
            f"layers, or save the state_dict() with safetensors"
        ) from e
    if config.fingerprint is None:
        return
    deviation = compare(net.float(), config.preprocessing or UNSAID, config.fingerprint)
    if not deviation.ok:
        raise UsageError(
            f"a network is saved under the name that rebuilds it, but {config.architecture} with these tensors is "
            f"another function than this network ({deviation.where}): a layer of it was replaced or set otherwise. "
            f"Undo that, or save the state_dict() with safetensors"
        )


def class_names(categories: Sequence[str] | Mapping[str, int], num_classes: int) -> tuple[str, ...]:
    """Names in the order of the logits."""
    if isinstance(categories, Mapping):
        if sorted(categories.values()) != list(range(len(categories))):
            raise UsageError(
                f"categories must give each class its index from 0 to {len(categories) - 1}, got "
                f"{str(dict(categories))[:200]}"
            )
        categories = sorted(categories, key=categories.__getitem__)
    if isinstance(categories, str) or not all(isinstance(name, str) for name in categories):
        raise UsageError(f"categories must be class names, one a logit, got {str(categories)[:200]!r}")
    odd = next(
        (name for name in categories if name.encode(errors="replace") != name.encode(errors="surrogatepass")), None
    )
    if odd is not None:
        raise UsageError(f"categories must be text that UTF-8 can spell, and {odd!r} is a name of bytes: rename it")
    if len(categories) != num_classes:
        raise UsageError(f"categories must name each logit: {num_classes} of them, got {len(categories)}")
    return tuple(map(str, categories))


def from_pretrained(
    folder: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> ConvNet:
    """`senet_zoo.from_pretrained` of a classifier; arguments and errors as there."""
    place = folder if str(folder).startswith(HUB) else expanded(folder)
    return create_model(saved_config(place).architecture, weights=place, device=device, dtype=dtype)


def parameters_of(model: nn.Module) -> int:
    """Number of learnt values."""
    return sum(parameter.numel() for parameter in model.parameters())


def architecture_of(spec: NetworkSpec) -> tuple[Model, Widths | None]:
    """The model that spells this architecture, whatever its gate, and its widths where they are not the model's own.

    Raises:
        UsageError: none does.
    """
    found = registry.model_of(spec)
    if found is None:
        raise UsageError(
            "a network is saved under the name that rebuilds it, and no model of the zoo has this architecture; "
            "register it in a family first, or save its state_dict() with safetensors"
        )
    return found


def _provenance(model: ConvNet, record: Weights | FolderConfig | None, sha256: str) -> Provenance:
    """What is still true of the tensors in a file of that sha256, of all that was known of those loaded once."""
    if isinstance(record, Weights):
        metrics = record.metrics if _is_published(model, record) else ()
        return Provenance(sha256, record.name, spdx_of(record), metrics)
    known = record.provenance if record else None
    if known is None:
        return Provenance(sha256)
    return Provenance(sha256, known.base, known.license, known.metrics if known.sha256 == sha256 else ())


def spdx_of(weights: Weights) -> str | None:
    """The licence of published weights as a card names it; None, and a warning, where it is no SPDX name."""
    found = (weights.row.license or "").lower()
    if not found or re.fullmatch(LICENSE, found):
        return found or None
    _log.warning(
        "the licence of %s is %r, which is no SPDX name; the saved model names none: pass license=...",
        weights.name,
        weights.row.license,
    )
    return None


def _is_published(model: ConvNet, weights: Weights) -> bool:
    """Whether every tensor of the network is the published one, in a dtype that holds its values exactly."""
    try:
        published = locate(weights.row).tensors()
    except WeightsError:
        return False  # not proven
    ours = model.state_dict()
    return ours.keys() == published.keys() and all(_holds(ours[key].cpu(), tensor) for key, tensor in published.items())


def _holds(ours: torch.Tensor, published: torch.Tensor) -> bool:
    """Whether no value was rounded on the way; many checkpoints are published in float16 and computed in float32."""
    wide_enough = torch.promote_types(ours.dtype, published.dtype) == ours.dtype
    return wide_enough and torch.equal(ours, published.to(ours.dtype))
