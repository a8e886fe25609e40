"""A training step with the ends of residual units as one operation, beside the same network layer by layer, and timm's.

    python benchmarks/fused.py [--model se_resnet50] [--peer legacy_seresnet50] [--precision fp32 bf16] [--batch 16]
                               [--size 224] [--rounds 5] [--threads 2] [--device cpu]

Forward, backward and a step of SGD with momentum, dropout off, channels_last. All candidates live in one process and
take their steps in an order that turns from round to round. Times are of the process on a CPU's one thread, which
neighbours disturb less, and of the clock elsewhere. The table gives medians and, in brackets, the quartiles; ratios are
of pairs taken in the same round: times as fast as timm, and the gate's cost, the time over the plain twin's, treated
alike. Saved is what autograd keeps between forward and backward, parameters left out, each memory counted once.
"""

import argparse
import math
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import timm
import torch
from torch import nn

import senet_zoo
from senet_zoo.inference.benchmark import BenchmarkReport, BenchmarkRow, TrainingStep, save
from senet_zoo.networks.fused.implementations import implementation_on
from senet_zoo.networks.fused.set_fused import set_fused
from senet_zoo.networks.registry import MODELS
from senet_zoo.support.machine import describe_machine
from senet_zoo.support.timing import DISTURBED, interleaved, timed


@dataclass(frozen=True)
class Candidate:
    """A network by its name in a library, and whether its units are fused."""

    library: str
    name: str
    fused: bool = False

    def __str__(self) -> str:
        return f"{self.library} {self.name}{', fused' if self.fused else ''}"

    def build(self) -> nn.Module:
        if self.library == "timm":
            return timm.create_model(self.name, drop_rate=0.0)
        model = senet_zoo.create_model(self.name, dropout=0.0)
        if self.fused:
            set_fused(model, True)
        return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="se_resnet50")
    parser.add_argument("--peer", default="legacy_seresnet50", help="timm's name of it")
    parser.add_argument("--precision", nargs="+", default=["fp32"], choices=("fp32", "bf16"))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, metavar="FILE", help="such as benchmarks/results/fused.json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    twin = MODELS[args.model].twin
    candidates = [
        Candidate("timm", args.peer),
        Candidate("senet_zoo", args.model),
        Candidate("senet_zoo", args.model, fused=True),
        Candidate("senet_zoo", twin),
        Candidate("senet_zoo", twin, fused=True),
    ]
    choice, reports = implementation_on(args.device), []
    print(f"steps by {choice.implementation.name} {choice.because}\n")
    for precision in args.precision:
        report = measure(candidates, precision, args)
        print(f"{report}\n", flush=True)
        reports.append(report)
    if args.output:
        save(args.output, shlex.join(["python", "benchmarks/fused.py", *sys.argv[1:]]), reports)


def measure(candidates: list[Candidate], precision: str, args: argparse.Namespace) -> BenchmarkReport:
    device, dtype = torch.device(args.device), torch.bfloat16 if precision == "bf16" else torch.float32
    images = torch.randn(args.batch, 3, args.size, args.size, device=device).to(memory_format=torch.channels_last)
    steps = {
        str(each): TrainingStep(each.build().train().to(device, memory_format=torch.channels_last), images, dtype)
        for each in candidates
    }
    own = device.type == "cpu" and args.threads == 1
    clock = time.process_time if own else time.perf_counter
    timers = {name: partial(timed, step, device, 1, clock) for name, step in steps.items()}
    rounds = interleaved(timers, args.rounds, disturbed=math.inf if own else DISTURBED)
    rows = []
    for each in candidates:
        step = steps[str(each)]
        gated = each.library == "senet_zoo" and each.name == args.model
        rows.append(
            BenchmarkRow.of(
                rounds,
                str(each),
                names=(each.name, f"{each.library}{', fused' if each.fused else ''}"),
                base=str(candidates[0]),
                plain=str(Candidate("senet_zoo", MODELS[args.model].twin, each.fused)) if gated else None,
                pictures=args.batch,
                figures={"saved MiB": saved_bytes(step.loss, set(step.model.parameters())) / 2**20},
            )
        )
    title = f"training step, batch {args.batch}, {args.size} px, {precision}, clock: {'cpu' if own else 'wall'}"
    return BenchmarkReport(
        title, describe_machine(device) | {"timm": timm.__version__}, "timm", str(rounds), tuple(rows)
    )


def saved_bytes(forward: Callable[[], torch.Tensor], without: set[torch.Tensor]) -> int:
    """What autograd keeps for the backward pass."""
    own, sizes = {parameter.untyped_storage().data_ptr() for parameter in without}, {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = forward()  # held, so that no address is used twice
    del loss
    return sum(sizes.values())


if __name__ == "__main__":
    main()
