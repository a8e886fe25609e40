"""The excitation in as few calls as there can be: behind a convolution each finds its code and weights out of cache.

The mean is a sum whose division is the factor of the first matrix product, biases are part of the products, and ReLU
and sigmoid write over their input.
"""

import torch
from torch import Tensor, fx, nn

from senet_zoo.inference.mean_gate import MeanGate
from senet_zoo.inference.passes.nodes import layer_at


def make_gates_lean(network: fx.GraphModule) -> None:
    """Replace every `MeanGate`, in place."""
    for node in network.graph.nodes:
        gate = layer_at(network, node, MeanGate)
        if gate is not None:
            network.add_submodule(str(node.target), LeanGate(gate))


class LeanGate(nn.Module):
    """What `MeanGate` computes, in six calls."""

    def __init__(self, gate: MeanGate) -> None:
        super().__init__()
        self.w1, self.w2, self.step = gate.w1, gate.w2, gate.step
        self.b1, self.b2 = (w[:, 0] * 0 if b is None else b for w, b in ((gate.w1, gate.b1), (gate.w2, gate.b2)))
        self.inner = torch.relu_ if gate.inner is torch.relu or type(gate.inner) is nn.ReLU else gate.inner
        self.last = torch.sigmoid_ if gate.last is torch.sigmoid or type(gate.last) is nn.Sigmoid else gate.last

    def forward(self, x: Tensor) -> Tensor:
        """The gate over the map."""
        if self.step != (1, 1):
            x = x[:, :, :: self.step[0], :: self.step[1]]
        z = x.sum((2, 3), dtype=self.w1.dtype)  # (N, C_in)
        z = self.inner(torch.addmm(self.b1, z, self.w1.t(), alpha=1 / (x.shape[2] * x.shape[3])))
        z = self.last(torch.addmm(self.b2, z, self.w2.t()))
        return z.to(x.dtype)[:, :, None, None]
