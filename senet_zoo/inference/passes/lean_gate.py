"""The excitation in as few calls as there can be: behind a convolution each finds its code and weights out of cache.

The mean is a sum whose division is the factor of the first matrix product, biases are part of the products, and ReLU
and sigmoid write over their input.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, fx, nn

from senet_zoo.inference.passes.gates import MeanGate
from senet_zoo.inference.passes.nodes import layer_at

_Function = Callable[[Tensor], Tensor]
_Parts = tuple[Tensor, Tensor, _Function, Tensor, Tensor, _Function, tuple[int, int]]


def make_gates_lean(network: fx.GraphModule) -> None:
    """Replace every `MeanGate`, in place."""
    for node in network.graph.nodes:
        gate = layer_at(network, node, MeanGate)
        if gate is not None:
            network.add_submodule(str(node.target), LeanGate(gate))


class LeanGate(nn.Module):
    """What `MeanGate` computes, in five calls."""

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
        """The same, its parameters in reach."""
        return partial(_excite, (self.w1, self.b1, self.inner, self.w2, self.b2, self.last, self.step))


def _excite(parts: _Parts, x: Tensor) -> Tensor:
    w1, b1, inner, w2, b2, last, step = parts
    if step != (1, 1):
        x = x[:, :, :: step[0], :: step[1]]
    n, _, h, w = x.shape
    z = inner(_affine(b1, x.sum((2, 3), dtype=w1.dtype), w1, 1 / (h * w)))
    z = last(_affine(b2, z, w2, 1.0)).view(n, -1, 1, 1)
    return z if z.dtype is x.dtype else z.to(x.dtype)


def _affine(b: Tensor, z: Tensor, w: Tensor, scale: float) -> Tensor:
    """``scale * z w + b``."""
    if torch.compiler.is_compiling() and z.shape[0] == 1:  # loops of the compiler's own in place of two calls
        return (w * (scale * z.view(-1, 1))).sum(0, keepdim=True) + b
    return torch.addmm(b, z, w, alpha=scale)
