"""Sign the checkpoints inside the package, and what the manifest says of them, for a release.

python tools/sign_checkpoints.py --key key.pem     # then commit the three files that it writes, with the release

The private key stays with the project's owner, outside of the repository: the next release needs it again. A test fails
once a signed checkpoint or its row is changed; then sign again, or remove the three files.
"""

import argparse
from pathlib import Path

from senet_zoo.weights.signed import CHECKPOINTS, check_checkpoints, sign_checkpoints


def main() -> int:
    """Sign, and check what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--key", type=Path, required=True, metavar="KEY", help="the owner's private key, PEM")
    parser.add_argument("--folder", type=Path, default=CHECKPOINTS, help="default: the package's")
    args = parser.parse_args()
    sign_checkpoints(args.folder, args.key)
    signed = check_checkpoints(args.folder)
    print(f"{len(signed.files)} files in {args.folder} signed with the key of sha256 {signed.key}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
