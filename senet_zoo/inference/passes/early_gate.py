"""The gate before the convolution: its squeeze is computed from what the convolution reads.

::

    z = mean(W3 h + b3) = W3 mean(h) + b3          a 1x1 convolution commutes with the mean
    W1 z + b1 = (W1 W3) mean(h) + (W1 b3 + b1)     nothing stands between it and W1

so the gate needs one small matrix, (hidden, channels of h), and a mean over h: a quarter of the map in a bottleneck.
A convolution of stride s without padding sees every s-th row and column, and then so does the mean.

A 3x3 convolution has such a form too, with sums over the map's edges. But it reads as many channels as it writes in
every block of the zoo, so that nothing would be saved; see ``benchmarks/NOTES.md``.
"""

from typing import cast

import torch
from torch import Tensor, fx
from torch.nn.modules.conv import _ConvNd

from senet_zoo.inference.passes.gates import MeanGate
from senet_zoo.inference.passes.graph import CONVOLUTIONS, layer_at


def move_gates_early(traced: fx.GraphModule) -> tuple[list[str], dict[str, str]]:
    """Move every gate that directly follows a 1x1 convolution before it, in place. Batch norms must be folded.

    Returns:
        Names of the gates that moved; those that stay, and why.
    """
    early, late = [], {}
    for node in list(traced.graph.nodes):
        gate = layer_at(traced, node, MeanGate)
        if gate is None:
            continue
        name = str(node.meta["gate"])
        source = cast("fx.Node", node.args[0])
        conv = layer_at(traced, source, *CONVOLUTIONS)
        reason = _not_linear(traced, source) if conv is None else _not_pointwise(conv)
        if conv is None or reason:
            late[name] = cast("str", reason)
            continue
        with traced.graph.inserting_before(source):
            traced.add_submodule(f"{node.target}_early", gate.behind(as_matrix(conv), _bias(conv), tuple(conv.stride)))
            scale = traced.graph.call_module(f"{node.target}_early", source.args)
        scale.meta["gate"] = name
        node.replace_all_uses_with(scale)
        traced.graph.erase_node(node)
        early.append(name)
    return early, late


def as_matrix(conv: _ConvNd) -> Tensor:
    """A 1x1 convolution as the matrix that it multiplies each pixel by, (out, in); groups are its diagonal blocks."""
    weight = conv.weight.detach().flatten(1)  # (out, in / groups)
    return weight if conv.groups == 1 else torch.block_diag(*weight.chunk(conv.groups))


def _not_pointwise(conv: _ConvNd) -> str | None:
    if {*conv.kernel_size} != {1}:
        return f"a {'x'.join(map(str, conv.kernel_size))} convolution stands before it"
    if conv.padding not in ("valid", "same") and any(conv.padding):
        return "the convolution before it is padded"
    if conv.in_channels > conv.out_channels:
        return "the convolution before it narrows the map, so that its output is the cheaper one to squeeze"
    return None


def _not_linear(traced: fx.GraphModule, source: fx.Node) -> str:
    if source.target is torch.relu or (
        source.op == "call_module" and "activation" in type(traced.get_submodule(str(source.target))).__module__
    ):
        return "an activation stands between the convolution and the gate"
    if source.target is torch.add:
        return "it gates a sum"
    if source.target is torch.cat:
        return "it gates a concatenation"
    return "no convolution stands directly before it"


def _bias(conv: _ConvNd) -> Tensor | None:
    return None if conv.bias is None else conv.bias.detach()
