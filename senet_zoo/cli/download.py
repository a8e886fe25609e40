"""``senet-zoo download``: fetch weights ahead of their use."""

import argparse

from senet_zoo.cli.output import print_json, print_problem
from senet_zoo.errors import UsageError, WeightsError
from senet_zoo.support.terminal import visible

SUMMARY = "fetch weights and print where they lie"
DESCRIPTION = """\
Fetch weights, check their bytes and print the path of each file, one a line.
What is on this machine already is checked, not fetched again. Weights that
cannot be had are named on standard error; the exit status is then 1.

With --to they are also copied into a folder, with their rows of the manifest
and SHA256SUMS, for a machine without network: there SENET_ZOO_WEIGHTS_DIR=DIR
loads from it, and senet-zoo verify DIR proves it."""
EXAMPLE = """\
senet-zoo download se_resnet50 se_resnet20.cifar10
  senet-zoo download 'se_resnet*.caffe_in1k' --to kit"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="+",
        metavar="PATTERN",
        help="a model, for its default weights, model.tag, or wildcards over both, for all that match",
    )
    parser.add_argument("--to", metavar="DIR", help="a folder to copy them into")


def run(arguments: argparse.Namespace) -> int:
    """Fetch all of them; status 1 if one could not be had."""
    from senet_zoo import download
    from senet_zoo.weights.offline_kit import download_to

    names = list(dict.fromkeys(name for pattern in arguments.names for name in _matching(pattern)))
    files, failures = [], []
    for name in names:
        try:
            located = download(name) if arguments.to is None else download_to(name, arguments.to)
        except WeightsError as error:
            print_problem("download", error.for_command_line)
            failures.append({"name": name, "error": error.for_command_line})
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


def _matching(pattern: str) -> list[str]:
    from senet_zoo import get_weights, list_weights

    if not any(wildcard in pattern for wildcard in "*?["):
        return [get_weights(pattern).name]
    names = list_weights(pattern)
    if not names:
        raise UsageError(f"no published weights match {pattern!r}; senet-zoo list --pretrained shows what there is")
    return names
