"""``senet-zoo embed``: features, classes or gates of any number of pictures, as Parquet."""

import argparse
from dataclasses import asdict

from senet_zoo.cli.output import print_json
from senet_zoo.cli.parser import MODEL, WEIGHTS, positive
from senet_zoo.support.terminal import visible

SUMMARY = "write features, classes or gates of millions of pictures"
DESCRIPTION = """\
Run a network over any number of pictures and write a row for each as Parquet:
its name, the model, the sha256 of the weights, and what --keep names. Ray does
the work, on every core and GPU of this machine, or of the cluster that the
environment variable RAY_ADDRESS names: pip install 'senet-zoo[ray]'.

SOURCE is a folder of pictures, of WebDataset's tars or of Parquet files; such
files by a pattern ('shards/{000..127}.tar', '*.parquet'); or hf:owner/name.

A run that was killed goes on where it was, by the same command, with no row
lost or doubled. Pictures that cannot be read have their names and errors in
FOLDER/failed=true; the rest is FOLDER/failed=false. The exit status is 1 if
there is one of them."""
EXAMPLE = """\
senet-zoo embed photographs/ -o features --model se_resnet50
  senet-zoo embed 'shards/{000..127}.tar' -o classes --keep classes
  senet-zoo embed hf:uoft-cs/cifar10 -o gates --keep gates"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="where the pictures are")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="of these rows alone")
    parser.add_argument("--model", metavar="NAME|FOLDER", help=f"{MODEL}; default: the package's for CIFAR-10")
    parser.add_argument("--weights", metavar="PLACE", help=WEIGHTS)
    parser.add_argument(
        "--keep", choices=("features", "classes", "gates"), default="features", help="default: pooled features"
    )
    parser.add_argument("--column", metavar="NAME", help="of the pictures, in Parquet or a data set")
    parser.add_argument("--batch", type=positive, default=32, metavar="N", help="pictures at once; default: 32")


def run(arguments: argparse.Namespace) -> int:
    from senet_zoo.prediction.embed import embed

    found = embed(
        arguments.source,
        arguments.output,
        model=arguments.model,
        weights=arguments.weights,
        kind=arguments.keep,
        column=arguments.column,
        batch=arguments.batch,
    )
    if arguments.json:
        print_json(asdict(found) | {"folder": str(found.folder)})
    else:
        said = f"{found.pictures} rows of {found.model} in {found.folder}"
        print(visible(said + (f", {found.failures} failures in failed=true" if found.failures else "")))
    return 1 if found.failures else 0
