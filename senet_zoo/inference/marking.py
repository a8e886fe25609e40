"""Logits of NaN for pictures that are not finite: fused activations may turn NaN into 0 on the way."""

from functools import partial
from math import isfinite

import numpy
import torch
from torch import Tensor, fx

from senet_zoo.inference.measuring import Network

WIDE = (torch.float32, torch.float64)


def mark_in_graph(network: fx.GraphModule) -> None:
    """Let the network mark its own logits, in place: for whoever fuses operations, or waits for none of them."""
    (x,) = (node for node in network.graph.nodes if node.op == "placeholder")
    (output,) = (node for node in network.graph.nodes if node.op == "output")
    with network.graph.inserting_before(output):
        output.args = (network.graph.call_function(_marked, (output.args[0], x)),)
    network.recompile()


def _marked(y: Tensor, x: Tensor) -> Tensor:
    nothing = (x * 0).sum((1, 2, 3)).to(y.dtype)  # (N,), of zeros: large numbers have no sum
    return y + nothing.view(-1, *[1] * (y.ndim - 1))


def marked(run: Network) -> Network:
    """The network, and a look at its pictures by numpy: one call, in this thread, where PyTorch needs two.

    Behind a network every call finds its code out of cache.
    """
    return partial(_run_marked, run)


def _run_marked(run: Network, x: Tensor) -> Tensor:
    y = run(x)
    with numpy.errstate(invalid="ignore", over="ignore"):
        if isfinite((x if x.dtype in WIDE else x.float()).numpy().sum()):
            return y
    broken = ~x.isfinite().flatten(1).all(1)  # a sum of large numbers may just have been too large
    return torch.where(broken.view(-1, *[1] * (y.ndim - 1)), torch.nan, y)
