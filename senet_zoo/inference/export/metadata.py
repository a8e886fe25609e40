"""What an exported file will say of its network."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import UsageError
from senet_zoo.networks import registry
from senet_zoo.networks.families.family import Model
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.widths import Widths
from senet_zoo.prediction.exported_metadata import Metadata, Precision
from senet_zoo.version import __version__
from senet_zoo.weights.catalogue import Weights, default_preprocessing
from senet_zoo.weights.config import FolderConfig
from senet_zoo.weights.variant import to_json

SIDES = range(8, 1025)
"""Sides of pictures, in pixels, that a file can name."""


def prepared(model: nn.Module, preprocessing: Preprocessing | None, size: int | None) -> Preprocessing | None:
    """From a picture to the input, for pictures of ``size`` if one is given; None where nobody says.

    Args:
        model: whose weights or name say it where ``preprocessing`` does not.
        preprocessing: what the caller says.
        size: side that pictures are cut to; they are resized before the cut in the same proportion.

    Raises:
        UsageError: a side that no file can name.
    """
    if size is not None and size not in SIDES:
        raise UsageError(f"size must be a whole number of pixels from {SIDES[0]} to {SIDES[-1]}, got {size}")
    if preprocessing is None:
        record = _record(model)
        preprocessing = record.preprocessing if record else None
    if preprocessing is None and name_of(model) in registry.MODELS:
        preprocessing = default_preprocessing(name_of(model))
    if preprocessing is None or size is None:
        return preprocessing
    return replace(preprocessing, size=size, resize=round(preprocessing.resize * size / preprocessing.size))


def describe(
    model: nn.Module,
    num_classes: int,
    in_channels: int,
    preprocessing: Preprocessing | None,
    categories: Sequence[str] | None,
) -> Metadata:
    """The remarks of a network that takes pictures of any size, in float32.

    Args:
        model: the original.
        num_classes: logits that it gives.
        in_channels: of its pictures.
        preprocessing: of `prepared`; pictures of other than 3 channels have none.
        categories: class names; None for those of its weights, where their number fits.

    Raises:
        UsageError: another number of categories than of logits.
    """
    record = _record(model)
    if categories is None and record is not None and len(record.categories or ()) == num_classes:
        categories = record.categories
    if categories is not None and len(categories) != num_classes:
        raise UsageError(f"categories must name each logit: {num_classes} of them, got {len(categories)}")
    gate = model.spec.se if isinstance(model, ConvNet) else None
    found = _model_of(model)
    return Metadata(
        model=name_of(model),
        se=None if gate is None else to_json(gate),
        weights_sha256=_sha256(model),
        num_classes=num_classes,
        in_channels=in_channels,
        side=None,
        precision=Precision.FLOAT32,
        preprocessing=preprocessing if in_channels == 3 else None,
        categories=None if categories is None else tuple(categories),
        senet_zoo=__version__,
        widths=found[1] if found else None,
    )


def name_of(model: nn.Module) -> str:
    """The name in the zoo, or else of the class."""
    found = _model_of(model)
    return type(model).__name__ if found is None else found[0].name


def _model_of(model: nn.Module) -> tuple[Model, Widths | None] | None:
    return registry.model_of(model.spec) if isinstance(model, ConvNet) else None


def _record(model: nn.Module) -> Weights | FolderConfig | None:
    record = getattr(model, "weights", None)
    return record if isinstance(record, Weights | FolderConfig) else None


def _sha256(model: nn.Module) -> str:
    """Of name, type, shape and bytes of every tensor, in the order of their names."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()
