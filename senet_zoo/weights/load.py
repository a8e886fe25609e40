"""A checkpoint on this machine: whose network it is, whether it fits exactly, and how it is loaded."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from senet_zoo.errors import UsageError, WeightsMismatch
from senet_zoo.formats import safetensors
from senet_zoo.formats.containers import read_container
from senet_zoo.formats.dialects import NATIVE, Dialect, Shape, match, recognise, translate
from senet_zoo.formats.metadata import FileMetadata, parse_metadata
from senet_zoo.formats.safetensors import Header, TensorInfo
from senet_zoo.networks import registry
from senet_zoo.networks.dimensions import PLANE, Dimensions
from senet_zoo.networks.families.family import Model
from senet_zoo.networks.network import ConvNet, on_meta
from senet_zoo.networks.specs import MOST_HIDDEN, SE, NetworkSpec
from senet_zoo.support.files import expanded
from senet_zoo.support.memory import uncollected
from senet_zoo.weights.inflation import Inflation, inflated

_log = logging.getLogger("senet_zoo")

CLASSIFIER = "classifier.weight"


@lru_cache
def first_convolution(spec: NetworkSpec) -> str:
    """Name of the weight that meets the pictures' channels."""
    start = on_meta(replace(spec, stages=spec.stages[:1], se=None))
    name = next(name for name, part in start.named_modules() if isinstance(part, _ConvNd))
    return f"{name}.weight"


def adapt_stem(weight: Tensor, in_channels: int) -> Tensor:
    """Filters for pictures of another number of channels.

    One channel: the sum of all filters, as if the grey value stood in each of them. Others: the filters in turn,
    scaled so that equal channels give the response that they gave before.

    Shape: (out, c, k, k) -> (out, in_channels, k, k), or with any number of axes behind the channels.
    """
    channels = weight.shape[1]
    if in_channels == 1:
        return weight.sum(1, keepdim=True)
    repeats = -(-in_channels // channels)
    return weight.repeat(1, repeats, *(1,) * (weight.dim() - 2))[:, :in_channels] * (channels / in_channels)


def shapes_of(net: nn.Module) -> dict[str, Shape]:
    """Shapes of a network's tensors by name."""
    return {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}


def _siblings(model: Model, dialect: Dialect) -> str:
    shapes = shapes_of(on_meta(model.spec()))
    names = [
        other.name
        for other in registry.MODELS.values()
        if dialect.name in other.published_as
        and other.name != model.name
        and shapes_of(on_meta(other.spec())) == shapes
    ]
    return f"Those are {' or '.join(names)}." if names else "No network of the zoo has that form."


@dataclass(frozen=True)
class Checkpoint:
    """A checked file of tensors.

    Args:
        path: the file.
        dialect: how its tensors are named.
        header: names, types and shapes, and what the file says of itself.
        values: the tensors under the file's names, where all of them had to be read; None where they are read later,
            from a safetensors file.
    """

    path: Path
    dialect: Dialect
    header: Header
    values: Mapping[str, Tensor] | None = field(default=None, repr=False, compare=False)

    @cached_property
    def native_shapes(self) -> Mapping[str, Shape]:
        """Shapes under the zoo's names."""
        return translate(self.header.shapes, self.dialect)

    @property
    def num_classes(self) -> int:
        """Logits of the file's classifier; 0 where it has none."""
        return (self.native_shapes.get(CLASSIFIER) or (0,))[0]

    def in_channels(self, spec: NetworkSpec) -> int:
        """Channels of the pictures that the file's first convolution takes."""
        shape = self.native_shapes.get(first_convolution(spec), ())
        return shape[1] if len(shape) >= 3 and shape[1] else 3

    @property
    def dimensions(self) -> int:
        """Axes of the maps that the file's convolutions read: 2 for pictures."""
        return max(len(shape) for shape in self.native_shapes.values()) - 2

    @property
    def metadata(self) -> FileMetadata:
        """What the file says of its network.

        Raises:
            WeightsCorrupted: it is not in the form that this zoo writes.
        """
        return parse_metadata(self.header.metadata, self.num_classes, self.path)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors under the zoo's names; those of a safetensors file are mapped into memory, not copied."""
        values = safetensors.read(self.path, self.header) if self.values is None else self.values
        return translate(values, self.dialect)

    def check(self, model: Model, spec: NetworkSpec, num_classes: int | None = None) -> None:
        """Refuse a file whose tensors are not exactly those of the network; see `matching_network`."""
        self.matching_network(model, spec, num_classes)

    def matching_network(
        self,
        model: Model,
        spec: NetworkSpec,
        num_classes: int | None = None,
        *,
        dropout: float | None = None,
        drop_path: float = 0.0,
    ) -> ConvNet:
        """The network whose tensors are exactly those of the file, still on the meta device.

        Names and shapes are not enough: the authors' form and the B form share both, but are two functions. A naming
        scheme that only one form is published under tells them apart.

        Args:
            model: the name that the file should hold.
            spec: its architecture.
            num_classes: logits of the published classifier; None for whatever the file has.
            dropout: as in `ConvNet`.
            drop_path: as in `ConvNet`.

        Raises:
            WeightsMismatch: tensors are missing, unexpected or of another shape, or the file is another form's.
        """
        classes = self.num_classes if num_classes is None else num_classes
        channels = self.in_channels(spec)
        net = on_meta(spec, num_classes=classes, in_channels=channels, dropout=dropout, drop_path=drop_path)
        match(self.header.shapes, shapes_of(net), self.dialect)
        self.require_function(model)
        return net

    def require_function(self, model: Model) -> None:
        """Refuse a file whose names and shapes may fit, but that is known to be another function's.

        Raises:
            WeightsMismatch: the file says that it holds another model, or its library publishes another form.
        """
        named = self.header.metadata.get("model", model.name)
        if named != model.name:
            raise WeightsMismatch(
                f"weights load only into the function that they were trained in: {self.path} says it holds {named}, "
                f"not {model.name}. Ask for {named}"
            )
        if self.dialect is not NATIVE and self.dialect.name not in model.published_as:
            raise WeightsMismatch(
                f"weights load only into the function that they were trained in: {self.path} is named as by "
                f"{self.dialect.used_by}, whose networks of these shapes are not {model.name} (stride or pool differ). "
                f"{_siblings(model, self.dialect)}"
            )

    def load_into(self, net: ConvNet, inflation: Inflation | None = None) -> None:
        """Give a network on the meta device the file's tensors; it may be made for pictures of other channels.

        The tensors must be those of `matching_network`.

        Args:
            net: to fill.
            inflation: how filters over pictures become those of a network over volumes or signals; None where the
                file's are of its dimensions.
        """
        spec = net.spec if inflation is None else replace(net.spec, dimensions=PLANE)
        in_channels = self.in_channels(spec)
        with uncollected():
            tensors = self.tensors()
            if net.in_channels != in_channels:
                stem = first_convolution(spec)
                tensors[stem] = adapt_stem(tensors[stem], net.in_channels)
                _log.info("stem adapted from %d to %d input channels", in_channels, net.in_channels)
            if inflation is not None:
                tensors = inflated(tensors, net, inflation)
            net.load_state_dict(tensors, strict=True, assign=True)


def open_checkpoint(path: Path, dialect: Dialect | None = None) -> Checkpoint:
    """Check the header of a safetensors file; its dialect is recognised where none is given.

    Raises:
        WeightsError: the file is missing, damaged or unsafe, or no dialect knows its tensors' names.
    """
    header = safetensors.check(path)
    return Checkpoint(path, dialect or recognise(header.tensors), header)


def read_checkpoint(file: str | Path, prefix: str | None = None) -> Checkpoint:
    """Read a file of any library.

    Args:
        file: its path.
        prefix: with which the names of the network's tensors start, such as ``net.``; None to find it.

    Raises:
        UsageError: an address, not a file.
        WeightsMismatch: no dialect knows its names, or its tensors are not plain floating-point ones.
        WeightsError: as of `read_container`.
    """
    if "://" in str(file):
        raise UsageError(
            f"a checkpoint is read from a file, got the address {file}; download it first, or give an hf:// address to "
            f"create_model(weights=...)"
        )
    path = expanded(file)
    contents = read_container(path, prefix)
    infinite = []
    for name, tensor in contents.tensors.items():
        if not (tensor.is_floating_point() or tensor.dtype == torch.int64) or tensor.layout != torch.strided:
            raise WeightsMismatch(
                f"weights must be plain tensors of floating-point numbers, but {name} of {path} is {tensor.dtype}, "
                f"{tensor.layout}; save the network before it is quantised"
            )
        if tensor.is_floating_point() and not tensor.isfinite().all():
            infinite.append(name)
    dialect = contents.dialect or recognise(contents.tensors)
    if infinite:
        _log.warning(
            "%s: %d tensors hold NaN or infinity, such as %s: the training that wrote them diverged",
            path,
            len(infinite),
            infinite[0],
        )
    auxiliary = [name for name in contents.tensors if dialect.auxiliary(name)]
    if auxiliary:
        _log.info("%s: %d tensors beside the function are left out, such as %s", path, len(auxiliary), auxiliary[0])
    infos = {name: TensorInfo(str(tensor.dtype), tuple(tensor.shape)) for name, tensor in contents.tensors.items()}
    if dialect.caution:
        _log.warning("%s: %s", path, dialect.caution)
    header = Header(infos, contents.metadata, contents.state)
    told = FileMetadata(dialect.preprocessing(header.shapes)).texts()
    return Checkpoint(path, dialect, replace(header, metadata={**told, **contents.metadata}), contents.tensors)


def spec_of(entry: Model, file: Checkpoint) -> NetworkSpec:
    """The architecture of a model, with the gate and the dimensions that the file shows.

    A file does not show how the depth of a volume is read: as the rows are, unless its kernels say otherwise.
    """
    spec = _gated_spec(entry, file)
    return replace(spec, dimensions=Dimensions(file.dimensions)) if file.dimensions in entry.dimensions else spec


def _gated_spec(entry: Model, file: Checkpoint) -> NetworkSpec:
    shapes = file.native_shapes
    gates = {
        name: shape
        for name, shape in shapes.items()
        if name.endswith(".se.fc1.weight") and shapes.get(name.replace("fc1", "fc2")) == shape[::-1]
    }
    spec = entry.spec(entry.se)
    if entry.se is None or not gates:
        return spec
    se = replace(entry.se, bias=next(iter(gates)).replace("weight", "bias") in shapes)
    usual = {name: shape for name, shape in shapes_of(on_meta(spec)).items() if name in gates}
    hidden = {name: shape[0] for name, shape in gates.items()}
    if hidden == {name: shape[0] for name, shape in usual.items()} or usual.keys() != gates.keys():
        return entry.spec(se)
    # The channels that the reduction counts from: in MnasNet they are fewer than the gate's own.
    counted = {name: c if c // se.reduction == h else h * se.reduction for name, (h, c) in usual.items()}
    for reduction in {counted[name] // units for name, units in hidden.items() if units}:
        if reduction and {name: c // reduction for name, c in counted.items()} == hidden:
            return entry.spec(replace(se, reduction=reduction))
    if len({*hidden.values()}) == 1 and 0 < min(hidden.values()) <= MOST_HIDDEN:
        return entry.spec(replace(se, reduction=SE.reduction, hidden=min(hidden.values())))
    return entry.spec(se)


def identify(file: Checkpoint) -> Model:
    """The one network that has the file's tensors and that its library publishes.

    Raises:
        UsageError: several have them, or a network that is not in the zoo has them too.
        WeightsMismatch: none has them.
    """
    named = file.header.metadata.get("model")
    if named is not None and named in registry.MODELS:
        return registry.find(named)
    candidates = _candidates(file)
    ambiguity = file.dialect.ambiguity(file.header.shapes)
    if len(candidates) == 1 and not ambiguity:
        return candidates[0]
    names = ", ".join(each.name for each in candidates)
    fits = f"the tensors of {file.path} (names of {file.dialect.name}) fit {names}, but do not say whose function they"
    if ambiguity and candidates:
        raise UsageError(
            f"{fits} are: {ambiguity}. If you know that the file is of {candidates[0].name}, say so; otherwise no "
            f"network of the zoo is its function",
            python=f": model={candidates[0].name!r}",
            command_line=f": --model {candidates[0].name}",
        )
    if candidates:
        raise UsageError(
            f"{fits} are: they share names and shapes of all tensors, and each is another function. Name the one that "
            f"was trained",
            python=": " + " or ".join(f"model={each.name!r}" for each in candidates),
            command_line=": " + " or ".join(f"--model {each.name}" for each in candidates),
        )
    raise WeightsMismatch(
        f"{file.path} holds {len(file.header.tensors)} tensors named as by {file.dialect.used_by}, but no network of "
        f"the zoo has exactly these names and shapes and that library's function"
        f"{f' ({ambiguity})' if ambiguity else ''}{_nearest(file)}. Name the network that they should be, to see what "
        f"differs",
        python=": model=NAME",
        command_line=": --model NAME",
    )


def _nearest(file: Checkpoint) -> str:
    """The network that differs least, and in what, where most of its tensors agree; empty where none is near."""
    best, fewest = "", len(file.native_shapes) // 3
    for entry in registry.MODELS.values():
        if (file.dialect is NATIVE or file.dialect.name in entry.published_as) and _may_fit(entry, file.native_shapes):
            spec = spec_of(entry, file)
            ours = shapes_of(on_meta(spec, num_classes=file.num_classes, in_channels=file.in_channels(spec)))
            theirs = file.native_shapes
            other = [name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)]
            if len(other) < fewest:
                first, fewest = min(other), len(other)
                best = (
                    f". The nearest, {entry.name}, has {len(other)} other tensors, such as {first}: "
                    f"{ours.get(first, 'none')} there, {theirs.get(first, 'none')} in the file"
                )
    return best


def _candidates(file: Checkpoint) -> list[Model]:
    return [
        entry
        for entry in registry.MODELS.values()
        if (file.dialect is NATIVE or file.dialect.name in entry.published_as)
        and file.dimensions in entry.dimensions
        and _may_fit(entry, file.native_shapes)
        and _fits(entry, file)
    ]


def _fits(entry: Model, file: Checkpoint) -> bool:
    spec = spec_of(entry, file)
    net = on_meta(spec, num_classes=file.num_classes, in_channels=file.in_channels(spec))
    return shapes_of(net) == file.native_shapes


def _may_fit(entry: Model, shapes: Mapping[str, Shape]) -> bool:
    """Whether the file has as many blocks in each stage, which is quicker to see than whether all shapes agree."""
    last: dict[int, int] = {}
    for name in shapes:
        block = re.match(r"stages\.(\d+)\.(\d+)\.", name)
        if block:
            last[int(block[1])] = max(last.get(int(block[1]), 0), int(block[2]))
    gated = any(".se.fc1." in name for name in shapes)
    stages = entry.spec().stages
    return gated == (entry.se is not None) and [last.get(i, 0) for i in range(len(stages))] == [
        len(stage.blocks) - 1 for stage in stages
    ]
