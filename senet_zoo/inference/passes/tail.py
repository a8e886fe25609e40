"""The end of a gated residual unit, ``relu(gate * y + shortcut)``, without a new map.

Behind an early gate the whole of it can be one convolution: with the gate known, ``gate * (W h + b)`` is a convolution
with weights ``gate * W``, which oneDNN adds to the shortcut's memory and rectifies on the way. That takes new weights
for every picture, and so pays for one picture at a time, and where the map has more pixels than the weights have
columns. Elsewhere the map is scaled, summed and rectified in its own memory.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, fx, nn

from senet_zoo.inference.mean_gate import MeanGate
from senet_zoo.inference.passes import onednn
from senet_zoo.inference.passes.nodes import (
    layer_at,
    makes_new_tensor,
    may_overwrite,
    only_reader,
    other_addend,
    shape_of,
)

_Parts = tuple[Tensor, Tensor, Tensor | None, int]


def fuse_tails(network: fx.GraphModule, packed: bool) -> int:
    """Fuse the end of every gated residual unit, in place.

    Args:
        network: canonical, its nodes with their shapes.
        packed: whether convolutions run by oneDNN's own operations.

    Returns:
        How many.
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
        last = only_reader(total)
        last = last if last is not None and last.target is torch.relu else total
        foldable = packed and not late and last is not total
        conv = _foldable(network, y, shortcut, total) if foldable else None
        with network.graph.inserting_before(last):
            if conv is not None:
                name = f"{y.target}_tail"
                network.add_submodule(name, FoldedTail(conv, onednn.pack(conv, shape_of(y.args[0]))))
                new = network.graph.call_module(name, (shortcut, y.args[0], scale))
            else:
                function = scale_add_ if last is total else scale_add_relu_
                new = network.graph.call_function(function, (y, scale, shortcut))
        new.meta |= last.meta | {"new_tensor": True}
        last.replace_all_uses_with(new)
        for node in dict.fromkeys((last, total, product)):
            network.graph.erase_node(node)
        fused += 1
    network.graph.eliminate_dead_code()
    return fused


def _foldable(network: fx.GraphModule, y: fx.Node, shortcut: fx.Node, total: fx.Node) -> nn.Conv2d | None:
    """The convolution that makes ``y``, where gate and sum can be part of it."""
    conv = layer_at(network, y, nn.Conv2d)
    if conv is None or conv.kernel_size != (1, 1) or conv.stride != (1, 1) or conv.padding != (0, 0):
        return None
    fits = onednn.takes(conv) and y.args[0] is not shortcut and may_overwrite(network, shortcut, total)
    return conv if fits else None


def scale_add_relu_(y: Tensor, scale: Tensor, shortcut: Tensor) -> Tensor:
    """``relu(scale * y + shortcut)`` in the memory of ``y``."""
    return y.mul_(scale).add_(shortcut).relu_()


def scale_add_(y: Tensor, scale: Tensor, shortcut: Tensor) -> Tensor:
    """``scale * y + shortcut`` in the memory of ``y``."""
    return y.mul_(scale).add_(shortcut)


class FoldedTail(nn.Module):
    """``relu(scale * conv(h) + shortcut)`` for a 1x1 convolution; the shortcut's memory may be written over."""

    packed: Tensor

    def __init__(self, conv: nn.Conv2d, packed: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.groups = conv.groups
        self.register_buffer("packed", packed, persistent=False)

    def forward(self, shortcut: Tensor, h: Tensor, scale: Tensor) -> Tensor:
        """The unit's output."""
        return self.function()(shortcut, h, scale)

    def function(self) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """The same, its parameters in reach."""
        return partial(_tail, (self.weight, self.packed, self.bias, self.groups))


def _tail(parts: _Parts, shortcut: Tensor, h: Tensor, scale: Tensor) -> Tensor:
    weight, packed, bias, groups = parts
    n, channels, height, width = h.shape
    if n == 1 and height * width > channels:
        weight = weight * scale.view(-1, 1, 1, 1)
        bias = None if bias is None else bias * scale.view(-1)
        return onednn.pointwise_add_relu_(shortcut, h, weight, bias, groups)
    return scale_add_relu_(onednn.pointwise(h, packed, bias, groups), scale, shortcut)
