"""`Dimensions`: over how many axes a network's maps extend, and the layers of so many dimensions.

A block asks for ``conv(...)`` or ``batch_norm(...)`` and gets the layer of PyTorch that fits the network which is being
built: one set of blocks makes networks over signals (N, C, L), pictures (N, C, H, W) and volumes (N, C, D, H, W).
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from math import prod

from torch import nn

from senet_zoo.errors import SpecError, UsageError
from senet_zoo.networks.layer_function import LayerFunction

Side = int | tuple[int, ...]
"""One number for all axes, or one an axis."""

_CONVOLUTIONS: Mapping[int, Callable[..., nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_NORMS: Mapping[int, Callable[..., nn.Module]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_MAX_POOLS: Mapping[int, Callable[..., nn.Module]] = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_AVERAGE_POOLS: Mapping[int, Callable[..., nn.Module]] = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
_GRID_POOLS: Mapping[int, Callable[..., nn.Module]] = {
    1: nn.AdaptiveAvgPool1d,
    2: nn.AdaptiveAvgPool2d,
    3: nn.AdaptiveAvgPool3d,
}


class DepthPadding(Enum):
    """What lies before the first plane of a volume, and behind the last, for the windows of its convolutions."""

    ZEROS = "zeros"
    """Zeros, as around pictures."""
    REPLICATE = "replicate"
    """The outer plane again: a volume of equal planes stays one of equal planes."""


@dataclass(frozen=True)
class Dimensions:
    """The axes of a network's maps.

    Args:
        count: 1 for signals (N, C, L), 2 for pictures (N, C, H, W), 3 for volumes (N, C, D, H, W).
        depth_kernel: planes that the stem's first convolution sees; None for as many as it sees rows.
        depth_stride: its stride over the planes; None for its stride over rows. 1 keeps thin volumes from vanishing.
        depth_padding: what lies outside the planes of a volume. It costs no parameter, but is part of the function.

    Raises:
        SpecError: another number of axes, an even or too large kernel, or choices of depth where there is none.

    Example:
        >>> Dimensions(3, depth_stride=1).count
        3
    """

    count: int = 2
    depth_kernel: int | None = None
    depth_stride: int | None = None
    depth_padding: DepthPadding = DepthPadding.ZEROS

    def __post_init__(self) -> None:
        if type(self.count) is not int or self.count not in _CONVOLUTIONS:
            raise SpecError(
                f"a network has 1 (signals), 2 (pictures) or 3 dimensions (volumes), got {self.count!r}; a film is a "
                f"volume whose depth is time"
            )
        if not isinstance(self.depth_padding, DepthPadding):
            raise SpecError(
                f"depth_padding must be one of {', '.join(map(str, DepthPadding))}, got {self.depth_padding!r}"
            )
        kernel, stride = self.depth_kernel, self.depth_stride
        if kernel is not None and (type(kernel) is not int or kernel not in range(1, 16, 2)):
            raise SpecError(f"depth_kernel must be an odd number from 1 to 15, or None, got {kernel!r}")
        if stride is not None and (type(stride) is not int or not 1 <= stride <= 8):
            raise SpecError(f"depth_stride must be a whole number from 1 to 8, or None, got {stride!r}")
        if self.count != 3 and (self.reads_depth_its_way or self.depth_padding is not DepthPadding.ZEROS):
            raise SpecError(
                f"depth_kernel, depth_stride and depth_padding choose how a volume's planes are read, and a network of "
                f"{self.count} dimensions has none; leave them out, or ask for 3"
            )

    def __str__(self) -> str:
        if self.count < 3:
            return f"{self.count}: {'signals (N, C, L)' if self.count == 1 else 'pictures (N, C, H, W)'}"
        choices = {"depth_kernel": self.depth_kernel, "depth_stride": self.depth_stride}
        chosen = "".join(f", {name} {value}" for name, value in choices.items() if value is not None)
        return f"3: volumes (N, C, D, H, W){chosen}, {self.depth_padding.value} beyond the outer planes"

    @property
    def reads_depth_its_way(self) -> bool:
        """Whether the stem's first convolution has a kernel or a stride of its own over the planes."""
        return self.depth_kernel is not None or self.depth_stride is not None


PLANE = Dimensions()
"""Two dimensions: pictures."""


def require_pictures(dimensions: Dimensions, work: str) -> None:
    """Refuse what is made for pictures alone.

    Raises:
        UsageError: the dimensions are others.
    """
    if dimensions != PLANE:
        raise UsageError(
            f"{work} is for networks over pictures, and this one has {dimensions.count} dimensions; take the network "
            f"of the same name without dims"
        )


_current: ContextVar[Dimensions] = ContextVar("dimensions", default=PLANE)


@contextmanager
def layers_of(dimensions: Dimensions) -> Iterator[None]:
    """The layers that are made in the block have these dimensions."""
    token = _current.set(dimensions)
    try:
        yield
    finally:
        _current.reset(token)


def spatial_axes() -> tuple[int, ...]:
    """The axes behind (N, C) of the network that is being built: (2, 3) for pictures."""
    return tuple(range(2, 2 + _current.get().count))


def conv(
    in_channels: int,
    out_channels: int,
    kernel: Side,
    *,
    stride: Side = 1,
    padding: Side | None = None,
    groups: int = 1,
    bias: bool = False,
) -> nn.Module:
    """A convolution; by default padded so that an odd kernel is centred on its pixel.

    Over volumes whose outer planes are replicated it is ``Sequential(pad, conv)``, because PyTorch's own
    ``padding_mode`` holds on all sides.
    """
    dimensions = _current.get()
    padding = centred(kernel) if padding is None else padding
    layer = _CONVOLUTIONS[dimensions.count]
    depth = padding if isinstance(padding, int) else padding[0]
    if dimensions.depth_padding is DepthPadding.ZEROS or depth == 0:
        return layer(in_channels, out_channels, kernel, stride=stride, padding=padding, groups=groups, bias=bias)
    sides = (padding,) * 3 if isinstance(padding, int) else padding
    flat = layer(in_channels, out_channels, kernel, stride=stride, padding=(0, *sides[1:]), groups=groups, bias=bias)
    return nn.Sequential(OrderedDict(pad=nn.ReplicationPad3d((0, 0, 0, 0, depth, depth)), conv=flat))


def first_conv_sides(kernel: int, stride: int) -> tuple[Side, Side]:
    """Kernel and stride of a stem's first convolution, which may have its own over the planes of a volume."""
    dimensions = _current.get()
    if not dimensions.reads_depth_its_way:
        return kernel, stride
    return (dimensions.depth_kernel or kernel, kernel, kernel), (dimensions.depth_stride or stride, stride, stride)


def centred(kernel: Side) -> Side:
    """The padding that keeps an odd kernel centred on its pixel."""
    return kernel // 2 if isinstance(kernel, int) else tuple(side // 2 for side in kernel)


@LayerFunction
def batch_norm(channels: int, eps: float = 1e-5) -> nn.Module:
    """Batch normalisation."""
    return _NORMS[_current.get().count](channels, eps=eps)


def max_pool(side: int, stride: int, *, padding: int = 0, ceil_mode: bool = False) -> nn.Module:
    """Maximum over windows."""
    return _MAX_POOLS[_current.get().count](side, stride, padding=padding, ceil_mode=ceil_mode)


def average_pool(
    side: int, stride: int, *, padding: int = 0, ceil_mode: bool = False, count_include_pad: bool = True
) -> nn.Module:
    """Mean over windows. Zeros that count lie around each plane of a volume, never before or behind it."""
    count = _current.get().count
    if count < 3 or not padding or not count_include_pad:
        return _AVERAGE_POOLS[count](
            side, stride, padding=padding, ceil_mode=ceil_mode, count_include_pad=count_include_pad
        )
    planes = nn.ReplicationPad3d((0, 0, 0, 0, padding, padding))
    return nn.Sequential(planes, nn.AvgPool3d(side, stride, padding=(0, padding, padding), ceil_mode=ceil_mode))


def grid_pool(grid: int) -> nn.Module:
    """Means on a grid of ``grid`` x ``grid`` fields; all planes of a volume become one, a signal ``grid`` fields."""
    return _GRID_POOLS[_current.get().count](_grid(grid))


def grid_fields(grid: int) -> int:
    """How many fields `grid_pool` leaves."""
    return prod(_grid(grid))


def _grid(grid: int) -> tuple[int, ...]:
    return {1: (grid,), 2: (grid, grid), 3: (1, grid, grid)}[_current.get().count]
