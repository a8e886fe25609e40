"""From a file of tensors to a network that holds them: every tensor, or an error."""

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from senet_zoo.errors import UsageError, WeightsMismatch
from senet_zoo.formats import safetensors
from senet_zoo.formats.dialects import NATIVE, Dialect, match, recognise, translate
from senet_zoo.formats.safetensors import Header
from senet_zoo.networks import registry
from senet_zoo.networks.families.family import Model
from senet_zoo.networks.network import ConvNet, on_meta, unfilled
from senet_zoo.networks.specs import NetworkSpec
from senet_zoo.support.memory import uncollected
from senet_zoo.weights.rows import split_revision

_log = logging.getLogger("senet_zoo")

CLASSIFIER = "classifier.weight"


class Build(Protocol):
    """Makes a network."""

    def __call__(self, *, num_classes: int | None, in_channels: int) -> ConvNet:
        """Its arguments are those of `ConvNet`."""
        ...


@dataclass(frozen=True)
class Checkpoint:
    """A checked file of tensors; none of them is read yet.

    Args:
        path: of the safetensors file.
        dialect: how its tensors are named.
        header: names, types and shapes.
    """

    path: Path
    dialect: Dialect
    header: Header

    @property
    def num_classes(self) -> int:
        """Logits of the file's classifier; 0 where it has none."""
        return self._size(CLASSIFIER, 0, otherwise=0)

    def in_channels(self, spec: NetworkSpec) -> int:
        """Channels of the pictures that the file's first convolution takes."""
        return self._size(first_convolution(spec), 1, otherwise=3)

    def check(self, model: Model, spec: NetworkSpec, num_classes: int | None = None) -> None:
        """Refuse a file whose tensors are not exactly those of the network; see `fitted`."""
        self.fitted(model, spec, partial(ConvNet, spec), num_classes)

    def fitted(self, model: Model, spec: NetworkSpec, build: Build, num_classes: int | None = None) -> ConvNet:
        """The network whose tensors are exactly those of the file, still on the meta device.

        Names and shapes are not enough: the authors' form and the B form share both, but are two functions. A naming
        scheme that only one form is published under tells them apart.

        Args:
            model: the name that the file should hold.
            spec: its architecture.
            build: makes its network, from the number of classes and of channels.
            num_classes: logits of the published classifier; None for whatever the file has.

        Raises:
            WeightsMismatch: tensors are missing, unexpected or of another shape, or the file is another form's.
        """
        classes = self.num_classes if num_classes is None else num_classes
        with unfilled("meta"):
            whole = build(num_classes=classes, in_channels=self.in_channels(spec))
        match(self.header.shapes, {key: tuple(t.shape) for key, t in whole.state_dict().items()}, self.dialect)
        require_function(model, self.path, self.dialect, self.header.metadata)
        return whole

    def load_into(self, net: ConvNet) -> None:
        """Give a network on the meta device the file's tensors; it may be made for pictures of other channels.

        The tensors are mapped from the file, not copied. They must be those of `fitted`.
        """
        in_channels = self.in_channels(net.spec)
        with uncollected():
            tensors = translate(safetensors.read(self.path, self.header), self.dialect)
            if net.in_channels != in_channels:
                stem = first_convolution(net.spec)
                tensors[stem] = adapt_stem(tensors[stem], net.in_channels)
                _log.info("stem adapted from %d to %d input channels", in_channels, net.in_channels)
            net.load_state_dict(tensors, strict=True, assign=True)

    def _size(self, key: str, axis: int, otherwise: int) -> int:
        shape = self.native_shapes.get(key)
        return otherwise if shape is None or len(shape) <= axis else shape[axis]

    @cached_property
    def native_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes under the zoo's names."""
        return translate(self.header.shapes, self.dialect)


def require_function(model: Model, path: Path, dialect: Dialect, metadata: Mapping[str, str]) -> None:
    """Refuse a file whose names and shapes may fit, but that is known to be another function's.

    Args:
        model: the name that the file should hold.
        path: of the file.
        dialect: how its tensors are named.
        metadata: its own remarks.

    Raises:
        WeightsMismatch: the file says that it holds another model, or its library publishes another form.
    """
    said = metadata.get("model", model.name)
    if said != model.name:
        raise WeightsMismatch(
            f"weights load only into the function that they were trained in: {path} says it holds {said}, not "
            f"{model.name}. Ask for {said}"
        )
    if dialect is not NATIVE and dialect.name not in model.published_as:
        raise WeightsMismatch(
            f"weights load only into the function that they were trained in: {path} is named as by {dialect.used_by}, "
            f"whose networks of these shapes are not {model.name} (stride or pool differ). {_siblings(model, dialect)}"
        )


def open_checkpoint(path: Path, dialect: Dialect | None = None) -> Checkpoint:
    """Check the header of a safetensors file; its dialect is recognised where none is given.

    Raises:
        WeightsError: the file is missing, damaged or unsafe, or no dialect knows its tensors' names.
    """
    header = safetensors.check(path)
    return Checkpoint(path, dialect or recognise(header.tensors), header)


@lru_cache
def first_convolution(spec: NetworkSpec) -> str:
    """Name of the weight that meets the pictures' channels."""
    start = on_meta(dataclasses.replace(spec, stages=spec.stages[:1], se=None))
    name = next(name for name, part in start.named_modules() if isinstance(part, nn.Conv2d))
    return f"{name}.weight"


def adapt_stem(weight: Tensor, in_channels: int) -> Tensor:
    """Filters for pictures of another number of channels.

    One channel: the sum of all filters, as if the grey value stood in each of them. Others: the filters in turn,
    scaled so that equal channels give the response that they gave before.

    Shape: (out, c, k, k) -> (out, in_channels, k, k).
    """
    channels = weight.shape[1]
    if in_channels == 1:
        return weight.sum(1, keepdim=True)
    turns = -(-in_channels // channels)
    return weight.repeat(1, turns, 1, 1)[:, :in_channels] * (channels / in_channels)


def resolve(weights: str | Path) -> tuple[Path, Dialect | None]:
    """The file behind ``weights=...``: a path, a folder that holds ``model.safetensors``, or ``hf://org/name@revision``.

    Raises:
        UsageError: a pickle, or an address of another kind.
        WeightsError: it could not be had.
    """
    text = str(weights)
    if text.startswith("hf://"):
        from senet_zoo.weights.download import locate_hub

        located = locate_hub(*split_revision(text.removeprefix("hf://")))
        return located.path, located.dialect
    if "://" in text:
        raise UsageError(f"weights=... takes a file, a folder or hf://org/name@revision, got {text!r}")
    path = Path(weights).expanduser()
    return (path / "model.safetensors" if path.is_dir() else path), None


def _siblings(model: Model, dialect: Dialect) -> str:
    shapes = _shapes(model)
    names = [
        other.name
        for other in registry.MODELS.values()
        if dialect.name in other.published_as and other.name != model.name and _shapes(other) == shapes
    ]
    return f"Those are {' or '.join(names)}." if names else "No network of the zoo has that form."


def _shapes(model: Model) -> dict[str, torch.Size]:
    return {key: tensor.shape for key, tensor in on_meta(model.spec()).state_dict().items()}
