"""The other half of `senet_zoo.optimize`: a rewritten network for this machine's PyTorch.

Its operations write over maps that nobody reads again; on a CPU its convolutions are oneDNN's own, and on CUDA its
gates and the ends of its units are Triton's kernels. It neither trains nor exports.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, fx
from torch.fx.passes.shape_prop import ShapeProp

from senet_zoo.inference.passes import cuda, onednn
from senet_zoo.inference.passes.in_place import fuse_tails, work_in_place
from senet_zoo.inference.passes.lean_gate import make_gates_lean


@dataclass(frozen=True)
class Lowering:
    """A network for this machine, and what was done.

    Args:
        network: the same function; channels are last in its maps.
        tails: residual units whose gate, sum and ReLU are one step.
        activations: convolutions that compute the activation behind them as well.
        sums: convolutions that add to a map where it lies.
        in_place: other operations that write over their input.
        kernels: what runs by Triton; None on a CPU.
    """

    network: fx.GraphModule
    tails: int
    activations: int
    sums: int
    in_place: int
    kernels: cuda.Kernels | None = None

    def __str__(self) -> str:
        words = (
            f"{self.activations} convolutions with their activation, {self.sums} with a sum, {self.tails} ends of "
            f"gated units; {self.in_place} other operations in place"
        )
        return f"{self.kernels}; {words}" if self.kernels else words


@torch.no_grad()
def lower(network: fx.GraphModule, example: Tensor, *, compiled: bool = False) -> Lowering:
    """Lower a network of `rewrite`, which is used up.

    Args:
        network: on the device and in the dtype that it will run in.
        example: an input of the size and batch that matter most; convolutions' weights are laid out for it.
        compiled: whether torch.compile goes on from here, which cannot look through convolutions that write over a
            map: sums are left to it.
    """
    channels_last(network)
    ShapeProp(network).propagate(example)
    packed = onednn.available(example.device, example.dtype)
    kernels = _kernels(network, example) if example.device.type in cuda.DEVICES else None
    tails = fuse_tails(network)
    activations, sums = onednn.fuse_convolutions(network, sums=not compiled) if packed else (0, 0)
    in_place = work_in_place(network)
    make_gates_lean(network)
    for node in network.graph.nodes:
        node.meta.clear()
    network.delete_all_unused_submodules()
    network.graph.lint()
    network.recompile()
    return Lowering(network, tails, activations, sums, in_place, kernels)


def _kernels(network: fx.GraphModule, example: Tensor) -> cuda.Kernels:
    why = cuda.why_not(example.device, example.dtype)
    return cuda.Kernels(plain={why: 1}) if why else cuda.use_kernels(network, example.dtype)


def channels_last(network: fx.GraphModule) -> None:
    """Lay out the input, and the weights of convolutions, with channels last, in place."""
    network.to(memory_format=torch.channels_last)
    (x,) = (node for node in network.graph.nodes if node.op == "placeholder")
    with network.graph.inserting_after(x):
        laid_out = network.graph.call_method("contiguous", (x,), {"memory_format": torch.channels_last})
    x.replace_all_uses_with(laid_out, lambda user: user is not laid_out)
    network.recompile()
