"""``senet-zoo train``: from a folder of pictures to a saved network."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from senet_zoo.cli import detection
from senet_zoo.cli.output import percent, print_json
from senet_zoo.cli.parser import WEIGHTS, model_and_weights, positive, whole
from senet_zoo.errors import UsageError

if TYPE_CHECKING:
    from senet_zoo.training import TrainResult

SUMMARY = "train or fine-tune a network on pictures"
DESCRIPTION = """\
Train a network and save it as a folder that create_model, predict and publish
read: tensors, config.json with class names and preprocessing, a card,
metrics.csv, training curves and a confusion matrix.

DATA is a folder with a subfolder of pictures for each class, or with train and
val above them, by any of their usual names (Training, valid, ...); or an .npz,
a data set's name such as CIFAR10, or hf:owner/name. Without val, a tenth of
each class is measured on.

The same command goes on where it was interrupted. Several processes train one
network together under torchrun --nproc-per-node 4 -m senet_zoo train ..., or
accelerate launch. The learning rate is stated for the recipe's batch, and
scaled to yours.

With --task detection, DATA is a folder in COCO's format and --model the
backbone of a detector: annotations/instances_train*.json with train*/, the same
for val; or train and val with annotations.json in each.

A picture that cannot be read is skipped and named on standard error; the exit
status is then 1."""
EXAMPLE = """\
senet-zoo train flowers/ --model se_resnet50 --pretrained -o run7
  senet-zoo train CIFAR10 --model se_resnet20 --recipe cifar-resnet -o run8
  senet-zoo train --recipe paper --show
  senet-zoo train coco/ --task detection --recipe paper --model se_resnet50 \\
      --pretrained -o run9"""

FUSED: dict[str, bool | Literal["auto"]] = {"on": True, "off": False, "auto": "auto"}


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


_POSITIVE = _number("a number above 0", lambda value: value > 0.0)
_RATE = _number("a number from 0 to below 1", lambda value: 0.0 <= value < 1.0)
_SHARE = _number("a number above 0 and below 1", lambda value: 0.0 < value < 1.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", nargs="?", metavar="DATA", help="labelled pictures")
    detection.add_task(parser)
    parser.add_argument("--model", metavar="NAME|FOLDER", help="the network, see list; or a saved one to go on from")
    parser.add_argument("-o", "--output", metavar="FOLDER", help="where the finished network goes")
    parser.add_argument("--pretrained", action="store_true", help="start from the published weights")
    parser.add_argument("--weights", metavar="PLACE", help=f"start from {WEIGHTS}")
    parser.add_argument("--recipe", default="finetune", metavar="NAME", help="how; default: finetune")
    parser.add_argument("--show", action="store_true", help="print the recipe's values, and train nothing")
    group = parser.add_argument_group("instead of the recipe's")
    group.add_argument("--epochs", type=positive, metavar="N", help="passes over the pictures, the schedule stretched")
    group.add_argument("--batch", type=positive, metavar="N", help="pictures a step, all processes together")
    group.add_argument("--rate", type=_POSITIVE, metavar="X", help="peak learning rate at that batch, not scaled")
    group.add_argument("--drop-path", type=_RATE, metavar="X", help="stochastic depth; 0 where a network has none")
    group = parser.add_argument_group("what is learnt")
    group.add_argument("--size", type=positive, metavar="PIXELS", help="side of the pictures; default: the weights'")
    group.add_argument("--val-share", type=_SHARE, default=0.1, metavar="X", help="where DATA has no val; default: 0.1")
    group.add_argument("--class-weights", action="store_true", help="every class counts alike in the loss")
    group.add_argument(
        "--patience", type=positive, metavar="N", help="end after N epochs without a better accuracy, and keep the best"
    )
    group.add_argument("--seed", type=whole, default=0, metavar="N", help="of everything random; default: 0")
    group.add_argument("--license", metavar="SPDX", help="of the saved network, such as apache-2.0")
    group = parser.add_argument_group("where and how fast")
    group.add_argument("--device", metavar="NAME", help="cpu or cuda; default: a GPU if there is one")
    group.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="fp32", help="default: fp32")
    group.add_argument(
        "--pieces", type=positive, default=1, metavar="N", help="cut each step to use less memory; default: 1"
    )
    group.add_argument("--compile", action="store_true", help="run the network through torch.compile")
    group.add_argument(
        "--fused", choices=FUSED, default="off", help="residual units end in one operation; auto: where that is faster"
    )
    group.add_argument("--sync-norm", action="store_true", help="batch norms measure all processes' pictures; on GPUs")
    group.add_argument("--workers", type=whole, default=2, metavar="N", help="processes that decode; default: 2")
    group.add_argument(
        "--checkpoint-steps", type=positive, metavar="N", help="keep a checkpoint every N steps, besides every epoch"
    )
    group.add_argument("--track", action="append", default=[], metavar="NAME", help="tensorboard, wandb, ...")
    group.add_argument("--root", metavar="FOLDER", help="of the data sets that have names")
    group.add_argument("--download", action="store_true", help="let torchvision fetch its data set")
    detection.add_train_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Train, or print a recipe; status 1 if a picture could not be read."""
    of_detector = arguments.task == "detection"
    values = detection.recipe_values(arguments) if of_detector else _recipe_values(arguments)
    if arguments.show:
        _print_recipe(values, arguments)
        return 0
    arguments.model, arguments.weights = model_and_weights(arguments)
    for name in ("data", "model", "output"):
        if getattr(arguments, name) is None:
            needed = "DATA" if name == "data" else f"--{name}"
            raise UsageError(f"training needs {needed}; senet-zoo train --help has examples")
    _say_start(arguments)
    with _interruptible(Path(arguments.output)):
        result: Any = detection.fit(arguments) if of_detector else _fit(arguments)
    if os.environ.get("RANK", "0") != "0":  # the first process prints
        return 0
    if arguments.json:
        print_json(result)
    elif of_detector:
        detection.print_result(result)
    else:
        _print_result(result)
    return 1 if result.unreadable or (of_detector and result.scores.unreadable) else 0


def _say_start(arguments: argparse.Namespace) -> None:
    """One line of what the network starts from, where that is neither a file nor published weights."""
    from senet_zoo import get_weights, list_weights
    from senet_zoo.networks import registry

    goes_on = (Path(arguments.output).expanduser() / "checkpoints").is_dir()
    if arguments.pretrained or arguments.weights or goes_on or os.environ.get("RANK", "0") != "0":
        return
    model = registry.find(arguments.model.partition(".")[0]).name
    known = list_weights(f"{model}.*")
    way_out = ""
    if known:
        made_for = get_weights(known[0]).preprocessing.size
        size = "" if arguments.size in (None, made_for) else f", made for {made_for} pixels"
        way_out = f"; --pretrained starts from {known[0]}{size}"
    print(f"{model} starts from random weights{way_out}", file=sys.stderr)


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
            print(f"senet-zoo train: interrupted. {found} The same command goes on from there", file=sys.stderr)
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


def _recipe_values(arguments: argparse.Namespace) -> dict[str, object]:
    from senet_zoo.training.recipes import find_recipe, values_of

    recipe = find_recipe(arguments.recipe)
    return values_of(recipe if arguments.epochs is None else recipe.lasting(arguments.epochs))


def _print_recipe(values: dict[str, object], arguments: argparse.Namespace) -> None:
    if arguments.json:
        print_json(values)
        return
    width = max(map(len, values))
    for name, value in values.items():
        print(f"{name:{width}}  {value}")


def _fit(arguments: argparse.Namespace) -> "TrainResult":
    from senet_zoo.training import TrainConfig, fit
    from senet_zoo.training.recipes import find_recipe

    config = TrainConfig(
        data=arguments.data,
        model=arguments.model,
        output=arguments.output,
        recipe=find_recipe(arguments.recipe),
        pretrained=arguments.pretrained,
        weights=arguments.weights,
        epochs=arguments.epochs,
        batch=arguments.batch,
        rate=arguments.rate,
        drop_path=arguments.drop_path,
        size=arguments.size,
        val_share=arguments.val_share,
        class_weights=arguments.class_weights,
        patience=arguments.patience,
        seed=arguments.seed,
        device=arguments.device,
        precision=arguments.precision,
        pieces=arguments.pieces,
        workers=arguments.workers,
        checkpoint_steps=arguments.checkpoint_steps,
        trackers=tuple(arguments.track),
        license=arguments.license,
        root=Path(arguments.root) if arguments.root else None,
        download=arguments.download,
        sync_norm=arguments.sync_norm,
        compile=arguments.compile,
        fused=FUSED[arguments.fused],
    )
    return fit(config)


def _print_result(result: "TrainResult") -> None:
    print(f"{result.folder}: {result.model}, {len(result.classes)} classes, as after epoch {result.epoch}")
    print(
        f"validation: top-1 {percent(result.val_top1 / 100)} of {result.val_pictures} pictures, "
        f"loss {result.val_loss:.4f}"
    )
    if result.unreadable:
        print(f"{len(result.unreadable)} pictures could not be read and were skipped")
    print(f"use it:\n  {result.predict}")
