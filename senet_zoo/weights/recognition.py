"""Which network a file of another library holds, by the names and shapes of its tensors."""

import re
from collections.abc import Mapping
from dataclasses import replace

from senet_zoo.errors import UsageError, WeightsMismatch
from senet_zoo.formats.dialects import NATIVE, Shape
from senet_zoo.networks import registry
from senet_zoo.networks.families.family import Model
from senet_zoo.networks.network import on_meta
from senet_zoo.networks.specs import NetworkSpec
from senet_zoo.weights.load import Checkpoint, shapes_of


def spec_of(entry: Model, file: Checkpoint) -> NetworkSpec:
    """The architecture of a model; its gate has no biases where the file has none."""
    shapes = file.native_shapes
    gate = next((name for name in shapes if name.endswith(".se.fc1.weight")), None)
    if entry.se is None or gate is None or gate.replace("weight", "bias") in shapes:
        return entry.spec(entry.se)
    return entry.spec(replace(entry.se, bias=False))


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
    if candidates:
        reason = ambiguity or "they share names and shapes of all tensors"
        raise UsageError(
            f"the tensors of {file.path} (names of {file.dialect.name}) fit "
            f"{', '.join(each.name for each in candidates)}, but do not say whose function they are: {reason}. Name "
            f"the network: --model {candidates[0].name}, or model=... in Python"
        )
    raise WeightsMismatch(
        f"{file.path} holds {len(file.header.tensors)} tensors named as by {file.dialect.used_by}, but no network of "
        f"the zoo has exactly these names and shapes and that library's function"
        f"{f' ({ambiguity})' if ambiguity else ''}. Name the network that they should be (--model NAME) to "
        f"see what differs"
    )


def _candidates(file: Checkpoint) -> list[Model]:
    return [
        entry
        for entry in registry.MODELS.values()
        if (file.dialect is NATIVE or file.dialect.name in entry.published_as)
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
