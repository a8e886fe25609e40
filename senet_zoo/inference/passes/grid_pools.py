"""Adaptive average pooling in operations that a file can hold for maps of any size.

PyTorch's exporter to ONNX unrolls ``AdaptiveAvgPool2d(7)`` for the size of its example, by thousands of nodes, and
the file then fails at every other size.
"""

import torch
from torch import Tensor, fx, nn

_POOLS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)


class _GridMeans(nn.Module):
    """Means of a map's cells, by one product an axis. Shape: (N, C, H, W) -> (N, C, *grid), or with other axes.

    Cell ``i`` of ``n`` has the pixels from ``floor(i * side / n)`` to before ``ceil((i + 1) * side / n)``, as PyTorch's
    adaptive pools have it; an axis whose ``n`` is None stays as it is.
    """

    def __init__(self, grid: tuple[int | None, ...]) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        for axis, cells in enumerate(self.grid, start=2):
            if cells is not None:
                x = torch.matmul(_shares(x, axis, cells), x.movedim(axis, -2)).movedim(-2, axis)
        return x


def _shares(x: Tensor, axis: int, cells: int) -> Tensor:
    """What each pixel of an axis adds to the mean of each cell. Shape: (cells, side)."""
    side = x.shape[axis]
    cell, pixel = torch.arange(cells).unsqueeze(1), torch.arange(side)
    inside = (pixel >= cell * side // cells) & (pixel < ((cell + 1) * side + cells - 1) // cells)
    inside = inside.to(x)
    return inside / inside.sum(1, keepdim=True)


def spell_grid_pools(network: fx.GraphModule) -> None:
    """Write adaptive average pools as products, in place; those to one cell stay, because exporters know the mean."""
    for node in network.graph.nodes:
        layer = network.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(layer, _POOLS):
            axes = _POOLS.index(type(layer)) + 1
            size = layer.output_size
            grid = size if isinstance(size, tuple) else (size,) * axes
            if set(grid) != {1}:
                network.set_submodule(str(node.target), _GridMeans(grid))
