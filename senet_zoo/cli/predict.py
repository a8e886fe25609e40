"""``senet-zoo predict``: classes and probabilities of pictures."""

import argparse
import contextlib
import csv
import io
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from senet_zoo.cli.output import on_terminal, percent, print_json, print_problem
from senet_zoo.cli.parser import MODEL, WEIGHTS, positive
from senet_zoo.errors import PictureError, UsageError
from senet_zoo.support.terminal import visible

if TYPE_CHECKING:
    from senet_zoo.prediction.pipeline import Failure, Prediction
    from senet_zoo.prediction.predictor import DefaultPredictor

    Networks = Mapping[str, Sequence[str]]
    """Names of the classes of each network that answers, by its name."""
    Results = tuple[Networks, Iterator[Prediction | Failure]]

MOST_LISTED = 20  # classes named before the table
TABLE, TABS, CSV, JSONL, JSON = "table", "tabs", "csv", "jsonl", "json"
FORMATS = (TABLE, TABS, CSV, JSONL, JSON)

SUMMARY = "print the likeliest classes of pictures"
DESCRIPTION = """\
Print the likeliest classes of pictures and their probabilities: a table on a
terminal; in a pipe one line a picture, with tabs between file, label,
probability, label, probability, ... --format csv has a row a class, jsonl an
object a picture.

Without --model the networks inside the package answer, which need no network:
small pictures, up to 48 pixels, se_resnet20.cifar10 (airplane, automobile,
bird, cat, deer, dog, frog, horse, ship, truck); others se_mobilenet.imagenette,
which knows ten kinds of photographs. Which of them answers, and what it knows,
is said on standard error.

--exported takes a file of `senet-zoo export` instead, and needs no torch: ONNX
Runtime or OpenVINO computes, on the CPU, and an answer is there in a second.

A picture that cannot be read is skipped and named on standard error; the exit
status is then 1. What a folder holds besides pictures is counted there in one
line. HEIC is read where pillow-heif is: pip install 'senet-zoo[heif]'."""
EXAMPLE = """\
senet-zoo predict samples/
  senet-zoo predict --model se_resnet50 --top 3 holiday.jpg
  senet-zoo predict --model run7 photos/ --output answers.csv
  senet-zoo predict --exported se_resnet50.onnx holiday.jpg
  find . -name '*.jpg' -print0 | senet-zoo predict --json -0 -"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="PICTURE",
        help="a file, a folder (read to its depth), a file: URL, or - for a list on standard input, one a line",
    )
    parser.add_argument("--model", metavar="NAME|FOLDER", help=f"{MODEL}; see list --pretrained")
    parser.add_argument("--weights", metavar="PLACE", help=WEIGHTS)
    parser.add_argument("--exported", metavar="FILE", help="an exported network, .onnx or .xml, instead of --model")
    parser.add_argument(
        "--runtime", choices=("onnx", "openvino"), help="what computes --exported; default: the file's own"
    )
    parser.add_argument("--top", type=positive, default=5, metavar="K", help="classes of each picture; default: 5")
    parser.add_argument("--batch", type=positive, default=32, metavar="N", help="pictures at once; default: 32")
    parser.add_argument("--device", metavar="NAME", help="such as cpu or cuda:1; default: a GPU if there is one")
    parser.add_argument("--format", choices=FORMATS, help="of the answers; default: that of --output's suffix")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write them there, whole or not at all")
    parser.add_argument("-0", "--null", action="store_true", help="names on standard input end in a zero byte")


def run(arguments: argparse.Namespace) -> int:
    """Classify the pictures; the status is 1 if one could not be read."""
    if arguments.runtime and not arguments.exported:
        raise UsageError("--runtime computes an exported network: add --exported FILE")
    form = _format(arguments)
    if arguments.output is not None and arguments.output.expanduser().is_dir():
        raise UsageError(f"--output must be a file, and {arguments.output} is a folder")
    networks, results = _exported(arguments) if arguments.exported else _in_torch(arguments)
    failures: list[Failure] = []
    if arguments.output is None:
        _print(form, networks, _report_failures(results, failures), failures, arguments.batch)
        return 1 if failures else 0
    from senet_zoo.support.files import atomic_file

    try:
        with atomic_file(arguments.output.expanduser()) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="\n", write_through=True)
            with contextlib.redirect_stdout(text):
                _print(form, networks, _report_failures(results, failures), failures, arguments.batch)
            text.detach()
    except OSError as error:
        raise UsageError(f"{arguments.output} cannot be written: {error.strerror or error}") from error
    return 1 if failures else 0


def _format(arguments: argparse.Namespace) -> str:
    if arguments.json:
        if arguments.format not in (None, JSON):
            raise UsageError(f"--json and --format {arguments.format} contradict each other; drop one of them")
        return JSON
    if arguments.format is not None:
        return str(arguments.format)
    if arguments.output is not None:
        suffix = arguments.output.suffix.lower().removeprefix(".")
        return suffix if suffix in (CSV, JSONL, JSON) else TABS
    return TABLE if on_terminal() else TABS


def _in_torch(arguments: argparse.Namespace) -> "Results":
    from senet_zoo.prediction.predictor import DefaultPredictor, Predictor

    sources, counts = _expand(arguments), {"top": arguments.top, "batch": arguments.batch}
    if arguments.model is None and arguments.weights is None:
        chosen = DefaultPredictor(arguments.device)
        networks: dict[str, Sequence[str]] = {}
        return networks, _announced(chosen, networks, chosen.stream(sources, **counts))
    predictor = Predictor(arguments.model, weights=arguments.weights, device=arguments.device)
    return {predictor.name: predictor.categories}, predictor.stream(sources, **counts)


def _announced(
    chosen: "DefaultPredictor", networks: dict[str, Sequence[str]], results: "Iterator[Prediction | Failure]"
) -> "Iterator[Prediction | Failure]":
    """The results, and on standard error what a network knows before its first answer."""
    from senet_zoo.prediction.pipeline import Prediction

    for result in results:
        if isinstance(result, Prediction) and result.network not in networks:
            networks[result.network] = chosen.used[result.network].categories
            print(_class_names(result.network, networks[result.network]), file=sys.stderr, flush=True)
        yield result


def _exported(arguments: argparse.Namespace) -> "Results":
    from senet_zoo.prediction.exported_model import load_exported
    from senet_zoo.prediction.runtimes import Runtime

    for option in ("model", "weights", "device"):
        if getattr(arguments, option):
            raise UsageError(f"--exported is a whole network on the CPU: leave --{option} out")
    runtime = Runtime(arguments.runtime) if arguments.runtime else None
    network = load_exported(arguments.exported, runtime=runtime)
    results = network.predict(_expand(arguments), top=arguments.top, batch=arguments.batch)
    return {f"{network.metadata.model} from {arguments.exported}": network.metadata.labels}, results


def _expand(arguments: argparse.Namespace) -> Iterator[str]:
    """The sources, those that standard input names among them."""
    empty = True
    for source in arguments.sources:
        for name in _names_on_input(b"\0" if arguments.null else b"\n") if source == "-" else (source,):
            empty = False
            yield name
    if empty:
        raise PictureError("a picture must be named, and the list on standard input is empty")


def _names_on_input(end: bytes) -> Iterator[str]:
    if end == b"\n":
        lines: Iterable[bytes] = (line.rstrip(b"\r\n") for line in sys.stdin.buffer)
    else:
        lines = sys.stdin.buffer.read().split(end)
    yield from (os.fsdecode(name) for name in lines if name)


def _report_failures(results: "Iterable[Prediction | Failure]", failures: "list[Failure]") -> "Iterator[Prediction]":
    from senet_zoo.prediction.pipeline import Failure

    for result in results:
        if isinstance(result, Failure):
            failures.append(result)
            print_problem("predict", result.error.for_command_line)
        else:
            yield result


def _class_names(name: str, names: Sequence[str]) -> str:
    """The classes that the network knows: every answer is one of them."""
    listed = f": {', '.join(names)}" if len(names) <= MOST_LISTED else ""
    text = visible(f"{name} knows {len(names)} classes{listed}")
    return textwrap.fill(text, shutil.get_terminal_size().columns, subsequent_indent="  ", break_long_words=False)


def _print(
    form: str,
    networks: "Networks",
    predictions: "Iterator[Prediction]",
    failures: "list[Failure]",
    group: int,
) -> None:
    if form == JSON:
        _print_json(networks, list(predictions), failures)
    elif form == TABLE:
        for name, classes in networks.items():
            print(_class_names(name, classes))
        _print_table(predictions, group)
    elif form == CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(("file", "rank", "label", "probability", "network"))
        for each in predictions:
            for rank, (label, p) in enumerate(each.classes, 1):
                writer.writerow((each.path, rank, label, f"{p:.6f}", each.network))
    elif form == JSONL:
        for each in predictions:
            print(json.dumps(_document(each)), flush=True)
        for failure in failures:
            print(json.dumps({"path": failure.path, "error": failure.error.for_command_line}))
    else:
        for each in predictions:
            cells = (cell for label, p in each.classes for cell in (visible(label), f"{p:.6f}"))
            print(visible(each.path), *cells, sep="\t", flush=True)


def _document(prediction: "Prediction") -> dict[str, object]:
    classes = [{"label": label, "probability": p} for label, p in prediction.classes]
    return {"path": prediction.path, "network": prediction.network, "classes": classes}


def _print_json(networks: "Networks", predictions: "list[Prediction]", failures: "list[Failure]") -> None:
    print_json(
        {
            "weights": ", ".join(networks),
            "num_classes": len(next(iter(networks.values()))) if len(networks) == 1 else None,
            "networks": [{"name": name, "classes": classes} for name, classes in networks.items()],
            "predictions": [_document(each) for each in predictions],
            "failures": [{"path": failure.path, "error": failure.error.for_command_line} for failure in failures],
        }
    )


def _print_table(predictions: "Iterator[Prediction]", group: int) -> None:
    # rows are printed while later pictures are computed: columns are aligned group by group and never shrink
    head, file_width, label_width = True, len("file"), len("class")
    while rows := list(islice(predictions, group)):
        file_width = max(file_width, *(len(visible(row.path)) for row in rows))
        label_width = max(label_width, *(len(visible(row.label)) for row in rows))
        if head:
            print(f"{'file':{file_width}}  {'class':{label_width}}  {'prob.':>6}  runners-up")
            head = False
        for row in rows:
            start = (
                f"{visible(row.path):{file_width}}  {visible(row.label):{label_width}}  {percent(row.probability):>6}  "
            )
            print(_with_margin(start, [f"{visible(label)} {percent(p)}" for label, p in row.classes[1:]]), flush=True)


def _with_margin(start: str, cells: list[str]) -> str:
    width = max(shutil.get_terminal_size().columns - len(start), 20)
    text = ", ".join(cell.replace(" ", "\N{NO-BREAK SPACE}") for cell in cells)
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return (start + f"\n{' ' * len(start)}".join(lines)).replace("\N{NO-BREAK SPACE}", " ").rstrip()
