"""``--task detection`` of ``senet-zoo train`` and ``senet-zoo evaluate``: detectors on pictures in COCO's format."""

import argparse
import sys
from typing import TYPE_CHECKING

from senet_zoo.cli.output import print_json, print_table
from senet_zoo.cli.parser import positive
from senet_zoo.errors import UsageError
from senet_zoo.support.terminal import visible

if TYPE_CHECKING:
    from senet_zoo.detection import DetectionConfig, DetectionResult, Scores

TASKS = ("classification", "detection")
DETECTORS = ("faster_rcnn", "retinanet")  # as in senet_zoo.detection, which takes long to import


def add_task(parser: argparse.ArgumentParser) -> None:
    """Declare what chooses between classes and boxes."""
    default = parser.argument_default or TASKS[0]
    parser.add_argument("--task", choices=TASKS, default=default, help="default: classification")


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``train`` that belong to detection alone."""
    group = parser.add_argument_group(
        "with --task detection", "Recipes are finetune, paper and small; --size is the shorter side."
    )
    group.add_argument("--detector", choices=DETECTORS, dest="kind", help="default: faster_rcnn")
    group.add_argument(
        "--measure-steps", type=positive, metavar="N", help="measure on val every N steps; default: at the end"
    )


def fit(config: "DetectionConfig") -> "DetectionResult":
    """Train a detector."""
    from senet_zoo.detection import fit_detector

    return fit_detector(config)


def print_result(result: "DetectionResult") -> None:
    """Print what was trained and how it scores."""
    print(f"{result.folder}: {result.detector} on {result.model}, {len(result.classes)} classes")
    _print_scores(result.scores)
    print(f"measure it:\n  senet-zoo evaluate COCO_FOLDER --task detection --weights {visible(str(result.folder))}")


def evaluate(arguments: argparse.Namespace) -> int:
    """Measure a saved detector on val; status 1 if a picture could not be read.

    Raises:
        UsageError: no folder of a detector was named.
        DataError: other classes than the detector's.
    """
    from tqdm import tqdm

    from senet_zoo.detection import evaluate_detector, from_pretrained, read_coco, read_config
    from senet_zoo.detection.coco import check_classes, describe_skipped

    if arguments.weights is None:
        raise UsageError("with --task detection, --weights names the folder that train --task detection saved")
    config = read_config(arguments.weights)
    if arguments.model not in (None, config.backbone):
        raise UsageError(f"{arguments.weights} holds a detector on {config.backbone}, not {arguments.model}")
    data = read_coco(arguments.data, "train" if arguments.split == "train" else "val")
    check_classes(data, config.classes)
    if data.skipped:
        print(f"senet-zoo evaluate: {describe_skipped(data.skipped)}", file=sys.stderr)
    detector = from_pretrained(arguments.weights, device=_device(arguments.device))
    # None shows the bar on a terminal only.
    with tqdm(total=len(data.pictures), unit=" pictures", disable=None, leave=False) as bar:
        # --batch counts crops of a classifier's size; a picture of a detector is as large as several.
        scores = evaluate_detector(
            detector, data, batch=max(1, arguments.batch // 8), workers=arguments.workers or 0, progress=bar.update
        )
    for reason in scores.unreadable:
        print(f"senet-zoo evaluate: {reason}", file=sys.stderr)
    if arguments.json:
        print_json({"data": arguments.data, "detector": config, "scores": scores, "skipped": data.skipped})
    else:
        print(f"{config.kind.value} on {config.backbone}, {visible(arguments.data)}")
        _print_scores(scores)
    return 1 if scores.unreadable else 0


def _print_scores(scores: "Scores") -> None:
    rows = [("pictures", f"{scores.pictures}"), ("AP", f"{scores.ap:.1f} %"), ("AP@0.5", f"{scores.ap50:.1f} %")]
    rows += [
        (f"AP, {name}", "-" if value is None else f"{value:.1f} %")
        for name, value in [("small", scores.small), ("medium", scores.medium), ("large", scores.large)]
    ]
    rows += [
        (f"AP, {visible(name)}", "-" if value is None else f"{value:.1f} %") for name, value in scores.per_class.items()
    ]
    if scores.unreadable:
        rows.insert(1, ("unreadable", f"{len(scores.unreadable)}"))
    print_table(rows[0], rows[1:])


def _device(name: str | None) -> str:
    import torch

    return name or ("cuda" if torch.cuda.is_available() else "cpu")
