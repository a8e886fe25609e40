"""What is known of a model, in one value."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from senet_zoo.analysis import cost
from senet_zoo.networks import registry
from senet_zoo.networks.families.family import Model
from senet_zoo.networks.gate import gates
from senet_zoo.networks.network import ConvNet, on_meta
from senet_zoo.networks.specs import SE
from senet_zoo.networks.widths import Widths
from senet_zoo.weights.config import read_config

if TYPE_CHECKING:
    from senet_zoo.weights.rows import WeightsRow


@dataclass(frozen=True)
class ModelInfo:
    """Facts about a model, computed from its definition and read from the manifest.

    Args:
        name: of the model.
        twin: the same topology with the gates taken out, or put in.
        aliases: other libraries' names for the same function.
        doc: what it is, and where it differs from others.
        defined_in: file of its family, inside the package.
        se: its gate, or the variant that was asked for; None for a plain twin.
        input_size: side of the pictures that it was made for, in pixels.
        parameters: trainable values.
        multiply_adds: of convolutions and fully connected layers, for one picture of ``input_size``.
        gates: how many gates it has.
        gate_parameters: trainable values in them.
        gate_weights: those of them that are no biases.
        formula: the paper's equation 5 for ``gate_weights``; None where it does not hold.
        feature_channels: channels of the deepest map of each stride, as `ConvNet.features` gives them.
        weights: published checkpoints of this function, the default first.
        widths: channels of the stem's map and of each stage's, where some were removed; None for the model's own.
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
    gate_weights: int
    formula: cost.GateFormula | None
    feature_channels: dict[int, int]
    weights: tuple["WeightsRow", ...]
    widths: Widths | None = None


def model_info(name: str, se: SE | None = None) -> ModelInfo:
    """Facts about the model of that name or alias; nothing is downloaded, and no weights are made.

    Args:
        name: ``model``, or an alias of it.
        se: a variant of the gate, in place of the model's own. Weights were published for the model's own only.

    Raises:
        UnknownModelError: no such model.
        UsageError: a variant of a plain twin.
        SpecError: the network cannot honour the variant.

    Example:
        >>> model_info("se_resnet50").parameters
        28088024
        >>> model_info("se_resnet50", SE(reduction=8, bias=False)).parameters
        30586920
    """
    from senet_zoo.weights.manifest import load_manifest

    model = registry.find(name)
    spec = model.spec(se)
    own = spec.se == model.se
    weights = load_manifest().rows(model.name) if own else ()
    aliases = tuple(alias for alias, target in registry.ALIASES.items() if own and target == model.name)
    return _info(model, on_meta(spec), None, aliases, weights)


def saved_info(folder: str | Path) -> ModelInfo:
    """Facts about the network of a folder of `save_pretrained`: its variant, its classes and its widths.

    Raises:
        WeightsNotFound: there is no ``config.json``.
        ManifestError: it breaks a rule.
        UnknownModelError: its architecture is none of the zoo's.
    """
    config = read_config(Path(folder).expanduser())
    net = on_meta(config.spec, num_classes=config.num_classes, in_channels=config.in_channels)
    return _info(registry.find(config.architecture), net, config.widths, aliases=(), weights=())


def _info(
    model: Model,
    net: ConvNet,
    widths: Widths | None,
    aliases: tuple[str, ...],
    weights: tuple["WeightsRow", ...],
) -> ModelInfo:
    spec, found = net.spec, gates(net)
    return ModelInfo(
        name=model.name,
        twin=model.twin,
        aliases=aliases,
        doc=model.doc,
        defined_in=model.defined_in,
        se=spec.se,
        input_size=spec.input_size,
        parameters=cost.parameters(net),
        multiply_adds=cost.multiply_adds(net),
        gates=len(found),
        gate_parameters=sum(cost.parameters(gate) for gate in found.values()),
        gate_weights=cost.se_parameters(net),
        formula=cost.gate_formula(net),
        feature_channels=net.feature_channels,
        weights=weights,
        widths=widths,
    )
