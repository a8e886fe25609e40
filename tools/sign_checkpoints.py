"""Sign the checkpoints inside the package, and what the manifest says of them, for a release.

python tools/sign_checkpoints.py                   # by a key of this release's own, which is forgotten at once
python tools/sign_checkpoints.py --key key.pem     # by a key that its owner keeps

Then commit the three files that it writes, and say the key's sha256 in CHANGELOG.md. A test fails once a signed
checkpoint or its row is changed; then sign again.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from senet_zoo.weights.signed import CHECKPOINTS, check_checkpoints, sign_checkpoints


def main() -> int:
    """Sign, and check what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--key", type=Path, metavar="KEY", help="a private key, PEM; default: a new one, kept nowhere")
    parser.add_argument("--folder", type=Path, default=CHECKPOINTS, help="default: the package's")
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        sign_checkpoints(args.folder, args.key or new_key(Path(folder)))
    signed = check_checkpoints(args.folder)
    print(f"{len(signed.files)} files in {args.folder} signed with the key of sha256 {signed.key}")
    return 0


def new_key(folder: Path) -> Path:
    """A private key in a file of the folder."""
    path = folder / "key.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


if __name__ == "__main__":
    raise SystemExit(main())
