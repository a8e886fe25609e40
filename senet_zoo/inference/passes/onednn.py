"""Convolutions by oneDNN's own operations, as torch.compile calls them: packed weights, fused activations and sums.

``torch.conv2d`` brings the weights into oneDNN's blocked form at every call; here they are packed once. An activation
behind a convolution is computed before its result is written, and a sum is written over the other addend.
"""

from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from senet_zoo.inference.passes.depthwise import gated_depthwise
from senet_zoo.inference.passes.gates import MeanGate
from senet_zoo.inference.passes.graph import (
    end_of_sum,
    erase,
    layer_at,
    may_overwrite,
    only_reader,
    other_addend,
    shape_of,
)

ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.Hardswish: ("hardswish", []),
    nn.SiLU: ("swish", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
}
PIXELS_A_CHANNEL = 16
"""From how many pixels for each channel that a 1x1 convolution reads its gate goes into its weights, in bfloat16. The
product of gate and map costs as much as the convolution there; below, the weights are not small beside the map. Of
SE-ResNet-50 at 224 pixels it takes the units of 56: the network is 1.016 [1.008 to 1.021] times as fast at batch 8, on
one thread with AVX512-BF16; from 4 on, which takes those of 28, 0.999; of one picture, 1.014 [0.992 to 1.038], which
is no gain, so that a network for single pictures stays as it is. ``benchmarks/bfloat16.py`` times both sides."""

POSITIVE: tuple[object, ...] = (torch.sigmoid, nn.Sigmoid, F.hardsigmoid, nn.Hardsigmoid)
"""Last functions of gates that are nowhere below 0."""
LEAST_SCALE = 1e-20
"""A gate of 0 would divide by 0. A bias of up to 1e18 may be divided by this one."""
LEAST_SIDE = 56
"""Pixels along the side of a map from which on its gate waits for a strided depthwise convolution: the first two such
units of `se_mobilenet` at 224 pixels. In float32 the network is 1.018 [1.013 to 1.037] times as fast at batch 8 and as
fast within the spread for one picture, on one thread with AVX512; with the smaller maps too, in bfloat16, 0.93 [0.89 to
0.97]. ``benchmarks/mobile.py`` times both sides."""


def available(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether this machine's PyTorch has these operations for ``dtype``."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return dtype is torch.float32 or (dtype is torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def takes(conv: nn.Conv2d) -> bool:
    """Whether oneDNN's operation does what this convolution does."""
    return conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


def pack(conv: nn.Conv2d, shape: tuple[int, ...] | None) -> Tensor:
    """The weights in the form that is best for an input of ``shape``; they work for every other size too."""
    packed: Tensor = torch.ops.mkldnn._reorder_convolution_weight(
        conv.weight.detach(), conv.padding, conv.stride, conv.dilation, conv.groups, list(shape or ())
    )
    return packed


def fuse_convolutions(network: fx.GraphModule, *, sums: bool = True) -> tuple[int, int]:
    """Replace every convolution that oneDNN takes, in place, with the activation or the sum behind it.

    The network is canonical, and its nodes know their shapes.

    Returns:
        How many took an activation, and how many a sum.
    """
    with_activation, with_sum = 0, 0
    overwritten: set[fx.Node] = set()
    for node in list(network.graph.nodes):
        conv = layer_at(network, node, nn.Conv2d)
        if conv is None or not takes(conv):
            continue
        x = cast("fx.Node", node.args[0])
        weight, bias = _attach(network, node, conv)
        total = only_reader(node)
        other = other_addend(total, node)
        if (
            sums and total is not None and other is not None and other is not x and x not in overwritten
            and shape_of(other) == shape_of(node) and may_overwrite(network, other, total)
        ):  # fmt: skip
            last = end_of_sum(total)
            then = None if last is total else "relu"
            with_sum += 1
            overwritten.add(other)
            arguments: tuple[Any, ...] = (other, x, weight, bias, *_geometry(conv), "add", 1.0, then, [], "")
            _replace(network, last, torch.ops.mkldnn._convolution_pointwise_.binary, arguments)
            erase(network, last, total, node)
            continue
        name, scalars = _activation(network, total)
        arguments = (x, weight, bias, *_geometry(conv), name, scalars, "")
        _replace(network, node, torch.ops.mkldnn._convolution_pointwise.default, arguments)
        if total is not None and name != "none":
            with_activation += 1
            total.replace_all_uses_with(cast("fx.Node", total.args[0]))
            erase(network, total)
        erase(network, node)
    return with_activation, with_sum


def put_gates_in_weights(network: fx.GraphModule) -> int:
    """Compute the ends of gated units whose map is large, in bfloat16, as convolutions with scaled weights.

    ``relu(gate * (weight h + bias) + shortcut)`` is a convolution of ``gate * weight``, another one for each picture,
    that oneDNN adds to the shortcut in its memory. The network is canonical, and its nodes know their shapes.

    Returns:
        The number of such units.
    """
    count = 0
    for product in [node for node in network.graph.nodes if node.target is torch.mul]:
        y, scale = cast("tuple[fx.Node, fx.Node]", product.args)
        conv, total = layer_at(network, y, nn.Conv2d), only_reader(product)
        shortcut = other_addend(total, product)
        if (
            conv is None or total is None or shortcut is None or layer_at(network, scale, MeanGate) is None
            or len(y.users) > 1 or not _pays(conv, shape_of(y)) or shape_of(shortcut) != shape_of(y)
            or shortcut is y.args[0] or not may_overwrite(network, shortcut, total)
        ):  # fmt: skip
            continue
        last = end_of_sum(total)
        name = str(y.target).replace(".", "_")
        bias = torch.zeros_like(conv.weight[:, 0, 0, 0]) if conv.bias is None else conv.bias
        network.register_buffer(f"{name}_weight", conv.weight.detach(), persistent=False)
        network.register_buffer(f"{name}_bias", bias.detach(), persistent=False)
        with network.graph.inserting_before(last):
            tensors = [network.graph.get_attr(f"{name}_{each}") for each in ("weight", "bias")]
        then = None if last is total else "relu"
        arguments = (shortcut, y.args[0], scale, *tensors, *_geometry(conv), then)
        _replace(network, last, scaled_convolution_add_, arguments)
        erase(network, last, total, product, y)
        count += 1
    return count


def _pays(conv: nn.Conv2d, shape: tuple[int, ...] | None) -> bool:
    is_product = conv.kernel_size == (1, 1) and conv.groups == 1 and takes(conv)
    if not is_product or shape is None or conv.weight.dtype is not torch.bfloat16:
        return False
    return shape[0] > 1 and shape[2] * shape[3] >= PIXELS_A_CHANNEL * conv.in_channels


def scaled_convolution_add_(
    shortcut: Tensor, x: Tensor, scale: Tensor, weight: Tensor, bias: Tensor, *geometry_and_then: Any
) -> Tensor:
    """``scale * conv(x) + shortcut``, and what comes then, in the memory of ``shortcut``."""
    *geometry, then = geometry_and_then
    for n in range(x.shape[0]):
        one, gate = slice(n, n + 1), scale[n]  # (C, 1, 1)
        torch.ops.mkldnn._convolution_pointwise_.binary(
            shortcut[one], x[one], weight * gate[:, None], bias * gate.flatten(), *geometry, "add", 1.0, then, [], ""
        )
    return shortcut


def put_gates_behind_depthwise(network: fx.GraphModule) -> int:
    """Scale what strided depthwise convolutions with a ReLU make of large maps, and not these maps.

    The network is canonical, and its nodes know their shapes.

    Returns:
        The number of such convolutions.
    """
    count = 0
    for product, reader, _ in gated_depthwise(network):
        y, scale = cast("tuple[fx.Node, fx.Node]", product.args)
        last, shape = only_reader(reader), shape_of(y)
        conv = layer_at(network, reader, nn.Conv2d)
        if (
            conv is None or not takes(conv) or conv.bias is None or last is None or last.target is not torch.relu
            or shape is None or min(shape[2:]) < LEAST_SIDE
        ):  # fmt: skip
            continue
        packed, bias = _attach(network, reader, conv)
        last_function = cast("MeanGate", layer_at(network, scale, MeanGate)).last
        positive = last_function in POSITIVE or type(last_function) in POSITIVE
        arguments = (y, scale, packed, bias, *_geometry(conv), positive)
        _replace(network, last, scaled_depthwise, arguments)
        erase(network, last, reader, product)
        count += 1
    return count


def scaled_depthwise(x: Tensor, scale: Tensor, weight: Tensor, bias: Tensor, *geometry_and_positive: Any) -> Tensor:
    """``relu(conv(scale * x))`` of a depthwise convolution with packed weights.

    The scale of one picture, where it is positive, goes into the bias: ``scale * relu(conv(x) + bias / scale)`` is one
    pass over the map behind the convolution. It is at least `LEAST_SCALE` there; nothing that is added to a bias in
    float32 sees that.
    """
    *geometry, positive = geometry_and_positive
    convolve = torch.ops.mkldnn._convolution_pointwise.default
    if positive and x.shape[0] == 1:
        scale = scale.clamp(min=LEAST_SCALE)
        rectified: Tensor = convolve(x, weight, bias / scale.flatten(), *geometry, "relu", [], "")
        return rectified.mul_(scale)
    y = convolve(x, weight, None, *geometry, "none", [], "")
    return torch.addcmul(bias[:, None, None], y, scale, out=y).relu_()


def _geometry(conv: nn.Conv2d) -> tuple[list[int], list[int], list[int], int]:
    sides = (cast("tuple[int, ...]", side) for side in (conv.padding, conv.stride, conv.dilation))
    padding, stride, dilation = map(list, sides)
    return padding, stride, dilation, conv.groups


def _attach(network: fx.GraphModule, node: fx.Node, conv: nn.Conv2d) -> tuple[fx.Node, fx.Node | None]:
    """Packed weights and bias as nodes."""
    name = str(node.target).replace(".", "_")
    network.register_buffer(f"{name}_packed", pack(conv, shape_of(cast("fx.Node", node.args[0]))), persistent=False)
    with network.graph.inserting_before(node):
        weight = network.graph.get_attr(f"{name}_packed")
        if conv.bias is None:
            return weight, None
        network.register_buffer(f"{name}_bias", conv.bias.detach(), persistent=False)
        return weight, network.graph.get_attr(f"{name}_bias")


def _activation(network: fx.GraphModule, reader: fx.Node | None) -> tuple[str, list[float]]:
    if reader is None:
        return "none", []
    if reader.target is torch.relu:
        return "relu", []
    if reader.op != "call_module":
        return "none", []
    return ACTIVATIONS.get(type(network.get_submodule(str(reader.target))), ("none", []))


def _replace(network: fx.GraphModule, node: fx.Node, function: object, arguments: tuple[object, ...]) -> None:
    with network.graph.inserting_before(node):
        new = network.graph.call_function(function, arguments)  # type: ignore[arg-type]
    new.meta |= node.meta | {"new_tensor": True}
    node.replace_all_uses_with(new)
