"""``senet-zoo evaluate``: what a network scores on labelled pictures."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from senet_zoo.cli import detection, segmentation
from senet_zoo.cli.output import TimeAhead, print_json, print_problems, print_table, progress_bar
from senet_zoo.cli.parser import (
    add_data_options,
    add_network_options,
    load_network,
    number_of_workers,
    open_pictures,
)
from senet_zoo.support.terminal import visible

if TYPE_CHECKING:
    from senet_zoo.evaluation import Evaluation

SUMMARY = "measure a network on labelled pictures"
DESCRIPTION = """\
Print what a network scores on labelled pictures: top-1 and top-5 accuracy,
cross-entropy and expected calibration error.

DATA is a folder with a subfolder of pictures for each class, or with val or
test above them; an .npz of images, labels and classes; a data set's name such
as ImageNet; hf:owner/name; or, with --labels, a flat folder of pictures or an
uncompressed tar such as ILSVRC2012_img_val.tar. Classes are found among the
network's by name or by WordNet synset; they may be some of them.

Without --protocol the pictures are resized and cut as the weights ask: one view
each. mirror adds its mirror image, and mirror6 both of the view moved up left
and down right; a figure of several views is another figure. They, ten and
multi144 follow the weights' size, and center224 and center320 refuse networks
for pictures less than half as large. Under torchrun the processes share the
pictures, each counted once.

Where --weights is the folder of a trained detector, DATA is a folder in COCO's
format, and AP and AP@0.5 are printed; of a segmenter, DATA has masks, and mIoU
is printed. --per-class then has a row of AP or IoU a class, and --confusion
counts pixels, or boxes that score at least 0.5 and overlap a thing by half.

A picture that cannot be read is left out and named on standard error; the exit
status is then 1."""
EXAMPLE = """\
senet-zoo evaluate photographs/val --model se_resnet50
  senet-zoo evaluate ImageNet --root imagenet --model senet154 --protocol ten
  senet-zoo evaluate ILSVRC2012_img_val.tar --labels ground_truth.txt \\
      --classes map_clsloc.txt --model se_resnet50 --per-class classes.csv"""
# As in senet_zoo.evaluation, which takes long to import; a test holds them equal.
PROTOCOLS = ("own", "center224", "center320", "mirror", "mirror6", "ten", "multi144")
COMBINE = ("mean", "vote")
LABEL_ORDERS = ("usual", "ilsvrc2017")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="labelled pictures")
    detection.add_task(parser)
    add_network_options(parser, unit="crops")
    group = parser.add_argument_group("how it is measured")
    group.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        default="own",
        metavar="NAME",
        help=f"crops of each picture: {', '.join(PROTOCOLS)}; default: own",
    )
    group.add_argument("--combine", choices=COMBINE, default="mean", help="scores of several crops; default: mean")
    group.add_argument(
        "--label-order",
        choices=LABEL_ORDERS,
        default="usual",
        help="of the network's 1000 ImageNet logits; ilsvrc2017 is the authors'. Default: usual",
    )
    group = parser.add_argument_group("the data")
    add_data_options(group)
    group = parser.add_argument_group("files")
    group.add_argument("--per-class", type=Path, metavar="FILE", help="write a CSV with a row for each class")
    group.add_argument("--confusion", type=Path, metavar="FILE", help="write who is taken for whom, .csv or .png")


def run(arguments: argparse.Namespace) -> int:
    """Measure it; status 1 if a picture could not be read."""
    task = detection.chosen_task(arguments.task, arguments.model, arguments.weights, arguments.data)
    if task != "classification":
        return detection.evaluate(arguments) if task == "detection" else segmentation.evaluate(arguments)
    from senet_zoo.evaluation import Combine, evaluate, logits_of, protocol, tables
    from senet_zoo.support.distributed import device_of_rank, joined_ranks

    if arguments.confusion:
        tables.check_confusion(arguments.confusion)
    with joined_ranks() as ranks:
        data = open_pictures(arguments)
        predictor = load_network(arguments, device_of_rank(arguments.device))
        crops = protocol(arguments.protocol, predictor.preprocessing)
        mine = len(range(ranks.rank, len(data), ranks.world))
        with progress_bar(mine, hidden=ranks.rank > 0) as bar:
            # A bar shows the time ahead itself.
            ahead = TimeAhead(
                mine, f"{len(data)} pictures" + (f", {crops.count} crops each" if crops.count > 1 else "")
            )
            progress = ahead.update if bar.disable and ranks.rank == 0 else bar.update
            evaluation = evaluate(
                predictor.model,
                data,
                predictor.preprocessing,
                logits_of(predictor.categories, arguments.label_order),
                protocol=crops,
                combine=Combine(arguments.combine),
                batch=arguments.batch,
                workers=number_of_workers(arguments),
                progress=progress,
            )
    if ranks.rank == 0:
        print_problems("evaluate", [each.error for each in evaluation.unreadable])
        _print(arguments, predictor.name, crops.count, evaluation)
        if arguments.per_class:
            tables.write_per_class(arguments.per_class, evaluation)
        if arguments.confusion:
            tables.write_confusion(arguments.confusion, evaluation)
    return 1 if evaluation.unreadable else 0


def _print(arguments: argparse.Namespace, name: str, crops: int, evaluation: "Evaluation") -> None:
    if arguments.json:
        print_json(
            {
                "weights": name,
                "data": arguments.data,
                "protocol": arguments.protocol,
                "combine": arguments.combine,
                "label_order": arguments.label_order,
                "pictures": evaluation.count,
                "top1": evaluation.top1,
                "top5": evaluation.top5,
                "loss": evaluation.loss,
                "calibration_error": evaluation.calibration_error,
                "classes": evaluation.classes,
                "unreadable": evaluation.unreadable,
            }
        )
        return
    print(f"{visible(name)} on {visible(arguments.data)}, protocol {arguments.protocol}")
    rows = [
        ("pictures", f"{evaluation.count}" + (f", {crops} crops each" if crops > 1 else "")),
        ("top-1", f"{evaluation.top1:.2f} %"),
        ("top-5", "- (five classes or fewer)" if evaluation.top5 is None else f"{evaluation.top5:.2f} %"),
        ("loss", f"{evaluation.loss:.4f}"),
        ("calibration error", f"{evaluation.calibration_error:.2f} %"),
    ]
    if evaluation.unreadable:
        rows.insert(1, ("unreadable", f"{len(evaluation.unreadable)}"))
    print_table(rows[0], rows[1:])
