"""`inflated`: the filters of a network over pictures as those of the same network over volumes or signals.

::

    volumes   CENTRE   W2 in the middle plane, 0 elsewhere   a volume of equal planes has the picture's logits
              MEAN     W2 / depth in every plane             the same, where the outer planes are replicated
    signals   MEAN     sum of W2 over its rows               the maps of a picture of equal rows, far from its edges
              CENTRE   the middle row of W2                  a signal has the logits of the picture of one row

Batch norms, gates and the classifier have no axes of space and stay as they are.

Source: Carreira and Zisserman, Quo Vadis, Action Recognition?, arXiv:1705.07750, section 2.4.1 (the mean); Girdhar et
al., Detect-and-Track, arXiv:1712.09184, section 3.1 (both, by these names). For signals no paper is known: the sum is
the mean's reverse.
"""

from collections.abc import Mapping
from enum import Enum

import torch
from torch import Tensor, nn

from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.squeeze_excite import widened


class Inflation(Enum):
    """How a filter gains an axis, or loses one."""

    CENTRE = "centre"
    """Volumes: in the middle plane. Signals: its middle row."""
    MEAN = "mean"
    """Volumes: spread evenly over the planes. Signals: summed over the rows."""


def usual_inflation(count: int) -> Inflation:
    """What networks of so many dimensions get where nothing else is asked for: the exact one."""
    return Inflation.MEAN if count == 1 else Inflation.CENTRE


def inflated(tensors: Mapping[str, Tensor], net: ConvNet, inflation: Inflation) -> dict[str, Tensor]:
    """A network's tensors out of those of its twin over pictures.

    Args:
        tensors: by the names of the network over pictures.
        net: the network over signals or volumes, on any device.
        inflation: how each filter changes.
    """
    padded = {f"{name}.conv.": f"{name}." for name, part in net.named_modules() if _is_padded(part)}
    result = {}
    for name, like in net.state_dict().items():
        layer, dot, leaf = name.rpartition(".")
        flat = tensors[padded.get(layer + dot, layer + dot) + leaf]
        result[name] = _reshaped(flat, like.shape, inflation)
    return result


def _is_padded(part: nn.Module) -> bool:
    return isinstance(part, nn.Sequential) and isinstance(getattr(part, "pad", None), nn.ReplicationPad3d)


def _reshaped(flat: Tensor, shape: torch.Size, inflation: Inflation) -> Tensor:
    if flat.shape == shape:
        return flat
    flat = widened(flat)  # many files are in float16, in which a third is not near a third
    if flat.dim() == 2:  # the first matrix behind a grid, which has one row of fields over signals
        channels, side = _grid_of(flat.shape[1], shape[1])
        return flat.reshape(len(flat), channels, side, side).sum(2).flatten(1)
    if len(shape) == 3:
        return flat.sum(2) if inflation is Inflation.MEAN else flat[:, :, flat.shape[2] // 2].clone()
    depth = shape[2]
    if inflation is Inflation.MEAN:
        return (flat / depth)[:, :, None].repeat(1, 1, depth, 1, 1)
    deep = torch.zeros(shape, dtype=flat.dtype, device=flat.device)
    deep[:, :, depth // 2] = flat
    return deep


def _grid_of(fields: int, rows: int) -> tuple[int, int]:
    """Channels and side of a grid: ``channels * side * side`` fields, ``channels * side`` over signals."""
    side = fields // rows
    return rows // side, side
