"""Shapes of a network's maps without arithmetic: what the meta device promises, without its price.

The meta device computes shapes by running each operation's decomposition in Python; the first one imports a symbolic
algebra, which takes longer than `import torch`. Under the modes here the few functions that networks of convolutions
consist of answer by a rule of their own. Any other function runs on the meta device as ever: slower, never wrong.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

Rule = Callable[..., Tensor]


class ShapesOnly(TorchFunctionMode):
    """Functions of meta tensors by their rule.

    ``pooled`` counts the elements of maps that went into a pool or a global mean, ``summed`` those of sums of two maps.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pooled = 0
        self.summed = 0

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _ELEMENTWISE and args:
            return args[0] if kwargs.get("inplace") else _like(args[0])
        rule = _RULES.get(func)
        out = func(*args, **kwargs) if rule is None else rule(*args, **kwargs)
        if func in _POOLS and args[0].ndim == 4:
            self.pooled += args[0].numel()
        elif func in _SUMS and all(isinstance(x, Tensor) and x.ndim == 4 for x in args[:2]):
            self.summed += out.numel()
        return out


def _like(x: Tensor) -> Tensor:
    return _made(x, x.shape)


def _convolved(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    if isinstance(padding, str):
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    _require(x.shape[1] == weight.shape[1] * groups, "channels of a convolution", x, weight)
    return _windowed(x, weight.shape[0], weight.shape[2:], stride, padding, dilation)


def _max_pooled(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    return _windowed(x, x.shape[1], kernel_size, stride or kernel_size, padding, dilation, ceil_mode)


def _average_pooled(
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, *rest: Any
) -> Tensor:
    return _windowed(x, x.shape[1], kernel_size, stride or kernel_size, padding, 1, ceil_mode)


def _windowed(
    x: Tensor, channels: int, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool = False
) -> Tensor:
    sides = []
    for side, k, s, p, d in zip(x.shape[2:], *map(_pair, (kernel, stride, padding, dilation)), strict=True):
        steps = side + 2 * p - d * (k - 1) - 1
        count = (math.ceil(steps / s) if ceil_mode else steps // s) + 1
        # A ceiled pool has no window that begins beyond the far edge.
        sides.append(count - 1 if ceil_mode and (count - 1) * s >= side + p else count)
    if min(sides) < 1:
        raise RuntimeError(f"a window of {_pair(kernel)} does not fit into a map of {tuple(x.shape[2:])}")
    return _made(x, (x.shape[0], channels, *sides))


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    _require(x.shape[-1] == weight.shape[1], "features of a fully connected layer", x, weight)
    return _made(x, (*x.shape[:-1], weight.shape[0]))


def _adaptively_pooled(x: Tensor, output_size: Any) -> Tensor:
    return _made(x, (*x.shape[:2], *_pair(output_size)))


def _broadcast(x: Any, y: Any) -> Tensor:
    if not isinstance(y, Tensor):
        return _like(x)
    if not isinstance(x, Tensor):
        return _like(y)
    rank = max(x.ndim, y.ndim)
    pairs = list(zip((1,) * (rank - x.ndim) + x.shape, (1,) * (rank - y.ndim) + y.shape, strict=True))
    _require(all(a == b or 1 in (a, b) for a, b in pairs), "sides of two maps", x, y)
    return _made(x, [b if a == 1 else a for a, b in pairs])


def _reduced(x: Tensor, dim: Any, keepdim: bool = False, dtype: torch.dtype | None = None) -> Tensor:
    gone = {axis % x.ndim for axis in (dim if isinstance(dim, tuple | list) else (dim,))}
    sides = [1 if axis in gone else side for axis, side in enumerate(x.shape) if keepdim or axis not in gone]
    return _made(x, sides, dtype)


def _joined(tensors: tuple[Tensor, ...] | list[Tensor], dim: int = 0) -> Tensor:
    sides = list(tensors[0].shape)
    for tensor in tensors:
        rest = list(tensor.shape)
        rest[dim] = sides[dim]
        _require(rest == sides, "other sides of joined maps", tensors[0], tensor)
    sides[dim] = sum(tensor.shape[dim] for tensor in tensors)
    return _made(tensors[0], sides)


def _made(like: Tensor, sides: Iterable[int], dtype: torch.dtype | None = None) -> Tensor:
    # Tensor.new_empty and torch.empty_like run in Python on the meta device; this does not.
    return torch.empty(tuple(sides), dtype=dtype or like.dtype, device=like.device)


def _require(fits: bool, what: str, x: Tensor, y: Tensor) -> None:
    if not fits:
        raise RuntimeError(f"{what} must agree, got {tuple(x.shape)} and {tuple(y.shape)}")


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


_ELEMENTWISE = frozenset(
    {
        F.batch_norm,
        F.local_response_norm,
        F.relu,
        F.silu,
        F.gelu,
        F.leaky_relu,
        F.hardsigmoid,
        torch.relu,
        torch.sigmoid,
        torch.tanh,
    }
)
_RULES: Mapping[Any, Rule] = MappingProxyType(
    dict.fromkeys((Tensor.add, Tensor.sub, Tensor.mul, Tensor.div), _broadcast)
    | dict.fromkeys((Tensor.mean, Tensor.amax), _reduced)
    | {
        F.conv2d: _convolved,
        F.linear: _linear,
        torch.cat: _joined,
        F.max_pool2d: _max_pooled,
        F.avg_pool2d: _average_pooled,
        F.adaptive_avg_pool2d: _adaptively_pooled,
    }
)
_POOLS = frozenset({F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d, Tensor.mean, Tensor.amax})
_SUMS = frozenset({Tensor.add, Tensor.add_, torch.add})
