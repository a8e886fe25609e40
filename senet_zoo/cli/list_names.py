"""``senet-zoo list``: names of models or of weights."""

import argparse
import sys

from senet_zoo.cli.output import on_terminal, print_json, print_table
from senet_zoo.cli.parser import near_misses

SUMMARY = "print the names of models or of weights"
DESCRIPTION = """\
Print the names of models, or of weights, in natural order.
No match is exit status 1."""
EXAMPLE = "senet-zoo list 'se_resnet*' --pretrained"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pattern", nargs="?", default="*", metavar="PATTERN", help="shell wildcards, in quotes; default: all"
    )
    parser.add_argument("--pretrained", action="store_true", help="only models with published weights")
    parser.add_argument("--weights", action="store_true", help="names of weights (model.tag) instead of models")


def run(arguments: argparse.Namespace) -> int:
    from senet_zoo import list_models, list_weights

    if arguments.weights:
        names, all_names = list_weights(arguments.pattern), list_weights()
    else:
        names, all_names = list_models(arguments.pattern, pretrained=arguments.pretrained), list_models()
    if arguments.json:
        print_json(names)
    elif on_terminal() and names:
        _print_tables(names, of_weights=arguments.weights)
    else:
        print("".join(f"{name}\n" for name in names), end="")
    if not names:
        near = near_misses(arguments.pattern, all_names)
        print(
            f"senet-zoo list: no name matches {arguments.pattern!r}{near or '; the wildcards are * ?'}", file=sys.stderr
        )
        return 1
    return 0


def _print_tables(names: list[str], *, of_weights: bool) -> None:
    from senet_zoo import get_weights, list_weights

    if of_weights:
        rows = [get_weights(name).row for name in names]
        print_table(
            ("weights", "labels", "picture", "licence"),
            [(row.name, row.labels, f"{row.preprocessing.size} px", row.license or "not known") for row in rows],
        )
        return
    tags: dict[str, list[str]] = {}
    for model, tag in (name.split(".", 1) for name in list_weights()):
        tags.setdefault(model, []).append(tag)
    print_table(("model", "weights"), [(name, ", ".join(tags.get(name, ["-"]))) for name in names])
