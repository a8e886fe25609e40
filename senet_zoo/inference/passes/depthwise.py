"""The gate behind a strided depthwise convolution, whose map is a quarter of the one that the gate would scale.

::

    conv(s * y) + b = s * conv(y) + b                     a depthwise convolution keeps channels apart
    relu(s * conv(y) + b) = s * relu(conv(y) + b / s)     where s > 0

`move_gates_behind` writes the first line in standard operations, which OpenVINO and torch.compile make one loop of.
`senet_zoo.inference.passes.onednn` takes the second for one picture, because oneDNN adds ``b / s`` and rectifies
within the convolution. ONNX Runtime gets neither: it fuses ReLU into convolutions, and no product.
"""

import copy
from collections.abc import Iterator
from math import prod
from typing import cast

import torch
from torch import fx
from torch.nn.modules.conv import _ConvNd

from senet_zoo.inference.passes.gates import MeanGate
from senet_zoo.inference.passes.graph import CONVOLUTIONS, erase, layer_at, only_reader


def gated_depthwise(network: fx.GraphModule) -> Iterator[tuple[fx.Node, fx.Node, _ConvNd]]:
    """Products of a map and its gate that only a strided depthwise convolution reads: product, its reader, the layer.

    The network is canonical.
    """
    for product in [node for node in network.graph.nodes if node.target is torch.mul]:
        reader = only_reader(product)
        conv = layer_at(network, reader, *CONVOLUTIONS)
        if conv is None or reader is None or layer_at(network, product.args[1], MeanGate) is None:
            continue
        keeps_channels_apart = conv.groups == conv.in_channels == conv.out_channels
        if keeps_channels_apart and prod(conv.stride) > 1 and conv.padding_mode == "zeros":  # others pad with s * y
            yield product, reader, conv


def move_gates_behind(network: fx.GraphModule) -> int:
    """Scale the maps of strided depthwise convolutions and not what they read, in place. Returns how many."""
    count = 0
    for product, reader, conv in gated_depthwise(network):
        y, scale = cast("tuple[fx.Node, fx.Node]", product.args)
        name = f"{reader.target}_gated"
        network.add_submodule(name, without_bias(conv))
        with network.graph.inserting_before(reader):
            scaled = network.graph.call_function(torch.mul, (network.graph.call_module(name, (y,)), scale))
            if conv.bias is not None:
                buffer = f"{name.replace('.', '_')}_bias"
                network.register_buffer(buffer, conv.bias.detach().view(-1, *(1,) * len(conv.kernel_size)))
                scaled = network.graph.call_function(torch.add, (scaled, network.graph.get_attr(buffer)))
        reader.replace_all_uses_with(scaled)
        erase(network, reader, product)
        count += 1
    network.graph.lint()
    network.recompile()
    return count


def without_bias(conv: _ConvNd) -> _ConvNd:
    """The same convolution, its bias left out; it shares the weights."""
    other = copy.copy(conv)
    other._parameters = {**conv._parameters, "bias": None}
    return other
