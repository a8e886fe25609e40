"""The results that were kept, as a page: docs/speed.md with a table for each run, and docs/speed.png.

    python benchmarks/report.py             # writes
    python benchmarks/report.py --check     # exit status 1 where the page is not what would be written

Results are the files benchmarks/results/*.json, which the benchmarks write with --output, and which the output of
`senet-zoo benchmark ... --json` is as well.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

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
INTRODUCTION = f"""\
# Speed

Every table is one run: its candidates took turns, another one first in each round. Ratios are of the same round:
medians, and the quartiles in brackets. A gate's cost is the time over that of the plain twin, treated alike. Figures
hold for the machine above them. On a CPU, processes with optimised networks keep freed memory, as `senet-zoo` does and
`senet_zoo.inference.keep_freed_memory()` in a program of yours. Made by `python benchmarks/report.py` from
`benchmarks/results/*.json`; these commands make the results:

```console
{COMMANDS}
```
"""
COLOUR, GREY = "#4477aa", "#888888"
OURS = ("optimize", "zoo", "senet_zoo")


@dataclass(frozen=True)
class Result:
    """A file of results.

    Args:
        command: that made it.
        date: when.
        reports: what was measured.
    """

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
    text, path, plot = page(results), args.docs / "speed.md", args.docs / "speed.png"
    if args.check:
        same = path.is_file() and path.read_text(encoding="utf-8") == text and plot.is_file() == bool(results)
        if not same:
            print(f"{path} is not what python benchmarks/report.py writes; run it", file=sys.stderr)
        return int(not same)
    with atomic_file(path) as file:
        file.write(text.encode())
    if results:
        draw(plot, [report for result in results for report in result.reports])
    else:
        plot.unlink(missing_ok=True)
    return 0


def read(path: Path) -> Result:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Result(found["command"], found["date"], from_document(found))
    except (ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"{path} must be what a benchmark wrote, and is not ({error!r}): move it away") from error


def page(results: list[Result]) -> str:
    if not results:
        return f"{INTRODUCTION}\nNo results are kept yet.\n"
    parts = [INTRODUCTION, "![Ratios of all runs, medians with quartiles](speed.png)\n"]
    for result in results:
        parts += [section(report, result) for report in result.reports]
    return "\n".join(parts)


def section(report: BenchmarkReport, result: Result) -> str:
    head, *rows = report.table()
    lines = [head, ["---"] * len(head), *rows]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines).replace("_", "\\_")
    made = f"{report.rounds[0].upper()}{report.rounds[1:]}, {result.date}, on {format_machine(report.machine)}."
    models = ", ".join(dict.fromkeys(row.model for row in report.rows))
    return f"## {models}: {report.title}\n\n{made}\n\n```console\n{result.command}\n```\n\n{table}\n"


def draw(path: Path, reports: list[BenchmarkReport]) -> None:
    """One panel a report: a point and its quartiles for each candidate with gates, ours in colour."""
    from matplotlib.figure import Figure

    shown = [[row for row in report.rows if not row.candidate.endswith(", plain")] for report in reports]
    heights = [len(rows) + 2 for rows in shown]
    figure = Figure(figsize=(8, 0.27 * sum(heights) + 0.5), layout="constrained")
    axes = figure.subplots(len(reports), squeeze=False, height_ratios=heights)[:, 0]
    for axis, report, rows in zip(axes, reports, shown, strict=True):
        ours = [name for name in OURS if name != report.base]  # a network of ours as it comes is the peer of small ones
        for y, row in enumerate(rows):
            colour = COLOUR if row.candidate.startswith(tuple(ours)) else GREY
            axis.plot([row.ratio.lower, row.ratio.upper], [y, y], color=colour, linewidth=2)
            axis.plot(row.ratio.median, y, "o", color=colour, markersize=5)
        axis.axvline(1, color=GREY, linewidth=0.8, zorder=0)
        axis.set_yticks(range(len(rows)), [f"{row.model}, {row.candidate}" for row in rows], fontsize=8)
        axis.tick_params(axis="x", labelsize=8)
        axis.invert_yaxis()
        axis.set_title(fill(f"{report.title}: times as fast as {report.base}", 75), fontsize=9, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=120)


if __name__ == "__main__":
    sys.exit(main())
