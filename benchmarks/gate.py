"""What the gate buys: a network with and without it, trained alike, measured once on pictures that chose nothing.

    python benchmarks/gate.py commands                      # every run, as a command for the shell
    python benchmarks/gate.py record imagenette RUN DATA    # measure a finished run and keep its log
    python benchmarks/gate.py report                        # write docs/gate.md from the logs
    python benchmarks/gate.py report --check                # exit status 1 where it is not what would be written

A run's own validation pictures are split off its training pictures; DATA is the test set, which is looked at when the
run is over. Logs lie in benchmarks/results/gate/EXPERIMENT/MODEL.SEED.json.
"""

import argparse
import csv
import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import senet_zoo
from senet_zoo.data.datasets import open_data
from senet_zoo.evaluation import evaluate, logits_of
from senet_zoo.training.run import METRICS, RUN

ROOT = Path(__file__).parents[1]
LOGS = ROOT / "benchmarks" / "results" / "gate"
REPORT = ROOT / "docs" / "gate.md"
LONG = "cifar10"  # tag of the checkpoints inside the package; their rows in the manifest say how they were trained


@dataclass(frozen=True)
class Experiment:
    """Pairs of networks that are trained with the same options.

    Args:
        title: in the report.
        twins: plain networks; each runs with its gates (``se_``), too.
        seeds: of the runs.
        train: training pictures.
        test: test pictures.
        options: of ``senet-zoo train``.
    """

    title: str
    twins: tuple[str, ...]
    seeds: tuple[int, ...]
    train: str
    test: str
    options: str

    def command(self, model: str, seed: int) -> str:
        return f"senet-zoo train {self.train} --model {model} {self.options} --seed {seed} -o runs/{model}.{seed}"


EXPERIMENTS = {
    "imagenette": Experiment(
        "Imagenette photographs at 128 pixels, 36 epochs",
        ("mobilenet", "shufflenet"),
        (0,),
        "IMAGENETTE/train",
        "IMAGENETTE/val",
        "--recipe scratch --size 128 --val-share 0.05",
    ),
    "cifar10-short": Experiment(
        "CIFAR-10, 8 epochs",
        ("resnet20",),
        (0, 1, 2),
        "'CIFAR10/cifar10_train_*.npz'",
        "CIFAR10/cifar10_test.npz",
        "--recipe cifar-quick --val-share 0.02",
    ),
    "cifar10-refined": Experiment(
        "CIFAR-10, 14 epochs more from checkpoints of 63 epochs",
        ("resnet20",),
        (0,),
        "'CIFAR10/cifar10_train_*.npz'",
        "CIFAR10/cifar10_test.npz",
        "--pretrained --recipe cifar-refine --val-share 0.02",
    ),
    "cifar10-200": Experiment(
        "CIFAR-10, 200 epochs, the depths of the paper's table 4",
        ("resnet56", "resnet110"),
        (0, 1, 2),
        "CIFAR10",
        "CIFAR10",
        "--recipe cifar-resnet --epochs 200 --val-share 0.02 --device cuda --precision bf16",
    ),
}


@dataclass(frozen=True)
class Log:
    """A finished run: its model, seed, epochs, seconds of training, and top-1 on the test pictures."""

    model: str
    seed: int
    epochs: int
    seconds: float
    top1: float
    pictures: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("commands")
    recording = commands.add_parser("record")
    recording.add_argument("experiment", choices=EXPERIMENTS)
    recording.add_argument("run", type=Path)
    recording.add_argument("data")
    reporting = commands.add_parser("report")
    reporting.add_argument("--check", action="store_true")
    args = parser.parse_args()
    if args.command == "commands":
        for experiment in EXPERIMENTS.values():
            print(f"# {experiment.title}")
            for model in models(experiment):
                print(*(experiment.command(model, seed) for seed in experiment.seeds), sep="\n")
        return 0
    if args.command == "record":
        record(args.experiment, args.run, args.data)
        return 0
    text = report()
    if args.check and REPORT.read_text() != text:
        print("docs/gate.md is not what python benchmarks/gate.py report writes; run it", file=sys.stderr)
        return 1
    REPORT.write_text(text)
    return 0


def models(experiment: Experiment) -> list[str]:
    return [name for twin in experiment.twins for name in (twin, f"se_{twin}")]


def record(experiment: str, run: Path, data: str) -> None:
    """Measure a finished run on the test pictures, and keep what it was and what it gave."""
    values = json.loads((run / RUN).read_text())
    model = senet_zoo.from_pretrained(run)
    said = model.weights
    found = evaluate(
        model, open_data(data, "test" if data == "CIFAR10" else None), said.preprocessing, logits_of(said.categories)
    )
    rows = list(csv.DictReader((run / METRICS).read_text().splitlines()))
    log = {
        "run": {key: value for key, value in values.items() if key not in ("data", "unreadable")},
        "test": {"data": Path(data).name, "pictures": found.count, "top1": found.top1, "loss": found.loss},
        "epochs": [
            {key: float(row[key]) for key in ("loss", "top1", "val_loss", "val_top1", "seconds")} for row in rows
        ],
    }
    path = LOGS / experiment / f"{values['model']}.{values['seed']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(log, indent=1) + "\n")
    print(f"{values['model']}, seed {values['seed']}: top-1 {found.top1:.2f} % of {found.count} pictures")


def report() -> str:
    lines = [
        "# What the gate buys",
        "",
        "Pairs of networks that differ in nothing but the gates: same recipe, same pictures in the same order, same",
        "seeds. The last epoch's state is measured once, on pictures that chose nothing. Made by",
        "`python benchmarks/gate.py report` from the logs in `benchmarks/results/gate/`;",
        "`python benchmarks/gate.py commands` prints every run. Minutes are of one core of a machine that did",
        "other work as well: they tell how long a run was waited for, not what the gate costs.",
        "",
    ]
    for name, experiment in EXPERIMENTS.items():
        lines += section(experiment, logs(name))
    return "\n".join([*lines, *long_runs()])


def section(experiment: Experiment, found: list[Log]) -> list[str]:
    lines = [f"## {experiment.title}", ""]
    if found:
        lines += ["| network | top-1 of each seed | mean | spread | training |", "|---|---|---|---|---|"]
        for model in models(experiment):
            own = [log for log in found if log.model == model]
            if own:
                lines.append(row(model, own))
        lines.append("")
        lines += [
            gain(twin, found) for twin in experiment.twins if {twin, f"se_{twin}"} <= {log.model for log in found}
        ]
    done = {(log.model, log.seed) for log in found}
    missing = {model: [seed for seed in experiment.seeds if (model, seed) not in done] for model in models(experiment)}
    names = [f"`{model}` (seed {', '.join(map(str, seeds))})" for model, seeds in missing.items() if seeds]
    return [*lines, f"Not run yet: {', '.join(names)}.", ""] if names else lines


def row(model: str, own: list[Log]) -> str:
    values = [log.top1 for log in own]
    spread = f"{statistics.stdev(values):.2f}" if len(values) > 1 else "one seed"
    training = f"{own[0].epochs} epochs, {statistics.mean(log.seconds for log in own) / 60:.0f} min"
    each = ", ".join(f"{value:.2f}" for value in values)
    return f"| `{model}` | {each} | {statistics.mean(values):.2f} % | {spread} | {training} |"


def gain(twin: str, found: list[Log]) -> str:
    plain, gated = ({log.seed: log for log in found if log.model == name} for name in (twin, f"se_{twin}"))
    pairs = [gated[seed].top1 - plain[seed].top1 for seed in sorted(plain.keys() & gated.keys())]
    pictures = next(iter(plain.values())).pictures
    share = statistics.mean(log.top1 for log in plain.values()) / 100
    noise = 100 * (share * (1 - share) / pictures) ** 0.5
    spread = (
        f", from {min(pairs):+.2f} to {max(pairs):+.2f} over {len(pairs)} seeds" if len(pairs) > 1 else ", one seed"
    )
    return (
        f"The gate gives `{twin}` {statistics.mean(pairs):+.2f} points{spread}. The standard error of one accuracy "
        f"over {pictures} pictures is {noise:.2f} points.\n"
    )


def long_runs() -> list[str]:
    """The checkpoints inside the package, whose logs the manifest holds."""
    lines = ["## CIFAR-10, the checkpoints inside the package", "", "| network | top-1 | training |", "|---|---|---|"]
    for model in ("resnet20", "se_resnet20"):
        weights = senet_zoo.get_weights(f"{model}.{LONG}").row
        (top1,) = (metric.value for metric in weights.metrics if metric.name == "top1")
        hours = sum(epoch.seconds for epoch in weights.training.log) / 3600
        lines.append(f"| `{model}` | {top1:.2f} % | {len(weights.training.log)} epochs, {hours:.1f} h |")
    return [*lines, "", "Each is the better of two states on the test pictures, after 63 and after 77 epochs.", ""]


def logs(experiment: str) -> list[Log]:
    """Those of an experiment, in order of model and seed."""
    found = []
    for path in sorted((LOGS / experiment).glob("*.json")):
        log = json.loads(path.read_text())
        seconds = sum(epoch["seconds"] for epoch in log["epochs"])
        run, test = log["run"], log["test"]
        found.append(Log(run["model"], run["seed"], len(log["epochs"]), seconds, test["top1"], test["pictures"]))
    return found


if __name__ == "__main__":
    sys.exit(main())
