"""What eight bits gain and cost: speed, size and accuracy of each network's file beside the one in float32.

    python benchmarks/int8.py TRAIN                        # ranges of pictures in TRAIN, a folder or an .npz
    python benchmarks/int8.py TRAIN --labelled VAL --models se_mobilenet.imagenette

Every figure is `senet_zoo.export`'s own: both files in turns on one thread, one picture at a time. A model without a
tag has random weights, which do not change the speed; its accuracy is not measured.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import senet_zoo
from senet_zoo.data import open_data
from senet_zoo.data.labelled import Labelled
from senet_zoo.inference.export import ExportReport
from senet_zoo.inference.int8 import Int8
from senet_zoo.support.machine import describe_machine, format_machine

MODELS = ("se_resnet50", "se_mobilenet", "se_shufflenet")
FORMS = (".onnx", ".xml")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "calibrate", metavar="TRAIN", help="pictures that find the ranges, as `export --calibrate` takes"
    )
    parser.add_argument("--labelled", metavar="DATA", help="pictures to score networks with published weights on")
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="NAME[.TAG]")
    parser.add_argument("--forms", nargs="+", default=FORMS, choices=(".onnx", ".xml", ".pt2"))
    args = parser.parse_args()
    data = open_data(args.labelled) if args.labelled else None
    print(format_machine(describe_machine(torch.device("cpu"))), end="\n\n")
    print("| network | file | times as fast as | MB, float32 and int8 | top-1, float32 and int8 |")
    print("|---|---|---|---|---|")
    for name in args.models:
        for form in args.forms:
            print(row(name, form, measured(name, form, args.calibrate, data)), flush=True)


def measured(name: str, form: str, calibrate: str, data: Labelled | None) -> ExportReport:
    trained = "." in name
    model = senet_zoo.create_model(name, pretrained=trained).eval()
    int8 = Int8([calibrate], labelled=data) if trained else Int8([calibrate], agreement=0, most=32)
    if not trained:
        for part in model.modules():
            if isinstance(part, torch.nn.BatchNorm2d):  # maps do not grow from unit to unit
                torch.nn.init.constant_(part.weight, 0.3)
    with TemporaryDirectory() as folder:
        return senet_zoo.export(model, Path(folder, f"network{form}"), int8=int8)


def row(name: str, form: str, report: ExportReport) -> str:
    found = report.int8
    assert found is not None
    speed = ", ".join(f"{arithmetic} {spread:.2f}" for arithmetic, spread in found.speed.items())
    size = f"{found.bytes_float32 / 1e6:.1f}, {found.bytes_int8 / 1e6:.1f}"
    accuracy = f"{found.accuracy.float32:.2f}, {found.accuracy.int8:.2f}" if found.accuracy else "-"
    return f"| `{name}` | {form} | {speed} | {size} | {accuracy} |"


if __name__ == "__main__":
    main()
