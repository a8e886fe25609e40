"""``senet-zoo download``: fetch weights ahead of their use."""

import argparse
import sys

from senet_zoo.cli.output import print_json, visible
from senet_zoo.errors import WeightsError

SUMMARY = "fetch weights and print where they lie"
DESCRIPTION = """\
Fetch weights, check their bytes and print the path of each file, one a line.
What is on this machine already is checked, not fetched again. Weights that
cannot be had are named on standard error; the exit status is then 1."""
EXAMPLE = "senet-zoo download se_resnet50 se_resnet20.cifar10"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's words."""
    parser.add_argument("names", nargs="+", metavar="NAME[.TAG]", help="a model, for its default weights, or model.tag")


def run(arguments: argparse.Namespace) -> int:
    """Fetch all of them; status 1 if one could not be had."""
    from senet_zoo import download, get_weights

    names = [get_weights(name).name for name in arguments.names]
    files, failures = [], []
    for name in names:
        try:
            located = download(name)
        except WeightsError as error:
            print(f"senet-zoo download: {error}", file=sys.stderr)
            failures.append({"name": name, "error": str(error)})
            continue
        if not arguments.json:
            print(visible(str(located.path)), flush=True)
        files.append(
            {
                "name": name,
                "path": str(located.path),
                "source": located.source,
                "sha256": located.sha256,
                "revision": located.revision,
            }
        )
    if arguments.json:
        print_json({"files": files, "failures": failures})
    return 1 if failures else 0
