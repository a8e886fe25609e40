"""Memory of a process that answers, beside timm's equal network: the peak of its resident pages, in processes in turns.

    python benchmarks/memory.py [--model se_resnet50] [--batch 16] [--rounds 3] [--output FILE]

Every figure is a fresh process's. It loads the network from a safetensors file (timm's tensors), makes it ready, and
answers four times. ``peak MiB`` is the most that was resident from the first answer on, libraries and weights
included; ``to timm`` is its ratio to timm's, eager; ``made ready`` is the most before. Of the answers, the median
seconds of the last three are the process's time.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

from senet_zoo.inference.benchmark import BenchmarkReport, BenchmarkRow, save
from senet_zoo.networks.registry import ALIASES
from senet_zoo.support.machine import describe_machine
from senet_zoo.support.timing import interleaved

PEERS = {ours: theirs for theirs, ours in ALIASES.items() if timm.is_model(theirs)}
OURS = "from senet_zoo import create_model, optimize; from senet_zoo.inference import keep_freed_memory"
THEIRS = "from timm import create_model"
CANDIDATES = {
    # how each is imported and made ready
    "timm": (THEIRS, "create_model({theirs!r}, checkpoint_path={file!r}).eval()"),
    "timm channels_last": (
        THEIRS,
        "create_model({theirs!r}, checkpoint_path={file!r}).eval().to(memory_format=torch.channels_last)",
    ),
    "zoo": (OURS, "create_model({ours!r}, weights={file!r})"),
    "optimize": (
        OURS,
        "optimize(create_model({ours!r}, weights={file!r}), batch={batch}, rounds=0); keep_freed_memory()",
    ),
}
PROCESS = """
import json, time, torch
{imports}
def resident(which):
    with open("/proc/self/status") as lines:
        return int(dict(line.split(":", 1) for line in lines)[which].split()[0]) / 1024
torch.set_grad_enabled(False)
model = {create}
x, seconds, ready = torch.randn({batch}, 3, 224, 224), [], resident("VmHWM")
with open("/proc/self/clear_refs", "w") as peaks:
    peaks.write("5")
for _ in range(4):
    start = time.perf_counter()
    model(x)
    seconds.append(time.perf_counter() - start)
print(json.dumps([resident("VmHWM"), ready, *seconds[1:]]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=PEERS, default="se_resnet50")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, metavar="FILE", help="such as benchmarks/results/memory.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        save_file(timm.create_model(PEERS[args.model]).state_dict(), file)
        names = {"ours": args.model, "theirs": PEERS[args.model], "file": str(file), "batch": args.batch}
        peaks: dict[str, list[tuple[float, float]]] = {candidate: [] for candidate in CANDIDATES}
        timers = {
            candidate: partial(
                answer,
                PROCESS.format(imports=imports, create=create.format(**names), batch=args.batch),
                peaks[candidate],
            )
            for candidate, (imports, create) in CANDIDATES.items()
        }
        rounds = interleaved(timers, args.rounds, own=lambda: sum(os.times()[:4]))
    medians = {
        name: [statistics.median(column) for column in zip(*found, strict=True)] for name, found in peaks.items()
    }
    rows = [
        BenchmarkRow.of(
            rounds,
            name,
            names=(args.model, name),
            base="timm",
            plain=None,
            pictures=args.batch,
            figures={"peak MiB": peak, "to timm": peak / medians["timm"][0], "made ready, MiB": ready},
        )
        for name, (peak, ready) in medians.items()
    ]
    title = f"speed and memory in processes of their own, batch {args.batch}, 224 px"
    machine = describe_machine(torch.device("cpu")) | {"timm": timm.__version__}
    report = BenchmarkReport(title, machine, "timm", str(rounds), tuple(rows))
    print(report)
    if args.output:
        save(args.output, shlex.join(["python", "benchmarks/memory.py", *sys.argv[1:]]), [report])


def answer(code: str, peaks: list[tuple[float, float]]) -> float:
    """Median seconds of an answer in a fresh process; its peaks go to ``peaks``."""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    peak, ready, *seconds = json.loads(done.stdout.splitlines()[-1])
    peaks.append((peak, ready))
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
