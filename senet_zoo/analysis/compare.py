"""Networks side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

from senet_zoo.analysis import cost
from senet_zoo.errors import UsageError
from senet_zoo.networks import registry
from senet_zoo.networks.gate import gates
from senet_zoo.networks.network import on_meta
from senet_zoo.weights.manifest import load_manifest
from senet_zoo.weights.rows import Metric


@dataclass(frozen=True)
class Accuracy:
    """The best top-1 accuracy of a network's published weights.

    Args:
        weights: ``model.tag``.
        metric: accuracy in percent, on which pictures, of which size, and who measured it.
    """

    weights: str
    metric: Metric


@dataclass(frozen=True)
class Compared:
    """What one network has and costs, and each figure's ratio to the first network's.

    Args:
        name: of the model.
        size: side of the picture, in pixels.
        parameters: trainable values.
        multiply_adds: of convolutions and fully connected layers, for one picture.
        activation_memory: bytes of all maps that layers write for one picture, in float32.
        gates: how many it has.
        gate_parameters: trainable values in them.
        parameters_ratio, multiply_adds_ratio, activation_memory_ratio: to the first network.
        accuracy: the best of its published weights; None where none is known.
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
        names: models or aliases.
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
    for model in [registry.find(name) for name in names]:
        net = on_meta(model.spec())
        try:
            counted = cost.count(net, size)
        except UsageError as e:
            raise UsageError(f"{model.name}: {e}") from e
        found = gates(net).values()
        learnt = cost.parameters(net)
        rows.append(
            Compared(
                name=model.name,
                size=counted.size,
                parameters=learnt,
                multiply_adds=counted.multiply_adds,
                activation_memory=counted.activation_memory,
                gates=len(found),
                gate_parameters=sum(map(cost.parameters, found)),
                parameters_ratio=learnt / (rows[0].parameters if rows else learnt),
                multiply_adds_ratio=counted.multiply_adds / (rows[0] if rows else counted).multiply_adds,
                activation_memory_ratio=counted.activation_memory / (rows[0] if rows else counted).activation_memory,
                accuracy=_best(model.name),
            )
        )
    return tuple(rows)


def _best(model: str) -> Accuracy | None:
    known = [
        (metric.value, Accuracy(weights.name, metric))
        for weights in load_manifest().rows(model)
        for metric in weights.metrics
        if metric.name == "top1" and metric.value is not None
    ]
    return max(known, key=lambda pair: pair[0])[1] if known else None
