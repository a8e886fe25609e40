"""What is affine in the output of a convolution becomes part of it: batch norms, and constant factors.

``gamma (W x - mean) / sqrt(var + eps) + beta`` is another ``W' x + b'``. All of it is computed in float64.
"""

import copy
from typing import cast

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from senet_zoo.inference.passes.graph import CONVOLUTIONS, NORMS, layer_at, only_reader


def fold_norms(traced: fx.GraphModule) -> tuple[int, int]:
    """Fold every batch norm that is the only reader of a convolution, in place.

    Returns:
        How many were folded, and how many stay: they follow a sum or a concatenation, or have no fixed statistics.
    """
    folded = stay = 0
    for node in list(traced.graph.nodes):
        norm = layer_at(traced, node, *NORMS)
        if norm is None:
            continue
        source = node.args[0]
        conv = layer_at(traced, source, *CONVOLUTIONS)
        if conv is None or len(source.users) > 1 or norm.running_mean is None or norm.running_var is None:
            stay += 1
            continue
        name = f"{source.target}_{folded}"
        traced.add_submodule(name, folded_conv(conv, norm))
        with traced.graph.inserting_before(node):
            node.replace_all_uses_with(traced.graph.call_module(name, source.args))
        traced.graph.erase_node(node)
        traced.graph.erase_node(source)
        folded += 1
    return folded, stay


def folded_conv(conv: _ConvNd, norm: _BatchNorm) -> _ConvNd:
    """One convolution that does what both did, computed in float64."""
    mean, var = (cast("Tensor", each).double() for each in (norm.running_mean, norm.running_var))
    factor = (var + norm.eps).rsqrt()
    if norm.weight is not None:
        factor = factor * norm.weight.detach().double()
    bias = -mean if conv.bias is None else conv.bias.detach().double() - mean
    bias = bias * factor
    if norm.bias is not None:
        bias = bias + norm.bias.detach().double()
    return _with(conv, conv.weight.detach().double() * factor.view(-1, *(1,) * (conv.weight.dim() - 1)), bias)


def fold_constants(traced: fx.GraphModule) -> None:
    """Fold ``constant * conv(x)`` and ``constant * (conv(x) * gate)``, in place; gates must be early already.

    The second is the scaled residual of Inception-ResNet.
    """
    for node in list(traced.graph.nodes):
        if node.target is not torch.mul or not any(isinstance(arg, int | float) for arg in node.args):
            continue
        (factor,) = (arg for arg in node.args if isinstance(arg, int | float))
        (scaled,) = (arg for arg in node.args if isinstance(arg, fx.Node))
        source = cast("fx.Node", scaled.args[0] if scaled.target is torch.mul else scaled)
        conv = layer_at(traced, source, *CONVOLUTIONS)
        if conv is None or not only_reader(source) or not only_reader(scaled):
            continue
        bias = None if conv.bias is None else conv.bias.detach().double() * factor
        source.target = f"{source.target}_scaled"
        traced.add_submodule(source.target, _with(conv, conv.weight.detach().double() * factor, bias))
        node.replace_all_uses_with(scaled)
        traced.graph.erase_node(node)


def _with(conv: _ConvNd, weight: Tensor, bias: Tensor | None) -> _ConvNd:
    """The same convolution with other values."""
    other = copy.copy(conv)  # its settings; the tensors are replaced
    other._parameters = {}
    other.weight = nn.Parameter(weight.to(conv.weight.dtype), False)
    other.register_parameter("bias", None if bias is None else nn.Parameter(bias.to(conv.weight.dtype), False))
    return other.eval()
