"""What a network can do without: gates dropped one after another, or shares of channels, and the accuracy that is left.

    python benchmarks/pruning.py 'CIFAR10/cifar10_train_*.npz' CIFAR10/cifar10_test.npz
    python benchmarks/pruning.py 'CIFAR10/cifar10_train_*.npz' CIFAR10/cifar10_test.npz --channels 0.0625,0.125,0.25 \\
        --tune 'CIFAR10/cifar10_train_*.npz' --epochs 10

Gates are observed on pictures drawn from CALIBRATION, a thousand by default; accuracy is that on all of DATA, which
chose nothing. Gates go in the order of their spread, and the table ends with how many can go for at most 0.1 point.
Channels go in the order of their mean excitation; with --tune each network is trained on those pictures and measured
once more, by the recipe of --recipe.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from senet_zoo.analysis import cost
from senet_zoo.analysis.pruning import GateActivity, calibration_split, cut_channels, fold_gates, observe
from senet_zoo.data.datasets import open_data
from senet_zoo.data.labelled import subset
from senet_zoo.data.loader import load_batches
from senet_zoo.evaluation import Evaluation, evaluate, logits_of
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.squeeze_excite import gates
from senet_zoo.networks.widths import widths_of
from senet_zoo.prediction.predictor import EMBEDDED, Predictor
from senet_zoo.training import TrainConfig, fit
from senet_zoo.training.recipes import find_recipe
from senet_zoo.weights.save import from_pretrained, save_pretrained

Measure = Callable[[ConvNet], Evaluation]
Row = dict[str, object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("calibration", metavar="CALIBRATION")
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--calibrate", type=int, default=1000, metavar="N")
    parser.add_argument("--limit", type=int, metavar="N", help="first pictures of DATA, while developing")
    parser.add_argument("--points", type=float, default=0.1, help="of accuracy that may be lost with gates")
    parser.add_argument("--channels", metavar="SHARE,...", help="remove these shares of channels instead of gates")
    parser.add_argument("--tune", metavar="DATA", help="pictures to fine-tune on")
    parser.add_argument("--recipe", default="finetune", help="of the fine-tuning")
    parser.add_argument("--epochs", type=int, metavar="N", help="of the fine-tuning")
    parser.add_argument("--json", metavar="FILE", help="write the rows there, too")
    args = parser.parse_args()

    predictor = Predictor(args.model)
    data = open_data(args.data)
    data = subset(data, range(min(args.limit or len(data), len(data))))
    calibration, _ = calibration_split(open_data(args.calibration), args.calibrate)
    loader = load_batches(calibration, predictor.preprocessing.transforms(), 64)
    activity = observe(predictor.model, (torch.stack(loaded.tensors) for loaded in loader))

    def measure(model: ConvNet) -> Evaluation:
        return evaluate(model, data, predictor.preprocessing, logits_of(predictor.categories))

    print(f"{predictor.name} on {len(data)} pictures, calibrated on {len(calibration)} others\n", flush=True)
    if args.channels is None:
        rows = gates_table(predictor.model, activity, measure, args.points)
    else:
        rows = channels_table(predictor, activity, measure, [float(share) for share in args.channels.split(",")], args)
    if args.json:
        log = {"model": predictor.name, "calibrated_on": len(calibration), "pictures": len(data), "rows": rows}
        Path(args.json).write_text(json.dumps(log, indent=1) + "\n")


def gates_table(model: ConvNet, activity: tuple[GateActivity, ...], measure: Measure, points: float) -> list[Row]:
    order = sorted(activity, key=lambda gate: gate.spread)
    print("| gates dropped | the last of them | its spread | gates left | top-1 | change | loss |")
    print("|---|---|---|---|---|---|---|", flush=True)
    rows: list[Row] = []
    changes: list[float] = []
    unpruned = 0.0
    for count in range(len(order)):
        pruned = fold_gates(model, activity, [gate.name for gate in order[:count]]) if count else model
        found = measure(pruned)
        last, spread = (order[count - 1].name, f"{order[count - 1].spread:.4f}") if count else ("-", "-")
        unpruned = unpruned if count else found.top1
        changes.append(found.top1 - unpruned)
        rows.append({"dropped": count, "last": last, "spread": spread, "top1": found.top1, "loss": found.loss})
        print(
            f"| {count} | {last} | {spread} | {len(gates(pruned))} | {found.top1:.2f} % | {changes[-1]:+.2f} "
            f"| {found.loss:.4f} |",
            flush=True,
        )
    within = next((count for count, change in enumerate(changes) if change < -points - 1e-9), len(changes)) - 1
    print(f"\n{within} of {len(order)} gates can go, in this order, for at most {points:g} point of accuracy.")
    return rows


def channels_table(
    predictor: Predictor,
    activity: tuple[GateActivity, ...],
    measure: Measure,
    shares: list[float],
    args: argparse.Namespace,
) -> list[Row]:
    model, rows = predictor.model, list[Row]()
    unpruned = measure(model).top1
    print("| share | channels | parameters | multiply-adds | top-1 | change | fine-tuned | change |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for share in (0.0, *shares):
        pruned = cut_channels(model, activity, share) if share else model
        top1 = measure(pruned).top1
        tuned = measure(fine_tuned(pruned, predictor, args)).top1 if args.tune and share else None
        row: Row = {
            "share": share,
            "widths": widths_of(pruned.spec),
            "parameters": cost.parameters(pruned),
            "multiply_adds": cost.multiply_adds(pruned),
            "top1": top1,
            "tuned": tuned,
        }
        rows.append(row)
        after = "- | -" if tuned is None else f"{tuned:.2f} % | {tuned - unpruned:+.2f}"
        print(
            f"| {share:g} | {', '.join(map(str, widths_of(pruned.spec)))} | {row['parameters']:,} "
            f"| {row['multiply_adds']:,} | {top1:.2f} % | {top1 - unpruned:+.2f} | {after} |",
            flush=True,
        )
    return rows


def fine_tuned(pruned: ConvNet, predictor: Predictor, args: argparse.Namespace) -> ConvNet:
    """The network after a run of the trainer, by the same folders that the command line goes through."""
    with tempfile.TemporaryDirectory() as folder:
        start, end = Path(folder, "slim"), Path(folder, "tuned")
        save_pretrained(pruned, start, preprocessing=predictor.preprocessing)
        name, recipe = predictor.name.partition(".")[0], find_recipe(args.recipe)
        fit(TrainConfig(args.tune, name, end, recipe, weights=start, epochs=args.epochs, workers=1))
        return from_pretrained(end)


if __name__ == "__main__":
    main()
