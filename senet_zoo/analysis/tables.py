"""The paper's tables, computed: what it prints, what our networks have, and whether the two agree.

Table 1, the layers of the networks, is read off the networks themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import nn

from senet_zoo.analysis import cost
from senet_zoo.analysis.paper import TABLES, PaperRow, PaperTable, Reading
from senet_zoo.analysis.shapes import ShapesOnly
from senet_zoo.errors import UsageError
from senet_zoo.networks import registry
from senet_zoo.networks.network import ConvNet, on_meta
from senet_zoo.networks.squeeze_excite import SqueezeExcite
from senet_zoo.weights.manifest import load_manifest
from senet_zoo.weights.variant import to_text

NETWORKS = ("resnet50", "se_resnet50", "se_resnext50_32x4d")
"""The networks of table 1."""
LAYERS = "layers"
NAMES = (*TABLES, LAYERS)
TOLERANCE = 0.005
"""Share by which printed and computed GFLOPs may differ: the paper does not say what it counts."""


@dataclass(frozen=True)
class LayerRow:
    """Layers between two sizes of the map.

    Args:
        output: sides of the map that they leave, such as ``56x56``.
        layers: of each network, line by line.
    """

    output: str
    layers: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class LayerTable:
    """The layers of networks that have the same stages, side by side.

    Args:
        name: on the command line.
        source: number in the paper.
        title: what it shows.
        networks: names of the models, from left to right.
        rows: from top to bottom: stem, pool, stages, head.
    """

    name: str
    source: str
    title: str
    networks: tuple[str, ...]
    rows: tuple[LayerRow, ...]


def layer_table(names: tuple[str, ...] = NETWORKS) -> LayerTable:
    """The layers of networks with stem, pool, equally many stages and a global mean.

    Example:
        >>> layer_table().rows[2].layers[1]
        ('conv, 1x1, 64', 'conv, 3x3, 64', 'conv, 1x1, 256', 'fc, [16, 256]', 'x 3')
    """
    columns = [_column(on_meta(registry.find(name).spec())) for name in names]
    rows = tuple(LayerRow(cells[0][0], tuple(lines for _, lines in cells)) for cells in zip(*columns, strict=True))
    return LayerTable("layers", "table 1", "Layers, read off the networks", names, rows)


def _column(model: ConvNet) -> list[tuple[str, tuple[str, ...]]]:
    """Output and layers of each row."""
    size = model.spec.input_size
    x = torch.empty(1, model.in_channels, size, size, device="meta")
    column = []
    with torch.inference_mode(), ShapesOnly():
        for part in (model.stem, model.pool, *model.stages):
            x = part(x)
            column.append(
                (_sides(x.shape[2:]), _stage(part) if part in [*model.stages] else _lines(part, with_stride=True))
            )
    return [*column, ("1x1", ("global average pool", f"{model.num_classes}-d fc"))]


def _stage(stage: nn.Module) -> tuple[str, ...]:
    blocks = [_lines(block, with_stride=False) for block in stage.children()]
    return tuple(line for lines, same in groupby(blocks) for line in (*lines, f"x {len(list(same))}"))


def _lines(part: nn.Module, *, with_stride: bool) -> tuple[str, ...]:
    """One line a convolution, gate or pool, in order; shortcuts are left out, as in the paper."""
    lines = []
    for name, layer in part.named_modules():
        if "shortcut" in name.split("."):
            continue
        if isinstance(layer, nn.Conv2d):
            groups = f", C = {layer.groups}" if layer.groups > 1 else ""
            lines.append(f"conv, {_sides(layer.kernel_size)}, {layer.out_channels}{groups}")
        elif isinstance(layer, nn.MaxPool2d):
            lines.append(f"max pool, {_sides((layer.kernel_size,) * 2)}")
        elif isinstance(layer, SqueezeExcite):
            lines.append(f"fc, [{layer.fc1.out_features}, {layer.fc2.out_features}]")
        if with_stride and isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            lines.append(f"stride {layer.stride[0] if isinstance(layer.stride, tuple) else layer.stride}")
    return tuple(lines)


def _sides(pair: Sequence[object]) -> str:
    return f"{pair[0]}x{pair[1]}"


@dataclass(frozen=True)
class Error:
    """Top-1 and top-5 error in percent, in the digits that are printed; None for a dash or no such column."""

    top1: str
    top5: str | None = None


@dataclass(frozen=True)
class MeasuredError:
    """What published weights of a row's network reach at the row's size.

    Args:
        weights: ``model.tag``.
        top1, top5: error in percent; None where it is not known.
        by_us: whether a command in this tree made the numbers.
    """

    weights: str
    top1: float
    top5: float | None
    by_us: bool


@dataclass(frozen=True)
class ComputedRow:
    """One line of a table.

    Args:
        label, model, error, original: as in `PaperRow`.
        variant: of the gate, in words; None for the model's own, or none.
        size: side of the pictures, in pixels.
        printed_parameters: millions, as printed.
        parameters: trainable values.
        parameters_and_statistics: these, and the running means and variances of batch norms.
        parameters_difference: ours, in the table's reading, less the printed ones, in millions.
        printed_gflops: billions, as printed.
        multiply_adds: of convolutions and fully connected layers.
        operations: these, and one for each pooled or summed element.
        gflops_difference: billions of ``operations`` less the printed ones.
        agrees: whether all printed figures are ours; None where none is printed.
        reason: why they are not.
        measured: the best of the network's published weights, at this size; None where there are none.
    """

    label: str
    model: str
    variant: str | None
    size: int | None
    error: Error
    original: Error | None
    printed_parameters: str | None = None
    parameters: int | None = None
    parameters_and_statistics: int | None = None
    parameters_difference: float | None = None
    printed_gflops: str | None = None
    multiply_adds: int | None = None
    operations: int | None = None
    gflops_difference: float | None = None
    agrees: bool | None = None
    reason: str | None = None
    measured: MeasuredError | None = None


@dataclass(frozen=True)
class ComputedTable:
    """A table of the paper with our figures.

    Args:
        name: on the command line.
        source: its number.
        title: what it compares.
        dataset: the pictures of the errors.
        reading: how its parameters are counted.
        rows: from top to bottom.
    """

    name: str
    source: str
    title: str
    dataset: str
    reading: Reading
    rows: tuple[ComputedRow, ...]


def compute(name: str) -> tuple[ComputedTable | LayerTable, ...]:
    """The table of that name, or both where two belong together.

    Args:
        name: one of `NAMES`.

    Raises:
        UsageError: no such table.

    Example:
        >>> [row.agrees for table in compute("stages") for row in table.rows]
        [True, True, True, True, True]
    """
    if name == LAYERS:
        return (layer_table(),)
    if name not in TABLES:
        raise UsageError(f"the tables are {', '.join(NAMES)}; got {name!r}")
    return tuple(
        ComputedTable(
            table.name,
            table.source,
            table.title,
            table.dataset,
            table.reading,
            tuple(_computed_row(table, row) for row in table.rows),
        )
        for table in TABLES[name]
    )


def printed_agrees(count: int, printed: str, reading: Reading) -> bool:
    """Whether a count, read so, is printed like that: ``25.6`` is 25,610,152 rounded."""
    digits = len(printed.partition(".")[2])
    if reading is Reading.CUT:
        return int(f"{count:07}"[: digits - 6]) == int(printed.replace(".", ""))
    return f"{count / 1e6:.{digits}f}" == printed


def _computed_row(table: PaperTable, row: PaperRow) -> ComputedRow:
    computed = ComputedRow(
        label=row.label,
        model=row.model,
        variant=to_text(row.se) if row.se else None,
        size=row.size,
        error=Error(*row.error.split("/")),
        original=Error(*row.original.split("/")) if row.original else None,
        printed_parameters=row.parameters,
        printed_gflops=row.gflops,
    )
    model = registry.find(row.model)
    spec = model.spec(row.se)
    if row.num_classes is not None:
        spec = replace(spec, num_classes=row.num_classes)
    net = on_meta(spec)
    counted = cost.count(net, row.size)
    learnt = cost.parameters(net)
    whole = learnt + cost.statistics(net)
    read = whole if table.reading is Reading.ROUNDED else learnt
    checks = []
    if row.parameters is not None:
        checks.append(printed_agrees(read, row.parameters, table.reading))
    if row.gflops is not None:
        checks.append(abs(counted.operations / 1e9 - float(row.gflops)) <= TOLERANCE * float(row.gflops))
    own = row.se is None or row.se == model.se
    return replace(
        computed,
        size=counted.size,
        parameters=learnt,
        parameters_and_statistics=whole,
        parameters_difference=_difference(read, 1e6, row.parameters, 3),
        multiply_adds=counted.multiply_adds,
        operations=counted.operations,
        gflops_difference=_difference(counted.operations, 1e9, row.gflops, 4),
        agrees=all(checks) if checks else None,
        reason=row.reason,
        measured=_measured(model.name, table.dataset, counted.size) if own else None,
    )


def _measured(model: str, dataset: str, size: int) -> MeasuredError | None:
    found = []
    for weights in load_manifest().rows(model):
        metrics = {
            metric.name: metric for metric in weights.metrics if metric.dataset == dataset and metric.size == size
        }
        top1, top5 = metrics.get("top1"), metrics.get("top5")
        if top1 is not None and top1.value is not None:
            rest = None if top5 is None or top5.value is None else round(100.0 - top5.value, 3)
            found.append(MeasuredError(weights.name, round(100.0 - top1.value, 3), rest, top1.measured_by_us))
    return min(found, key=lambda measured: measured.top1, default=None)


def _difference(ours: int, unit: float, printed: str | None, digits: int) -> float | None:
    return None if printed is None else round(ours / unit - float(printed), digits) + 0.0  # no -0.0
