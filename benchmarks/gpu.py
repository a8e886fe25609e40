"""A network on one GPU beside its plain twin and its peers, in a few minutes: inference and a training step.

    python benchmarks/gpu.py [--model se_resnet50] [--peer legacy_seresnet50] [--batches 1 256] [--minutes 5]
                             [--output benchmarks/results/gpu.json]

Candidates of a table take turns, another one first in each round; ratios are of the same round, to timm's network as it
comes (eager, NCHW) or to ours where there is no peer, and the gate's cost is to the plain twin, treated alike. Random
weights and pictures. What is compiled comes last: what the minutes do not suffice for, or what does not run here, is
left out, and named below its table. Training steps are forward, backward and SGD with momentum, under autocast.

The ceiling is what an H200 could do on paper in bfloat16 with a large batch: each layer at its arithmetic or its memory
traffic, whichever is slower (790 TFLOP/s, 4.3 TB/s), gate, sum and ReLU within the convolution before. It is the same
for the plain twin. It is stated for inference of se_resnet50 at 224 px on an H200; --ceiling states another.

Exit status 2 where there is no GPU.
"""

import argparse
import math
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

import senet_zoo
from senet_zoo.errors import SenetZooError, UsageError
from senet_zoo.inference import keep_freed_memory
from senet_zoo.inference.benchmark import BenchmarkReport, BenchmarkRow, TrainingStep, save
from senet_zoo.networks.fused.set_fused import set_fused
from senet_zoo.networks.registry import MODELS
from senet_zoo.support.machine import describe_machine, find_device
from senet_zoo.support.timing import interleaved, timed

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
PEERS = {
    "se_resnet50": "legacy_seresnet50",
    "se_resnext50_32x4d": "legacy_seresnext50_32x4d",
    "senet154": "legacy_senet154",
}
CEILINGS = {"se_resnet50": 61_600, "se_resnext50_32x4d": 53_700, "senet154": 14_500}  # pictures a second on an H200
LEAST_SECONDS = 0.05  # of a candidate in a round
TABLE = 10.0  # seconds of measurement at most
Work = Callable[[], object]
Candidates = Iterator[tuple[str, Callable[[], Work]]]


def inference(args: argparse.Namespace, x: Tensor) -> Candidates:
    """By name, what makes each; ``X, plain`` is the twin without gates, treated like X."""

    def ours(name: str) -> nn.Module:
        return senet_zoo.create_model(name, device=x.device).eval()

    def eager(model: nn.Module, layout: torch.memory_format = torch.channels_last) -> Work:
        return partial(model.eval().to(x.device, x.dtype, memory_format=layout), x)

    def optimised(name: str, **options: bool) -> Work:
        sizes, batch = (args.size, args.size * 3 // 4 | 1), x.shape[0]
        fast = senet_zoo.optimize(ours(name), dtype=x.dtype, sizes=sizes, batch=batch, rounds=0, **options)
        return partial(fast, x)

    def compiled(model: nn.Module) -> Work:
        model = model.eval().to(x.device, x.dtype, memory_format=torch.channels_last)
        return partial(torch.compile(model, mode="reduce-overhead" if x.shape[0] == 1 else "default"), x)

    def tensorrt(model: nn.Module) -> Work:
        import torch_tensorrt

        model = model.eval().to(x.device, x.dtype)
        return partial(torch_tensorrt.compile(model, ir="dynamo", inputs=[x], enabled_precisions={x.dtype}), x)

    names = {"": args.model, ", plain": MODELS[args.model].twin}
    if args.peer:
        peer = partial(timm.create_model, args.peer)
        yield "timm", lambda: eager(peer(), torch.contiguous_format)
        yield "timm channels_last", lambda: eager(peer())
    for word, name in names.items():
        yield f"zoo{word}", lambda name=name: eager(ours(name))
        yield f"optimize{word}", lambda name=name: optimised(name)
        if x.is_cuda:
            yield f"optimize kernels{word}", lambda name=name: optimised(name, kernels=True)
    if not args.compile:
        return
    for word, name in names.items():
        yield f"optimize compiled{word}", lambda name=name: optimised(name, compile=True)
    if args.peer:
        yield "timm compiled", lambda: compiled(peer())
    if args.peer and find_spec("torch_tensorrt"):
        yield "timm TensorRT", lambda: tensorrt(peer())


def training(args: argparse.Namespace, x: Tensor, dtype: torch.dtype) -> Candidates:
    """By name, what makes each: layer by layer, and with the ends of units fused."""

    def step(model: nn.Module, fused: bool = False) -> Work:
        model = model.train().to(x.device, memory_format=torch.channels_last)
        if fused:
            set_fused(model, True)
        return TrainingStep(model, x.to(memory_format=torch.channels_last), dtype)

    if args.peer:
        yield "timm", lambda: step(timm.create_model(args.peer, drop_rate=0.0))
    for word, name in {"": args.model, ", plain": MODELS[args.model].twin}.items():
        for how in ("zoo", "zoo fused"):
            model = partial(senet_zoo.create_model, name, dropout=0.0)
            yield f"{how}{word}", lambda model=model, how=how: step(model(), how == "zoo fused")


def table(
    title: str, candidates: Candidates, args: argparse.Namespace, batch: int, end: float, ceiling: int | None
) -> BenchmarkReport:
    """The candidates that there is time for, measured in turns."""
    device, timers, left_out = torch.device(args.device), {}, dict[str, str]()
    for name, make in candidates:
        if timers and time.monotonic() > end:
            left_out[name] = "no time left"
            continue
        try:
            work = make()
            timed(work, device, 2)  # compiled, and its kernels chosen
        except Exception as error:  # a peer that does not run here is no reason to lose the others
            if not timers:
                raise
            left_out[name] = str(error).strip().partition("\n")[0] or type(error).__name__
            continue
        repeats = max(1, math.ceil(LEAST_SECONDS / timed(work, device)))
        timers[name] = partial(_once, work, device, repeats)
    rounds = interleaved(timers, args.rounds, limit=TABLE)
    base = next(iter(timers))
    rows = []
    for name in timers:
        figures = {"ms": 1000 * statistics.median(rounds.seconds[name])}
        if ceiling:
            figures["% of the ceiling"] = 100 * rounds.rate(name, batch).median / ceiling
        model = args.peer if name.startswith("timm") else args.model
        names = (model, name)
        plain = None if name.endswith(", plain") else f"{name}, plain"
        rows.append(BenchmarkRow.of(rounds, name, names=names, base=base, plain=plain, pictures=batch, figures=figures))
    machine = describe_machine(device) | {"timm": timm.__version__}
    if left_out:
        machine["left out"] = "; ".join(f"{name} ({reason})" for name, reason in left_out.items())
    if ceiling:
        machine["ceiling"] = f"{ceiling} pictures a second"
    return BenchmarkReport(title, machine, base, str(rounds), tuple(rows))


def _once(work: Work, device: torch.device, repeats: int) -> float:
    return timed(work, device, repeats) / repeats


def tables(args: argparse.Namespace) -> Iterator[BenchmarkReport]:
    """What matters most first: the precision that a GPU is made for, and the largest batch."""
    device, began = torch.device(args.device), time.monotonic()
    loads = [(precision, batch) for precision in args.precision for batch in sorted(args.batches, reverse=True)]
    works = len(loads) + 1
    for number, (precision, batch) in enumerate(loads):
        x = torch.randn(batch, 3, args.size, args.size, device=device, dtype=DTYPES[precision])
        large = precision == "bf16" and batch == max(args.batches) > 1
        title = f"inference, batch {batch}, {args.size} px, {precision}"
        end = began + 60 * args.minutes * (number + 1) / works - TABLE
        with torch.no_grad():
            yield table(title, inference(args, x), args, batch, end, args.ceiling if large else None)
    x = torch.randn(args.train_batch, 3, args.size, args.size, device=device)
    title = f"training step, batch {args.train_batch}, {args.size} px, {args.precision[0]}"
    candidates, end = training(args, x, DTYPES[args.precision[0]]), began + 60 * args.minutes - TABLE
    yield table(title, candidates, args, args.train_batch, end, None)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="se_resnet50")
    parser.add_argument("--peer", help="timm's name of it; default: where it is known")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 256])
    parser.add_argument("--train-batch", type=int, default=128)
    parser.add_argument("--precision", nargs="+", default=["bf16", "fp32"], choices=DTYPES)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--minutes", type=float, default=5.0, help="after which nothing more is compiled")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--ceiling", type=int, metavar="PICTURES", help="a second; default: stated for an H200 alone")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--output", type=Path, metavar="FILE", help="such as benchmarks/results/gpu.json")
    args = parser.parse_args(arguments)
    keep_freed_memory()
    try:
        machine = describe_machine(find_device(args.device))
        args.model = senet_zoo.model_info(args.model).name
        if not MODELS[args.model].se:
            raise UsageError(f"{args.model} has no gates: name its gated form, which is measured beside {args.model}")
        args.peer = args.peer or PEERS.get(args.model)
        if args.ceiling is None and "H200" in str(machine["device"]) and args.size == 224:
            args.ceiling = CEILINGS.get(args.model)
        reports = []
        for report in tables(args):
            print(f"{report}\n", flush=True)
            reports.append(report)
    except SenetZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.output:
        given = sys.argv[1:] if arguments is None else arguments
        save(args.output, shlex.join(["python", "benchmarks/gpu.py", *given]), reports)
    return 0


if __name__ == "__main__":
    sys.exit(main())
