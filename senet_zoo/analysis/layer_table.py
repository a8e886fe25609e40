"""Table 1 of the paper, read off our own networks: their layers row by row."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import nn

from senet_zoo import registry
from senet_zoo.analysis.shapes import ShapesOnly
from senet_zoo.blueprint import on_meta
from senet_zoo.layers import SqueezeExcite
from senet_zoo.network import ConvNet

NETWORKS = ("resnet50", "se_resnet50", "se_resnext50_32x4d")


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
    rows = tuple(
        LayerRow(cells[0][0], tuple(lines for _, lines in cells)) for cells in zip(*columns, strict=True)
    )  # fmt: skip
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
