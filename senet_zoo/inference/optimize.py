"""`optimize`: the same network, rewritten and lowered for this machine, checked and measured."""

import copy
from collections.abc import Sequence
from functools import cache, partial
from typing import Literal

import torch
from torch import fx, nn

from senet_zoo.errors import OptimizationError
from senet_zoo.inference.admission import admit
from senet_zoo.inference.backends import BACKENDS, COMPILED, TORCH, Built
from senet_zoo.inference.checking import BATCHES, Check, pictures, rounds_to_tf32
from senet_zoo.inference.choosing import choose
from senet_zoo.inference.mean_gate import MeanGate
from senet_zoo.inference.measuring import Network, gain, measure
from senet_zoo.inference.optimized import OptimizedModel
from senet_zoo.inference.options import check_options, default_sizes
from senet_zoo.inference.passes import onednn
from senet_zoo.inference.report import OptimizationReport
from senet_zoo.inference.rewriting import in_channels_of, rewrite
from senet_zoo.memory import given_back, keep_freed


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
    if like.device.type == "cpu" and keep_freed():
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
