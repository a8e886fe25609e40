"""Facts of networks: of one, and of several side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from senet_zoo.analysis import cost
from senet_zoo.errors import UsageError
from senet_zoo.networks import registry
from senet_zoo.networks.dimensions import PLANE, Dimensions
from senet_zoo.networks.families.family import Model
from senet_zoo.networks.network import ConvNet, on_meta
from senet_zoo.networks.specs import SE
from senet_zoo.networks.squeeze_excite import gates
from senet_zoo.networks.widths import Widths
from senet_zoo.weights.config import FolderConfig, saved_config
from senet_zoo.weights.create import is_place
from senet_zoo.weights.manifest import load_manifest
from senet_zoo.weights.rows import Metric

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
        input_size: side of the pictures that it was made, or trained, for, in pixels.
        parameters: trainable values.
        multiply_adds: of convolutions and fully connected layers, for one picture of ``input_size``.
        gates: how many gates it has.
        gate_parameters: trainable values in them.
        gate_weights: those of them that are no biases.
        formula: the paper's equation 5 for ``gate_weights``; None where it does not hold.
        feature_channels: channels of the deepest map of each stride, as `ConvNet.features` gives them.
        weights: published checkpoints of this function, the default first.
        widths: channels of the stem's map and of each stage's, where some were removed; None for the model's own.
        config: what a saved folder says of its network, classes, preprocessing and licence among it; None for a model.
        dims: the axes of its maps, where it reads signals or volumes; None for pictures.
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
    config: FolderConfig | None = None
    dims: Dimensions | None = None


def model_info(name: str, se: SE | None = None, dims: int | Dimensions = PLANE) -> ModelInfo:
    """Facts about the model of that name or alias; nothing is downloaded, and no weights are made.

    Args:
        name: ``model``, or an alias of it.
        se: a variant of the gate, in place of the model's own. Weights were published for the model's own only.
        dims: 1 for signals, 3 for volumes; costs are then of an input of 64 or fewer voxels along each axis.

    Raises:
        UnknownModelError: no such model.
        UsageError: a variant of a plain twin.
        SpecError: the network cannot honour the variant or the dimensions.

    Example:
        >>> model_info("se_resnet50").parameters
        28088024
        >>> model_info("se_resnet50", SE(reduction=8, bias=False)).parameters
        30586920
    """
    from senet_zoo.weights.manifest import load_manifest

    model = registry.find(name)
    spec = model.spec(se, None, Dimensions(dims) if isinstance(dims, int) else dims)
    own = spec.se == model.se
    weights = load_manifest().rows(model.name) if own else ()
    aliases = tuple(alias for alias, target in registry.ALIASES.items() if own and target == model.name)
    return _info(model, on_meta(spec), cost.default_side(spec), None, aliases, weights)


def layers(name: str, se: SE | None = None, size: int | None = None) -> cost.Cost:
    """What each layer of a network writes and costs, in order of execution.

    Args:
        name: of a model, or a saved folder.
        se: a variant of the gate, in place of the model's own.
        size: side of the picture; by default the network's own, or that of the folder.

    Raises:
        UsageError: a variant of a plain twin or of a saved network, or a picture too small for the network.
        UnknownModelError: no such model.
        WeightsNotFound: no saved network lies in the folder.

    Example:
        >>> layers("se_resnet20").layers[0].shape
        (1, 16, 32, 32)
    """
    if se is not None and is_place(name):
        raise UsageError(f"a saved network has the gate that it was saved with: {name} takes no other")
    if se is not None:
        return cost.count(on_meta(registry.find(name).spec(se)), size)
    found = _network(name.partition(".")[0] if not is_place(name) else name)
    return cost.count(found.net, found.size if size is None else size)


def saved_info(folder: str | Path) -> ModelInfo:
    """Facts about the network of a folder of `save_pretrained`: its variant, classes, widths, licence and accuracy.

    Costs are of a picture of the size that the folder states, where it states one.

    Args:
        folder: the folder, or ``hf://org/name@revision``.

    Raises:
        WeightsNotFound: there is no ``config.json``.
        ManifestError: it breaks a rule.
        UnknownModelError: its architecture is none of the zoo's.
    """
    config = saved_config(folder)
    net = on_meta(config.spec, num_classes=config.num_classes, in_channels=config.in_channels)
    size = config.preprocessing.size if config.preprocessing else cost.default_side(net.spec)
    info = _info(registry.find(config.architecture), net, size, config.widths, aliases=(), weights=())
    return replace(info, config=config)


def _info(
    model: Model,
    net: ConvNet,
    size: int,
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
        input_size=size,
        parameters=cost.parameters(net),
        multiply_adds=cost.multiply_adds(net, size),
        gates=len(found),
        gate_parameters=sum(cost.parameters(gate) for gate in found.values()),
        gate_weights=cost.se_parameters(net),
        formula=cost.gate_formula(net),
        feature_channels=net.feature_channels,
        weights=weights,
        widths=widths,
        dims=None if spec.dimensions == PLANE else spec.dimensions,
    )


@dataclass(frozen=True)
class Accuracy:
    """The best top-1 accuracy of a network's published weights.

    Args:
        weights: ``model.tag``, or the saved folder.
        metric: accuracy in percent, on which pictures, of which size, and who measured it.
    """

    weights: str
    metric: Metric


@dataclass(frozen=True)
class Compared:
    """What one network has and costs, and each figure's ratio to the first network's.

    Args:
        name: of the model, or its saved folder.
        size: side of the picture, in pixels.
        parameters: trainable values.
        multiply_adds: of convolutions and fully connected layers, for one picture.
        activation_memory: bytes of all maps that layers write for one picture, in float32.
        gates: how many it has.
        gate_parameters: trainable values in them.
        parameters_ratio, multiply_adds_ratio, activation_memory_ratio: to the first network.
        accuracy: the best of its published weights, on the pictures of the default ones; None where none is known.
    """

    name: str
    size: int
    parameters: int
    multiply_adds: int
    activation_memory: int
    gates: int
    gate_parameters: int
    parameters_ratio: float
    multiply_adds_ratio: float
    activation_memory_ratio: float
    accuracy: Accuracy | None


def compare(names: Sequence[str], size: int | None = None) -> tuple[Compared, ...]:
    """Facts of several networks, in the order of their names; nothing is downloaded, and no weights are made.

    Args:
        names: models, aliases, or saved folders.
        size: side of the picture; by default each network's own.

    Raises:
        UnknownModelError: no such model.
        UsageError: no names, or pictures too small for a network.

    Example:
        >>> [row.gates for row in compare(["se_resnet50", "resnet50"])]
        [16, 0]
    """
    if not names:
        raise UsageError("compare takes at least one name of a model, got none")
    rows: list[Compared] = []
    for compared in [_network(name) for name in names]:
        net = compared.net
        try:
            counted = cost.count(net, compared.size if size is None else size)
        except UsageError as e:
            raise UsageError(f"{compared.name}: {e}") from e
        found = gates(net).values()
        learnt = cost.parameters(net)
        rows.append(
            Compared(
                name=compared.name,
                size=counted.size,
                parameters=learnt,
                multiply_adds=counted.multiply_adds,
                activation_memory=counted.activation_memory,
                gates=len(found),
                gate_parameters=sum(map(cost.parameters, found)),
                parameters_ratio=learnt / (rows[0].parameters if rows else learnt),
                multiply_adds_ratio=counted.multiply_adds / (rows[0] if rows else counted).multiply_adds,
                activation_memory_ratio=counted.activation_memory / (rows[0] if rows else counted).activation_memory,
                accuracy=compared.accuracy,
            )
        )
    return tuple(rows)


@dataclass(frozen=True)
class _Network:
    name: str
    net: ConvNet
    size: int
    accuracy: Accuracy | None


def _network(name: str) -> _Network:
    """What is compared under that name, without memory for its weights."""
    if not is_place(name):
        model = registry.find(name)
        net = on_meta(model.spec())
        rows = load_manifest().rows(model.name)
        pictures = {metric.dataset for row in rows[:1] for metric in row.accuracies}  # those of the default row
        known = [(row.name, metric) for row in rows for metric in row.accuracies if metric.dataset in pictures]
        return _Network(model.name, net, net.spec.input_size, _best(known))
    config = saved_config(name)
    net = on_meta(config.spec, num_classes=config.num_classes, in_channels=config.in_channels)
    size = config.preprocessing.size if config.preprocessing else net.spec.input_size
    measured = config.provenance.metrics if config.provenance else ()
    return _Network(name, net, size, _best([(name, metric) for metric in measured]))


def _best(metrics: Sequence[tuple[str, Metric]]) -> Accuracy | None:
    known = [
        (metric.value, Accuracy(name, metric))
        for name, metric in metrics
        if metric.name == "top1" and metric.value is not None
    ]
    return max(known, key=lambda pair: pair[0])[1] if known else None
