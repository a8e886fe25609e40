"""``senet-zoo cache``: where downloads lie, how much they take, and removing them."""

import argparse

from senet_zoo.cli.output import print_json, print_problem, print_table
from senet_zoo.support.terminal import visible

SUMMARY = "print where downloads lie, and remove them"
DESCRIPTION = """\
Print which published checkpoints lie on this machine, where, and how much of
the disk they take. Nothing is hashed or asked of a hub.

--prune removes those that match a name or shell wildcards in quotes, '*' all of
them; they are fetched again when they are next asked for. Weights of your own,
in folders, are never touched. SENET_ZOO_CACHE chooses another place for all of
it, HF_HUB_CACHE one for what comes from hubs."""
EXAMPLE = """\
senet-zoo cache
  senet-zoo cache --prune 'se_resnet152*'"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prune", metavar="PATTERN", help="remove those checkpoints")


def run(arguments: argparse.Namespace) -> int:
    """Print the contents, or remove some; status 1 where nothing matches."""
    from senet_zoo.weights.cache_contents import cache_contents, prune_cache

    removed = () if arguments.prune is None else prune_cache(arguments.prune)
    found = cache_contents()
    if arguments.json:
        print_json({**vars(found), "size": sum(each.size for each in found.checkpoints), "removed": removed})
    elif arguments.prune is None:
        print_table(
            ("place", "of", "size"),
            [
                (str(found.folder), "the zoo", _megabytes(found.folder_size)),
                (str(found.hub_folder), "hubs", _megabytes(sum(each.size for each in found.checkpoints))),
            ],
        )
        if found.checkpoints:
            print()
            print_table(
                ("weights", "size", "file"),
                [(each.name, _megabytes(each.size), str(each.path)) for each in found.checkpoints],
            )
    else:
        for each in removed:
            print(f"removed {each.name}, {_megabytes(each.size)}: {visible(str(each.path))}")
    if arguments.prune is not None and not removed:
        print_problem("cache", f"no cached checkpoint matches {arguments.prune!r}; senet-zoo cache lists them")
        return 1
    return 0


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
