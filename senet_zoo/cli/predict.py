"""``senet-zoo predict``: classes and probabilities of pictures, or boxes."""

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from senet_zoo.cli.output import on_terminal, print_problem
from senet_zoo.cli.parser import MODEL, WEIGHTS, positive, share, task_of
from senet_zoo.cli.predictions import COCO, CSV, FORMATS, JSON, JSONL, TABLE, TABS, class_names, print_predictions
from senet_zoo.errors import PictureError, UsageError

if TYPE_CHECKING:
    from senet_zoo.cli.predictions import Networks
    from senet_zoo.prediction.exported_model import ExportedModel
    from senet_zoo.prediction.exported_task import ExportedTask
    from senet_zoo.prediction.pipeline import Failure, Prediction
    from senet_zoo.prediction.predictor import DefaultPredictor

SUMMARY = "print the likeliest classes of pictures, or draw boxes"
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

With the folder of a trained detector the answers are boxes: class, score and
left, top, right, bottom in pixels, a line a box, and with --output FOLDER the
pictures with boxes drawn on them. --format coco is COCO's results file, with
the numbers of --annotations where that is given. With that of a segmenter they
are classes and their shares of the pixels, and --output FOLDER takes pictures
under the colours of their classes, whose numbers are in NAME_mask.png.

--exported takes a file of `senet-zoo export` instead, and needs no torch: ONNX
Runtime or OpenVINO computes, on the CPU, and an answer is there in a second.
The file of a detector or a segmenter answers as its folder does; drawing needs
torchvision.

Pictures at https: addresses are fetched, up to 50 MiB each, not where
HF_HUB_OFFLINE is set; SENET_ZOO_URLS=any takes http: and hosts of the own
network, too, SENET_ZOO_URLS=none no address.

A picture that cannot be read is skipped and named on standard error; the exit
status is then 1. What a folder holds besides pictures is counted there in one
line. HEIC is read where pillow-heif is: pip install 'senet-zoo[heif]'."""
EXAMPLE = """\
senet-zoo predict samples/
  senet-zoo predict --model se_resnet50 --top 3 holiday.jpg
  senet-zoo predict --model run7 photos/ --output answers.csv
  senet-zoo predict photos/ --weights run9 --output drawn/ --threshold 0.3
  senet-zoo predict --exported se_resnet50.onnx holiday.jpg
  find . -name '*.jpg' -print0 | senet-zoo predict --json -0 -"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="PICTURE",
        help="a file, a folder (read to its depth), a file: or https: URL, or - for a list on standard input",
    )
    parser.add_argument("--model", metavar="NAME|FOLDER", help=f"{MODEL}; see list --pretrained")
    parser.add_argument("--weights", metavar="PLACE", help=WEIGHTS)
    parser.add_argument("--exported", metavar="FILE", help="an exported network, .onnx or .xml, instead of --model")
    parser.add_argument(
        "--runtime", choices=("onnx", "openvino"), help="what computes --exported; default: the file's own"
    )
    parser.add_argument(
        "--top", type=positive, metavar="K", help="classes of each picture, default: 5; boxes at most, default: 100"
    )
    parser.add_argument(
        "--threshold", type=share, metavar="X", help="least score of a detector's boxes, from 0 to 1; default: 0.5"
    )
    parser.add_argument("--batch", type=positive, metavar="N", help="pictures at once; default: 32, for a detector 4")
    parser.add_argument("--device", metavar="NAME", help="such as cpu or cuda:1; default: a GPU if there is one")
    parser.add_argument("--format", choices=FORMATS, help="of the answers; default: that of --output's suffix")
    parser.add_argument(
        "--annotations", type=Path, metavar="FILE", help="whose numbers --format coco takes, by the pictures' names"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE|FOLDER",
        help="write the answers to a file, whole or not at all; of a detector, drawn pictures to a folder",
    )
    parser.add_argument("-0", "--null", action="store_true", help="names on standard input end in a zero byte")


@dataclass
class _Answers:
    """What answers, and its answers.

    Args:
        networks: names of the classes of each network that answers, by its name.
        results: in the order of the pictures.
        boxes: whether a detector answers.
    """

    networks: "Networks"
    results: "Iterator[Prediction | Failure]"
    boxes: bool = False


def run(arguments: argparse.Namespace) -> int:
    """Answer the pictures; the status is 1 if one could not be read."""
    if arguments.runtime and not arguments.exported:
        raise UsageError("--runtime computes an exported network: add --exported FILE")
    exported = _exported(arguments) if arguments.exported else None
    task = task_of(arguments.model, arguments.weights).value if exported is None else exported.task
    detects = task == "detection"
    folder = None if task == "classification" else _folder_of_drawings(arguments.output)
    form = _format(arguments, detects, folder)
    file = None if folder is not None or arguments.output is None else arguments.output.expanduser()
    if file is not None and file.is_dir():
        raise UsageError(f"--output must be a file, and {arguments.output} is a folder")
    coco = _coco(arguments)
    if exported is not None and folder is not None and find_spec("torchvision") is None:
        raise UsageError(
            "boxes and masks are drawn by torchvision, which is not installed: install it, or have answers in a file, "
            "as in --output answers.jsonl"
        )
    answers = _in_torch(arguments) if exported is None else _of_exported(arguments, exported)
    failures: list[Failure] = []
    results = _report_failures(answers.results, failures)
    if task != "classification":
        results = _drawn(results, folder, failures)
    if detects:
        results = _without_silence(results, arguments.threshold)
    group = arguments.batch or 32
    show = partial(print_predictions, form, answers.networks, results, failures, group, boxes=answers.boxes, coco=coco)
    if file is None:
        show()
        return 1 if failures else 0
    from senet_zoo.support.files import atomic_file

    try:
        with atomic_file(file) as opened:
            text = io.TextIOWrapper(
                opened, encoding="utf-8", errors="backslashreplace", newline="\n", write_through=True
            )
            with contextlib.redirect_stdout(text):
                show()
            text.detach()
    except OSError as error:
        raise UsageError(f"{arguments.output} cannot be written: {error.strerror or error}") from error
    return 1 if failures else 0


def _folder_of_drawings(output: Path | None) -> Path | None:
    """The folder that --output names: whatever does not end as a file of answers does."""
    if output is None or output.suffix.lower().removeprefix(".") in (CSV, JSONL, JSON, "txt", "tsv"):
        return None
    folder = output.expanduser()
    if folder.exists() and not folder.is_dir():
        raise UsageError(
            f"--output of a detector or segmenter is a folder, or a file ending in .csv, .jsonl or .json; {output} is "
            "another file"
        )
    return folder


def _coco(arguments: argparse.Namespace) -> "Callable[[Prediction], list[dict[str, object]]]":
    from senet_zoo.prediction.coco_results import coco_results, read_ids

    ids = None if arguments.annotations is None else read_ids(arguments.annotations.expanduser())
    return partial(coco_results, ids=ids)


def _drawn(results: "Iterator[Prediction]", folder: Path | None, failures: "list[Failure]") -> "Iterator[Prediction]":
    """The results, each drawn into the folder, if there is one."""
    from senet_zoo.prediction.drawn_files import DrawnFiles
    from senet_zoo.prediction.pipeline import Failure

    files = None if folder is None else DrawnFiles(folder)
    for result in results:
        if files is not None:
            try:
                files.write(result)
            except PictureError as error:
                failures.append(Failure(result.path, error))
                print_problem("predict", error.for_command_line)
        yield result


def _without_silence(results: "Iterator[Prediction]", threshold: float | None) -> "Iterator[Prediction]":
    """The results, and on standard error how to see more, if nothing was found in any of them."""
    from senet_zoo.prediction.detection import THRESHOLD

    pictures = found = 0
    for result in results:
        pictures, found = pictures + 1, found + len(result.boxes or ())
        yield result
    least = THRESHOLD if threshold is None else threshold
    if pictures and not found:
        print_problem(
            "predict",
            f"no box in {pictures} pictures scores {least:g} or more; --threshold 0.1 shows more",
        )


def _format(arguments: argparse.Namespace, detects: bool, folder: Path | None) -> str:
    if arguments.json and arguments.format not in (None, JSON):
        raise UsageError(f"--json and --format {arguments.format} contradict each other; drop one of them")
    if not detects:
        for name, given in (("--annotations", arguments.annotations), ("--format coco", arguments.format == COCO)):
            if given:
                raise UsageError(f"{name} is for a detector's boxes: name its folder with --weights")
    if arguments.annotations is not None and arguments.format != COCO:
        raise UsageError("--annotations gives the numbers of --format coco; add that")
    if arguments.json:
        return JSON
    if arguments.format is not None:
        return str(arguments.format)
    if arguments.output is not None and folder is None:
        suffix = arguments.output.suffix.lower().removeprefix(".")
        return suffix if suffix in (CSV, JSONL, JSON) else TABS
    return TABLE if on_terminal() else TABS


def _in_torch(arguments: argparse.Namespace) -> _Answers:
    from senet_zoo.prediction.predictor import DefaultPredictor, Predictor

    sources = _expand(arguments)
    counts = {"top": arguments.top, "batch": arguments.batch, "threshold": arguments.threshold}
    if arguments.model is None and arguments.weights is None:
        chosen = DefaultPredictor(arguments.device)
        networks: dict[str, Sequence[str]] = {}
        return _Answers(networks, _announced(chosen, networks, chosen.stream(sources, **counts)))
    predictor = Predictor(arguments.model, weights=arguments.weights, device=arguments.device)
    boxes = task_of(arguments.model, arguments.weights).value == "detection"
    return _Answers({predictor.name: predictor.categories}, predictor.stream(sources, **counts), boxes)


def _announced(
    chosen: "DefaultPredictor", networks: dict[str, Sequence[str]], results: "Iterator[Prediction | Failure]"
) -> "Iterator[Prediction | Failure]":
    """The results, and on standard error what a network knows before its first answer."""
    from senet_zoo.prediction.pipeline import Prediction

    for result in results:
        if isinstance(result, Prediction) and result.network not in networks:
            networks[result.network] = chosen.used[result.network].categories
            print(class_names(result.network, networks[result.network]), file=sys.stderr, flush=True)
        yield result


def _exported(arguments: argparse.Namespace) -> "ExportedModel | ExportedTask":
    from senet_zoo.prediction.exported_model import load_exported
    from senet_zoo.prediction.runtimes import Runtime

    for option in ("model", "weights", "device"):
        if getattr(arguments, option):
            raise UsageError(f"--exported is a whole network on the CPU: leave --{option} out")
    network: ExportedModel | ExportedTask = load_exported(
        arguments.exported, runtime=Runtime(arguments.runtime) if arguments.runtime else None
    )
    if arguments.threshold is not None and network.task != "detection":
        whose = {"classification": "classifier; choose --top", "segmentation": "segmenter; leave it out"}[network.task]
        raise UsageError(f"--threshold is a detector's, and --exported is a {whose}")
    return network


def _of_exported(arguments: argparse.Namespace, network: "ExportedModel | ExportedTask") -> _Answers:
    from senet_zoo.prediction.exported_model import ExportedModel

    results: Iterator[Prediction | Failure]
    if isinstance(network, ExportedModel):
        results = network.predict(_expand(arguments), top=arguments.top or 5, batch=arguments.batch or 32)
    else:
        results = network.predict(
            _expand(arguments), top=arguments.top, batch=arguments.batch, threshold=arguments.threshold
        )
    boxes = network.task == "detection"
    return _Answers({f"{network.name} from {arguments.exported}": network.labels}, results, boxes)


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
