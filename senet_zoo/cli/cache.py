"""``senet-zoo cache``: where downloads lie, how much they take, and removing them."""

import argparse
from pathlib import Path
from shlex import quote

from senet_zoo.cli.output import print_folded, print_json, print_problem, print_table
from senet_zoo.support.terminal import visible

SUMMARY = "print where downloads lie, and remove them"
DESCRIPTION = """\
Print which published checkpoints lie on this machine, where, and how much of
the disk they take. Nothing is hashed or asked of a hub.

--prune removes those that match a name or shell wildcards in quotes, '*' all of
them; they are fetched again when they are next asked for. Weights of your own,
in folders, are never touched. --move copies everything of the zoo's into an
empty folder and removes it where it was; SENET_ZOO_CACHE must then name that
folder. SENET_ZOO_CACHE chooses another place for all of
it, HF_HUB_CACHE one for what comes from hubs."""
EXAMPLE = """\
senet-zoo cache
  senet-zoo cache --prune 'se_resnet152*'
  senet-zoo cache --move /data/senet_zoo"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--prune", metavar="PATTERN", help="remove those checkpoints")
    group.add_argument("--move", metavar="FOLDER", help="keep everything there instead")


def run(arguments: argparse.Namespace) -> int:
    """Print the contents, or remove some; status 1 where nothing matches."""
    from senet_zoo.weights.cache import cache_contents, move_cache, prune_cache

    if arguments.move is not None:
        moved = move_cache(arguments.move)
        folder = Path(arguments.move).expanduser().absolute()
        if arguments.json:
            print_json({"folder": folder, "moved": moved, "variable": "SENET_ZOO_CACHE"})
        else:
            print_folded(f"{visible(str(folder))} holds the cache now, with {len(moved)} checkpoints; from now on:")
            print(f"  export SENET_ZOO_CACHE={quote(str(folder))}")
        return 0
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
