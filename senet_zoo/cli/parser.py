"""The argument parser, which answers a misspelt word with near misses, and the options that several commands share."""

import argparse
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from senet_zoo.errors import UsageError
from senet_zoo.support.terminal import visible_lines

if TYPE_CHECKING:
    from senet_zoo.data.labelled import Labelled, Unlabelled
    from senet_zoo.prediction.predictor import Predictor
    from senet_zoo.weights.config import SavedTask


MODEL = "a model, model.tag or a saved folder"
WEIGHTS = "a folder, a file or hf://org/name; --model may then be left out"

# Other libraries' spellings of options that take the same values: they are understood.
SPELLINGS: Mapping[str, str] = {
    "--wd": "--weight-decay", "--batch-size": "--batch", "--bs": "--batch", "-b": "--batch", "--num-epochs": "--epochs",
    "--max-epochs": "--epochs", "--imgsz": "--size", "--img-size": "--size", "--image-size": "--size",
    "--input-size": "--size", "--resolution": "--size", "--num-workers": "--workers", "--jobs": "--workers",
    "-j": "--workers", "--arch": "--model", "--architecture": "--model", "--network": "--model", "-m": "--model",
    "-a": "--model", "--checkpoint": "--weights", "--ckpt": "--weights", "--model-path": "--weights",
    "-w": "--weights", "--topk": "--top", "--top-k": "--top", "-k": "--top", "--out": "--output",
    "--out-dir": "--output", "--output-dir": "--output", "--save-dir": "--output", "--licence": "--license",
    "--drop-path-rate": "--drop-path",
}  # fmt: skip
# What other trainers and libraries call options that mean it in another way: a rate is scaled to the batch there, a
# GPU has a number, half precision is a flag.
SYNONYMS: Mapping[str, str] = {
    "--lr": "--rate", "-lr": "--rate", "--lr0": "--rate", "--learning-rate": "--rate", "--base-lr": "--rate",
    "--decay": "--weight-decay", "-e": "--epochs", "--gpu": "--device", "--gpus": "--device", "--cuda": "--device",
    "--cpu": "--device", "--amp": "--precision", "--half": "--precision", "--fp16": "--precision",
    "--bf16": "--precision", "--dtype": "--precision", "--project": "--output", "--num-classes": "--classes",
    "--filter": "--pretrained",
}  # fmt: skip
# What a recipe holds and no option changes, as other trainers call it.
OF_RECIPES = (
    "--momentum", "--opt", "--optimizer", "--sched", "--scheduler", "--warmup",
    "--warmup-epochs", "--smoothing", "--label-smoothing", "--mixup", "--cutmix", "--aa", "--reprob", "--dropout",
    "--model-ema", "--ema", "--clip-grad", "--cos-lr", "--augment",
)  # fmt: skip


class Parser(argparse.ArgumentParser):
    """argparse's own, with errors of one line that name near misses."""

    def error(self, message: str) -> NoReturn:
        """End with status 2 and one line."""
        more = "" if message.endswith("?") else f"; {self.prog} --help says more"
        self.exit(2, f"{self.prog}: {visible_lines(message)}{more}\n")

    def refuse(self, word: str) -> NoReturn:
        """End with status 2, naming a word that was not understood and what it may have meant."""
        self.error(f"{word!r} is not understood{self._meant(word.partition('=')[0])}")

    def understood(self, words: Sequence[str]) -> list[str]:
        """The words with other libraries' `SPELLINGS` of options as this program spells them.

        The first option that no command of these words has ends it, before argparse complains of what is missing.
        """
        parser, found = self, list[str]()
        for number, word in enumerate(words):
            for action in parser._actions:
                if isinstance(action, argparse._SubParsersAction) and word in action.choices:
                    parser = action.choices[word]
            if word == "--":
                return [*found, *words[number:]]
            option, equals, value = word.partition("=")
            known = parser._option_string_actions
            if option not in known and SPELLINGS.get(option) in known:
                option = SPELLINGS[option]
            if re.match(r"--[a-z]", word) and option not in known:
                parser.refuse(word)
            found.append(option + equals + value)
        return found

    def _meant(self, word: str) -> str:
        """``; did you mean ...?`` with an option of this command, or where else the word belongs."""
        options = sorted({each for action in self._actions for each in action.option_strings if each[:2] == "--"})
        if SYNONYMS.get(word) in options:
            return f"; did you mean {SYNONYMS[word]}?"
        if word in OF_RECIPES and "--recipe" in options:
            return "; a recipe sets it, and a file of --config changes it: train --show prints all values"
        if not word.startswith("-"):
            return ""
        parts = set(word.strip("-").lower().replace("_", "-").split("-"))
        near = [each for each in options if each.startswith(word) or parts & set(each.strip("-").split("-"))]
        near = near or get_close_matches(word.lower().replace("_", "-"), options, n=2, cutoff=0.7)
        return f"; did you mean {' or '.join(near[:2])}?" if near else ""


def add_command(
    commands: "argparse._SubParsersAction[Any]", name: str, summary: str, description: str, epilog: str | None = None
) -> argparse.ArgumentParser:
    """A parser for one command; the parsed ``arguments.parser`` is this parser."""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.set_defaults(parser=command)
    return command


def near_misses(word: str, words: Iterable[str]) -> str:
    """``; did you mean ...?``, or nothing where no word is near."""
    near = get_close_matches(word.lower(), list(words), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def whole(text: str) -> int:
    """A whole number from 0 up, as an argparse type."""
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"must be a whole number, at least 0, got {text!r}")
    return int(text)


def positive(text: str) -> int:
    """A whole number from 1 up, as an argparse type."""
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, at least 1, got {text!r}")
    return int(text)


def share(text: str) -> float:
    """A number from 0 to 1, as an argparse type."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {text!r}")
    return value


def number_of_workers(arguments: argparse.Namespace) -> int:
    """What --workers says, or else as many as there are cores that this process may use."""
    if arguments.workers is not None:
        return int(arguments.workers)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def add_network_options(parser: argparse.ArgumentParser, unit: str = "pictures") -> None:
    """Options that choose a network, where it runs, and how many pictures (or another ``unit``) it sees at once."""
    parser.add_argument("--model", metavar="NAME|FOLDER", help=f"{MODEL}; default: the package's for CIFAR-10")
    parser.add_argument("--weights", metavar="PLACE", help=WEIGHTS)
    parser.add_argument("--device", metavar="NAME", help="such as cpu or cuda:1; default: a GPU if there is one")
    parser.add_argument("--batch", type=positive, default=64, metavar="N", help=f"{unit} at once; default: 64")
    parser.add_argument("--workers", type=whole, metavar="N", help="processes that decode; default: one a core")


def add_data_options(group: argparse._ArgumentGroup, class_names: str = "--classes") -> None:
    """Options that choose a split of DATA and its files of labels and, by the option ``class_names``, of classes."""
    group.add_argument("--split", choices=("train", "val", "test"), help="default: val, else test")
    group.add_argument("--labels", type=Path, metavar="FILE", help="`name label` a line, or a label a line")
    group.add_argument(
        class_names,
        type=Path,
        dest="class_names",
        metavar="FILE",
        help="names or synsets in the order of --labels' numbers",
    )
    group.add_argument("--root", type=Path, metavar="FOLDER", help="of the data sets that have names")
    group.add_argument("--download", action="store_true", help="let torchvision fetch its data set")


def model_and_weights(arguments: argparse.Namespace) -> tuple[str | None, str | None]:
    """What ``--model`` and ``--weights`` mean: a saved folder in either of them alone names its network by itself."""
    from senet_zoo.weights.create import is_place, model_at

    model, weights = arguments.model, arguments.weights
    if weights is None and model is not None and is_place(model):
        model, weights = None, model
    if model is not None and weights is not None and is_place(model):
        raise UsageError(f"weights come from one place, got {model!r} and {weights!r}: name one of them")
    if model is None and weights is not None:
        model = model_at(weights)
    return model, weights


def task_of(model: str | None, weights: str | None) -> "SavedTask":
    """What the network is for that ``--model`` or ``--weights`` names."""
    from senet_zoo.weights.config import SavedTask
    from senet_zoo.weights.create import is_place
    from senet_zoo.weights.task_folders import task_at

    place = weights if weights is not None else model if model is not None and is_place(model) else None
    return SavedTask.CLASSIFICATION if place is None else task_at(place)


def load_network(arguments: argparse.Namespace, device: str | None) -> "Predictor":
    """The network that the options choose, on ``device``."""
    from senet_zoo.prediction.predictor import Predictor
    from senet_zoo.weights.config import SavedTask

    task = task_of(arguments.model, arguments.weights)
    if task is not SavedTask.CLASSIFICATION:
        raise UsageError(
            f"{arguments.weights or arguments.model} holds a network for {task.value}, and this command takes "
            "classifiers alone; predict, info, verify, evaluate, train, export and publish take both"
        )
    return Predictor(arguments.model, weights=arguments.weights, device=device)


def open_any_pictures(arguments: argparse.Namespace) -> "Labelled | Unlabelled":
    """The pictures that the options choose, of which nothing need say what they show: one is enough."""
    from senet_zoo.data.datasets import unlabelled_pictures

    found = None if arguments.labels else unlabelled_pictures(arguments.data)
    if found is None:
        return open_pictures(arguments)
    for option, value in (("--split", arguments.split), ("a file of classes", arguments.class_names)):
        if value is not None:
            raise UsageError(f"{option} is for labelled pictures, and nothing says what {arguments.data} shows")
    return found


def open_pictures(arguments: argparse.Namespace) -> "Labelled":
    """The labelled pictures that the options choose."""
    from senet_zoo.data.datasets import open_data

    return open_data(
        arguments.data,
        arguments.split,
        labels=arguments.labels,
        classes=arguments.class_names,
        root=arguments.root,
        download=arguments.download,
    )
