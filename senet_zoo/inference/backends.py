"""What can run a rewritten network on this machine: PyTorch, torch.compile, ONNX Runtime, OpenVINO; and the fastest.

A new backend is a function and a line of `BACKENDS`. Each returns logits of NaN for pictures that are not finite, which
takes a guard, because fused activations may turn NaN into 0 on the way.

``backend="auto"`` measures all of them once and keeps the result in a file for each network, size, batch and dtype. If
the file cannot be read or written, they are measured again.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import distributions
from itertools import pairwise
from math import isfinite
from pathlib import Path
from statistics import median
from types import MappingProxyType, SimpleNamespace
from typing import Any, Literal, cast

import numpy
import torch
from torch import Tensor, fx

from senet_zoo.errors import OptimizationError
from senet_zoo.inference.export_files import onnx_model, program_of
from senet_zoo.inference.lowering import channels_last, lower
from senet_zoo.inference.passes.depthwise import move_gates_behind
from senet_zoo.inference.passes.graph import opaque_parts
from senet_zoo.inference.passes.in_place import InPlaceGate
from senet_zoo.prediction.runtimes import Runtime, import_extra
from senet_zoo.support.files import atomic_file
from senet_zoo.support.machine import describe_machine
from senet_zoo.support.settings import zoo_cache
from senet_zoo.support.timing import Rounds, interleaved, timed

Network = Callable[[Tensor], Tensor]
"""Pictures (N, C, H, W) in, logits out."""
AS_CHOSEN = "as the runtime chose"
WIDE = (torch.float32, torch.float64)
MOST_SHAPES = 8
"""Shapes of the input that are recorded, because a recording keeps all its maps; others run kernel by kernel."""
ROUNDS = 9
SECONDS = 4.0
"""What `measure` may take, though it never runs fewer than three rounds."""


@dataclass(frozen=True)
class Built:
    """A network that a backend built.

    Args:
        run: pictures in, logits out; NaN for pictures that are not finite.
        fused: what it made one step of, in words.
        compiled_from: the network that a compiler was given, because compiling takes a minute for each shape; None
            without a compiler.
    """

    run: Network
    fused: str
    compiled_from: Network | None = None


def with_direct_access(network: fx.GraphModule) -> Network:
    """The graph's code, its tensors and layers bound as plain attributes; later changes of the network are not seen.

    A module looks for each tensor in three dictionaries and calls a layer through two more functions. Behind a
    convolution, which leaves little of Python in the cache, that is much of what an operation on a small map costs.
    """
    names = sorted({str(node.target) for node in network.graph.nodes if node.op in ("get_attr", "call_module")})
    if any(below.startswith(f"{name}.") for name, below in pairwise(names)):
        return network  # a layer is called, and a layer inside it as well
    bound = SimpleNamespace()
    for name in names:
        *path, last = name.split(".")
        part, target = network, bound
        for step in path:
            part, target = getattr(part, step), vars(target).setdefault(step, SimpleNamespace())
        setattr(target, last, _callable_or_tensor(getattr(part, last)))
    return partial(type(network).forward, bound)


def _callable_or_tensor(part: Any) -> Any:
    if isinstance(part, Tensor):
        return part.detach()
    return part.function() if isinstance(part, InPlaceGate) else part.forward


def add_nan_guard(network: fx.GraphModule) -> None:
    """Put the guard into the graph, in place: for backends that fuse operations or run them asynchronously."""
    (x,) = (node for node in network.graph.nodes if node.op == "placeholder")
    (output,) = (node for node in network.graph.nodes if node.op == "output")
    with network.graph.inserting_before(output):
        output.args = (network.graph.call_function(_guarded, (output.args[0], x)),)
    network.recompile()


def _guarded(y: Tensor, x: Tensor) -> Tensor:
    zero = (
        (x * 0).sum(tuple(range(1, x.ndim))).to(y.dtype)
    )  # (N,), NaN for broken pictures; a sum of large numbers would overflow
    return y + zero.view(-1, *[1] * (y.ndim - 1))


def with_nan_guard(run: Network) -> Network:
    """The network and a guard that sums its pictures by numpy: one call, in this thread, where PyTorch needs two.

    Calls count here, because after a network has run the code of each is out of the cache.
    """
    return partial(_run_guarded, run)


def _run_guarded(run: Network, x: Tensor) -> Tensor:
    y = run(x)
    with numpy.errstate(invalid="ignore", over="ignore"):
        if isfinite((x if x.dtype in WIDE else x.float()).numpy().sum()):
            return y
    broken = ~x.isfinite().flatten(1).all(1)  # the sum of large numbers may have overflowed
    return torch.where(broken.view(-1, *[1] * (y.ndim - 1)), torch.nan, y)


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    x: Tensor
    y: Tensor


class CudaGraphs:
    """A network as one launch for single pictures: its kernels are recorded once for each shape, and replayed.

    They must be the same for every input of a shape.
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
        with torch.cuda.stream(stream):  # kernels are chosen and memory is allocated before the recording
            for _ in range(3):
                self.network(own)
        torch.cuda.current_stream(x.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = self.network(own)
        return _Recording(graph, own, y)


def in_torch(network: fx.GraphModule, x: Tensor, *, kernels: bool = False) -> Built:
    """PyTorch's operations, called one by one; on CUDA a single picture is a graph of kernels, launched at once.

    Args:
        network: of `rewrite`; it is used up.
        x: an example input.
        kernels: whether Triton computes gates and ends of units on CUDA.
    """
    if x.is_cuda:
        add_nan_guard(network)
    lowering = lower(network, x, kernels=kernels)
    run = with_direct_access(lowering.network)
    if x.is_cuda:
        return Built(CudaGraphs(run) if x.shape[0] == 1 else run, str(lowering))
    return Built(with_nan_guard(run), str(lowering))


def compiled(network: fx.GraphModule, x: Tensor) -> Built:
    """torch.compile with weights as constants; every new shape of the input is compiled anew.

    On a CPU it is given the lowered network: it keeps the convolutions that oneDNN chose, and makes a few loops of the
    gates and of the ends of units. On CUDA it chooses all kernels itself.
    """
    add_nan_guard(network)
    options: dict[str, object] = {"freezing": True}
    if x.is_cuda:
        channels_last(network)
        options |= {"triton.cudagraphs": True}
        fused = "as the compiler chose"
    else:
        lowering = lower(network, x, compiled=True)
        network, fused = lowering.network, f"{lowering}; the rest as the compiler chose"
    if not opaque_parts(
        network
    ):  # nothing else holds the network: no need to check at every call that it has not changed
        options |= {"guard_filter_fn": torch.compiler.skip_guard_on_all_nn_modules_unsafe}
    run = cast("Network", torch.compile(network, dynamic=False, options=cast("Any", options)))
    with torch.no_grad():
        run(x)
    return Built(run, fused, compiled_from=network)


def onnx_runtime(network: fx.GraphModule, x: Tensor) -> Built:
    """ONNX Runtime on the CPU, in float32.

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

    return Built(run, AS_CHOSEN)


def openvino(network: fx.GraphModule, x: Tensor) -> Built:
    """OpenVINO on the CPU, in float32 or bfloat16.

    Raises:
        UsageError: the extra is missing.
        OptimizationError: another device or dtype.
    """
    precisions = {torch.float32: "f32", torch.bfloat16: "bf16"}
    if x.is_cuda or x.dtype not in precisions:
        raise OptimizationError(f"OpenVINO computes in float32 or bfloat16 on the CPU, not in {x.dtype} on {x.device}")
    module: Any = import_extra("openvino", Runtime.OPENVINO)
    settings = {"INFERENCE_PRECISION_HINT": precisions[x.dtype], "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    move_gates_behind(network)
    core = module.Core()
    program = core.compile_model(core.read_model(_onnx(network.float(), x, Runtime.OPENVINO)), "CPU", settings)

    def run(pictures: Tensor) -> Tensor:
        return torch.from_numpy(numpy.asarray(program(pictures.float().contiguous().numpy())[0]))

    return Built(run, AS_CHOSEN)


def _onnx(network: fx.GraphModule, x: Tensor, extra: Runtime) -> bytes:
    for module in ("onnx", "onnxscript"):
        import_extra(module, extra)
    add_nan_guard(network)
    return bytes(onnx_model(program_of(network, x.shape[1], None)).SerializeToString())


TORCH, COMPILED, ONNX_RUNTIME, OPENVINO = "torch", "torch, compiled", "ONNX Runtime", "OpenVINO"
BACKENDS: Mapping[str, Callable[[fx.GraphModule, Tensor], Built]] = MappingProxyType(
    {TORCH: in_torch, COMPILED: compiled, ONNX_RUNTIME: onnx_runtime, OPENVINO: openvino}
)
"""By name: builds what runs a network of `rewrite`, which is used up, from it and an example input."""
Backend = Literal["torch", "compiled", "onnxruntime", "openvino", "auto"]
SPELLINGS: Mapping[str, str] = MappingProxyType(
    {"torch": TORCH, "compiled": COMPILED, "onnxruntime": ONNX_RUNTIME, "openvino": OPENVINO}
)
"""The names of `BACKENDS` as `senet_zoo.optimize` takes them; ``auto`` is none of them."""


@torch.no_grad()
def measure(networks: Mapping[str, Network], x: Tensor, rounds: int) -> Rounds:
    """Time networks on ``x`` in turns, for a few seconds at most."""
    candidates = {name: partial(timed, partial(network, x), x.device) for name, network in networks.items()}
    return interleaved(candidates, rounds, limit=SECONDS)


def result_file(network: fx.GraphModule, x: Tensor) -> Path:
    """Where the result for this network, input and machine is kept."""
    runtimes = [
        f"{each.name} {each.version}" for name in ("onnxruntime", "openvino") for each in distributions(name=name)
    ]
    shapes = [(name, tuple(tensor.shape)) for name, tensor in network.state_dict().items()]
    key = (sorted(describe_machine(x.device).items()), runtimes, network.code, shapes, tuple(x.shape), str(x.dtype))
    return zoo_cache() / "backends" / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}.json"


def load_result(path: Path) -> str | None:
    """The name of the fastest backend, if it is known."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["fastest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save_result(path: Path, seconds: Mapping[str, float]) -> bool:
    """Keep the seconds of each backend; returns whether the file could be written."""
    result = {"fastest": min(seconds, key=seconds.__getitem__), "seconds": seconds, "torch": torch.__version__}
    try:
        with atomic_file(path) as file:
            file.write(json.dumps(result, indent=2).encode())
    except OSError:
        return False
    return True


def fastest_backend(
    network: fx.GraphModule, x: Tensor, backends: Mapping[str, Callable[[], Network]]
) -> tuple[str, list[str]]:
    """The fastest backend on ``x``, from the file or else by a measurement.

    Returns:
        Its name; notes on how it is known, and on backends that do not run the network.

    Raises:
        OptimizationError: no backend runs it.
    """
    path = result_file(network, x)
    known = load_result(path)
    if known in backends:
        return str(known), [f"fastest as measured before: {path}"]
    networks, notes = {}, []
    for name, build in backends.items():
        try:
            networks[name] = build()
        except OptimizationError as error:
            notes.append(str(error).partition("\n")[0])
    if not networks:
        raise OptimizationError("no backend runs this network: " + "; ".join(notes))
    rounds = measure(networks, x, ROUNDS)
    seconds = {name: median(values) for name, values in rounds.seconds.items()}
    times = ", ".join(f"{name} {1000 * value:.2f} ms" for name, value in seconds.items())
    notes.append(f"measured {times}, in {rounds}")
    if not save_result(path, seconds):
        notes.append(f"not remembered, because {path.parent} cannot be written")
    return min(seconds, key=seconds.__getitem__), notes
