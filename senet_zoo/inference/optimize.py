"""The options of `senet_zoo.optimize`: their defaults, and what cannot be honoured.

What `senet_zoo.optimize` returns: a network that answers, and says how it was made.

Which networks `senet_zoo.optimize` takes; every other is refused before anything is done.

`optimize`: the same network, rewritten and lowered for this machine, checked and measured.
"""

import copy
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Literal, NoReturn

import torch
from torch import Tensor, fx, nn

from senet_zoo.errors import OptimizationError, UsageError
from senet_zoo.inference.autotune import choose
from senet_zoo.inference.backends import BACKENDS, COMPILED, TORCH, WIDE, Built
from senet_zoo.inference.parity import BATCHES, Check, pictures, rounds_to_tf32
from senet_zoo.inference.passes import onednn
from senet_zoo.inference.passes.gates import MeanGate
from senet_zoo.inference.report import Network, OptimizationReport, gain, measure
from senet_zoo.inference.rewriting import in_channels_of, rewrite
from senet_zoo.networks.specs import NetworkSpec
from senet_zoo.support.memory import given_back, keep_freed_memory

CPU_DTYPES = (torch.float32, torch.float64, torch.bfloat16)


def default_sizes(model: nn.Module) -> tuple[int, int]:
    """The network's own size, or 224, and an odd one three quarters as large."""
    spec = getattr(model, "spec", None)
    size = spec.input_size if isinstance(spec, NetworkSpec) else 224
    return size, size * 3 // 4 | 1


def check_options(
    dtype: torch.dtype,
    device: torch.device,
    compiled: bool,
    backend: str,
    sizes: tuple[int, ...],
    batch: int,
    rounds: int,
) -> None:
    """Let options pass that can be honoured.

    Raises:
        UsageError: one cannot.
    """
    if dtype is torch.float16 and device.type == "cpu":
        raise UsageError("float16 is slow and inexact on a CPU: use dtype=torch.bfloat16 or torch.float32")
    if dtype not in (*CPU_DTYPES, torch.float16):
        raise UsageError(f"dtype must be torch.float32, bfloat16, float64 or, on CUDA, float16; got {dtype}")
    if backend not in ("torch", "auto"):
        raise UsageError(f"backend must be 'torch' or 'auto', got {backend!r}")
    if backend == "auto" and compiled:
        raise UsageError("backend='auto' measures the compiled network itself: leave compile out")
    if len(set(sizes)) < 2 or any(type(size) is not int or size < 1 for size in sizes):
        raise UsageError(f"sizes must be at least two different sides in pixels, got {sizes}")
    for name, value, least in (("batch", batch, 1), ("rounds", rounds, 0)):
        if type(value) is not int or value < least:
            raise UsageError(f"{name} must be a whole number, at least {least}, got {value}")


class OptimizedModel(nn.Module):
    """A network made faster for this machine: the same function, for inference only.

    Pictures go in as they went into the original, in any float dtype; logits come out in ``float32`` at least. A
    picture that is not finite has logits of NaN. It can be moved to no other device and saved to no file: optimise
    again there, and keep the original's weights.

    Attributes:
        report: what was done, what was checked, and what was gained; printing it reads well.

    Shape:
        that of the original network.

    Raises:
        OptimizationError: it is asked to train, for a gradient, or to be copied or moved.
    """

    report: OptimizationReport

    def __init__(self, network: Network, device: torch.device, dtype: torch.dtype, in_channels: int) -> None:
        super().__init__()
        self.network = network
        self.device, self.dtype, self.in_channels = device, dtype, in_channels
        # where programs look for the device and dtype of a network; a runtime keeps its weights to itself
        self.place = nn.Parameter(torch.empty(0, device=device, dtype=dtype), requires_grad=False)
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        """Logits of pictures (N, C, H, W)."""
        if x.requires_grad and torch.is_grad_enabled():
            raise OptimizationError("an optimised network gives no gradients: use the original, or torch.no_grad()")
        if x.ndim != 4 or x.shape[1] != self.in_channels or not x.is_floating_point() or x.device != self.device:
            raise OptimizationError(
                f"pictures must be floats (N, {self.in_channels}, H, W) on {self.device}, got {x.dtype} "
                f"{tuple(x.shape)} on {x.device}"
            )
        with torch.no_grad():
            x = x.detach()
            y = self.network(x if x.dtype is self.dtype else x.to(self.dtype))
            return y if y.dtype in WIDE else y.float()

    def train(self, mode: bool = True) -> "OptimizedModel":
        """Refuse training mode; eval mode it is in already."""
        if mode:
            raise OptimizationError("an optimised network cannot train: train the original and optimise it again")
        return self

    def requires_grad_(self, requires_grad: bool = True) -> "OptimizedModel":
        """Refuse gradients."""
        if requires_grad:
            raise OptimizationError("an optimised network cannot train: train the original and optimise it again")
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> NoReturn:
        raise OptimizationError(
            f"an optimised network is made for {self.device} and {self.dtype}: move or convert the original and "
            "optimise it there"
        )

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise OptimizationError(
            "an optimised network is made for this machine and is not copied or saved: save the original with "
            "senet_zoo.save_pretrained"
        )


FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def admit(model: nn.Module) -> None:
    """Let the network pass, or say why not.

    Raises:
        OptimizationError: it trains, is optimised, compiled, scripted, wrapped or quantised already, carries hooks, is
            spread over devices, or has weights that are not finite.
    """
    _refuse_other_forms(model)
    for name, part in model.named_modules():
        where = f"{name or 'the network'} ({type(part).__name__})"
        if part.training:
            raise OptimizationError(f"only networks in eval mode are rewritten, and {where} trains: call model.eval()")
        if part._forward_hooks or part._forward_pre_hooks:
            raise OptimizationError(f"a rewritten network runs no hooks, and {where} has one: remove it first")
        if "quantized" in type(part).__module__ or "torchao" in type(part).__module__:
            raise OptimizationError(f"{where} is quantised: optimise the float network it came from")
    _check_tensors(model)


def _refuse_other_forms(model: nn.Module) -> None:
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
    places = {tensor.device for tensor in tensors.values()}
    if not tensors or len(places) > 1 or next(iter(places)).type == "meta":
        found = ", ".join(sorted(map(str, places))) or "no tensor at all"
        raise OptimizationError(f"a network must lie on one device, and this one has {found}")
    for name, tensor in tensors.items():
        if tensor.dtype not in FLOATS and (tensor.is_floating_point() or tensor.is_quantized):
            raise OptimizationError(f"{name} is {tensor.dtype}, a quantised form: optimise the float network")
        if type(tensor) not in (torch.Tensor, nn.Parameter):
            kind = type(tensor).__name__
            raise OptimizationError(f"{name} is a {kind}, whose arithmetic cannot be rewritten; give plain tensors")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise OptimizationError(f"weights must be finite, and {name} is not: check where they come from")


@given_back()
def optimize(
    model: nn.Module,
    *,
    dtype: torch.dtype | None = None,
    compile: bool = False,  # noqa: A002
    backend: Literal["torch", "auto"] = "torch",
    sizes: Sequence[int] | None = None,
    batch: int = 1,
    rounds: int = 15,
) -> OptimizedModel:
    """The same network for inference on this machine, measured faster; it checks itself and says what it did.

    Batch norms become part of the convolutions before them, and gates are computed before the convolution whose map
    they scale, from a quarter of the channels in a bottleneck: `senet_zoo.inference.rewriting`. Then maps are laid out
    with channels last and written over where nobody reads them again; on a CPU convolutions take in the activation
    or the sum behind them, and on CUDA Triton's kernels compute gates and ends of units:
    `senet_zoo.inference.lowering`. It works on networks of the zoo, of timm and of
    torchvision; what it cannot look into runs as it is, and the report names it. On a CPU under Linux the process then
    keeps up to 1 GiB of freed memory for the next maps, unless ``MALLOC_...`` or ``GLIBC_TUNABLES`` in the environment
    tune the allocator.

    Args:
        model: in eval mode, on the device that it shall run on; it is not changed. It turns pictures (N, C, H, W) into
            one tensor.
        dtype: of the arithmetic; None for the model's own. bfloat16 pays on CPUs with AMX or AVX512-BF16 and on CUDA;
            gates stay in float32. float16 is for CUDA alone.
        compile: whether ``torch.compile`` makes one program of it, with the weights as constants: a minute at first,
            and at every new shape of the input, of which PyTorch keeps eight; more run uncompiled, which it warns of.
        backend: ``torch``, or ``auto`` for the fastest on this machine, which is measured once and remembered in
            ``SENET_ZOO_CACHE``.
        sizes: sides in pixels that it is checked at; the first is the one that it is made and measured for. Default:
            the network's own size, or 224, and an odd one three quarters as large.
        batch: pictures at once that it is made and measured for; every other number works as well.
        rounds: of the measurement, in turns with the original and a few seconds at most; 0 for none.

    Raises:
        UsageError: an option that cannot be honoured.
        OptimizationError: a network that is not taken as it is (it trains, is quantised, scripted or compiled, has
            hooks or weights that are not finite), or whose logits would move: by more than 1e-5 of the largest in
            float32, 5e-2 in bfloat16, 1e-2 in float16, and in float32 where PyTorch's convolutions on CUDA round to
            TF32, as they do by default.

    Example:
        >>> import senet_zoo
        >>> model = senet_zoo.create_model("se_resnet20", pretrained=True)
        >>> fast = senet_zoo.optimize(model, rounds=0)
        >>> fast(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10])
        >>> fast.report.folded
        21
    """
    admit(model)
    like = next(model.parameters())
    dtype = like.dtype if dtype is None else dtype
    sizes = default_sizes(model) if sizes is None else tuple(sizes)
    check_options(dtype, like.device, compile, backend, sizes, batch, rounds)
    rewriting = rewrite(model)
    in_channels = in_channels_of(rewriting.network)
    network = _converted(rewriting.network, dtype)
    example = pictures(batch, in_channels, sizes[0], like)
    check = Check(model, [pictures(count, in_channels, size, like) for size in sizes for count in BATCHES], dtype)

    def whole(run: Network) -> OptimizedModel:
        return OptimizedModel(run, like.device, dtype, in_channels)

    @cache  # the fastest of several is there already
    def make(name: str) -> tuple[OptimizedModel, Built]:
        try:
            built = BACKENDS[name](copy.deepcopy(network), example.to(dtype))
        except Exception as error:
            raise OptimizationError(f"{name} does not run this network on this machine: {error}") from error
        return whole(built.run), built

    def network_of(name: str) -> OptimizedModel:
        return make(name)[0]

    notes = _notes(dtype, like.device)
    name = COMPILED if compile else TORCH
    if backend == "auto":
        chosen = choose(network, example.to(dtype), {name: partial(network_of, name) for name in BACKENDS})
        name, notes = chosen.name, [*notes, *chosen.notes]
    fast, built = make(name)
    if built.compiled_from is None:
        check(fast, name)
    else:
        check(whole(built.compiled_from), "before it was compiled")
        check(fast, name, first=1)
        notes.append("what the compiler was given was compared on all of these inputs, and what it made on the first")
    if like.device.type == "cpu" and keep_freed_memory():
        notes.append("this process keeps the memory of freed maps for the next ones, up to 1 GiB")
    measured = measure({"original": model, "optimised": fast}, example, rounds)
    fast.report = OptimizationReport(
        network=type(model).__name__,
        backend=name,
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
        gain=gain(measured, "original", "optimised", example) if rounds else None,
        notes=tuple(notes),
    )
    return fast


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
