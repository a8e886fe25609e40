"""`optimize`: the same network, rewritten and lowered for this machine, checked against the original and measured."""

import copy
from collections.abc import Sequence
from functools import cache, partial
from typing import get_args

import torch
from torch import Tensor, fx, nn

from senet_zoo.errors import OptimizationError, UsageError
from senet_zoo.inference.backends import (
    BACKENDS,
    SPELLINGS,
    TORCH,
    Backend,
    Built,
    Network,
    fastest_backend,
    in_torch,
    measure,
)
from senet_zoo.inference.optimized_model import Gain, OptimizationReport, OptimizedModel
from senet_zoo.inference.parity import BATCHES, ParityCheck, random_pictures, rounds_to_tf32
from senet_zoo.inference.passes import cuda, onednn
from senet_zoo.inference.passes.gates import MeanGate
from senet_zoo.inference.passes.graph import dimensions_of
from senet_zoo.inference.rewriting import in_channels_of, rewrite
from senet_zoo.networks.specs import NetworkSpec
from senet_zoo.support.memory import release_memory

VOLUME_SIDE = 64
"""Voxels along each side of the volumes that a network is measured on; 224 would be 11 million."""
FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def default_sizes(model: nn.Module) -> tuple[int, int]:
    """The network's own size, or 224, and an odd size three quarters as large."""
    spec = getattr(model, "spec", None)
    size = spec.input_size if isinstance(spec, NetworkSpec) else 224
    if dimensions_of(model) == 3:
        size = min(size, VOLUME_SIDE)
    return size, size * 3 // 4 | 1


def check_options(
    dtype: torch.dtype,
    device: torch.device,
    compiled: bool,
    backend: str,
    kernels: bool,
    sizes: tuple[int, ...],
    batch: int,
    rounds: int,
) -> None:
    """Check the options of `optimize`.

    Raises:
        UsageError: one of them is not supported.
    """
    if dtype is torch.float16 and device.type == "cpu":
        raise UsageError("float16 is slow and inexact on a CPU: use dtype=torch.bfloat16 or torch.float32")
    if dtype not in FLOATS:
        raise UsageError(f"dtype must be torch.float32, bfloat16, float64 or, on CUDA, float16; got {dtype}")
    if backend not in get_args(Backend):
        raise UsageError(f"backend must be one of {', '.join(map(repr, get_args(Backend)))}, got {backend!r}")
    if compiled and backend not in ("torch", "compiled"):
        raise UsageError(f"compile=True is backend='compiled', and backend={backend!r} is another one: leave one out")
    if kernels and (device.type not in cuda.DEVICES or compiled or backend != "torch"):
        raise UsageError("kernels=True is for CUDA with backend='torch': leave it out")
    if len(set(sizes)) < 2 or any(type(size) is not int or size < 1 for size in sizes):
        raise UsageError(f"sizes must be at least two different sides in pixels, got {sizes}")
    for name, value, least in (("batch", batch, 1), ("rounds", rounds, 0)):
        if type(value) is not int or value < least:
            raise UsageError(f"{name} must be a whole number, at least {least}, got {value}")


def check_supported(model: nn.Module) -> None:
    """Check that a network can be rewritten.

    Raises:
        OptimizationError: it trains, is optimised, compiled, scripted, wrapped or quantised already, has hooks, is
            spread over devices, or has weights that are not finite.
    """
    _check_class(model)
    for name, part in model.named_modules():
        where = f"{name or 'the network'} ({type(part).__name__})"
        if part.training:
            raise OptimizationError(f"only networks in eval mode are rewritten, and {where} trains: call model.eval()")
        if part._forward_hooks or part._forward_pre_hooks:
            raise OptimizationError(f"a rewritten network runs no hooks, and {where} has one: remove it first")
        if "quantized" in type(part).__module__ or "torchao" in type(part).__module__:
            raise OptimizationError(f"{where} is quantised: optimise the float network it came from")
    _check_tensors(model)


def _check_class(model: nn.Module) -> None:
    if isinstance(model, OptimizedModel):
        raise OptimizationError("this network is optimised already: give the one that it was made from")
    if isinstance(model, torch.jit.ScriptModule):
        raise OptimizationError("a scripted network cannot be rewritten: give the nn.Module that it was made from")
    if hasattr(model, "_orig_mod"):
        raise OptimizationError(
            "a compiled network cannot be rewritten: give model._orig_mod, and compile=True to have the result compiled"
        )
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise OptimizationError("a wrapper for several devices cannot be rewritten: give model.module")


def _check_tensors(model: nn.Module) -> None:
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    devices = {tensor.device for tensor in tensors.values()}
    if not tensors or len(devices) > 1 or next(iter(devices)).type == "meta":
        found = ", ".join(sorted(map(str, devices))) or "no tensor at all"
        raise OptimizationError(f"a network must lie on one device, and this one has {found}")
    for name, tensor in tensors.items():
        if tensor.dtype not in FLOATS and (tensor.is_floating_point() or tensor.is_quantized):
            raise OptimizationError(f"{name} is {tensor.dtype}, a quantised form: optimise the float network")
        if type(tensor) not in (torch.Tensor, nn.Parameter):
            kind = type(tensor).__name__
            raise OptimizationError(f"{name} is a {kind}, whose arithmetic cannot be rewritten; give plain tensors")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise OptimizationError(f"weights must be finite, and {name} is not: check where they come from")


@release_memory()
def optimize(
    model: nn.Module,
    *,
    dtype: torch.dtype | None = None,
    compile: bool = False,  # noqa: A002
    backend: Backend = "torch",
    kernels: bool = False,
    sizes: Sequence[int] | None = None,
    batch: int = 1,
    rounds: int = 15,
) -> OptimizedModel:
    """The same network for inference on this machine, measured faster; it checks itself and reports what it did.

    Batch norms become part of the convolutions before them, and gates are computed before the convolution whose map
    they scale, from a quarter of the channels in a bottleneck: `senet_zoo.inference.rewriting`. Maps are then laid out
    with channels last and overwritten where nothing reads them again; on a CPU convolutions take in the activation or
    the sum behind them: `senet_zoo.inference.lowering`. It works on networks of the zoo, of timm and of torchvision;
    parts that cannot be traced run as they are, and the report names them.

    For batches on a CPU under Linux call `senet_zoo.inference.keep_freed_memory` once at the start of the program: the
    process then uses the memory of freed maps again instead of asking the system for cleared pages. ``senet-zoo`` and
    the benchmarks do so.

    Args:
        model: in eval mode, on the device that it is to run on; it is not changed. It turns pictures (N, C, H, W),
            signals or volumes into one tensor.
        dtype: of the arithmetic; None for the model's own. bfloat16 pays on CPUs with AMX or AVX512-BF16; gates stay in
            float32. float16 is for CUDA alone.
        compile: whether ``torch.compile`` makes one program of it, with the weights as constants. That takes a minute
            at first and at every new shape of the input, of which PyTorch keeps eight; it warns that more run
            uncompiled.
        backend: what runs it: ``torch``, ``compiled`` (the same as ``compile=True``), ``onnxruntime``, ``openvino``, or
            ``auto`` for the fastest of these on this machine, which is measured once and kept in a file below
            ``SENET_ZOO_CACHE``. ``report.call`` is the call that repeats what was chosen.
        kernels: on CUDA, whether Triton kernels compute gates and ends of units in place of PyTorch's operations. They
            agree with float64 in Triton's interpreter; no figure of theirs from a GPU is published, so that they are
            not the default.
        sizes: sides in pixels that it is checked at; it is made and measured for the first one. Default: the network's
            own size, or 224, and an odd size three quarters as large.
        batch: pictures at once that it is made and measured for; every other number works as well.
        rounds: rounds of the measurement, each with the original beside it, a few seconds at most; 0 for none.

    Raises:
        UsageError: an option that is not supported.
        OptimizationError: a network that is not supported (it trains, is quantised, scripted or compiled, has hooks or
            weights that are not finite), or whose logits would move: by more than 1e-5 of the largest in float32, 5e-2
            in bfloat16, 1e-2 in float16, and 1e-2 in float32 where PyTorch's convolutions on CUDA round to TF32, as
            they do by default.

    Example:
        >>> import senet_zoo
        >>> model = senet_zoo.create_model("se_resnet20", pretrained=True)
        >>> fast = senet_zoo.optimize(model, rounds=0)
        >>> fast(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10])
        >>> fast.report.folded
        21
    """
    check_supported(model)
    like = next(model.parameters())
    device, dtype = like.device, like.dtype if dtype is None else dtype
    sizes = default_sizes(model) if sizes is None else tuple(sizes)
    check_options(dtype, device, compile, backend, kernels, sizes, batch, rounds)
    rewriting = rewrite(model)
    in_channels, dims = in_channels_of(rewriting.network), dimensions_of(model)
    network = _converted(rewriting.network, dtype)
    example = random_pictures(batch, in_channels, sizes[0], like, dims)
    inputs = [random_pictures(count, in_channels, size, like, dims) for size in sizes for count in BATCHES]
    check = ParityCheck(model, inputs, dtype)

    def wrap(run: Network) -> OptimizedModel:
        return OptimizedModel(run, device, dtype, in_channels, dims)

    @cache  # choosing the fastest backend builds it already
    def build(name: str) -> tuple[OptimizedModel, Built]:
        make = partial(in_torch, kernels=True) if kernels else BACKENDS[name]
        try:
            built = make(copy.deepcopy(network), example.to(dtype))
        except Exception as error:
            raise OptimizationError(f"{name} does not run this network on this machine: {error}") from error
        return wrap(built.run), built

    def network_of(name: str) -> OptimizedModel:
        return build(name)[0]

    notes = _notes(dtype, device)
    name = SPELLINGS["compiled" if compile else backend] if backend != "auto" else TORCH
    if backend == "auto":
        candidates = {name: partial(network_of, name) for name in BACKENDS}
        name, reasons = fastest_backend(network, example.to(dtype), candidates)
        notes += reasons
    fast, built = build(name)
    if built.compiled_from is None:
        check(fast, name)
    else:
        check(wrap(built.compiled_from), "before it was compiled")
        check(fast, name, first=1)
        notes.append("what the compiler was given was compared on all of these inputs, and what it made on the first")
    fast.report = OptimizationReport(
        network=type(model).__name__,
        backend=name,
        call=_call(like.dtype, dtype, name, kernels, sizes[0], batch),
        dtype=str(dtype).removeprefix("torch."),
        folded=rewriting.folded,
        norms=rewriting.norms,
        early=rewriting.early,
        late=rewriting.late,
        opaque=rewriting.opaque,
        fused=built.fused,
        deviation=check.worst,
        bound=check.bound,
        checked=check.shapes,
        gain=_gain(model, fast, example, rounds) if rounds else None,
        notes=tuple(notes),
    )
    return fast


def _call(given: torch.dtype, dtype: torch.dtype, name: str, kernels: bool, size: int, batch: int) -> str:
    spelling = next(word for word, backend in SPELLINGS.items() if backend == name)
    options = {
        "dtype": dtype if dtype is not given else None,
        "backend": repr(spelling) if name != TORCH else None,
        "kernels": kernels or None,
        "sizes": (size, size * 3 // 4 | 1),
        "batch": batch if batch > 1 else None,
    }
    words = [f"{option}={value}" for option, value in options.items() if value is not None]
    return f"senet_zoo.optimize({', '.join(['model', *words])})"


def _gain(model: nn.Module, fast: OptimizedModel, x: Tensor, rounds: int) -> Gain:
    return Gain.of(measure({"original": model, "optimised": fast}, x, rounds), "original", "optimised", x)


def _converted(network: fx.GraphModule, dtype: torch.dtype) -> fx.GraphModule:
    network.to(dtype)
    for part in network.modules():
        if isinstance(part, MeanGate):
            part.to(torch.promote_types(dtype, torch.float32))
    return network


def _notes(dtype: torch.dtype, device: torch.device) -> list[str]:
    if dtype is torch.bfloat16 and device.type == "cpu" and not onednn.available(device, dtype):
        return ["this processor has no bfloat16 arithmetic: it is emulated, and slow"]
    if rounds_to_tf32(dtype, device):
        return ["convolutions round to TF32 here: torch.backends.cudnn.conv.fp32_precision = 'ieee' is exact"]
    return []
