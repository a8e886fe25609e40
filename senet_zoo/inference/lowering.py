"""The machine's half of `senet_zoo.optimize`: a rewritten network for the PyTorch of this machine.

Operations overwrite maps that nothing reads again; on a CPU convolutions are oneDNN's own, and on CUDA gates and ends
of units are Triton kernels where that is asked for. The result neither trains nor exports.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, fx
from torch.fx.passes.shape_prop import ShapeProp

from senet_zoo.inference.passes import cuda, onednn
from senet_zoo.inference.passes.graph import dimensions_of
from senet_zoo.inference.passes.in_place import fuse_unit_ends, put_gates_in_place, work_in_place


@dataclass(frozen=True)
class Lowering:
    """A network for this machine, and what was done.

    Args:
        network: the same function; its maps have channels last.
        unit_ends: residual units whose gate, sum and ReLU are one step.
        activations: convolutions that compute the activation behind them as well.
        sums: convolutions that add their result to another map in its memory.
        in_place: other operations that overwrite their input.
        kernels: what Triton runs; None where it is not asked.
        in_weights: ends of gated units whose gate scales the weights of their convolution, picture by picture.
        behind: gates that scale what a strided depthwise convolution makes of their map, which is smaller.
    """

    network: fx.GraphModule
    unit_ends: int
    activations: int
    sums: int
    in_place: int
    kernels: cuda.Kernels | None = None
    in_weights: int = 0
    behind: int = 0

    def __str__(self) -> str:
        text = (
            f"{self.activations} convolutions with their activation, {self.sums} with a sum, {self.unit_ends} ends of "
            f"gated units; {self.in_place} other operations in place"
        )
        if self.in_weights:
            text += f"; {self.in_weights} gates in the weights of their convolution, picture by picture"
        if self.behind:
            text += f"; {self.behind} gates behind a depthwise convolution that makes their map smaller"
        return f"{self.kernels}; {text}" if self.kernels else text


@torch.no_grad()
def lower(network: fx.GraphModule, example: Tensor, *, compiled: bool = False, kernels: bool = False) -> Lowering:
    """Lower a network of `rewrite`, which is used up.

    Args:
        network: on the device and in the dtype that it will run in.
        example: an input of the most important size and batch; weights of convolutions are laid out for it.
        compiled: whether torch.compile goes on from here: sums are left to it, because it cannot trace convolutions
            that overwrite a map.
        kernels: whether Triton computes gates and ends of units, on CUDA.
    """
    channels_last(network)
    ShapeProp(network).propagate(example)
    packed = onednn.available(example.device, example.dtype)
    triton = _kernels(network, example) if kernels and example.device.type in cuda.DEVICES else None
    behind = onednn.put_gates_behind_depthwise(network) if packed and not compiled else 0
    in_weights = onednn.put_gates_in_weights(network) if packed and not compiled else 0
    unit_ends = fuse_unit_ends(network)
    activations, sums = onednn.fuse_convolutions(network, sums=not compiled) if packed else (0, 0)
    in_place = work_in_place(network)
    put_gates_in_place(network)
    for node in network.graph.nodes:
        node.meta.clear()
    network.delete_all_unused_submodules()
    network.graph.lint()
    network.recompile()
    return Lowering(network, unit_ends, activations, sums, in_place, triton, in_weights, behind)


def _kernels(network: fx.GraphModule, example: Tensor) -> cuda.Kernels:
    reason = cuda.why_unsupported(example.device, example.dtype)
    return cuda.Kernels(plain={reason: 1}) if reason else cuda.use_kernels(network, example.dtype)


def channels_last(network: fx.GraphModule) -> None:
    """Lay out the input and the weights of convolutions with channels last, in place.

    Signals have no such layout, and volumes are slower in theirs: 1.4 times the time of `se_resnet50` on a CPU.
    """
    if dimensions_of(network) != 2:
        return
    network.to(memory_format=torch.channels_last)
    (x,) = (node for node in network.graph.nodes if node.op == "placeholder")
    with network.graph.inserting_after(x):
        laid_out = network.graph.call_method("contiguous", (x,), {"memory_format": torch.channels_last})
    x.replace_all_uses_with(laid_out, lambda user: user is not laid_out)
    network.recompile()
