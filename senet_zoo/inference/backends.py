"""What can run a rewritten network on this machine. A new one is a function and a line of `BACKENDS`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, fx

from senet_zoo.inference.cuda_graphs import CudaGraphs
from senet_zoo.inference.lowering import channels_last, lower
from senet_zoo.inference.marking import mark_in_graph, marked
from senet_zoo.inference.measuring import Network
from senet_zoo.inference.passes.trace import opaque_parts
from senet_zoo.inference.runtimes import in_onnx_runtime, in_openvino
from senet_zoo.inference.straight import straight


@dataclass(frozen=True)
class Built:
    """A network that a backend made.

    Args:
        run: pictures in, logits out; of NaN for pictures that are not finite.
        fused: what it made one step of, in words.
        compiled_from: what a compiler was given, whose own work takes a minute for each shape; None without one.
    """

    run: Network
    fused: str
    compiled_from: Network | None = None


def in_torch(network: fx.GraphModule, x: Tensor) -> Built:
    """PyTorch's operations, called one by one; on CUDA a single picture is a graph of kernels, launched at once."""
    if x.is_cuda:
        mark_in_graph(network)
        lowering = lower(network, x)
        run = straight(lowering.network)
        return Built(CudaGraphs(run) if x.shape[0] == 1 else run, str(lowering))
    lowering = lower(network, x)
    return Built(marked(straight(lowering.network)), str(lowering))


def compiled(network: fx.GraphModule, x: Tensor) -> Built:
    """torch.compile with weights as constants; every new shape of the input is compiled anew.

    On a CPU it is given the lowered network: it keeps oneDNN's convolutions as they are chosen there, and makes a few
    loops of the gates and of the ends of units. On CUDA it chooses all kernels itself.
    """
    mark_in_graph(network)
    options: dict[str, object] = {"freezing": True}
    if x.is_cuda:
        channels_last(network)
        options |= {"triton.cudagraphs": True}
        fused = "as the compiler chose"
    else:
        lowering = lower(network, x, compiled=True)
        network, fused = lowering.network, f"{lowering}; the rest as the compiler chose"
    if not opaque_parts(network):  # nobody else holds it: that it did not change need not be found at every call
        options |= {"guard_filter_fn": torch.compiler.skip_guard_on_all_nn_modules_unsafe}
    run = cast("Network", torch.compile(network, dynamic=False, options=cast("Any", options)))
    with torch.no_grad():
        run(x)
    return Built(run, fused, compiled_from=network)


def onnx_runtime(network: fx.GraphModule, x: Tensor) -> Built:
    """ONNX Runtime, of the extra of that name."""
    return Built(in_onnx_runtime(network, x), AS_CHOSEN)


def openvino(network: fx.GraphModule, x: Tensor) -> Built:
    """OpenVINO, of the extra of that name."""
    return Built(in_openvino(network, x), AS_CHOSEN)


AS_CHOSEN = "as the runtime chose"
TORCH, COMPILED, ONNX_RUNTIME, OPENVINO = "torch", "torch, compiled", "ONNX Runtime", "OpenVINO"
BACKENDS: Mapping[str, Callable[[fx.GraphModule, Tensor], Built]] = MappingProxyType(
    {TORCH: in_torch, COMPILED: compiled, ONNX_RUNTIME: onnx_runtime, OPENVINO: openvino}
)
"""By name: from a network of `rewrite`, which is used up, and an example input, to what runs it."""
