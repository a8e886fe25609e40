"""``senet-zoo verify``: whether weights hold what is promised of them."""

import argparse
import dataclasses

from senet_zoo.cli.output import print_json, print_table, visible

SUMMARY = "check weights: bytes, names, shapes and values"
DESCRIPTION = """\
Check weights against what is known of them: sha256 and size of the file, its
header, names and shapes of its tensors against the network, and that every
value is finite. One check that does not hold is exit status 1.

Without a name it checks the checkpoint inside the package."""
EXAMPLE = """\
senet-zoo verify se_resnet50
  senet-zoo verify run7/model.safetensors --model se_resnet50"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's words."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME|FILE", help="a model, model.tag, or a safetensors file of your own"
    )
    parser.add_argument("--model", metavar="NAME", help="the network that a FILE belongs to")


def run(arguments: argparse.Namespace) -> int:
    """Check all of them; status 1 if a check does not hold."""
    from senet_zoo import verify
    from senet_zoo.inference.predictor import EMBEDDED

    verified = [verify(name, model=arguments.model) for name in arguments.names or [EMBEDDED]]
    if arguments.json:
        print_json([{"ok": each.ok, **dataclasses.asdict(each)} for each in verified])
    else:
        for each in verified:
            print(
                f"{visible(each.name)}: {'every check holds' if each.ok else 'NOT WHOLE'}, sha256 {each.sha256 or '-'}"
            )
            print_table(
                ("  check", "holds", "found"),
                [(f"  {check.name}", "yes" if check.ok else "NO", check.found) for check in each.checks],
            )
    return 0 if all(each.ok for each in verified) else 1
