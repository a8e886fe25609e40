"""The words that commands share which show labelled pictures to a network."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from senet_zoo.cli.parser import positive
from senet_zoo.errors import UsageError

if TYPE_CHECKING:
    from senet_zoo.data.labelled import Labelled
    from senet_zoo.prediction.predictor import Predictor


def add_network(parser: argparse.ArgumentParser, unit: str = "pictures") -> None:
    """Declare which network, where it runs, and how many ``unit`` it sees at once."""
    parser.add_argument("--model", metavar="NAME[.TAG]", help="default: the CIFAR-10 checkpoint inside the package")
    parser.add_argument("--weights", metavar="PLACE", help="a file or folder for --model, instead of published weights")
    parser.add_argument("--device", metavar="NAME", help="such as cpu or cuda:1; default: a GPU if there is one")
    parser.add_argument("--batch", type=positive, default=64, metavar="N", help=f"{unit} at once; default: 64")
    parser.add_argument("--workers", type=positive, metavar="N", help="processes that decode; default: one a core")


def add_data(group: argparse._ArgumentGroup, class_names: str = "--classes") -> None:
    """Declare which part of DATA, and where its labels and their names are; ``class_names`` is the word for these."""
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


def require_model(arguments: argparse.Namespace) -> None:
    """Refuse weights of no network.

    Raises:
        UsageError: they are.
    """
    if arguments.weights and not arguments.model:
        raise UsageError("--weights needs the network that they belong to: add --model NAME")


def network(arguments: argparse.Namespace, device: str | None) -> "Predictor":
    """The network that was asked for, on ``device``."""
    from senet_zoo.prediction.predictor import EMBEDDED, load_predictor

    return load_predictor(arguments.model or EMBEDDED, weights=arguments.weights, device=device)


def pictures(arguments: argparse.Namespace) -> "Labelled":
    """The pictures that were asked for."""
    from senet_zoo.data.datasets import open_data

    return open_data(
        arguments.data,
        arguments.split,
        labels=arguments.labels,
        classes=arguments.class_names,
        root=arguments.root,
        download=arguments.download,
    )
