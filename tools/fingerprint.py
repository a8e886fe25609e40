"""Run published checkpoints on the fixed picture and write their fingerprints into the manifest.

python tools/fingerprint.py se_resnet20.cifar10

A fingerprint that still holds is left as it is, so that a run on another machine changes nothing.
"""

import argparse
import json
from pathlib import Path

import senet_zoo
from senet_zoo.support.json_fields import as_json
from senet_zoo.weights.fingerprint import compare, fingerprint
from senet_zoo.weights.manifest import text_of
from senet_zoo.weights.rows import WeightsRow

MANIFEST = Path(__file__).parents[1] / "weights_manifest.json"


def main() -> None:
    """Make those that are lacking or no longer hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="MODEL.TAG")
    args = parser.parse_args()
    for name in args.names:
        row = senet_zoo.get_weights(name).row
        model = senet_zoo.create_model(row.name, pretrained=True)
        if row.fingerprint is not None and compare(model, row.preprocessing, row.fingerprint).ok:
            print(f"{row.name}: holds")
            continue
        write(row, as_json(fingerprint(model, row.preprocessing)))
        print(f"{row.name}: written")


def write(row: WeightsRow, value: dict[str, object]) -> None:
    """Put a fingerprint into the manifest, every other line of which stays as it is."""
    content = json.loads(MANIFEST.read_text())
    content["models"][row.model]["weights"][row.tag]["fingerprint"] = value
    MANIFEST.write_text(text_of(content))


if __name__ == "__main__":
    main()
