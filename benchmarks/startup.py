"""What a cold process pays before its first prediction, beside timm, in turns on one machine.

    python benchmarks/startup.py [--models se_resnet50 senet154] [--rounds 5] [--output FILE]

Every figure is one fresh process's. All load the same safetensors file (timm's tensors), page cache warm, byte code
cached; we copy its tensors, and map them (SENET_ZOO_MMAP=1) in a row of its own. The rate is of whole processes, from
start to exit, one picture each; the other columns are medians of seconds inside them. ``from random`` is a process of
its own. Memory is what loading adds to the resident pages, file-backed ones included, in a process that does nothing
else.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
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
LIBRARIES = {
    # how a library is imported, a network made from a file, and one from random
    "senet_zoo": ("from senet_zoo import create_model", "create_model({ours!r}, weights={file!r})", "{ours!r}"),
    "senet_zoo, mapped": (
        "import os; os.environ['SENET_ZOO_MMAP'] = '1'; from senet_zoo import create_model",
        "create_model({ours!r}, weights={file!r})",
        "{ours!r}",
    ),
    "timm": (
        "from timm import create_model",
        "create_model({theirs!r}, checkpoint_path={file!r}).eval()",
        "{theirs!r}",
    ),
}
PREDICT = """
import json, time
t = [time.perf_counter()]
import torch; t.append(time.perf_counter())
{imports}; t.append(time.perf_counter())
model = {create}; t.append(time.perf_counter())
with torch.inference_mode():
    model(torch.zeros(1, 3, 224, 224)); t.append(time.perf_counter())
steps = "import torch", "import library", "from a file", "first prediction"
print(json.dumps(dict(zip(steps, (b - a for a, b in zip(t, t[1:]))))))
"""
RANDOM = """
import json, time, torch
{imports}
start = time.perf_counter()
create_model({name})
print(json.dumps({{"from random": time.perf_counter() - start}}))
"""
MEMORY = """
import json, torch, safetensors.torch
{imports}
def resident(which):
    return int(dict(line.split(":", 1) for line in open("/proc/self/status"))[which].split()[0]) * 1024
create_model({small!r}, num_classes=0)
start = resident("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
model = {create}
total = sum(float(p.sum()) for p in model.parameters())
print(json.dumps({{"memory": resident("VmHWM") - start}}))
"""
SMALL = {"senet_zoo": "se_resnet20", "senet_zoo, mapped": "se_resnet20", "timm": "resnet10t"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, metavar="FILE", help="such as benchmarks/results/startup.json")
    args = parser.parse_args()
    reports = [measure(model, args.rounds) for model in args.models]
    print(*reports, sep="\n\n")
    if args.output:
        save(args.output, shlex.join(["python", "benchmarks/startup.py", *sys.argv[1:]]), reports)


def measure(model: str, rounds: int) -> BenchmarkReport:
    """All of them in turns, one network."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        save_file(timm.create_model(PEERS[model]).state_dict(), file)
        names = {"ours": model, "theirs": PEERS[model], "file": str(file)}
        inside: dict[str, list[dict[str, float]]] = {library: [] for library in LIBRARIES}
        timers: dict[str, Callable[[], float]] = {}
        for library, (imports, create, _) in LIBRARIES.items():
            code = PREDICT.format(imports=imports, create=create.format(**names))
            timers[library] = partial(process_seconds, code, inside[library])
        found = interleaved(timers, rounds, own=lambda: sum(os.times()[:4]))
        rows = []
        for library, (imports, create, name) in LIBRARIES.items():
            random = [run(RANDOM.format(imports=imports, name=name.format(**names))) for _ in range(rounds)]
            code = MEMORY.format(imports=imports, create=create.format(**names), small=SMALL[library])
            steps = inside[library][1:]  # the first one warms the caches
            figures = {step: statistics.median(each[step] for each in steps) for step in steps[0]}
            figures["from random"] = statistics.median(each["from random"] for each in random)
            figures["memory / file"] = run(code)["memory"] / file.stat().st_size
            rows.append(
                BenchmarkRow.of(
                    found, library, names=(model, library), base="timm", plain=None, pictures=1, figures=figures
                )
            )
    title = "cold start to the first prediction, seconds"
    machine = describe_machine(torch.device("cpu")) | {"timm": timm.__version__}
    return BenchmarkReport(title, machine, "timm", str(found), tuple(rows))


def process_seconds(code: str, inside: list[dict[str, float]]) -> float:
    """Seconds of a process from start to exit; the seconds of its steps are appended to ``inside``."""
    start = time.perf_counter()
    steps = run(code)
    seconds = time.perf_counter() - start
    inside.append(steps)
    return seconds


def run(code: str) -> dict[str, float]:
    """What a fresh process printed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
