"""A graph's code with everything that it needs in reach.

A module looks for each tensor in three dictionaries and calls a layer through two functions more. Behind a convolution,
which leaves little of Python in the cache, that is much of what an operation on a small map costs.

Logits of NaN for pictures that are not finite: fused activations may turn NaN into 0 on the way.

A network as one launch: its kernels are recorded once for each shape of the input, and replayed.

Other programs' runtimes as backends of `senet_zoo.optimize`, on the CPU, without a file between.

What can run a rewritten network on this machine. A new one is a function and a line of `BACKENDS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import isfinite
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

import numpy
import torch
from torch import Tensor, fx

from senet_zoo.errors import OptimizationError
from senet_zoo.inference.export.files import onnx_model, program_of
from senet_zoo.inference.lowering import channels_last, lower
from senet_zoo.inference.passes.lean_gate import LeanGate
from senet_zoo.inference.passes.trace import opaque_parts
from senet_zoo.inference.report import Network
from senet_zoo.prediction.runtimes import Runtime, import_extra


def straight(network: fx.GraphModule) -> Network:
    """The same function of what the network holds now; later changes of it are not seen."""
    names = sorted({str(node.target) for node in network.graph.nodes if node.op in ("get_attr", "call_module")})
    if any(below.startswith(f"{name}.") for name, below in pairwise(names)):
        return network  # a part that is called, and a part of it as well
    reach = SimpleNamespace()
    for name in names:
        *path, last = name.split(".")
        part, place = network, reach
        for step in path:
            part, place = getattr(part, step), vars(place).setdefault(step, SimpleNamespace())
        setattr(place, last, _plain(getattr(part, last)))
    return partial(type(network).forward, reach)


def _plain(part: Any) -> Any:
    if isinstance(part, Tensor):
        return part.detach()
    return part.function() if isinstance(part, LeanGate) else part.forward


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


MOST_SHAPES = 8
"""A recording keeps all its maps; inputs of further shapes run kernel by kernel."""


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    x: Tensor
    y: Tensor


class CudaGraphs:
    """The same function as ``network``; single pictures are replayed, larger batches run as they come.

    Args:
        network: on a CUDA device; it must do the same kernels for every input of a shape.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._recordings: dict[tuple[int, ...], _Recording] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """Logits of the pictures."""
        if x.shape[0] != 1 or (tuple(x.shape) not in self._recordings and len(self._recordings) >= MOST_SHAPES):
            return self.network(x)
        if tuple(x.shape) not in self._recordings:
            self._recordings[tuple(x.shape)] = self._record(x)
        recording = self._recordings[tuple(x.shape)]
        recording.x.copy_(x)
        recording.graph.replay()
        return recording.y.clone()  # the next replay writes over it

    def _record(self, x: Tensor) -> _Recording:
        own = x.clone()
        stream = torch.cuda.Stream(x.device)
        stream.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(stream):  # kernels are chosen and memory is taken before the recording
            for _ in range(3):
                self.network(own)
        torch.cuda.current_stream(x.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = self.network(own)
        return _Recording(graph, own, y)


def in_onnx_runtime(network: fx.GraphModule, x: Tensor) -> Network:
    """ONNX Runtime, in float32.

    Raises:
        UsageError: an extra is missing.
        OptimizationError: another device or dtype.
    """
    if x.is_cuda or x.dtype is not torch.float32:
        raise OptimizationError(f"ONNX Runtime computes in float32 on the CPU here, not in {x.dtype} on {x.device}")
    onnxruntime: Any = import_extra("onnxruntime", Runtime.ONNX)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(_onnx(network, x, Runtime.ONNX), options, providers=["CPUExecutionProvider"])

    def run(pictures: Tensor) -> Tensor:
        (logits,) = session.run(None, {"pictures": pictures.contiguous().numpy()})
        return torch.from_numpy(logits)

    return run


def in_openvino(network: fx.GraphModule, x: Tensor) -> Network:
    """OpenVINO, in float32 or bfloat16.

    Raises:
        UsageError: the extra is missing.
        OptimizationError: another device or dtype.
    """
    precisions = {torch.float32: "f32", torch.bfloat16: "bf16"}
    if x.is_cuda or x.dtype not in precisions:
        raise OptimizationError(f"OpenVINO computes in float32 or bfloat16 on the CPU, not in {x.dtype} on {x.device}")
    openvino: Any = import_extra("openvino", Runtime.OPENVINO)
    settings = {"INFERENCE_PRECISION_HINT": precisions[x.dtype], "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(_onnx(network.float(), x, Runtime.OPENVINO)), "CPU", settings)

    def run(pictures: Tensor) -> Tensor:
        return torch.from_numpy(numpy.asarray(compiled(pictures.float().contiguous().numpy())[0]))

    return run


def _onnx(network: fx.GraphModule, x: Tensor, extra: Runtime) -> bytes:
    for module in ("onnx", "onnxscript"):
        import_extra(module, extra)
    mark_in_graph(network)
    return bytes(onnx_model(program_of(network, x.shape[1], None)).SerializeToString())


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
