"""The end of a gated residual unit, ``relu(gate * y + shortcut)``, in the memory of ``y`` and in two passes over it."""

import torch
from torch import Tensor, fx

from senet_zoo.inference.mean_gate import MeanGate
from senet_zoo.inference.passes.nodes import layer_at, makes_new_tensor, only_reader, other_addend, shape_of


def fuse_tails(network: fx.GraphModule) -> int:
    """Fuse the end of every gated residual unit, in place.

    Args:
        network: canonical, its nodes with their shapes.

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
        with network.graph.inserting_before(last):
            function = scale_add_ if last is total else scale_add_relu_
            new = network.graph.call_function(function, (y, scale, shortcut))
        new.meta |= last.meta | {"new_tensor": True}
        last.replace_all_uses_with(new)
        for node in dict.fromkeys((last, total, product)):
            network.graph.erase_node(node)
        fused += 1
    network.graph.eliminate_dead_code()
    return fused


def scale_add_relu_(y: Tensor, scale: Tensor, shortcut: Tensor) -> Tensor:
    """``relu(scale * y + shortcut)`` in the memory of ``y``."""
    return scale_add_(y, scale, shortcut).relu_()


def scale_add_(y: Tensor, scale: Tensor, shortcut: Tensor) -> Tensor:
    """``scale * y + shortcut`` in the memory of ``y``."""
    return torch.addcmul(shortcut, y, scale, out=y)
