"""A model as a folder: ``model.safetensors``, and ``config.json`` with what rebuilds the network around it."""

from pathlib import Path

import torch

from senet_zoo import registry
from senet_zoo.errors import UsageError
from senet_zoo.hub import tensor_files
from senet_zoo.network import ConvNet
from senet_zoo.preprocessing import Preprocessing
from senet_zoo.specs import NetworkSpec
from senet_zoo.zoo.catalogue import Weights
from senet_zoo.zoo.config import TENSORS, FolderConfig, read_config, write_config
from senet_zoo.zoo.create import create_model


def save_pretrained(
    model: ConvNet,
    folder: str | Path,
    *,
    preprocessing: Preprocessing | None = None,
    categories: tuple[str, ...] | None = None,
) -> None:
    """Write a network to a folder that `from_pretrained` and ``create_model(..., weights=folder)`` read.

    Args:
        model: a network of the zoo, variants included.
        folder: made where there is none; files of an earlier save are replaced.
        preprocessing: from a picture to the input; by default that of the weights the model was loaded with.
        categories: class names, one a logit; by default those of the weights, where their number still fits.

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
    if categories is None and record is not None and len(record.categories or ()) == model.num_classes:
        categories = record.categories
    if categories is not None and len(categories) != model.num_classes:
        raise UsageError(f"categories must name each logit: {model.num_classes} of them, got {len(categories)}")
    name = name_of(model.spec)
    config = FolderConfig(name, model.spec.se, model.num_classes, model.in_channels, preprocessing, categories)
    target = Path(folder).expanduser()
    tensor_files.write(target / TENSORS, model.state_dict(), {"format": "pt", "model": name})
    write_config(target, config)


def from_pretrained(
    folder: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> ConvNet:
    """The network of a folder that `save_pretrained` wrote, in eval mode; ``model.weights`` is its `FolderConfig`.

    Args:
        folder: with ``model.safetensors`` and ``config.json``.
        device: where the parameters live.
        dtype: of the parameters and running statistics.

    Raises:
        WeightsError: a file is missing or damaged, or holds another network's tensors.
        ManifestError: ``config.json`` breaks a rule.
    """
    path = Path(folder).expanduser()
    return create_model(read_config(path).architecture, weights=path, device=device, dtype=dtype)


def name_of(spec: NetworkSpec) -> str:
    """The name that spells this architecture, whatever its gate.

    Raises:
        UsageError: none does.
    """
    for name, entry in registry.MODELS.items():
        if (entry.se is None) == (spec.se is None) and entry.build(spec.se) == spec:
            return name
    raise UsageError(
        "a network is saved under the name that rebuilds it, and no model of the zoo has this architecture; register "
        "it in a family first, or save its state_dict() with safetensors"
    )
