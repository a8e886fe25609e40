"""How many gates a network can do without: dropped one after another in the order of their spread, then measured.

    python benchmarks/pruning.py 'CIFAR10/cifar10_train_*.npz' CIFAR10/cifar10_test.npz

The mean gates come from pictures drawn from CALIBRATION, a thousand by default; accuracy is that on all of DATA, which
chose nothing. Ends with how many gates can go for at most 0.1 point.
"""

import argparse
import json
from pathlib import Path

import torch

from senet_zoo.analysis.excitation.pictures import batches
from senet_zoo.analysis.pruning import fold_gates, observe, set_apart
from senet_zoo.inference.predictor import EMBEDDED, load_predictor
from senet_zoo.layers import gates
from senet_zoo.training.data import open_data, subset
from senet_zoo.training.evaluation import evaluate, logits_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("calibration", metavar="CALIBRATION")
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--calibrate", type=int, default=1000, metavar="N")
    parser.add_argument("--limit", type=int, metavar="N", help="first pictures of DATA, while developing")
    parser.add_argument("--points", type=float, default=0.1, help="of accuracy that may be lost")
    parser.add_argument("--json", metavar="FILE", help="write the rows there, too")
    args = parser.parse_args()

    predictor = load_predictor(args.model)
    data = open_data(args.data)
    data = subset(data, range(min(args.limit or len(data), len(data))))
    calibration, _ = set_apart(open_data(args.calibration), args.calibrate)
    loaded = batches(calibration, predictor.preprocessing, 64, 0)
    activity = observe(predictor.model, (torch.stack([picture for _, picture in batch]) for batch in loaded))
    order = sorted(activity, key=lambda gate: gate.spread)

    print(f"{predictor.name} on {len(data)} pictures, calibrated on {len(calibration)} others\n", flush=True)
    print("| gates dropped | the last of them | its spread | gates left | top-1 | change | loss |")
    print("|---|---|---|---|---|---|---|", flush=True)
    rows: list[dict[str, object]] = []
    changes: list[float] = []
    whole = 0.0
    for count in range(len(order)):
        model = predictor.model
        if count:
            model = fold_gates(model, activity, [gate.name for gate in order[:count]])
        found = evaluate(model, data, predictor.preprocessing, logits_of(predictor.categories))
        last, spread = (order[count - 1].name, f"{order[count - 1].spread:.4f}") if count else ("-", "-")
        whole = whole if count else found.top1
        changes.append(found.top1 - whole)
        rows.append({"dropped": count, "last": last, "spread": spread, "top1": found.top1, "loss": found.loss})
        print(
            f"| {count} | {last} | {spread} | {len(gates(model))} | {found.top1:.2f} % | {changes[-1]:+.2f} "
            f"| {found.loss:.4f} |",
            flush=True,
        )
    within = next((count for count, change in enumerate(changes) if change < -args.points - 1e-9), len(changes)) - 1
    print(f"\n{within} of {len(order)} gates can go, in this order, for at most {args.points:g} point of accuracy.")
    if args.json:
        log = {"model": predictor.name, "calibrated_on": len(calibration), "pictures": len(data), "rows": rows}
        Path(args.json).write_text(json.dumps(log, indent=1) + "\n")


if __name__ == "__main__":
    main()
