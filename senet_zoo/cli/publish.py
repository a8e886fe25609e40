"""``senet-zoo publish``: a saved model to a hub."""

import argparse

from senet_zoo.cli.output import print_json, print_table
from senet_zoo.support.terminal import visible

SUMMARY = "publish a saved model to a hub"
DESCRIPTION = """\
Check a folder that save_pretrained wrote, send its tensors, config and card to
a hub in one commit, tag it, and compare the sha256 that the hub then reports.
The manifest's row of the published weights is printed where one can be.

It needs a token with write access in HF_TOKEN, or hf auth login. On a hub
without Xet storage set HF_HUB_DISABLE_XET=1. With --dry-run nothing is asked
or changed anywhere.

With --sign every file is signed, and model.sig goes along: senet-zoo verify
hf://ORG/NAME --signature KEY.pub checks it, and so does model_signing verify.
It needs the extra sign: pip install 'senet-zoo[sign]'."""
EXAMPLE = """\
senet-zoo publish run7/ my-org/se_resnet50-flowers --tag v1
  senet-zoo publish run7/ my-org/se_resnet50-flowers --private --dry-run"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", help="with model.safetensors, config.json and README.md")
    parser.add_argument("repo", metavar="ORG/NAME", help="the repository; made where there is none")
    parser.add_argument("--private", action="store_true", help="hide the repository from strangers")
    parser.add_argument("--hub", metavar="URL", help="address of another hub (or set SENET_ZOO_HUB)")
    parser.add_argument("--tag", help="of the commit, such as v1; by default from the tensors' sha256")
    parser.add_argument("--sign", metavar="KEY", help="a private key on an elliptic curve, in PEM")
    parser.add_argument("--dry-run", action="store_true", help="check, and say what would be sent")


def run(arguments: argparse.Namespace) -> int:
    from senet_zoo.tasks import plan_publication, push_to_hub
    from senet_zoo.weights.manifest import document

    if arguments.dry_run:
        plan = plan_publication(arguments.folder, arguments.repo, tag=arguments.tag, sign=arguments.sign)
        if arguments.json:
            print_json({"repo": plan.repo, "tag": plan.tag, "sha256": plan.sha256, "files": plan.sizes})
            return 0
        print(f"would be sent to {plan.repo} in one commit, tagged {plan.tag}; nothing was")
        print_table(("  file", "bytes"), [(f"  {visible(name)}", f"{size:,}") for name, size in plan.sizes.items()])
        print(f"sha256 {plan.sha256}")
        return 0
    done = push_to_hub(
        arguments.folder,
        arguments.repo,
        private=arguments.private,
        hub=arguments.hub,
        tag=arguments.tag,
        sign=arguments.sign,
    )
    manifest = None if done.row is None else document([done.row])
    if arguments.json:
        print_json(
            {
                "address": done.address,
                "hub": done.hub,
                "tag": done.tag,
                "sha256": done.sha256,
                "manifest": manifest,
                "no_row": done.no_row or None,
            }
        )
        return 0
    print(f'senet_zoo.from_pretrained("{done.address}")')
    print(f"{done.hub}/{done.repo}, tagged {done.tag}; the hub reports the sha256 of this folder: {done.sha256}")
    if manifest is None:
        print(f"no row of the manifest: {done.no_row}")
    else:
        print_json(manifest)
    return 0
