"""``senet-zoo train``: from a folder of pictures to a saved network."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from shlex import quote
from threading import Timer
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from senet_zoo.cli import detection, segmentation
from senet_zoo.cli.output import Style, percent, print_json, print_table
from senet_zoo.cli.parser import WEIGHTS, model_and_weights, positive, whole
from senet_zoo.errors import TrainingError, UsageError

if TYPE_CHECKING:
    from senet_zoo.training import TrainResult
    from senet_zoo.training.config_file import Form

SUMMARY = "train or fine-tune a network on pictures"
DESCRIPTION = """\
Train a network and save it as a folder that create_model, predict and publish
read: tensors, config.json with class names and preprocessing, a card,
metrics.csv, training curves, a confusion matrix, and run.yaml, with which
--config repeats the run. Where the best epoch is not the last, a folder best
(or, with --patience, last) holds the other network.

With --dims 3 DATA is volumes: a subfolder of .nii, .nii.gz or .npy for each
class, or an .npz of volumes (N, D, H, W) and labels, or MedMNIST's; with
--dims 1 signals. Filters that were learnt on pictures are inflated.

DATA is a folder with a subfolder of pictures for each class, or with train and
val above them, by any of their usual names (Training, valid, ...); or an .npz,
a data set's name such as CIFAR10, or hf:owner/name. Without val, a tenth of
each class is measured on.

The recipes finetune and cifar-refine start from the published weights, where
there are any for pictures of that size; the others, and --from-random, start
from random ones.

The same command goes on where it was interrupted, and so does --resume. Several
processes train one network together under torchrun --nproc-per-node 4 -m
senet_zoo train ..., or accelerate launch. The learning rate is stated for the
recipe's batch, and scaled to yours.

With --task detection, DATA is a folder in COCO's format and --model the
backbone of a detector: annotations/instances_train*.json with train*/, the same
for val; or train and val (or valid) with annotations.json, or as Roboflow
writes it _annotations.coco.json, in each. --weights may name a saved detector,
which is trained on, for other classes, too.

--dry-run says how many pictures and steps that is, and by the forward pass of
one picture how much memory on each GPU.

With --task segmentation, DATA has pictures in images/ and masks of the same
names in masks/, or is laid out as Pascal VOC, COCO panoptic or COCO stuff.

Options may be spelt as elsewhere: --batch-size, --wd, --num-workers, --imgsz,
--arch, --output-dir.

A picture that cannot be read is skipped and named on standard error; the exit
status is then 1."""
EXAMPLE = """\
senet-zoo train flowers/ --model se_resnet50 -o run7
  senet-zoo train --config run7/run.yaml -o run8 --seed 1
  senet-zoo train --resume run8
  senet-zoo train CIFAR10 --model se_resnet20 --recipe cifar-resnet -o run9
  senet-zoo train --recipe paper --show
  senet-zoo train coco/ --task detection --recipe paper --model se_resnet50 \\
      -o run10
  senet-zoo train VOC2012/ --task segmentation --model se_resnet50 -o run11"""

FUSED: dict[str, bool | Literal["auto"]] = {"on": True, "off": False, "auto": "auto"}
MOST_ROWS = 24  # epochs of the table that ends a run


def _number(rule: str, holds: Callable[[float], bool]) -> Callable[[str], float]:
    """An argparse type for numbers that keep a rule."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not holds(value):
            raise argparse.ArgumentTypeError(f"must be {rule}, got {text!r}")
        return value

    return parse


def _sides(text: str) -> tuple[int, ...]:
    """Whole numbers with commas between, as an argparse type."""
    return tuple(positive(part.strip()) for part in text.split(","))


_POSITIVE = _number("a number above 0", lambda value: 0.0 < value < float("inf"))
_NOT_NEGATIVE = _number("a number, at least 0", lambda value: 0.0 <= value < float("inf"))
_RATE = _number("a number from 0 to below 1", lambda value: 0.0 <= value < 1.0)
_SHARE = _number("a number above 0 and below 1", lambda value: 0.0 < value < 1.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    # What was not typed is not there, so that a file of --config can say it.
    parser.argument_default = argparse.SUPPRESS
    parser.add_argument("data", nargs="?", metavar="DATA", help="labelled pictures")
    detection.add_task(parser)
    parser.add_argument("--model", metavar="NAME|FOLDER", help="the network, see list; or a saved one to go on from")
    parser.add_argument("-o", "--output", metavar="FOLDER", help="where the finished network goes")
    parser.add_argument("--pretrained", action="store_true", help="start from the published weights")
    parser.add_argument("--weights", metavar="PLACE", help=f"start from {WEIGHTS}")
    parser.add_argument("--from-random", action="store_true", help="start from random weights")
    parser.add_argument("--recipe", metavar="NAME", help="how; default: finetune")
    group = parser.add_argument_group("a run again")
    group.add_argument("--config", metavar="FILE", help="values by name in YAML; other options go before it")
    group.add_argument("--resume", nargs="?", const=None, metavar="FOLDER", help="go on with an interrupted run")
    group.add_argument("--show", action="store_true", help="print the values as --config takes them; train nothing")
    group.add_argument(
        "--dry-run", action="store_true", help="of detectors and segmenters: steps and memory; train nothing"
    )
    group = parser.add_argument_group("instead of the recipe's")
    group.add_argument("--epochs", type=positive, metavar="N", help="passes over the pictures, the schedule stretched")
    group.add_argument("--batch", type=positive, metavar="N", help="pictures a step, all processes together")
    group.add_argument("--rate", type=_POSITIVE, metavar="X", help="peak learning rate at that batch, not scaled")
    group.add_argument("--weight-decay", type=_NOT_NEGATIVE, metavar="X", help="of weights, not of biases and norms")
    group.add_argument("--drop-path", type=_RATE, metavar="X", help="stochastic depth; 0 where a network has none")
    group = parser.add_argument_group("what is learnt")
    group.add_argument("--size", type=positive, metavar="PIXELS", help="side of the pictures; default: the weights'")
    group.add_argument("--se", metavar="WORDS", help="a variant of the gate, such as reduction=8,placement=pre")
    group.add_argument("--dims", type=int, choices=(1, 2, 3), help="3 for volumes, 1 for signals; default: pictures")
    group.add_argument("--sides", type=_sides, metavar="D,H,W", help="of volumes or signals; default: the first one's")
    group.add_argument("--depth-kernel", type=positive, metavar="N", help="planes that the stem sees of a volume")
    group.add_argument("--depth-stride", type=positive, metavar="N", help="the stem's over planes: 1 for thin volumes")
    group.add_argument("--val-share", type=_SHARE, metavar="X", help="where DATA has no val; default: 0.1")
    group.add_argument("--class-weights", action="store_true", help="every class counts alike in the loss")
    group.add_argument(
        "--patience", type=positive, metavar="N", help="end after N epochs without a better accuracy, and keep the best"
    )
    group.add_argument("--seed", type=whole, metavar="N", help="of everything random; default: 0")
    group.add_argument("--license", metavar="SPDX", help="of the saved network, such as apache-2.0")
    group = parser.add_argument_group("where and how fast")
    group.add_argument("--device", metavar="NAME", help="cpu or cuda; default: a GPU if there is one")
    group.add_argument("--precision", choices=("fp32", "bf16", "fp16"), help="default: fp32")
    group.add_argument("--pieces", type=positive, metavar="N", help="cut each step to use less memory; default: 1")
    group.add_argument("--compile", action="store_true", help="run the network through torch.compile")
    group.add_argument(
        "--fused", choices=FUSED, help="residual units end in one operation; auto: where that is faster; default: off"
    )
    group.add_argument("--sync-norm", action="store_true", help="batch norms measure all processes' pictures; on GPUs")
    group.add_argument("--workers", type=whole, metavar="N", help="processes that decode; default: 2")
    group.add_argument(
        "--checkpoint-steps", type=positive, metavar="N", help="keep a checkpoint every N steps, besides every epoch"
    )
    group.add_argument("--track", action="append", dest="trackers", metavar="NAME", help="tensorboard, wandb, ...")
    group.add_argument("--root", metavar="FOLDER", help="of the data sets that have names")
    group.add_argument("--download", action="store_true", help="let torchvision fetch its data set")
    detection.add_train_arguments(parser)
    segmentation.add_train_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Train, or print a configuration; status 1 if a picture could not be read."""
    from senet_zoo.training.config_file import config_of
    from senet_zoo.training.fit import fit
    from senet_zoo.training.progress import Progress

    values = _values(arguments)
    form = _form(values)
    if getattr(arguments, "show", False):
        _show(values, form, arguments)
        return 0
    form.find_recipe(str(values.get("recipe") or "finetune"))
    dry = getattr(arguments, "dry_run", False)
    if dry and form.task == "classification":
        raise UsageError("--dry-run is of detectors and segmenters; --show prints what a classifier's run would take")
    if dry and values.get("output") is None:
        values["output"] = "dry-run"  # where nothing is written
    for name in ("data", "model", "output"):
        if values.get(name) is None:
            needed = "DATA" if name == "data" else f"--{name}"
            raise UsageError(f"training needs {needed}; senet-zoo train --help has examples")
        if not isinstance(values[name], str):
            raise UsageError(f"a run's {name} must be a text, got {values[name]!r}")
    line = _choose_start(values, form)
    config: Any = config_of(values, form)
    first = os.environ.get("RANK", "0") == "0"  # the process that prints
    if dry:
        plan = detection.plan(config) if form.task == "detection" else segmentation.plan(config)
        if first:
            print(line, file=sys.stderr)
            detection.print_plan(plan, as_json=arguments.json)
        return 0
    progress = Progress(silent=not first, first=line)
    of_classifier = form.task == "classification"
    with _interruptible(Path(config.output)):
        result: Any
        if form.task == "detection":
            result = detection.fit(config, progress)
        elif form.task == "segmentation":
            result = segmentation.fit(config, progress)
        else:
            result = fit(config, progress)
    if not first:
        return 0
    if arguments.json:
        print_json(result)
    elif form.task == "detection":
        detection.print_result(result)
    elif form.task == "segmentation":
        segmentation.print_result(result)
    else:
        _print_result(result)
    return 1 if result.unreadable or (not of_classifier and result.scores.unreadable) else 0


def _values(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the file of --config or of --resume says, and before it the options; ``from_random`` is among them."""
    from senet_zoo.detection.config import DETECTION
    from senet_zoo.segmentation.config import SEGMENTATION
    from senet_zoo.training.config_file import CLASSIFICATION, read_values

    typed = {
        name: value
        for name, value in vars(arguments).items()
        if name in (CLASSIFICATION.keys | DETECTION.keys | SEGMENTATION.keys | {"task", "from_random"}) - {"command"}
    }
    if "fused" in typed:
        typed["fused"] = FUSED[typed["fused"]]
    if "model" in typed or "weights" in typed:
        named = argparse.Namespace(model=typed.get("model"), weights=typed.get("weights"))
        saved = detection.saved_start(named.model, named.weights)
        if saved:
            detection.chosen_task(typed.get("task"), named.model, named.weights, None)
            typed = {**saved, **typed, **{name: saved[name] for name in ("model", "weights", "task")}}
        else:
            model, weights = model_and_weights(named)
            typed |= {"model": model} if model is not None else {}
            typed |= {"weights": weights} if weights is not None else {}
    values: dict[str, Any] = {}
    if "resume" in vars(arguments):
        if "config" in vars(arguments):
            raise UsageError("--resume has the configuration of its run: leave --config out")
        values = read_values(_interrupted_run(arguments.resume or typed.get("output")))
        values["output"] = typed["output"] = arguments.resume or typed["output"]
    elif "config" in vars(arguments):
        values = read_values(arguments.config)
    if typed.keys() & {"from_random", "pretrained", "weights"}:
        values = {name: value for name, value in values.items() if name not in ("pretrained", "weights")}
    if typed.keys() & {"data", "seed", "val_share"}:
        values.pop("data_digest", None)
    if "resume" not in vars(arguments) or "command" not in values:
        values["command"] = getattr(arguments, "command_line", None)
    return values | typed


def _interrupted_run(folder: str | None) -> Path:
    """The configuration below a run's checkpoints."""
    from senet_zoo.training.config_file import CONFIG_FILE

    if folder is None:
        raise UsageError("--resume must name the folder of a run, as in --resume run7")
    path = Path(folder).expanduser()
    file = path / "checkpoints" / CONFIG_FILE
    try:
        interrupted, finished = file.is_file(), (path / CONFIG_FILE).is_file()
    except PermissionError as error:
        raise TrainingError(f"a run must lie where this user may read it, and {folder} does not") from error
    if interrupted:
        return file
    if finished:
        raise UsageError(f"{folder} is finished; --config {quote(str(path / CONFIG_FILE))} -o OTHER trains it again")
    raise TrainingError(f"an interrupted run must lie in {folder}, and there is no {file}")


def _form(values: dict[str, Any]) -> "Form[Any]":
    """What the task's configuration holds; an option of the other task is refused by its name."""
    from senet_zoo.detection.config import DETECTION
    from senet_zoo.segmentation.config import SEGMENTATION
    from senet_zoo.training.config_file import CLASSIFICATION

    task = values.get("task") or detection.chosen_task(None, None, None, values.get("data"))
    values["task"] = task
    if task not in detection.TASKS:
        raise UsageError(f"a run's task must be {' or '.join(detection.TASKS)}, got {task!r}")
    forms: tuple[Form[Any], ...] = (CLASSIFICATION, DETECTION, SEGMENTATION)
    form = next(form for form in forms if form.task == task)
    for other in forms:
        for name in sorted(values.keys() & other.keys - form.keys):
            option = {"kind": "detector", "trackers": "track"}.get(name, name).replace("_", "-")
            whose = {"classification": "classifier", "detection": "detector", "segmentation": "segmenter"}[other.task]
            way_out = f" with --task {task}" if task != "classification" else f", or add --task {other.task}"
            raise UsageError(f"--{option} is a {whose}'s; leave it out{way_out}")
    return form


def _choose_start(values: dict[str, Any], form: "Form[Any]") -> str:
    """Settle in ``values`` what the network starts from, and return the line that says so."""
    from senet_zoo import get_weights
    from senet_zoo.networks import registry
    from senet_zoo.training.checkpoints import recorded_identity
    from senet_zoo.training.model import published_start
    from senet_zoo.training.recipes import FROM_WEIGHTS
    from senet_zoo.weights.create import is_place

    name = str(values["model"])
    if values.pop("from_random", False):
        if values.get("pretrained") or values.get("weights"):
            raise UsageError("--from-random is a start of its own: leave --pretrained and --weights out")
        values["pretrained"], values["weights"] = False, None
        return f"{name} starts from random weights"
    if values.get("weights"):
        return f"{name} starts from {values['weights']}"
    model = name if is_place(name) else registry.find(name.partition(".")[0]).name
    if values.get("pretrained"):
        return f"{model} starts from {published_start(name, None) or 'its published weights'}"
    published = published_start(name, values.get("size") if form.task == "classification" else None)
    if "pretrained" not in values and published is not None:
        recipe = form.find_recipe(str(values.get("recipe") or "finetune"))
        learnt = recipe.frozen_norm if form.task == "detection" else values.get("recipe", "finetune") in FROM_WEIGHTS
        before = recorded_identity(Path(str(values.get("output"))).expanduser() / "checkpoints")
        if learnt and not (before and before.get("pretrained") is False):
            values["model"], values["pretrained"] = published, True
            return f"{model} starts from {published}; --from-random for a fresh start"
    way_out, anyone = "", published_start(name, None)
    if anyone is not None:
        made_for = get_weights(anyone).preprocessing.size
        size = "" if values.get("size") in (None, made_for) else f", made for {made_for} pixels"
        way_out = f"; --pretrained starts from {anyone}{size}"
    return f"{model} starts from random weights{way_out}"


@contextmanager
def _interruptible(output: Path) -> Iterator[None]:
    """Let SIGINT and SIGTERM end a run like an error, so that nothing half-written stays, and say how it goes on."""
    before, hook, lost = signal.signal(signal.SIGTERM, _terminate), sys.unraisablehook, list[Timer]()
    sys.unraisablehook = partial(_again, hook, lost)
    try:
        yield
    except (KeyboardInterrupt, _Terminated) as interruption:
        for timer in lost:
            timer.cancel()
        if os.environ.get("RANK", "0") == "0":
            from senet_zoo.training.checkpoints import last_good

            found = last_good(output.expanduser() / "checkpoints")
            again = f"senet-zoo train --resume {quote(str(output))}"
            print(f"senet-zoo train: interrupted. {found} {again} goes on from there", file=sys.stderr)
        raise SystemExit(143 if isinstance(interruption, _Terminated) else 130) from None
    finally:
        signal.signal(signal.SIGTERM, before)
        sys.unraisablehook = hook


class _Terminated(BaseException):
    """SIGTERM."""


def _terminate(number: int, frame: object) -> NoReturn:
    raise _Terminated


def _again(
    hook: Callable[["sys.UnraisableHookArgs"], object], lost: list[Timer], swallowed: "sys.UnraisableHookArgs"
) -> None:
    """Send a signal once more, if the run goes on, because destructors swallow what is raised in them."""
    number = {KeyboardInterrupt: signal.SIGINT, _Terminated: signal.SIGTERM}.get(swallowed.exc_type)
    if number is None:
        hook(swallowed)
    else:
        lost.append(Timer(3.0, os.kill, (os.getpid(), number)))
        lost[-1].daemon = True
        lost[-1].start()


def _show(values: dict[str, Any], form: "Form[Any]", arguments: argparse.Namespace) -> None:
    """Print the configuration as a run writes it; what nobody has named yet is null."""
    from dataclasses import replace

    from senet_zoo.training.config_file import as_yaml, config_of, values_of_config

    missing = {name: None for name in ("data", "model", "output") if values.get(name) is None}
    if "model" not in missing:
        _choose_start(values, form)
    values.pop("from_random", None)
    config: Any = config_of(values | dict.fromkeys(missing, "-"), form)
    own = config.own_recipe()
    config = replace(config, **dict.fromkeys({"epochs", "batch", "rate", "drop_path"} & form.keys, None), recipe=own)
    given = form.find_recipe(str(values.get("recipe") or "finetune"))
    shown = values_of_config(config, form, given) | missing
    for name in ("command", "data_digest"):
        del shown[name]
    if arguments.json:
        print_json(shown)
    else:
        print(as_yaml(shown), end="")


def _print_result(result: "TrainResult") -> None:
    rows = [
        (
            f"{row.epoch}",
            f"{row.loss:.4f}",
            f"{row.top1:.2f}",
            f"{row.val_loss:.4f}",
            f"{row.val_top1:.2f}",
            f"{row.rate:.3g}",
            ", ".join(
                word
                for word, holds in (("best", row.epoch == result.best_epoch), ("saved", row.epoch == result.epoch))
                if holds
            ),
        )
        for row in result.history
    ]
    every = -(-len(rows) // MOST_ROWS)
    shown = [row for number, row in enumerate(rows, 1) if row[-1] or number % every == 0]
    head = ("epoch", "loss", "top-1 %", "val loss", "val top-1 %", "rate", "")
    print_table(head, shown, style=lambda row: Style.GOOD if "best" in row[-1] else None)
    print()
    print(f"{result.folder}: {result.model}, {len(result.classes)} classes, as after epoch {result.epoch}")
    print(
        f"validation: top-1 {percent(result.val_top1 / 100)} of {result.val_pictures} pictures, "
        f"loss {result.val_loss:.4f}"
    )
    if result.other is not None:
        epoch = result.best_epoch if result.other.name == "best" else len(result.history)
        print(f"{result.other}: the same network as after epoch {epoch}, the {result.other.name} one")
    if result.unreadable:
        print(f"{len(result.unreadable)} pictures could not be read and were skipped")
    print(f"use it:\n  {result.predict}")
