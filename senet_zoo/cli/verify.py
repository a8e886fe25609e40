"""``senet-zoo verify``: whether weights hold what is promised of them."""

import argparse
import dataclasses
from typing import TYPE_CHECKING

from senet_zoo.cli.output import Style, print_folded, print_json, print_table
from senet_zoo.support.terminal import visible

if TYPE_CHECKING:
    from senet_zoo.weights.verify import Verification

SUMMARY = "check weights: bytes, names, shapes and values"
DESCRIPTION = """\
Check weights against what is known of them: sha256 and size of the file, its
header, names and shapes of its tensors against the network, and that every
value is finite. With --deep the network also runs on a fixed picture, and its
logits must be those that were published: the fingerprint in the manifest, or in
a saved folder's config or a converted file. One check that does not hold, or
could not be made, is exit status 1.

A folder that senet-zoo download --to wrote is checked file by file, and what is
missing, extra or changed is named. Without a name it checks the checkpoint
inside the package.

With --signature KEY.pub every file of a folder or of a hub's repository must be
one that the key's owner signed, by senet-zoo sign, publish --sign or OpenSSF's
model_signing, and none may be missing or extra. Without KEY.pub it is the key
that a release has beside its own checkpoints."""
EXAMPLE = """\
senet-zoo verify se_resnet50
  senet-zoo verify run7/model.safetensors --model se_resnet50
  senet-zoo verify se_resnet20 --deep
  senet-zoo verify run7/ --signature key.pub"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME|FILE|DIR",
        help="a model, model.tag, a safetensors file, or a folder of weights",
    )
    parser.add_argument("--model", metavar="NAME[.TAG]", help="the network, or the weights, that a FILE should be")
    parser.add_argument("--deep", action="store_true", help="run the network and compare its logits")
    parser.add_argument(
        "--signature", nargs="?", const="", metavar="KEY.pub", help="check the signature of the files, too"
    )


def run(arguments: argparse.Namespace) -> int:
    """Check all of them; status 1 if a check does not hold."""
    from senet_zoo.prediction.predictor import EMBEDDED
    from senet_zoo.tasks import verify, verify_deep, verify_signature

    def check(name: str) -> "Verification":
        if arguments.signature is None:
            return (verify_deep if arguments.deep else verify)(name, model=arguments.model)
        return verify_signature(name, arguments.signature or None, model=arguments.model, deep=arguments.deep)

    verified = [check(name) for name in arguments.names or [EMBEDDED]]
    if arguments.json:
        print_json([{"ok": each.ok, **dataclasses.asdict(each)} for each in verified])
    else:
        for each in verified:
            said = "every check holds" if each.ok else "NOT WHOLE"
            print_folded(f"{visible(each.name)}: {said}, sha256 {each.sha256 or '-'}")
            print_table(
                ("  check", "holds", "found"),
                [(f"  {check.name}", "yes" if check.ok else "NO", check.found) for check in each.checks],
                style=lambda row: Style.BAD if row[1] == "NO" else None,
            )
    return 0 if all(each.ok for each in verified) else 1
