"""A training step beside timm's equal network: pictures a second and peak memory.

    python benchmarks/training.py [--pairs se_resnet50=legacy_seresnet50 resnet50b=resnet50] [--precision fp32 bf16]
                                  [--batch 16] [--size 224] [--rounds 5] [--device cpu] [--output FILE]

Forward, backward and a step of SGD with momentum, dropout off. Each candidate lives in a process of its own and takes
its steps while the others wait, in an order that turns from round to round. The table gives medians and, in brackets,
the quartiles; ratios are of pairs taken in the same round, to timm in channels_last. ``timm`` is timm as it comes;
ours is what `senet_zoo.training.fit` runs, channels_last. On the CPU, memory is the process's greatest resident size.

A round in which processes of others took more than a tenth of the processor is disturbed: it counts, and the table says
how many there were. The last line of each pair names the precision that was fastest for ours.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import timm
import torch
from torch import nn

from senet_zoo.inference.machine import describe

DISTURBED = 0.1  # of the processor, taken by others


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
    rows: list[dict[str, object]] = []
    machine = {**describe(torch.device(args.device)), "timm": timm.__version__}
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    print(f"batch {args.batch}, {args.size} px, {args.rounds} rounds\n")
    print(f"{'':4}  {'':44}  {'pictures a second':>22}  {'ratio':>18}  {'peak MiB':>8}")
    for pair in args.pairs:
        ours, theirs = pair.split("=")
        candidates = [
            Candidate("timm", theirs, channels_last=True),
            Candidate("timm", theirs, channels_last=False),
            Candidate("senet_zoo", ours, channels_last=True),
        ]
        fastest: dict[str, float] = {}
        for precision in args.precision:
            rates, peaks, disturbed = measure(candidates, precision, args)
            for candidate, own, peak in zip(candidates, rates, peaks, strict=True):
                ratio = [a / b for a, b in zip(own, rates[0], strict=True)]
                rows.append(
                    {
                        "candidate": str(candidate),
                        "precision": precision,
                        "pictures a second": own,
                        "ratio": ratio,
                        "peak MiB": round(peak),
                        "disturbed rounds": disturbed,
                    }
                )
                figures = f"{spread(own):>22}  {spread(ratio):>18}  {peak:8.0f}"
                print(f"{precision:4}  {candidate!s:44}  {figures}", flush=True)
            fastest[precision] = statistics.median(rates[-1])
            if disturbed:
                print(f"{precision:4}  {disturbed} of {args.rounds} rounds were disturbed by other processes")
        chosen = max(fastest, key=lambda precision: fastest[precision])
        print(f"{ours}: channels_last, {chosen} is the fastest here\n", flush=True)
    if args.output:
        words = {name: value for name, value in vars(args).items() if name != "output"}
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps({"machine": machine, **words, "rows": rows}, indent=2) + "\n")


def measure(
    candidates: list[Candidate], precision: str, args: argparse.Namespace
) -> tuple[list[list[float]], list[float], int]:
    """Pictures a second of each candidate in each round, its peak memory in MiB, and the number of disturbed rounds."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for candidate in candidates:
        here, there = context.Pipe()
        process = context.Process(
            target=work, args=(there, candidate, precision, args.batch, args.size, args.steps, args.device)
        )
        process.start()
        here.recv()  # warm
        pipes.append(here)
        processes.append(process)
    rates: list[list[float]] = [[] for _ in candidates]
    disturbed = 0
    for number in range(args.rounds):
        began, busy, own = time.perf_counter(), busy_seconds(), 0.0
        for turn in range(len(candidates)):
            place = (number + turn) % len(candidates)
            pipes[place].send("go")
            seconds, cpu = pipes[place].recv()
            own += cpu
            rates[place].append(args.steps * args.batch / seconds)
        whole = (time.perf_counter() - began) * (os.cpu_count() or 1)
        disturbed += busy_seconds() - busy - own > DISTURBED * whole
    peaks = []
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.send("end")
        peaks.append(pipe.recv() / 2**20)
        process.join()
    return rates, peaks, disturbed


def busy_seconds() -> float:
    """Of all processors since the start, this process's too; 0 where the system does not tell."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    except OSError:
        return 0.0
    busy = sum(map(int, fields[:8])) - int(fields[3]) - int(fields[4])  # but idle and waiting for disks
    return busy / os.sysconf("SC_CLK_TCK")


def work(pipe: Connection, candidate: Candidate, precision: str, batch: int, size: int, steps: int, place: str) -> None:
    device = torch.device(place)
    layout = torch.channels_last if candidate.channels_last else torch.contiguous_format
    model = candidate.build().train().to(device).to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    images = torch.randn(batch, 3, size, size, device=device).to(memory_format=layout)
    labels = torch.arange(batch, device=device)

    def seconds() -> tuple[float, float]:
        """By the clock, and of the processor."""
        start, used = time.perf_counter(), time.process_time()
        for _ in range(steps):
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start, time.process_time() - used

    seconds()
    pipe.send("warm")
    while pipe.recv() == "go":
        pipe.send(seconds())
    on_gpu = device.type == "cuda"
    pipe.send(
        torch.cuda.max_memory_allocated() if on_gpu else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )


def spread(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.2f}"
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    main()
