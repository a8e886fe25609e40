"""``--task detection`` of ``senet-zoo train`` and ``senet-zoo evaluate``: detectors on pictures in COCO's format."""

import argparse
import sys
from typing import TYPE_CHECKING, Literal

from senet_zoo.cli.output import print_json, print_problem, print_problems, print_table
from senet_zoo.cli.parser import positive, task_of
from senet_zoo.errors import UsageError
from senet_zoo.support.terminal import visible

if TYPE_CHECKING:
    from senet_zoo.detection import DetectionConfig, DetectionResult, Scores
    from senet_zoo.training.dry_run import DryRun
    from senet_zoo.training.progress import Progress

TASKS = ("classification", "detection", "segmentation")
NOTHING = "(nothing)"  # in a confusion matrix: what is found and is not there, what is there and is not found
DETECTORS = ("faster_rcnn", "mask_rcnn", "retinanet")  # as in senet_zoo.detection, which takes long to import


# Options of `evaluate` that a detector has no use for, with the values that they have where nobody wrote them.
ONLY_CLASSIFIERS: dict[str, object] = {
    "protocol": "own", "combine": "mean", "label_order": "usual", "labels": None, "class_names": None, "root": None,
    "download": False,
}  # fmt: skip


def add_task(parser: argparse.ArgumentParser) -> None:
    """Declare what chooses between classes and boxes."""
    parser.add_argument(
        "--task", choices=TASKS, help="default: that of --weights, or what DATA shows: boxes of COCO, masks, or classes"
    )


def chosen_task(task: str | None, model: str | None, weights: str | None, data: str | None) -> str:
    """What ``--task`` says; without it, what the saved network is for, or what DATA shows, which one line says.

    Raises:
        UsageError: ``--task`` contradicts the saved network.
    """
    place = weights if weights is not None else model
    saved = task_of(model, weights).value
    if saved != TASKS[0]:
        if task not in (None, saved):
            raise UsageError(f"{place} holds a network for {saved}: leave --task out, or write --task {saved}")
        return saved
    if task is not None:
        return task
    if data is not None:
        from senet_zoo.detection.coco import holds_annotations
        from senet_zoo.segmentation.layouts import holds_masks

        if holds_annotations(data):
            print(f"{visible(data)} is in COCO's format: --task detection is meant", file=sys.stderr)
            return TASKS[1]
        if holds_masks(data):
            print(f"{visible(data)} has pictures with masks: --task segmentation is meant", file=sys.stderr)
            return TASKS[2]
    return TASKS[0]


def saved_start(model: str | None, weights: str | None) -> dict[str, str]:
    """Backbone, place, kind and task of the network that the options name; nothing of a classifier."""
    place, task = weights if weights is not None else model, task_of(model, weights)
    if place is None or task.value == TASKS[0]:
        return {}
    from senet_zoo.tasks import format_of
    from senet_zoo.weights.task_folders import task_files

    files = task_files(place)
    config = format_of(task).read(files.config, files.where)
    backbone = config.backbone if weights is None or model is None else model
    return {"model": backbone, "weights": place, "kind": config.kind.value, "task": task.value}


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``train`` that belong to detection alone."""
    group = parser.add_argument_group(
        "with --task detection", "Recipes are finetune, augmented, paper and small; --size is the shorter side."
    )
    group.add_argument("--detector", choices=DETECTORS, dest="kind", help="default: that of --weights, or faster_rcnn")
    group.add_argument(
        "--measure-steps", type=positive, metavar="N", help="measure on val every N steps; default: at the end"
    )


def fit(config: "DetectionConfig", progress: "Progress") -> "DetectionResult":
    """Train a detector."""
    from senet_zoo.detection import fit_detector

    return fit_detector(config, progress)


def plan(config: "DetectionConfig") -> "DryRun":
    """What training a detector would do and need."""
    from senet_zoo.detection import plan_detector

    return plan_detector(config)


def print_plan(plan: "DryRun", *, as_json: bool) -> None:
    """Print what a run would do and need."""
    from dataclasses import asdict

    if as_json:
        print_json({**asdict(plan), "memory_bytes": plan.memory_bytes})
        return
    share = plan.batch // plan.processes
    print(f"{plan.network}, {plan.classes} classes; nothing was trained or written")
    rows = [
        ("pictures", f"{plan.training_pictures} to learn from, {plan.validation_pictures} to measure on"),
        ("steps", f"{plan.steps} of {plan.batch} pictures, {plan.passes:.1f} passes"),
        ("parameters", f"{plan.parameters / 1e6:.1f} M, {plan.learnt / 1e6:.1f} M of them learn"),
        ("weights, gradients, momentum", _size(plan.weights_bytes)),
        ("kept of the largest picture", _size(plan.picture_bytes)),
        ("memory of a process", f"at least {_size(plan.memory_bytes)} for {share} pictures a step, and CUDA's own"),
    ]
    print_table(rows[0], rows[1:])


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def print_result(result: "DetectionResult") -> None:
    """Print what was trained and how it scores."""
    print(f"{result.folder}: {result.detector} on {result.model}, {len(result.classes)} classes")
    _print_scores(result.scores)
    print(f"see what it finds:\n  senet-zoo predict PICTURES --weights {visible(str(result.folder))} --output drawn/")


def named_folder(arguments: argparse.Namespace, task: str) -> str:
    """The folder that ``--weights`` or ``--model`` names, which is ``--weights`` from now on.

    Raises:
        UsageError: none is named, or an option that only classifiers have.
    """
    from senet_zoo.weights.create import is_place

    if arguments.weights is None and arguments.model is not None and is_place(arguments.model):
        arguments.model, arguments.weights = None, arguments.model
    if arguments.weights is None:
        raise UsageError(f"with --task {task}, --weights names the folder that train --task {task} saved")
    for name, default in ONLY_CLASSIFIERS.items():
        if getattr(arguments, name, default) != default:
            option = {"class_names": "classes"}.get(name, name).replace("_", "-")
            raise UsageError(f"--{option} is a classifier's; leave it out with --task {task}")
    return str(arguments.weights)


def evaluate(arguments: argparse.Namespace) -> int:
    """Measure a saved detector on val; status 1 if a picture could not be read.

    Raises:
        UsageError: no folder of a detector was named.
        DataError: other classes than the detector's.
    """
    from tqdm import tqdm

    from senet_zoo.detection import Kind, from_pretrained, read_coco, read_config
    from senet_zoo.detection.coco import check_classes, describe_skipped
    from senet_zoo.detection.evaluation import check_metrics, confusion_of, detect, score, write_per_class
    from senet_zoo.evaluation import tables
    from senet_zoo.training.batches import Share

    named_folder(arguments, "detection")
    check_metrics()
    if arguments.confusion:
        tables.check_confusion(arguments.confusion)
    config = read_config(arguments.weights)
    if arguments.model not in (None, config.backbone):
        raise UsageError(f"{arguments.weights} holds a detector on {config.backbone}, not {arguments.model}")
    split: Literal["train", "val"] = "train" if arguments.split == "train" else "val"
    data = read_coco(arguments.data, split, masks=config.kind is Kind.MASK_RCNN)
    check_classes(data, config.classes)
    if data.skipped:
        print_problem("evaluate", describe_skipped(data.skipped))
    detector = from_pretrained(arguments.weights, device=_device(arguments.device))
    # None shows the bar on a terminal only.
    with tqdm(total=len(data.pictures), unit=" pictures", disable=None, leave=False) as bar:
        # --batch counts crops of a classifier's size; a picture of a detector is as large as several.
        batch, workers = max(1, arguments.batch // 8), arguments.workers or 0
        found = list(detect(detector, data, Share(0, 1), batch=batch, workers=workers, progress=bar.update))
    scores = score(data, found)
    if arguments.per_class:
        write_per_class(arguments.per_class, scores)
    if arguments.confusion:
        names = (*data.classes, NOTHING)
        tables.write_counts(arguments.confusion, confusion_of(data, found), names, names, "things")
    print_problems("evaluate", scores.unreadable)
    if arguments.json:
        print_json({"data": arguments.data, "detector": config, "scores": scores, "skipped": data.skipped})
    else:
        print(f"{config.kind.value} on {config.backbone}, {visible(arguments.data)}")
        _print_scores(scores)
    return 1 if scores.unreadable else 0


def _print_scores(scores: "Scores") -> None:
    rows = [("pictures", f"{scores.pictures}"), ("AP", f"{scores.ap:.1f} %"), ("AP@0.5", f"{scores.ap50:.1f} %")]
    masks = (("AP of masks", scores.mask_ap), ("AP@0.5 of masks", scores.mask_ap50))
    rows += [(name, f"{value:.1f} %") for name, value in masks if value is not None]
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
