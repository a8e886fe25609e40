"""A model as a folder: its tensors, a config with what rebuilds the network around them, and a model card."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import UsageError, WeightsError
from senet_zoo.formats import safetensors
from senet_zoo.networks import registry
from senet_zoo.networks.families.family import Model
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.specs import NetworkSpec
from senet_zoo.networks.widths import Widths
from senet_zoo.support.files import atomic_file, disk_error, expanded
from senet_zoo.weights.card import CARD, model_card
from senet_zoo.weights.catalogue import Weights
from senet_zoo.weights.config import (
    HUB,
    TENSORS,
    FolderConfig,
    Provenance,
    check_license,
    saved_config,
    write_config,
)
from senet_zoo.weights.create import create_model
from senet_zoo.weights.download import locate
from senet_zoo.weights.fingerprint import fingerprint_if_any
from senet_zoo.weights.libraries import target_of
from senet_zoo.weights.rows import Metric


def save_pretrained(
    model: ConvNet,
    folder: str | Path,
    *,
    preprocessing: Preprocessing | None = None,
    categories: Sequence[str] | Mapping[str, int] | None = None,
    license: str | None = None,  # noqa: A002 (the word of every model card)
    metrics: tuple[Metric, ...] | None = None,
) -> None:
    """Write a network to a folder that `from_pretrained` and ``create_model(..., weights=folder)`` read.

    It holds ``model.safetensors``, ``config.json`` with the network's fingerprint, and ``README.md``, a model card;
    each the same bytes for the same network every time. Where timm has the same function, names and config are written
    so that ``timm.create_model("local-dir:FOLDER", pretrained=True)`` loads it too. transformers reads it as
    `senet_zoo.integrations.transformers` says.

    Args:
        model: a network of the zoo, variants included.
        folder: made where there is none; files of an earlier save are replaced.
        preprocessing: from a picture to the input; by default that of the weights the model was loaded with.
        categories: class names, one a logit; or the index of each, as torchvision's ``class_to_idx``. By default those
            of the weights, unless the classifier is a fresh one.
        license: SPDX name in lower case, such as ``apache-2.0``; by default that of the weights the model was loaded
            with. `push_to_hub` takes no model without one.
        metrics: what was measured with exactly these tensors; by default what is published of them, which is nothing
            once a tensor has changed.

    Raises:
        UsageError: a network that no name of the zoo spells, or another number of categories than of logits.
        WeightsUnavailable: the disk did not take it; nothing half-written is left.

    Example:
        >>> import tempfile
        >>> from senet_zoo import SE
        >>> model = create_model("se_resnet20", se=SE(reduction=4), num_classes=5)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_pretrained(model, folder)
        ...     again = from_pretrained(folder)
        >>> again.spec.se.reduction, again.num_classes
        (4, 5)
    """
    record = model.weights if isinstance(model.weights, Weights | FolderConfig) else None
    if preprocessing is None and record is not None:
        preprocessing = record.preprocessing
    known = (record.categories if record else None) or ()
    if categories is None and known and len(known) == model.num_classes:
        categories = known
    categories = None if categories is None else _class_names(categories, model.num_classes)
    if license is not None:
        check_license(license)
    entry, widths = architecture_of(model.spec)
    target = expanded(folder)
    timm = target_of("timm", entry, model.spec.se) if widths is None else None
    tensors = model.state_dict()
    if timm is not None:
        tensors = timm.tensors(model, tensors)
    sha256 = safetensors.write(target / TENSORS, tensors, {"format": "pt", "model": entry.name})
    provenance = _provenance(model, record, sha256)
    provenance = replace(
        provenance,
        license=license or provenance.license,
        metrics=provenance.metrics if metrics is None else metrics,
    )
    config = FolderConfig(
        architecture=entry.name,
        se=model.spec.se,
        num_classes=model.num_classes,
        in_channels=model.in_channels,
        preprocessing=preprocessing,
        categories=categories,
        provenance=provenance,
        fingerprint=fingerprint_if_any(model, preprocessing),
        timm=None if timm is None else timm.name,
        widths=widths,
    )
    write_config(target, config)
    try:
        with atomic_file(target / CARD) as file:
            file.write(model_card(config, parameters=parameters_of(model)).encode())
    except OSError as e:
        raise disk_error(e, target, "the path") from e


def _class_names(categories: Sequence[str] | Mapping[str, int], num_classes: int) -> tuple[str, ...]:
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
    """The network that `save_pretrained`, or timm, saved, in eval mode; ``model.weights`` is its `FolderConfig`.

    Args:
        folder: with ``model.safetensors`` and ``config.json``; or ``hf://org/name@revision``, a hub's repository with
            both. A commit of 40 hex digits is read for good; a tag, a branch or, without ``@``, the newest is resolved
            to a commit once, which is logged and remembered.
        device: where the parameters live.
        dtype: of the parameters and running statistics.

    Raises:
        WeightsError: a file is missing or damaged, holds another network's tensors, or could not be had.
        ManifestError: ``config.json`` breaks a rule.
    """
    place = folder if str(folder).startswith(HUB) else expanded(folder)
    return create_model(saved_config(place).architecture, weights=place, device=device, dtype=dtype)


def parameters_of(model: ConvNet) -> int:
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
        return Provenance(sha256, record.name, record.row.license, metrics)
    known = record.provenance if record else None
    if known is None:
        return Provenance(sha256)
    return Provenance(sha256, known.base, known.license, known.metrics if known.sha256 == sha256 else ())


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
