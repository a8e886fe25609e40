"""``senet-zoo predict``: classes and probabilities of pictures."""

import argparse
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from senet_zoo.cli.output import on_terminal, percent, print_json
from senet_zoo.cli.parser import positive
from senet_zoo.errors import UsageError
from senet_zoo.support.terminal import visible

if TYPE_CHECKING:
    from senet_zoo.prediction.pipeline import Failure, Prediction

    Results = tuple[str, Sequence[str], Iterator[Prediction | Failure]]
    """Name of the network, names of its classes, results."""

MOST_LISTED = 20  # classes named before the table

SUMMARY = "print the likeliest classes of pictures"
DESCRIPTION = """\
Print the likeliest classes of pictures and their probabilities: a table on a
terminal; in a pipe one line a picture, with tabs between file, label,
probability, label, probability, ...

Without --model it uses the CIFAR-10 checkpoint inside the package, which needs
no network and tells airplane, automobile, bird, cat, deer, dog, frog, horse,
ship and truck apart.

--exported takes a file of `senet-zoo export` instead, and needs no torch: ONNX
Runtime or OpenVINO computes, on the CPU, and an answer is there in a second.

A picture that cannot be read is skipped and named on standard error; the exit
status is then 1."""
EXAMPLE = """\
senet-zoo predict samples/
  senet-zoo predict --model se_resnet50 --top 3 holiday.jpg
  senet-zoo predict --exported se_resnet50.onnx holiday.jpg
  find . -name '*.jpg' | senet-zoo predict --json -"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="PICTURE",
        help="a file, a folder (read to its depth), a file: URL, or - for a list on standard input, one a line",
    )
    parser.add_argument("--model", metavar="NAME[.TAG]", help="a model with published weights; see list --pretrained")
    parser.add_argument(
        "--weights", metavar="FILE", help="a safetensors file for --model, instead of published weights"
    )
    parser.add_argument("--exported", metavar="FILE", help="an exported network, .onnx or .xml, instead of --model")
    parser.add_argument(
        "--runtime", choices=("onnx", "openvino"), help="what computes --exported; default: the file's own"
    )
    parser.add_argument("--top", type=positive, default=5, metavar="K", help="classes of each picture; default: 5")
    parser.add_argument("--batch", type=positive, default=32, metavar="N", help="pictures at once; default: 32")
    parser.add_argument("--device", metavar="NAME", help="such as cpu or cuda:1; default: a GPU if there is one")


def run(arguments: argparse.Namespace) -> int:
    """Classify the pictures; the status is 1 if one could not be read."""
    if arguments.runtime and not arguments.exported:
        raise UsageError("--runtime computes an exported network: add --exported FILE")
    name, labels, results = _exported(arguments) if arguments.exported else _in_torch(arguments)
    failures: list[Failure] = []
    predictions = _report_failures(results, failures)
    if arguments.json:
        _print_json(name, labels, list(predictions), failures)
    elif on_terminal():
        print(_class_names(name, labels))
        _print_table(predictions, arguments.batch)
    else:
        for each in predictions:
            cells = (cell for label, p in each.classes for cell in (label, f"{p:.6f}"))
            print(visible(each.path), *cells, sep="\t", flush=True)
    return 1 if failures else 0


def _in_torch(arguments: argparse.Namespace) -> "Results":
    from senet_zoo.prediction.predictor import EMBEDDED, load_predictor, predict

    if arguments.weights and not arguments.model:
        raise UsageError("--weights needs the network that the file belongs to: add --model NAME")
    predictor = load_predictor(
        EMBEDDED if arguments.model is None else arguments.model, weights=arguments.weights, device=arguments.device
    )
    results = predict(
        predictor.model,
        _expand(arguments.sources),
        predictor.preprocessing,
        predictor.categories,
        top=arguments.top,
        batch=arguments.batch,
    )
    return predictor.name, predictor.categories, results


def _exported(arguments: argparse.Namespace) -> "Results":
    from senet_zoo.prediction.exported_model import load_exported
    from senet_zoo.prediction.runtimes import Runtime

    for option in ("model", "weights", "device"):
        if getattr(arguments, option):
            raise UsageError(f"--exported is a whole network on the CPU: leave --{option} out")
    runtime = Runtime(arguments.runtime) if arguments.runtime else None
    network = load_exported(arguments.exported, runtime=runtime)
    results = network.predict(_expand(arguments.sources), top=arguments.top, batch=arguments.batch)
    return f"{network.metadata.model} from {arguments.exported}", network.metadata.labels, results


def _expand(sources: list[str]) -> Iterator[str]:
    for source in sources:
        if source == "-":
            yield from (os.fsdecode(name) for line in sys.stdin.buffer if (name := line.rstrip(b"\r\n")))
        else:
            yield source


def _report_failures(results: "Iterable[Prediction | Failure]", failures: "list[Failure]") -> "Iterator[Prediction]":
    from senet_zoo.prediction.pipeline import Failure

    for result in results:
        if isinstance(result, Failure):
            failures.append(result)
            print(f"senet-zoo predict: {result.error}", file=sys.stderr)
        else:
            yield result


def _class_names(name: str, names: Sequence[str]) -> str:
    """The classes that the network knows: every answer is one of them."""
    listed = f": {', '.join(names)}" if len(names) <= MOST_LISTED else ""
    text = f"{visible(name)} knows {len(names)} classes{listed}"
    return textwrap.fill(text, shutil.get_terminal_size().columns, subsequent_indent="  ", break_long_words=False)


def _print_json(name: str, labels: Sequence[str], predictions: "list[Prediction]", failures: "list[Failure]") -> None:
    print_json(
        {
            "weights": name,
            "num_classes": len(labels),
            "predictions": [
                {"path": each.path, "classes": [{"label": label, "probability": p} for label, p in each.classes]}
                for each in predictions
            ],
            "failures": [{"path": failure.path, "error": str(failure.error)} for failure in failures],
        }
    )


def _print_table(predictions: "Iterator[Prediction]", group: int) -> None:
    # rows are printed while later pictures are computed: columns are aligned group by group and never shrink
    head, file_width, label_width = True, len("file"), len("class")
    while rows := list(islice(predictions, group)):
        file_width = max(file_width, *(len(visible(row.path)) for row in rows))
        label_width = max(label_width, *(len(row.classes[0][0]) for row in rows))
        if head:
            print(f"{'file':{file_width}}  {'class':{label_width}}  {'prob.':>6}  runners-up")
            head = False
        for row in rows:
            (label, p), *others = row.classes
            start = f"{visible(row.path):{file_width}}  {label:{label_width}}  {percent(p):>6}  "
            print(_with_margin(start, [f"{label} {percent(p)}" for label, p in others]), flush=True)


def _with_margin(start: str, cells: list[str]) -> str:
    width = max(shutil.get_terminal_size().columns - len(start), 20)
    text = ", ".join(cell.replace(" ", "\N{NO-BREAK SPACE}") for cell in cells)
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return (start + f"\n{' ' * len(start)}".join(lines)).replace("\N{NO-BREAK SPACE}", " ").rstrip()
