"""``senet-zoo sign``: a folder under one signature."""

import argparse

from senet_zoo.cli.output import print_json
from senet_zoo.support.terminal import visible

SUMMARY = "sign a saved model's folder with a key of your own"
DESCRIPTION = """\
Write model.sig into a saved model's folder or a kit: the sha256 of every file
in it (tensors, config with fingerprint and class names, card), signed with your
key, in the form of OpenSSF Model Signing. The folder must be one that verify
finds whole. senet-zoo verify FOLDER --signature KEY.pub checks it, and so does
model_signing verify key. publish --sign signs what is sent to a hub.

A key is made with: openssl ecparam -name prime256v1 -genkey -noout -out key.pem
and its public half: openssl ec -in key.pem -pubout -out key.pub
The password of an encrypted key is in SENET_ZOO_KEY_PASSWORD. It needs the
extra sign: pip install 'senet-zoo[sign]'."""
EXAMPLE = "senet-zoo sign run7/ --key key.pem"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", help="a saved model's, or what download --to wrote")
    parser.add_argument("--key", metavar="KEY", required=True, help="a private key on an elliptic curve, in PEM")


def run(arguments: argparse.Namespace) -> int:
    from senet_zoo.tasks import sign

    done = sign(arguments.folder, arguments.key)
    if arguments.json:
        print_json({"files": list(done.files), "key_sha256": done.key})
    else:
        print(f"{visible(arguments.folder)}: {len(done.files)} files signed with the key of sha256 {done.key}")
    return 0
