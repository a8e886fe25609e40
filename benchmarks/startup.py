"""What a cold process pays before its first prediction, beside timm, in turns on one machine.

    python benchmarks/startup.py [--model senet154 --oracle legacy_senet154] [--rounds 5]

Every figure is one fresh process's; the table gives medians and, in brackets, the quartiles, then ratios of medians of
pairs taken in the same round. Both load the same safetensors file (timm's tensors), page cache warm.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from senet_zoo.turns import Spread

OURS = """
import json, resource, sys, time
t = [time.perf_counter()]
import torch; t.append(time.perf_counter())
import senet_zoo; t.append(time.perf_counter())
model = senet_zoo.create_model({model!r}); t.append(time.perf_counter())
del model
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
t.append(time.perf_counter())
model = senet_zoo.create_model({model!r}, weights={file!r}); t.append(time.perf_counter())
with torch.inference_mode():
    model(torch.zeros(1, 3, 224, 224)); t.append(time.perf_counter())
"""
THEIRS = """
import json, resource, sys, time
t = [time.perf_counter()]
import torch; t.append(time.perf_counter())
import timm; t.append(time.perf_counter())
model = timm.create_model({oracle!r}).eval(); t.append(time.perf_counter())
del model
t.append(time.perf_counter())
model = timm.create_model({oracle!r}, checkpoint_path={file!r}).eval(); t.append(time.perf_counter())
with torch.inference_mode():
    model(torch.zeros(1, 3, 224, 224)); t.append(time.perf_counter())
"""
REPORT = """
print(json.dumps(dict(zip(("import torch", "import the library", "create from random", "", "create from a file",
                           "first prediction"), (b - a for a, b in zip(t, t[1:]))))))
"""
# Memory that loading adds, in a process that does nothing else: resident pages, file-backed ones included.
MEMORY = """
import json, os
import torch
{imports}
def resident():
    fields = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(fields["VmRSS"].split()[0]) * 1024, int(fields["VmHWM"].split()[0]) * 1024
{warm}
start, _ = resident()
open("/proc/self/clear_refs", "w").write("5")
model = {create}
total = sum(float(p.sum()) for p in model.parameters())
print(json.dumps({{"peak": resident()[1] - start, "file": os.path.getsize({file!r})}}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="senet154")
    parser.add_argument("--oracle", default="legacy_senet154", help="timm's name for the same function")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "model.safetensors")
        run(
            f"import timm; from safetensors.torch import save_file; "
            f"save_file(timm.create_model({args.oracle!r}).state_dict(), {file!r}); print('null')"
        )
        names = {"model": args.model, "oracle": args.oracle, "file": file}
        pairs = [(run(OURS.format(**names) + REPORT), run(THEIRS.format(**names) + REPORT)) for _ in range(args.rounds)]
        print(f"{args.model} and timm's {args.oracle}, {args.rounds} rounds of cold processes, seconds\n")
        print(f"{'':20}  {'senet_zoo':>22}  {'timm':>22}  {'ratio':>18}")
        for step in (
            "import torch",
            "import the library",
            "create from random",
            "create from a file",
            "first prediction",
        ):
            ours, theirs = [pair[0][step] for pair in pairs], [pair[1][step] for pair in pairs]
            ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
            print(f"{step:20}  {spread(ours):>22}  {spread(theirs):>22}  {spread(ratios):>18}")
        shares = [pair[0]["import the library"] / pair[0]["import torch"] for pair in pairs]
        print(f"\nimport senet_zoo adds {spread([100 * share for share in shares])} % to import torch")

        ours = run(
            MEMORY.format(
                imports="import senet_zoo, safetensors.torch",
                warm="senet_zoo.create_model('se_resnet20', num_classes=0)",
                create=f"senet_zoo.create_model({args.model!r}, weights={file!r})",
                file=file,
            )
        )
        theirs = run(
            MEMORY.format(
                imports="import timm, safetensors.torch",
                warm="timm.create_model('resnet10t', num_classes=0)",
                create=f"timm.create_model({args.oracle!r}, checkpoint_path={file!r})",
                file=file,
            )
        )
        for name, memory in (("senet_zoo", ours), ("timm", theirs)):
            print(
                f"{name}: loading adds {memory['peak'] / memory['file']:.2f} of the file's size to the resident memory"
            )


def run(code: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def spread(values: list[float]) -> str:
    return format(Spread.of(values), ".3f")


if __name__ == "__main__":
    main()
