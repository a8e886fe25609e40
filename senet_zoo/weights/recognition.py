"""Which network a file of another library holds, by the names and shapes of its tensors."""

import dataclasses
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from senet_zoo.errors import UsageError, WeightsMismatch
from senet_zoo.formats.containers import read_container
from senet_zoo.formats.dialects import NATIVE, Dialect, Shape, recognise, translate
from senet_zoo.formats.metadata import FileMetadata, parse_metadata
from senet_zoo.networks import registry
from senet_zoo.networks.families.family import Model
from senet_zoo.networks.network import ConvNet, on_meta
from senet_zoo.networks.specs import SE, NetworkSpec
from senet_zoo.weights.load import CLASSIFIER, first_convolution

_log = logging.getLogger("senet_zoo")


@dataclass(frozen=True)
class Foreign:
    """A file that was read and recognised.

    Args:
        path: the file.
        dialect: how its tensors are named.
        tensors: under its own names.
        metadata: texts by name, which it says of itself.
    """

    path: Path
    dialect: Dialect
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Shapes of its tensors."""
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}

    @cached_property
    def native_shapes(self) -> dict[str, Shape]:
        """Shapes under the zoo's names."""
        return translate(self.shapes, self.dialect)

    @property
    def num_classes(self) -> int:
        """Logits of its classifier; 0 where it has none."""
        return (self.native_shapes.get(CLASSIFIER) or (0,))[0]

    @property
    def file_metadata(self) -> FileMetadata:
        """What its metadata says."""
        return parse_metadata(self.metadata, self.num_classes, self.path)

    def on_meta(self, spec: NetworkSpec) -> ConvNet:
        """A network of that architecture with the file's classes and channels; it has no values yet."""
        shape = self.native_shapes.get(first_convolution(spec), ())
        return on_meta(spec, num_classes=self.num_classes, in_channels=shape[1] if len(shape) == 4 else 3)


def open_foreign(file: str | Path) -> Foreign:
    """Read a file of any library.

    Raises:
        WeightsMismatch: no dialect knows its names, or its tensors are not plain floating-point ones.
        WeightsError: as of `read_container`.
    """
    path = Path(file).expanduser()
    contents = read_container(path)
    for name, tensor in contents.tensors.items():
        if not (tensor.is_floating_point() or tensor.dtype == torch.int64) or tensor.layout != torch.strided:
            raise WeightsMismatch(
                f"weights must be plain tensors of floating-point numbers, but {name} of {path} is {tensor.dtype}, "
                f"{tensor.layout}; save the network before it is quantised"
            )
    foreign = Foreign(path, contents.dialect or recognise(contents.tensors), contents.tensors, contents.metadata)
    auxiliary = [name for name in contents.tensors if foreign.dialect.auxiliary(name)]
    if auxiliary:
        _log.info("%s: %d tensors beside the function are left out, such as %s", path, len(auxiliary), auxiliary[0])
    return foreign


def spec_of(entry: Model, foreign: Foreign) -> NetworkSpec:
    """The architecture of a model with the gate that a file's tensors show."""
    return entry.spec(gate_shown(entry, foreign.native_shapes))


def gate_shown(entry: Model, shapes: Mapping[str, Shape]) -> SE | None:
    """The gate that a file's tensors show: that of the name, without biases where the file has none."""
    gates = [name for name in shapes if re.search(r"\.se\.fc1\.weight$", name)]
    if entry.se is None or not gates or gates[0].replace("weight", "bias") in shapes:
        return entry.se
    return dataclasses.replace(entry.se, bias=False)


def identify(foreign: Foreign) -> Model:
    """The one network that has the file's tensors and that its library publishes.

    Raises:
        UsageError: several have them, or a network that is not in the zoo has them too.
        WeightsMismatch: none has them.
    """
    said = foreign.metadata.get("model")
    if said is not None and said in registry.MODELS:
        return registry.find(said)
    candidates = _candidates(foreign)
    ambiguity = foreign.dialect.ambiguity(foreign.shapes)
    if len(candidates) == 1 and not ambiguity:
        return candidates[0]
    if candidates:
        reason = ambiguity or "they share names and shapes of all tensors"
        raise UsageError(
            f"the tensors of {foreign.path} (names of {foreign.dialect.name}) fit "
            f"{', '.join(each.name for each in candidates)}, but do not say whose function they are: {reason}. Name "
            f"the network: --model {candidates[0].name}, or model=... in Python"
        )
    raise WeightsMismatch(
        f"{foreign.path} holds {len(foreign.tensors)} tensors named as by {foreign.dialect.used_by}, but no network of "
        f"the zoo has exactly these names and shapes and that library's function"
        f"{f' ({ambiguity})' if ambiguity else ''}. Name the network that they should be (--model NAME) to "
        f"see what differs"
    )


def _candidates(foreign: Foreign) -> list[Model]:
    shapes = foreign.native_shapes
    return [
        entry
        for entry in registry.MODELS.values()
        if (foreign.dialect is NATIVE or foreign.dialect.name in entry.published_as)
        and _may_fit(entry, shapes)
        and _shapes(foreign.on_meta(spec_of(entry, foreign))) == shapes
    ]


def _may_fit(entry: Model, shapes: Mapping[str, Shape]) -> bool:
    """Whether the file has as many blocks in each stage, which is quicker to see than whether all shapes agree."""
    last: dict[int, int] = {}
    for name in shapes:
        place = re.match(r"stages\.(\d+)\.(\d+)\.", name)
        if place:
            last[int(place[1])] = max(last.get(int(place[1]), 0), int(place[2]))
    gated = any(".se.fc1." in name for name in shapes)
    stages = entry.spec().stages
    return gated == (entry.se is not None) and [last.get(i, 0) for i in range(len(stages))] == [
        len(stage.blocks) - 1 for stage in stages
    ]


def _shapes(net: ConvNet) -> dict[str, Shape]:
    return {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
