"""``senet-zoo manifest``: a manifest's rows added, checked and pinned."""

import argparse
from pathlib import Path

from senet_zoo.cli.output import print_json
from senet_zoo.cli.parser import add_command
from senet_zoo.support.terminal import visible

SUMMARY = "add, check and pin rows of a manifest of weights"
DESCRIPTION = """\
A manifest says which weights exist, where their files lie and whose they are:
the zoo's own, or one of your own that SENET_ZOO_MANIFEST names. None of these
commands downloads weights: a hub is asked for a file's commit, size, sha256 and
header only. SENET_ZOO_HUB names another hub than Hugging Face's.

  add ORG/NAME [--to MANIFEST]  make a row of a hub's repository
  check [MANIFEST] [--online]   list all that is wrong with every row
  pin [MANIFEST]                fill what is null with what the hubs say"""
EXAMPLE = """\
senet-zoo manifest add my-org/se_resnet50-flowers@v1 --to mine.json
  senet-zoo manifest check mine.json --online
  senet-zoo manifest pin mine.json"""

_ADD = """\
Ask a hub for the commit, size and sha256 of a repository's model.safetensors,
read its config.json, its card and the names and shapes of its tensors, and
print the manifest's row that follows: for repositories that senet-zoo publish
made, and for timm's. What nobody says is null, and is named."""
_CHECK = """\
Check every row of a manifest: the rules of its fields, that its model exists
and has as many parameters, that no file stands twice or is named after another
hash, that its licence is known, that no figure is null which an installed
torchvision or timm publishes, and that files on this machine hold exactly the
network's tensors. With --online the hubs are asked for each file too. Every
problem is listed; one is exit status 1. Rows are counted by what they know of
their files: pinned (commit, whole sha256 and size), hashed (digits of a hash),
unpinned."""
_PIN = """\
Ask the hubs for what is null in a manifest's sources (revision, sha256 and
size) and write it there; nothing else is changed. What could not be had is
listed with the reason, and is exit status 1."""
_MANIFEST = "default: the one that SENET_ZOO_MANIFEST names, or the zoo's own"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = add_command(actions, "add", "make a row of a hub's repository", _ADD)
    check = add_command(actions, "check", "list all that is wrong", _CHECK)
    pin = add_command(actions, "pin", "fill what is null", _PIN)
    for action in (add, check, pin):
        # Without a default of its own, which would overwrite the one before the action's name.
        action.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON document instead"
        )
    add.add_argument("address", metavar="ORG/NAME[@REVISION]", help="a commit, tag or branch; default: the newest")
    add.add_argument("--model", metavar="NAME", help="the network, where the repository does not say it")
    add.add_argument("--tag", help="the row's own name after the model's; by default the repository's")
    add.add_argument("--to", metavar="MANIFEST", help="write the row into this file too, made where there is none")
    check.add_argument("manifest", nargs="?", metavar="MANIFEST", help=_MANIFEST)
    check.add_argument("--online", action="store_true", help="ask the hubs too")
    pin.add_argument("manifest", nargs="?", metavar="MANIFEST", help=_MANIFEST)


def run(arguments: argparse.Namespace) -> int:
    return {"add": _add, "check": _check, "pin": _pin}[arguments.action](arguments)


def _add(arguments: argparse.Namespace) -> int:
    from senet_zoo.weights.manifest import document, text_of
    from senet_zoo.weights.manifest_edit import add_row, row_of_repository

    made = row_of_repository(arguments.address, model=arguments.model, tag=arguments.tag)
    if arguments.to is not None:
        add_row(Path(arguments.to).expanduser(), made.row)
    if arguments.json:
        print_json(
            {"name": made.row.name, "manifest": document([made.row]), "unknown": made.unknown, "to": arguments.to}
        )
        return 0
    print(text_of(document([made.row])), end="")
    for remark in made.unknown:
        print(f"not known: {remark}")
    if arguments.to is not None:
        print(f"{made.row.name} is in {visible(arguments.to)}")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from senet_zoo.weights.hub_repository import Servers
    from senet_zoo.weights.manifest_check import check_manifest

    found = check_manifest(_path(arguments), Servers() if arguments.online else None)
    if arguments.json:
        states = _pin_states(found.path) if found.path is not None else None
        print_json(
            {
                "ok": found.ok,
                "path": found.name,
                "sha256": found.sha256,
                "checks": found.checks,
                "pin_states": states,
            }
        )
    else:
        problems = [check for check in found.checks if not check.ok]
        rows = len({check.name for check in found.checks} - {"form"})
        print(f"{visible(found.name)}: {_counted(rows, 'row')}, {_counted(len(problems), 'problem')}")
        if found.path is not None:
            print(f"  {', '.join(f'{count} {state}' for state, count in _pin_states(found.path).items())}")
        for problem in problems:
            print(f"  {problem.name}: {problem.found}")
    return 0 if found.ok else 1


def _pin(arguments: argparse.Namespace) -> int:
    from senet_zoo.weights.manifest_edit import pin_manifest

    done = pin_manifest(_path(arguments))
    if arguments.json:
        print_json(done)
    else:
        for pin in done.pinned:
            print(f"{pin.weights}: {pin.field} of {pin.source} is {pin.value}")
        for left in done.left:
            print(f"{left.weights}: {left.source} is not pinned: {left.reason}")
        pinned, left_over = _counted(len(done.pinned), "field"), _counted(len(done.left), "file")
        print(f"{visible(str(done.path))}: {pinned} pinned, {left_over} left")
    return 1 if done.left else 0


def _pin_states(path: Path) -> dict[str, int]:
    """How many rows are in each state, by its word."""
    from senet_zoo.support.json_fields import read_json
    from senet_zoo.weights.manifest import sound_rows
    from senet_zoo.weights.rows import PinState

    states = [row.pin_state for row in sound_rows(read_json(path))]
    return {state.value: states.count(state) for state in PinState}


def _counted(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def _path(arguments: argparse.Namespace) -> Path:
    from senet_zoo.support import settings
    from senet_zoo.weights.manifest import default_path

    if arguments.manifest is not None:
        return Path(arguments.manifest).expanduser()
    return settings.private_manifest() or default_path()
