"""``--task segmentation`` of ``senet-zoo train`` and ``senet-zoo evaluate``: segmenters on pictures with masks."""

import argparse
import sys
from typing import TYPE_CHECKING

from senet_zoo.cli.detection import named_folder
from senet_zoo.cli.output import print_json, print_problems, print_table, progress_bar
from senet_zoo.errors import DataError, UsageError
from senet_zoo.support.terminal import visible

if TYPE_CHECKING:
    from senet_zoo.segmentation import PixelScores, SegmentationConfig, SegmentationResult
    from senet_zoo.segmentation.layouts import Part
    from senet_zoo.training.dry_run import DryRun
    from senet_zoo.training.progress import Progress

SEGMENTERS = ("fcn", "deeplabv3", "unet")  # as in senet_zoo.segmentation, which takes long to import


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``train`` that belong to segmentation alone."""
    group = parser.add_argument_group(
        "with --task segmentation", "Recipes are finetune and small; --size is that of the crop."
    )
    group.add_argument("--segmenter", choices=SEGMENTERS, dest="kind", help="default: that of --weights, or deeplabv3")
    group.add_argument(
        "--ignore-index",
        type=int,
        metavar="N",
        help="number of pixels in masks to leave out; -1: none; default: 255",
    )


def fit(config: "SegmentationConfig", progress: "Progress") -> "SegmentationResult":
    """Train a segmenter."""
    from senet_zoo.segmentation import fit_segmenter

    return fit_segmenter(config, progress)


def plan(config: "SegmentationConfig") -> "DryRun":
    """What training a segmenter would do and need."""
    from senet_zoo.segmentation import plan_segmenter

    return plan_segmenter(config)


def print_result(result: "SegmentationResult") -> None:
    """Print what was trained and how it scores."""
    print(f"{result.folder}: {result.segmenter} on {result.model}, {len(result.classes)} classes")
    _print_scores(result.scores)
    print(f"see what it says:\n  senet-zoo predict PICTURES --weights {visible(str(result.folder))} --output drawn/")


def evaluate(arguments: argparse.Namespace) -> int:
    """Measure a saved segmenter on val; status 1 if a picture could not be read.

    Raises:
        UsageError: no folder of a segmenter was named.
        DataError: other classes than the segmenter's.
    """
    from senet_zoo.evaluation import tables
    from senet_zoo.segmentation import from_pretrained, read_config, read_masks
    from senet_zoo.segmentation.evaluation import check_metrics, confusion_of, scores_of, write_per_class
    from senet_zoo.support.machine import find_device
    from senet_zoo.training.batches import Share

    folder = named_folder(arguments, "segmentation")
    check_metrics()
    if arguments.confusion:
        tables.check_confusion(arguments.confusion)
    config = read_config(folder)
    if arguments.model not in (None, config.backbone):
        raise UsageError(f"{folder} holds a segmenter on {config.backbone}, not {arguments.model}")
    parts: tuple[Part, ...] = ("train",) if arguments.split == "train" else ("val",)
    (data,) = read_masks(arguments.data, parts, classes=config.classes)
    if data.classes != config.classes:
        raise DataError(
            f"the classes of the data must be {', '.join(config.classes[:20])}, and are {', '.join(data.classes[:20])}"
        )
    for reason, number in data.skipped.items():
        print(f"senet-zoo evaluate: {number} {visible(reason)}", file=sys.stderr)
    segmenter = from_pretrained(folder, device=find_device(arguments.device))
    with progress_bar(len(data.pictures)) as bar:
        counts, unreadable = confusion_of(
            segmenter, data, Share(0, 1), workers=arguments.workers or 0, progress=bar.update
        )
    counts = counts.cpu()
    scores = scores_of(counts, data, unreadable)
    if arguments.per_class:
        write_per_class(arguments.per_class, scores)
    if arguments.confusion:
        tables.write_counts(arguments.confusion, counts, data.classes, data.classes, "pixels")
    print_problems("evaluate", scores.unreadable)
    if arguments.json:
        print_json({"data": arguments.data, "segmenter": config, "scores": scores, "skipped": data.skipped})
    else:
        print(f"{config.kind.value} on {config.backbone}, {visible(arguments.data)}")
        _print_scores(scores)
    return 1 if scores.unreadable else 0


def _print_scores(scores: "PixelScores") -> None:
    rows = [("pictures", f"{scores.pictures}"), ("mIoU", f"{scores.miou:.1f} %")]
    rows += [("pixel accuracy", f"{scores.accuracy:.1f} %")]
    rows += [(f"IoU, {name}", "-" if value is None else f"{value:.1f} %") for name, value in scores.per_class.items()]
    if scores.unreadable:
        rows.insert(1, ("unreadable", f"{len(scores.unreadable)}"))
    print_table(rows[0], rows[1:])
