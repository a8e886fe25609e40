"""Operations in the memory of their input, where nothing reads it later.

A new map of megabytes costs more than the operation, because the system hands out its pages one by one. Gates come down
to five calls, because behind a convolution each call finds its code and weights out of the cache.
"""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from senet_zoo.inference.passes.gates import MeanGate, every
from senet_zoo.inference.passes.graph import (
    end_of_sum,
    erase,
    layer_at,
    makes_new_tensor,
    may_overwrite,
    only_reader,
    other_addend,
    shape_of,
)

_Function = Callable[[Tensor], Tensor]
_Parts = tuple[Tensor, Tensor, _Function, Tensor, Tensor, _Function, tuple[int, ...]]
LAYERS = {nn.Hardswish: F.hardswish, nn.SiLU: F.silu, nn.ReLU6: F.relu6}


def work_in_place(network: fx.GraphModule) -> int:
    """Let activations, sums and products overwrite an input that nothing reads later. Returns how many do."""
    count = 0
    for node in list(network.graph.nodes):
        function, options = _in_place_form(network, node)
        if function is None:
            continue
        free = next((arg for arg in node.args if _is_free(network, arg, node)), None)
        if free is None:
            continue
        others = tuple(arg for arg in node.args if arg is not free)
        node.op, node.target, node.args, node.kwargs = "call_function", function, (free, *others), options
        node.meta["new_tensor"] = True
        count += 1
    return count


def add_(a: Tensor, b: Tensor) -> Tensor:
    """``a + b`` in the memory of ``a``."""
    return a.add_(b)


def mul_(a: Tensor, b: Tensor) -> Tensor:
    """``a * b`` in the memory of ``a``."""
    return a.mul_(b)


_FUNCTIONS = {torch.relu: torch.relu_, torch.add: add_, torch.mul: mul_}


def _in_place_form(network: fx.GraphModule, node: fx.Node) -> tuple[Any, dict[str, bool]]:
    if node.op == "call_module":
        function = LAYERS.get(type(network.get_submodule(str(node.target))))
        return function, {"inplace": True}
    return _FUNCTIONS.get(cast("Any", node.target)) if node.op == "call_function" else None, {}


def _is_free(network: fx.GraphModule, arg: object, node: fx.Node) -> bool:
    if not isinstance(arg, fx.Node) or list(node.args).count(arg) > 1 or shape_of(arg) is None:
        return False
    return shape_of(arg) == shape_of(node) and may_overwrite(network, arg, node)


def fuse_unit_ends(network: fx.GraphModule) -> int:
    """Compute the end of every gated residual unit, ``relu(gate * y + shortcut)``, in two passes over ``y``, in place.

    The network is canonical, and its nodes know their shapes.

    Returns:
        The number of such units.
    """
    fused = 0
    for product in [node for node in network.graph.nodes if node.target is torch.mul]:
        y, scale = product.args
        total = only_reader(product)
        shortcut = other_addend(total, product)
        if layer_at(network, scale, MeanGate) is None or total is None or shortcut is None:
            continue
        late = y in scale.args
        only_ours = set(y.users) == ({product, scale} if late else {product})
        if not only_ours or not makes_new_tensor(network, y) or shape_of(shortcut) != shape_of(y):
            continue
        last = end_of_sum(total)
        with network.graph.inserting_before(last):
            function = scale_add_ if last is total else scale_add_relu_
            new = network.graph.call_function(function, (y, scale, shortcut))
        new.meta |= last.meta | {"new_tensor": True}
        last.replace_all_uses_with(new)
        erase(network, last, total, product)
        fused += 1
    network.graph.eliminate_dead_code()
    return fused


def scale_add_relu_(y: Tensor, scale: Tensor, shortcut: Tensor) -> Tensor:
    """``relu(scale * y + shortcut)`` in the memory of ``y``."""
    return scale_add_(y, scale, shortcut).relu_()


def scale_add_(y: Tensor, scale: Tensor, shortcut: Tensor) -> Tensor:
    """``scale * y + shortcut`` in the memory of ``y``."""
    return torch.addcmul(shortcut, y, scale, out=y)


def put_gates_in_place(network: fx.GraphModule) -> None:
    """Replace every `MeanGate` by an `InPlaceGate`."""
    for node in network.graph.nodes:
        gate = layer_at(network, node, MeanGate)
        if gate is not None:
            network.add_submodule(str(node.target), InPlaceGate(gate))


class InPlaceGate(nn.Module):
    """What `MeanGate` computes, in five calls.

    The division of the mean is a factor of the first matrix product, biases are part of the products, and ReLU and
    sigmoid overwrite their input.
    """

    def __init__(self, gate: MeanGate) -> None:
        super().__init__()
        self.w1, self.w2 = (nn.Parameter(w.t().contiguous(), False) for w in (gate.w1, gate.w2))
        self.b1, self.b2 = (w[:, 0] * 0 if b is None else b for w, b in ((gate.w1, gate.b1), (gate.w2, gate.b2)))
        self.inner = torch.relu_ if gate.inner is torch.relu or type(gate.inner) is nn.ReLU else gate.inner
        self.last = torch.sigmoid_ if gate.last is torch.sigmoid or type(gate.last) is nn.Sigmoid else gate.last
        self.step = gate.step

    def forward(self, x: Tensor) -> Tensor:
        """The gate over the map."""
        return self.function()(x)

    def function(self) -> Callable[[Tensor], Tensor]:
        """The same as a function that holds its parameters."""
        return partial(_excite, (self.w1, self.b1, self.inner, self.w2, self.b2, self.last, self.step))


def _excite(parts: _Parts, x: Tensor) -> Tensor:
    w1, b1, inner, w2, b2, last, step = parts
    x = every(step, x)
    n, _, *sides = x.shape
    z = inner(_affine(b1, sums_of(x, w1.dtype), w1, 1 / prod(sides)))
    z = last(_affine(b2, z, w2, 1.0)).view(n, -1, *[1] * len(sides))
    return z if z.dtype is x.dtype else z.to(x.dtype)


def sums_of(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Sums over the pixels, (N, C), in ``dtype``, added up in float32 or wider.

    On a CPU those of bfloat16 are rounded once, to within 2**-8 of their value, as every number of the map has been:
    PyTorch would copy the map to float32 first for another dtype, which takes 2 to 5 times as long; a product with a
    row of ones is slower, too (``benchmarks/bfloat16.py``). `se_mobilenet` is 1.10 [1.07 to 1.14] times as fast by it,
    8 pictures at once on one thread with AVX512-BF16.
    """
    dims = tuple(range(2, x.ndim))
    if x.dtype is torch.bfloat16 and x.device.type == "cpu":
        return x.sum(dims).to(dtype)
    return x.sum(dims, dtype=dtype)


def _affine(b: Tensor, z: Tensor, w: Tensor, scale: float) -> Tensor:
    """``scale * z w + b``."""
    if torch.compiler.is_compiling() and z.shape[0] == 1:  # two calls become loops of the compiler
        return (w * (scale * z.view(-1, 1))).sum(0, keepdim=True) + b
    return torch.addmm(b, z, w, alpha=scale)
