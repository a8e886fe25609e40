"""Milliseconds of one core for a picture, of every checkpoint whose top-1 is known, and the figure of both.

    python benchmarks/latency.py measure    # writes benchmarks/results/latency/cpu.csv
    python benchmarks/latency.py plot       # writes docs/accuracy_latency.png from it and the manifest

Every network runs optimised (`senet_zoo.optimize`) in float32 on one thread, one picture at the size that its accuracy
was measured at, with random weights, because they do not change the speed. The clock counts the time that processors
spent on this process alone, and the smallest of nine pictures is kept, so that other processes disturb little: with 25
others on two cores, two networks that had been measured on a quiet machine both took 1.03 times as long.
"""

import argparse
import csv
import time
from pathlib import Path

import torch

import senet_zoo
from senet_zoo.support.files import atomic_file
from senet_zoo.support.machine import describe_machine, format_machine

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "latency" / "cpu.csv"
FIGURE = ROOT / "docs" / "accuracy_latency.png"
PICTURES = 9
COLUMNS = ("model", "size", "milliseconds", "machine")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("measure", "plot"))
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE")
    parser.add_argument("--figure", type=Path, default=FIGURE, metavar="FILE")
    args = parser.parse_args()
    measure(args.results) if args.what == "measure" else plot(args.results, args.figure)


def measured_checkpoints() -> list[tuple[str, str, int, str, float]]:
    """Name, model, picture side, data set and top-1 of each checkpoint whose top-1 is known."""
    found = []
    for name in senet_zoo.list_weights():
        row = senet_zoo.get_weights(name).row
        best = next((metric for metric in row.metrics if metric.name == "top1" and metric.value is not None), None)
        if best is not None and best.size is not None:
            found.append((name, row.model, best.size, best.dataset, best.value))
    return found


def measure(path: Path) -> None:
    """Measure what the file does not hold yet; remove it to measure all."""
    torch.set_num_threads(1)
    machine = format_machine(describe_machine(torch.device("cpu")))
    lines = [(model, size, f"{value:.1f}", where) for (model, size), (value, where) in measured(path).items()]
    wanted = {(model, size) for _, model, size, _, _ in measured_checkpoints()} - {line[:2] for line in lines}
    for model, size in sorted(wanted):
        fast = senet_zoo.optimize(calm(senet_zoo.create_model(model)), rounds=0, sizes=(size, size * 3 // 4))
        picture = torch.randn(1, 3, size, size)
        fast(picture)
        best = min(processor_time(fast, picture) for _ in range(PICTURES))
        lines.append((model, size, f"{1000 * best:.1f}", machine))
        print(*lines[-1][:3], flush=True)
        with atomic_file(path) as file:
            rows = (COLUMNS, *sorted(lines))
            file.write("\n".join(",".join(f'"{value}"' for value in row) for row in rows).encode() + b"\n")


def calm(network: torch.nn.Module) -> torch.nn.Module:
    """Random weights under which maps do not grow from unit to unit, so that rounding stays small."""
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.constant_(part.weight, 0.3)
    return network.eval()


@torch.inference_mode()
def processor_time(network: torch.nn.Module, picture: torch.Tensor) -> float:
    before = time.process_time()
    network(picture)
    return time.process_time() - before


def milliseconds(path: Path = RESULTS) -> dict[tuple[str, int], float]:
    """What was measured, by model and picture side."""
    return {key: value for key, (value, _) in measured(path).items()}


def measured(path: Path) -> dict[tuple[str, int], tuple[float, str]]:
    """Milliseconds and the machine, by model and picture side; nothing where there is no file."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {
            (row["model"], int(row["size"])): (float(row["milliseconds"]), row["machine"])
            for row in csv.DictReader(file)
        }


def plot(path: Path, figure: Path) -> None:
    """Accuracy against time: the zoo's networks with gates, and plain ones."""
    from matplotlib import pyplot

    times = milliseconds(path)
    axes = pyplot.figure(figsize=(8, 5), layout="constrained").add_subplot()
    points = [
        (times[model, size], top1, model)
        for _, model, size, data, top1 in measured_checkpoints()
        if data.startswith("imagenet-1k") and (model, size) in times
    ]
    for gated, colour, label in ((False, "#999999", "plain"), (True, "#0b6e99", "with gates")):
        chosen = [point for point in points if point[2].startswith("se") == gated]
        axes.scatter(*zip(*[point[:2] for point in chosen], strict=True), s=28, color=colour, label=label)
    labelled = 0.0
    for time_, top1, model in frontier([point for point in points if point[2].startswith("se")]):
        if top1 - labelled < 1.2:  # its name would lie on the last one
            continue
        labelled = top1
        axes.annotate(model, (time_, top1), xytext=(-5, 5), textcoords="offset points", ha="right", fontsize=8)
    axes.set(
        xscale="log", xlim=(4, None), xlabel="milliseconds of one core for a picture", ylabel="top-1 on ImageNet, %"
    )
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    with atomic_file(figure) as file:
        pyplot.savefig(file, format="png", dpi=130, metadata={"Software": None})


def frontier(points: list[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Those that no quicker one beats."""
    kept: list[tuple[float, float, str]] = []
    for point in sorted(points, key=lambda point: (point[0], -point[1])):
        if not kept or point[1] > kept[-1][1]:
            kept.append(point)
    return kept


if __name__ == "__main__":
    main()
