"""A training step beside timm's equal network: pictures a second and peak memory.

    python benchmarks/training.py [--pairs se_resnet50=legacy_seresnet50 resnet50b=resnet50] [--precision fp32 bf16]
                                  [--batch 16] [--size 224] [--rounds 5] [--device cpu] [--output FILE]

Forward, backward and a step of SGD with momentum, dropout off. Each candidate lives in a process of its own and takes
its steps while the others wait, in an order that turns from round to round. The table gives medians and, in brackets,
the quartiles; ratios are of pairs taken in the same round, to timm in channels_last. ``timm`` is timm as it comes;
ours is what `senet_zoo.training.fit` runs, channels_last. On the CPU, memory is the process's greatest resident size.

Rounds in which processes of others worked are dropped where enough others remain, and the table says how many there
were. The last line of each pair names the precision that was fastest for ours.
"""

import argparse
import multiprocessing
import resource
import shlex
import sys
import time
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import timm
import torch
from torch import nn

from senet_zoo.inference.benchmark import BenchmarkReport, BenchmarkRow, TrainingStep, save
from senet_zoo.support.machine import describe_machine
from senet_zoo.support.timing import interleaved, timed


@dataclass(frozen=True)
class Candidate:
    """Whose network, by which name there, and how its maps lie in memory."""

    library: str
    name: str
    channels_last: bool

    def __str__(self) -> str:
        return f"{self.library} {self.name}{', channels_last' if self.channels_last else ''}"

    def build(self) -> nn.Module:
        if self.library == "timm":
            return timm.create_model(self.name, drop_rate=0.0)
        import senet_zoo

        return senet_zoo.create_model(self.name, dropout=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", default=["se_resnet50=legacy_seresnet50", "resnet50b=resnet50"])
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"], choices=("fp32", "bf16"))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1, help="in each round")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, metavar="FILE", help="such as benchmarks/results/training.json")
    args = parser.parse_args()
    reports = []
    for pair in args.pairs:
        ours, theirs = pair.split("=")
        candidates = [
            Candidate("timm", theirs, channels_last=True),
            Candidate("timm", theirs, channels_last=False),
            Candidate("senet_zoo", ours, channels_last=True),
        ]
        fastest: dict[str, float] = {}
        for precision in args.precision:
            report = measure(candidates, precision, args)
            print(f"{report}\n", flush=True)
            reports.append(report)
            fastest[precision] = report.rows[-1].rate.median
        print(f"{ours}: channels_last, {max(fastest, key=fastest.__getitem__)} is the fastest here\n", flush=True)
    if args.output:
        save(args.output, shlex.join(["python", "benchmarks/training.py", *sys.argv[1:]]), reports)


def measure(candidates: list[Candidate], precision: str, args: argparse.Namespace) -> BenchmarkReport:
    """Each candidate in a process of its own, which works while the others wait."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for candidate in candidates:
        here, there = context.Pipe()
        process = context.Process(
            target=work, args=(there, candidate, precision, args.batch, args.size, args.steps, args.device)
        )
        process.start()
        processes.append(process)
        pipes[str(candidate)] = here
    used = dict.fromkeys(pipes, 0.0)

    def seconds_of(name: str) -> float:
        pipes[name].send("go")
        seconds, used[name] = pipes[name].recv()
        return seconds

    timers = {name: partial(seconds_of, name) for name in pipes}
    rounds = interleaved(timers, args.rounds, own=lambda: time.process_time() + sum(used.values()))
    rows = []
    for candidate, process in zip(candidates, processes, strict=True):
        name = str(candidate)
        pipes[name].send("end")
        figures = {"peak MiB": pipes[name].recv() / 2**20}
        process.join()
        names = (candidate.name, f"{candidate.library}, {'channels_last' if candidate.channels_last else 'NCHW'}")
        pictures = args.steps * args.batch
        base = str(candidates[0])
        rows.append(
            BenchmarkRow.of(rounds, name, names=names, base=base, plain=None, pictures=pictures, figures=figures)
        )
    title = f"training step, batch {args.batch}, {args.size} px, {precision}"
    machine = describe_machine(torch.device(args.device)) | {"timm": timm.__version__}
    return BenchmarkReport(title, machine, "timm, channels_last", str(rounds), tuple(rows))


def work(
    pipe: Connection, candidate: Candidate, precision: str, batch: int, size: int, steps: int, device_name: str
) -> None:
    """A candidate's steps at every "go", and at last its peak memory in bytes."""
    device = torch.device(device_name)
    layout = torch.channels_last if candidate.channels_last else torch.contiguous_format
    model = candidate.build().train().to(device).to(memory_format=layout)
    images = torch.randn(batch, 3, size, size, device=device).to(memory_format=layout)
    step = TrainingStep(model, images, torch.bfloat16 if precision == "bf16" else torch.float32)
    while pipe.recv() == "go":
        seconds = timed(step, device, steps)
        pipe.send((seconds, time.process_time()))
    on_gpu = device.type == "cuda"
    pipe.send(
        torch.cuda.max_memory_allocated() if on_gpu else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )


if __name__ == "__main__":
    main()
