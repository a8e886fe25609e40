"""What the gate buys: a network with and without it, trained alike, measured once on pictures that chose nothing.

    python benchmarks/gate.py commands                      # every run, as a command for the shell
    python benchmarks/gate.py record imagenette RUN DATA    # measure a finished run and keep its log
    python benchmarks/gate.py pairs                         # the statistics of every pair
    python benchmarks/gate.py report                        # write docs/gate.md and its figure from the logs
    python benchmarks/gate.py report --check                # exit status 1 where it is not what would be written

A run's own validation pictures are split off its training pictures; DATA is the test set, which is looked at when the
run is over. Logs lie in benchmarks/results/gate/EXPERIMENT/MODEL.SEED.json, each with one bit a test picture: whether
it was right.
"""

import argparse
import base64
import csv
import json
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from math import comb
from pathlib import Path

import numpy as np

import senet_zoo
from senet_zoo.data.datasets import open_data
from senet_zoo.evaluation import Evaluation, evaluate, logits_of, protocol
from senet_zoo.training.run import METRICS, RUN

ROOT = Path(__file__).parents[1]
LOGS = ROOT / "benchmarks" / "results" / "gate"
REPORT, FIGURE = ROOT / "docs" / "gate.md", ROOT / "docs" / "gate.png"
EMBEDDED = ("se_cifarnet.cifar10", "se_resnet20.cifar10", "resnet20.cifar10",
            "se_mobilenet.imagenette", "se_shufflenet.imagenette")  # fmt: skip


RESAMPLED = 10_000  # times that the test pictures are drawn again


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        top1: percentage of the test pictures.
        pictures: number of the test pictures.
        right: which of them were right, (pictures,) of bool; None where it was not kept.
    """

    top1: float
    pictures: int
    right: np.ndarray | None


@dataclass(frozen=True)
class Pair:
    """What the gate adds, in points, over seeds that were run with it and without.

    Args:
        plain: mean accuracy without gates.
        gated: mean accuracy with gates.
        gains: of each seed.
        error_of_one: standard error of one accuracy over the test pictures.
        error: standard error of the mean gain over the test pictures.
        interval: 95 % interval of the mean gain over the test pictures.
        mcnemar: of each seed whose answers were kept: pictures that the gate alone got right, that the plain network
            alone got right, and how probable so unequal a split is where the gate changes nothing (two-sided, exact).
    """

    plain: float
    gated: float
    gains: tuple[float, ...]
    error_of_one: float
    error: float
    interval: tuple[float, float]
    mcnemar: tuple[tuple[int, int, float], ...]

    @property
    def seeds(self) -> int:
        return len(self.gains)

    @property
    def gain(self) -> float:
        return statistics.mean(self.gains)

    @property
    def verdict(self) -> str:
        """In a word, what these pictures show."""
        low, high = self.interval
        if abs(self.gain) < self.error:
            return "none"
        if low <= 0.0 <= high:
            return "not told from none"
        return "a gain" if low > 0.0 else "a loss"

    def describe(self) -> str:
        """The pair in lines."""
        low, high = self.interval
        lines = [
            f"  without gates {self.plain:.2f} %, with gates {self.gated:.2f} %, each ± {self.error_of_one:.2f}",
            f"  gain {self.gain:+.2f} ± {self.error:.2f}, 95 % interval {low:+.2f} to {high:+.2f}: {self.verdict}",
            f"  by seed: {', '.join(f'{gain:+.2f}' for gain in self.gains)}",
        ]
        if self.seeds > 1:
            lines[-1] += f"; standard deviation {statistics.stdev(self.gains):.2f}"
        lines += [
            f"  McNemar: {gated} right with gates alone, {plain} without alone, p = {p:.3f}"
            for gated, plain, p in self.mcnemar
        ]
        return "\n".join(lines)


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
        variants: of the gate, each as ``--se`` takes it, beside the standard one.
    """

    title: str
    twins: tuple[str, ...]
    seeds: tuple[int, ...]
    train: str
    test: str
    options: str
    variants: tuple[str, ...] = ()

    def gated(self, twin: str) -> list[str]:
        """The networks with gates; a variant stands behind an @."""
        return [f"se_{twin}", *(f"se_{twin}@{variant}" for variant in self.variants)]

    @property
    def models(self) -> list[str]:
        return [name for twin in self.twins for name in (twin, *self.gated(twin))]

    def command(self, model: str, seed: int) -> str:
        name, _, variant = model.partition("@")
        options = f"{self.options} --se {variant}" if variant else self.options
        return f"senet-zoo train {self.train} --model {name} {options} --seed {seed} -o runs/{model}.{seed}"


CIFAR10 = ("'CIFAR10/cifar10_train_*.npz'", "CIFAR10/cifar10_test.npz")
EXPERIMENTS = {
    "cifar10-speed": Experiment(
        "CIFAR-10, 8 epochs of `cifar-speed`",
        ("cifarnet",),
        (0, 1, 2),
        *CIFAR10,
        "--recipe cifar-speed --precision bf16 --val-share 0.02",
    ),
    "cifar100": Experiment(
        "CIFAR-100, 30 epochs",
        ("resnet20",),
        (0, 1, 2),
        "CIFAR100/train",
        "CIFAR100/test",
        "--recipe cifar-quick --epochs 30 --size 32 --precision bf16 --val-share 0.02",
        variants=("reduction=4", "reduction=8", "placement=pre", "placement=identity"),
    ),
    "cifar10-short": Experiment(
        "CIFAR-10, 8 epochs", ("resnet20",), (0, 1, 2), *CIFAR10, "--recipe cifar-quick --val-share 0.02"
    ),
    "cifar10-refined": Experiment(
        "CIFAR-10, 63 epochs and 14 more",
        ("resnet20",),
        (0,),
        *CIFAR10,
        "--pretrained --recipe cifar-refine --val-share 0.02",
    ),
    "imagenette": Experiment(
        "Imagenette at 128 pixels, 36 epochs",
        ("mobilenet", "shufflenet"),
        (0, 1, 2),
        "IMAGENETTE/train",
        "IMAGENETTE/val",
        "--recipe scratch --size 128 --val-share 0.05",
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("commands")
    recording = commands.add_parser("record")
    recording.add_argument("experiment", choices=EXPERIMENTS)
    recording.add_argument("run", type=Path)
    recording.add_argument("data")
    commands.add_parser("pairs")
    reporting = commands.add_parser("report")
    reporting.add_argument("--check", action="store_true")
    args = parser.parse_args()
    match args.command:
        case "commands":
            for experiment in EXPERIMENTS.values():
                print(f"# {experiment.title}")
                for model in experiment.models:
                    print(*(experiment.command(model, seed) for seed in experiment.seeds), sep="\n")
        case "record":
            record(args.experiment, args.run, args.data)
        case "pairs":
            for experiment, model, pair in pairs():
                print(f"{experiment.title}: {model}", pair.describe(), sep="\n", end="\n\n")
        case "report":
            return write_report(check=args.check)
    return 0


def record(experiment: str, folder: Path, data: str) -> None:
    """Measure a finished run on the test pictures, and keep what it was and what it gave."""
    values = json.loads((folder / RUN).read_text())
    model = senet_zoo.from_pretrained(folder)
    said, pictures = model.weights, open_data(data, "test" if data == "CIFAR10" else None)

    def measured(name: str) -> Evaluation:
        crops = protocol(name, said.preprocessing)
        return evaluate(model, pictures, said.preprocessing, logits_of(said.categories), protocol=crops, batch=500)

    found = measured("own")
    test = {"data": Path(data).name, "pictures": found.count, "top1": found.top1, "loss": found.loss}
    test["right"] = as_text([score.rank == 0 for score in found.pictures])
    if said.preprocessing.size == 32:
        test["top1 of six views"] = measured("mirror6").top1
    rows = list(csv.DictReader((folder / METRICS).read_text().splitlines()))
    log = {
        "run": {key: value for key, value in values.items() if key not in ("data", "unreadable")},
        "test": test,
        "epochs": [
            {key: float(row[key]) for key in ("loss", "top1", "val_loss", "val_top1", "seconds")} for row in rows
        ],
    }
    name = values["model"] + (f"@{values['gate']}" if values.get("gate") else "")
    path = LOGS / experiment / f"{name}.{values['seed']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(log, indent=1) + "\n")
    print(f"{name}, seed {values['seed']}: top-1 {found.top1:.2f} % of {found.count} pictures")


def as_text(right: list[bool]) -> str:
    """A bit a picture, as base64."""
    return base64.b64encode(np.packbits(right).tobytes()).decode()


def as_bits(text: str, count: int) -> np.ndarray:
    """The bits of `as_text`."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=count).astype(bool)


def runs(experiment: str, model: str) -> dict[int, Run]:
    """The finished runs of a model by their seeds."""
    found = {}
    for path in sorted((LOGS / experiment).glob(f"{model}.[0-9]*.json")):
        log = json.loads(path.read_text())
        test = log["test"]
        right = as_bits(test["right"], test["pictures"]) if "right" in test else None
        found[log["run"]["seed"]] = Run(test["top1"], test["pictures"], right)
    return found


def pairs() -> list[tuple[Experiment, str, Pair]]:
    """Every network with gates of which one seed at least was run without, too."""
    found = []
    for name, experiment in EXPERIMENTS.items():
        for twin in experiment.twins:
            plain = runs(name, twin)
            for model in experiment.gated(twin):
                gated = runs(name, model)
                if plain.keys() & gated.keys():
                    found.append((experiment, model, paired(plain, gated)))
    return found


def paired(plain: Mapping[int, Run], gated: Mapping[int, Run]) -> Pair:
    """The statistics of the seeds that both have."""
    both = sorted(plain.keys() & gated.keys())
    before, after = [plain[seed] for seed in both], [gated[seed] for seed in both]
    error_of_one = standard_error(statistics.mean(run.top1 for run in before), before[0].pictures)
    gains = tuple(b.top1 - a.top1 for a, b in zip(before, after, strict=True))
    answers = [(a.right, b.right) for a, b in zip(before, after, strict=True)]
    kept = [(a, b) for a, b in answers if a is not None and b is not None]
    if len(kept) == len(both):
        differences = np.mean([b.astype(float) - a for a, b in kept], axis=0)
        error, interval = bootstrap(differences)
    else:
        error = error_of_one * (2 / len(both)) ** 0.5
        gain = statistics.mean(gains)
        interval = (gain - 1.96 * error, gain + 1.96 * error)
    return Pair(
        plain=statistics.mean(run.top1 for run in before),
        gated=statistics.mean(run.top1 for run in after),
        gains=gains,
        error_of_one=error_of_one,
        error=error,
        interval=interval,
        mcnemar=tuple(mcnemar(a, b) for a, b in kept),
    )


def standard_error(top1: float, pictures: int) -> float:
    """Of an accuracy in percent over so many pictures, in points."""
    share = top1 / 100
    return 100 * float((share * (1 - share) / pictures) ** 0.5)


def bootstrap(differences: np.ndarray, seed: int = 0) -> tuple[float, tuple[float, float]]:
    """Standard error and 95 % interval of the mean of a value a picture, in points, over resampled pictures."""
    values, counts = np.unique(differences, return_counts=True)  # few values, so resampling counts them
    drawn = np.random.default_rng(seed).multinomial(len(differences), counts / len(differences), RESAMPLED)
    means = 100 * drawn @ values / len(differences)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(means.std()), (float(low), float(high))


def mcnemar(plain: np.ndarray, gated: np.ndarray) -> tuple[int, int, float]:
    """Pictures that each alone got right, gated first, and the exact two-sided p of that split.

    Source: McNemar, Note on the sampling error of the difference between correlated proportions, 1947.
    """
    ours, theirs = int((gated & ~plain).sum()), int((plain & ~gated).sum())
    both = ours + theirs
    tail = sum(comb(both, k) for k in range(min(ours, theirs) + 1)) / 2**both
    return ours, theirs, min(1.0, 2 * tail)


def write_report(*, check: bool) -> int:
    text = report()
    if check:
        if REPORT.read_text() == text and FIGURE.exists():
            return 0
        print("docs/gate.md is not what python benchmarks/gate.py report writes; run it", file=sys.stderr)
        return 1
    REPORT.write_text(text)
    draw([(f"{model}, {experiment.title.replace('`', '')}", pair) for experiment, model, pair in pairs()])
    return 0


def report() -> str:
    lines = """\
# What the gate buys

Each row compares a network with its twin that has no gates: the same recipe, the same pictures in the same order, the
same seeds. What the last epoch left is measured once, on test pictures that chose nothing.

![Points that the gate adds, with 95 % intervals](gate.png)

| pictures, training | network | without gates | with gates | the gate adds | 95 % interval | so |
|---|---|---|---|---|---|---|
""".splitlines()
    lines += [row(experiment, model, pair) for experiment, model, pair in pairs()]
    lines += """
A figure behind ± is the standard error of an accuracy over so many test pictures. A gain smaller than its own standard
error is called none; where the interval holds 0, these pictures do not tell it from none. The interval resamples the
test pictures (10,000 times, `python benchmarks/gate.py pairs`), each with all its answers by all seeds; where only
accuracies were kept, it takes the two networks' errors as independent, which is too wide. Other seeds would move the
gain, too: that command prints the gain of each.
""".splitlines()
    lines += ["", *embedded(), "", *missing(), ""]
    lines += """\
`python benchmarks/gate.py commands` prints every run, `record` measures it and keeps its log in
`benchmarks/results/gate/`, and `report` writes this page. Public figures of the same question, by pytorchcv's README:
on CIFAR-10 the gate adds -0.04 points to ResNet-20, +0.39 at depth 56 and +0.06 at depth 110; on CIFAR-100, +1.10,
+1.94 and +1.94.
""".splitlines()
    return "\n".join([*lines, ""])


def row(experiment: Experiment, model: str, pair: Pair) -> str:
    seeds = f"{pair.seeds} seed{'s' * (pair.seeds > 1)}"
    plain, gain = f"{pair.plain:.2f} ± {pair.error_of_one:.2f} %", f"{pair.gain:+.2f} ± {pair.error:.2f}"
    low, high = pair.interval
    interval = f"{low:+.2f} to {high:+.2f}"
    cells = (f"{experiment.title}, {seeds}", f"`{model}`", plain, f"{pair.gated:.2f} %", gain, interval, pair.verdict)
    return f"| {' | '.join(cells)} |"


def embedded() -> list[str]:
    """The checkpoints inside the package, as the manifest has them."""
    lines = ["The checkpoints inside the package, each the last epoch of its training, measured once:", ""]
    for name in EMBEDDED:
        if name.partition(".")[0] not in senet_zoo.list_models() or name not in senet_zoo.list_weights():
            continue
        weights = senet_zoo.get_weights(name).row
        values = [metric for metric in weights.metrics if metric.name == "top1"]
        error = standard_error(values[0].value, 10000 if name.endswith("cifar10") else 3925)
        hours = sum(epoch.seconds for epoch in weights.training.log) / 3600
        more = "".join(f", {each.value:.2f} % by {each.dataset.partition(', ')[2]}" for each in values[1:])
        lines.append(
            f"- `{name}`: {values[0].value:.2f} ± {error:.2f} %{more}; {len(weights.training.log)} epochs, "
            f"{hours:.1f} h of a busy core"
        )
    return lines


def missing() -> list[str]:
    """What `commands` prints and nobody has run."""
    names = []
    for name, experiment in EXPERIMENTS.items():
        left = {model: [str(seed) for seed in experiment.seeds if seed not in runs(name, model)]
                for model in experiment.models}  # fmt: skip
        told = [f"`{model}` (seed {', '.join(seeds)})" for model, seeds in left.items() if seeds]
        if told:
            names.append(f"- {experiment.title}: {', '.join(told)}")
    return ["Not run yet:", "", *names] if names else []


def draw(drawn: list[tuple[str, Pair]]) -> None:
    """The gains and their intervals, one below the other."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 0.6 * len(drawn) + 1.2))
    for place, (_, pair) in enumerate(drawn):
        low, high = pair.interval
        axes.plot([low, high], [-place, -place], color="0.6", linewidth=2)
        axes.plot(pair.gain, -place, "o", color="tab:blue" if low > 0 or high < 0 else "0.4")
        text = axes.annotate(f"{pair.gain:+.2f}", (pair.gain, -place), (0, 7), textcoords="offset points", ha="center")
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})  # the line of no gain ends before it
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.set_yticks([-place for place in range(len(drawn))], [name for name, _ in drawn])
    axes.set_ylim(-len(drawn) + 0.4, 0.7)
    axes.set_xlabel("points of top-1 that the gate adds, 95 % interval")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(FIGURE, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
