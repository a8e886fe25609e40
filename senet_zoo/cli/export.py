"""``senet-zoo export``: a network as a file for other programs."""

import argparse

from senet_zoo.cli.output import print_json
from senet_zoo.cli.parser import MODEL, WEIGHTS, model_and_weights, positive, task_of
from senet_zoo.errors import UsageError

SUMMARY = "write a network as ONNX, OpenVINO or torch.export"
DESCRIPTION = """\
Write a network as a file that other programs run: the suffix of --output says
which, .onnx, .xml for OpenVINO (weights go beside it, into a .bin) or .pt2 for
torch.export. It needs the extra of that name: pip install 'senet-zoo[onnx]'.

Batch norms are folded and gates computed early where that is exact. The file is
read back and compared with the network before it takes its place. It carries
its preprocessing and the names of its classes, so that it answers by itself:
senet-zoo predict --exported FILE.

Detectors (faster_rcnn, retinanet) and segmenters go as .onnx and .xml: any
picture in, boxes or logits out, preprocessing inside.

--int8 writes convolutions in eight bits, with ranges of the pictures of
--calibrate; gates and classifier stay in float. It times this file and the one
in float32 in turns and prints speed, size and, with --labelled, the accuracy of
both; where eight bits do not pay on this machine it says so.

Without --weights, --model NAME is the default among its published weights, and
NAME.TAG that one."""
EXAMPLE = """\
senet-zoo export --model se_resnet50 --output se_resnet50.onnx
  senet-zoo export --model run1 -o small.xml --int8 --calibrate photos/"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME|FOLDER", help=MODEL)
    parser.add_argument("--weights", metavar="PLACE", help=WEIGHTS)
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="ending in .onnx, .xml or .pt2")
    parser.add_argument("--size", type=positive, metavar="PIXELS", help="that pictures are cut to; default: as trained")
    parser.add_argument("--int8", action="store_true", help="convolutions in eight bits; gates stay in float")
    parser.add_argument(
        "--labelled",
        metavar="DATA",
        help="other pictures, labelled, to score both files on, for --int8; as evaluate takes them",
    )
    parser.add_argument(
        "--calibrate",
        action="append",
        metavar="DATA",
        help="pictures like those to come, for --int8: a folder, an .npz or a data set's name; repeatable",
    )


def run(arguments: argparse.Namespace) -> int:
    from senet_zoo import create_model, export, from_pretrained
    from senet_zoo.data import open_data
    from senet_zoo.inference.int8 import Int8
    from senet_zoo.weights.config import SavedTask

    if arguments.int8 != bool(arguments.calibrate):
        raise UsageError("--int8 and --calibrate DATA belong together: some hundred pictures like those to come")
    if arguments.labelled and not arguments.int8:
        raise UsageError("--labelled DATA scores a file in eight bits: add --int8 and --calibrate DATA")
    if task_of(arguments.model, arguments.weights) is not SavedTask.CLASSIFICATION:
        model = from_pretrained(arguments.weights or arguments.model)
    else:
        name, weights = model_and_weights(arguments)
        if name is None:
            raise UsageError("nothing says which network to export: add --model NAME or --weights FOLDER")
        model = create_model(name, pretrained=weights is None, weights=weights)
    labelled = open_data(arguments.labelled) if arguments.labelled else None
    int8 = Int8(arguments.calibrate, labelled=labelled) if arguments.int8 else None
    report = export(model, arguments.output, size=arguments.size, int8=int8)
    if arguments.json:
        print_json(report)
    else:
        print(report)
    return 0
