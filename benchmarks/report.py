"""The results that were kept, as two pages: docs/speed.md with the answers, docs/speed-tables.md with every run.

    python benchmarks/report.py             # writes
    python benchmarks/report.py --check     # exit status 1 where a page is not what would be written

The figure on docs/speed.md is made by `python benchmarks/latency.py plot`. Results are the files
benchmarks/results/*.json, which the benchmarks write with --output, and which the output of
`senet-zoo benchmark ... --json` is as well.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from senet_zoo.inference.benchmark import BenchmarkReport, from_document
from senet_zoo.support.files import atomic_file
from senet_zoo.support.machine import format_machine

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
COMMANDS = """\
python benchmarks/inference.py --with compiled --output benchmarks/results/inference.json
python benchmarks/inference.py --batch 16 --output benchmarks/results/inference-16.json
python benchmarks/inference.py --model se_mobilenet --output benchmarks/results/inference-se_mobilenet.json
python benchmarks/memory.py --output benchmarks/results/memory.json
python benchmarks/startup.py --models se_resnet50 --output benchmarks/results/startup.json
python benchmarks/training.py --output benchmarks/results/training.json
python benchmarks/fused.py --output benchmarks/results/fused.json
python benchmarks/gpu.py --output benchmarks/results/gpu.json
senet-zoo benchmark se_resnet50 se_mobilenet --json > benchmarks/results/models.json
python benchmarks/report.py"""
FRONT = """\
# Speed

```python
import senet_zoo

model = senet_zoo.create_model("se_resnet20", pretrained=True)
fast = senet_zoo.optimize(model, rounds=3)  # the same logits; fast.report says how much faster, here
print(fast.report.gain)
```

![Accuracy against the time of one core, networks with gates and plain ones](accuracy_latency.png)

Each point is a network with published weights: its top-1 on ImageNet, and one picture on one core, optimised, in
float32, on an AMD EPYC with AVX512 on 2026-11-30. Up and to the left is better. `python benchmarks/latency.py` measures
and draws it.

## Which call for which machine
"""
MEASURED = """\
Medians and quartiles of runs with all candidates in turns; the gate's cost is the time over that of the same network
without gates, treated alike. [Every run](speed-tables.md) stands with its machine, its command and all candidates, and
`senet-zoo optimize --model NAME` measures yours. [Eight bits](deploy.md#eight-bits) have a table of their own.

Runs with processor time had other programs beside them: it counts what their own thread computed. Forms of a gate in
bfloat16 and in mobile networks are timed by `python benchmarks/bfloat16.py` and `python benchmarks/mobile.py`
(`benchmarks/results/forms`), and `benchmarks/NOTES.md` says which pay and which do not. Gates that see a tile of the
map and not all of it save no time on a CPU (`python benchmarks/tiles.py`): `optimize` has none.

Open, because no run on such a machine is kept: bfloat16 (`dtype=torch.bfloat16`) on processors with AMX, and every
figure on CUDA. There `optimize` uses PyTorch's own operations: channels last, folded norms, early gates and, for one
picture, a CUDA graph; Triton's kernels only with `kernels=True`, because they agree with float64 in its interpreter and
have never been timed on a GPU.
"""
INTRODUCTION = f"""\
# Every run

The tables behind [Speed](speed.md). Each is one run: its candidates took turns, another one first in each round. Ratios
are of the same round: medians, and the quartiles in brackets. A gate's cost is the time over that of the plain twin,
treated alike. Figures hold for the machine above them. On a CPU, processes with optimised networks keep freed memory,
as `senet-zoo` does and `senet_zoo.inference.keep_freed_memory()` in a program of yours. Made by
`python benchmarks/report.py` from `benchmarks/results/*.json`; these commands make the results:

```console
{COMMANDS}
```
"""
LIBRARIES = {
    "timm": "timm's network",
    "torchvision": "torchvision's network",
    "zoo": "senet_zoo's network",
    "optimize": "`senet_zoo.optimize`",
}
TOOLS = {"channels_last": "channels last", "folded": "norms folded", "compiled": "torch.compile", "bf16": "bfloat16"}
PLAIN = ", plain"


@dataclass(frozen=True)
class Answer:
    """A row of the table of answers.

    Args:
        need: what a reader has and wants.
        call: what does it.
        results: the file of results.
        candidate: which of its rows.
    """

    need: str
    call: str
    results: str
    candidate: str


ONNX_RUNTIME, OPENVINO = 'optimize(model, backend="onnxruntime")', 'optimize(model, backend="openvino")'
COMPILED, BATCH = 'optimize(model, backend="compiled")', 'optimize(model, batch=16, backend="openvino")'
MOBILE = "inference-se_mobilenet"
HALF, HALF_BATCH = "optimize(model, dtype=torch.bfloat16)", "optimize(model, dtype=torch.bfloat16, batch=16)"
HALF_BATCH_OPENVINO = 'optimize(model, dtype=torch.bfloat16, batch=16, backend="openvino")'
HALF_OPENVINO, AVX512 = 'optimize(model, dtype=torch.bfloat16, backend="openvino")', "avx512-inference"
ANSWERS = (
    Answer("`se_resnet50`, one picture, only PyTorch", "optimize(model)", "inference", "optimize"),
    Answer("the same, and a minute to compile", COMPILED, "inference", "optimize compiled"),
    Answer("the same, and ONNX Runtime", ONNX_RUNTIME, "inference", "optimize ONNX Runtime"),
    Answer("the same, and OpenVINO", OPENVINO, "inference", "optimize OpenVINO"),
    Answer("`se_resnet50`, batches of 16, only PyTorch", "optimize(model, batch=16)", "inference-16", "optimize"),
    Answer("the same, and OpenVINO", BATCH, "inference-16", "optimize OpenVINO"),
    Answer("`senet154`, one picture, ONNX Runtime", ONNX_RUNTIME, "inference-senet154", "optimize ONNX Runtime"),
    Answer("`se_mobilenet`, one picture, only PyTorch", "optimize(model)", MOBILE, "optimize"),
    Answer("the same, and ONNX Runtime", ONNX_RUNTIME, MOBILE, "optimize ONNX Runtime"),
    Answer("`se_resnet50`, one picture, AVX512-BF16", HALF, AVX512, "optimize bf16"),
    Answer("the same, and OpenVINO", HALF_OPENVINO, AVX512, "optimize OpenVINO bf16"),
    Answer("`se_resnet50`, batches of 16, AVX512-BF16", HALF_BATCH, f"{AVX512}-16", "optimize bf16"),
    Answer("the same, and OpenVINO", HALF_BATCH_OPENVINO, f"{AVX512}-16", "optimize OpenVINO bf16"),
    Answer("`se_mobilenet`, one picture, AVX512-BF16", HALF, f"{AVX512}-se_mobilenet", "optimize bf16"),
    Answer("the same, and OpenVINO", HALF_OPENVINO, f"{AVX512}-se_mobilenet", "optimize OpenVINO bf16"),
    Answer("`se_resnet50` to train", "senet-zoo train ... --fused auto", "fused", "senet_zoo, fused"),
)
"""What is not known beforehand, `backend="auto"` measures."""


@dataclass(frozen=True)
class Result:
    """A file of results.

    Args:
        name: of the file, without its suffix.
        command: that made it.
        date: when.
        reports: what was measured.
    """

    name: str
    command: str
    date: str
    reports: list[BenchmarkReport]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", metavar="FOLDER")
    args = parser.parse_args()
    results = [read(path) for path in sorted(args.results.glob("*.json"))]
    pages = {args.docs / "speed.md": front(results), args.docs / "speed-tables.md": tables(results)}
    if args.check:
        stale = [path for path, text in pages.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
        for path in stale:
            print(f"{path} is not what python benchmarks/report.py writes; run it", file=sys.stderr)
        return int(bool(stale))
    for path, text in pages.items():
        with atomic_file(path) as file:
            file.write(text.encode())
    return 0


def read(path: Path) -> Result:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Result(path.stem, found["command"], found["date"], from_document(found))
    except (ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"{path} must be what a benchmark wrote, and is not ({error!r}): move it away") from error


def front(results: list[Result]) -> str:
    """The page with the answers, and the figures of those that results are kept of."""
    lines = ["| you have a CPU and | call | times as fast | as | gate's cost | measured |", "|---|---|---|---|---|---|"]
    rows = {
        (result.name, row.candidate): (report, result.date, row)
        for result in results
        for report in result.reports
        for row in reversed(report.rows)  # the first of a name counts: the network with gates
    }
    for answer in ANSWERS:
        if (answer.results, answer.candidate) in rows:
            report, date, row = rows[answer.results, answer.candidate]
            gate = format(row.gate, ".2f") if row.gate else "-"
            cells = [answer.need, f"`{answer.call}`", format(row.ratio, ".2f"), label(report.base), gate]
            lines.append(f"| {' | '.join([*cells, f'{date}, {short(report)}'])} |")
    lines.append('| anything else | `optimize(model, backend="auto")`, which measures all once | | | | |')
    machines: dict[str, str] = {}
    for result in results:
        for report in result.reports:
            machines.setdefault(short(report), format_machine(report.machine))
    on = [f"On {name}: {machine}.\n" for name, machine in machines.items()] or ["No results are kept yet.\n"]
    return "\n".join([FRONT, *lines, "", *on, MEASURED])


def short(report: BenchmarkReport) -> str:
    """A machine in a few words, and whose time was counted."""
    clock = ", processor time" if report.title.endswith("clock: cpu") else ""
    threads = report.machine["threads"]
    return f"{report.machine['capability']}, {threads} thread{'' if threads == 1 else 's'}{clock}"


def tables(results: list[Result]) -> str:
    """The page with every run."""
    if not results:
        return f"{INTRODUCTION}\nNo results are kept yet.\n"
    return "\n".join([INTRODUCTION, *(section(report, result) for result in results for report in result.reports)])


def label(candidate: str) -> str:
    """A candidate's name as readers call it; what is not known stays as it is."""
    library, *tools = candidate.removesuffix(PLAIN).split(" ")
    if library not in LIBRARIES:
        return candidate
    text = " ".join(TOOLS.get(tool, tool) for tool in tools) or ("" if library == "optimize" else "as it comes")
    end = ", without gates" if candidate.endswith(PLAIN) else ""
    return ", ".join(filter(None, (LIBRARIES[library], text))) + end


def section(report: BenchmarkReport, result: Result) -> str:
    head, *rows = report.table()
    head[3] = f"times as fast as {label(report.base)}"
    rows = [[model, label(candidate), *cells] for model, candidate, *cells in rows]
    lines = [head, ["---"] * len(head), *rows]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines).replace("_", "\\_")
    made = f"{report.rounds[0].upper()}{report.rounds[1:]}, {result.date}, on {format_machine(report.machine)}."
    models = ", ".join(dict.fromkeys(row.model for row in report.rows))
    return f"## {models}: {report.title}\n\n{made}\n\n```console\n{result.command}\n```\n\n{table}\n"


if __name__ == "__main__":
    sys.exit(main())
