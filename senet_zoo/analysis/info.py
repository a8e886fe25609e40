"""What is known of a model, in one value."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from senet_zoo import registry
from senet_zoo.analysis import cost
from senet_zoo.specs import SE

if TYPE_CHECKING:
    from senet_zoo.hub.rows import WeightsRow


@dataclass(frozen=True)
class ModelInfo:
    """Facts about a model, computed from its definition and read from the manifest.

    Args:
        name: of the model.
        twin: the same topology with the gates taken out, or put in.
        aliases: other libraries' names for the same function.
        doc: what it is, and where it differs from others.
        defined_in: file of its family, inside the package.
        se: its gate, or None.
        input_size: side of the pictures that it was made for, in pixels.
        parameters: trainable values.
        multiply_adds: of convolutions and fully connected layers, for one picture of ``input_size``.
        gates: how many gates it has.
        gate_parameters: trainable values in them.
        feature_channels: channels of the deepest map of each stride, as `ConvNet.features` gives them.
        weights: published checkpoints, the default first.
    """

    name: str
    twin: str
    aliases: tuple[str, ...]
    doc: str
    defined_in: str
    se: SE | None
    input_size: int
    parameters: int
    multiply_adds: int
    gates: int
    gate_parameters: int
    feature_channels: dict[int, int]
    weights: tuple["WeightsRow", ...]


def model_info(name: str) -> ModelInfo:
    """Facts about the model of that name or alias; nothing is downloaded, and no weights are made.

    Raises:
        UnknownModelError: no such model.

    Example:
        >>> model_info("se_resnet50").parameters
        28088024
    """
    from senet_zoo.hub.manifest import load_manifest

    model = registry.find(name)
    spec = model.spec()
    net = cost.on_meta(spec)
    gates = cost.gates(net)
    return ModelInfo(
        name=model.name,
        twin=model.twin,
        aliases=tuple(alias for alias, target in registry.ALIASES.items() if target == model.name),
        doc=model.doc,
        defined_in=model.defined_in,
        se=model.se,
        input_size=spec.input_size,
        parameters=cost.parameters(net),
        multiply_adds=cost.multiply_adds(spec),
        gates=len(gates),
        gate_parameters=sum(cost.parameters(gate) for gate in gates.values()),
        feature_channels=net.feature_channels,
        weights=load_manifest().rows(model.name),
    )
