"""The bill of materials that the wheel carries (PEP 770), in CycloneDX 1.6: the package and each checkpoint inside it.

python tools/sbom.py            # writes sbom/senet_zoo.cdx.json
python tools/sbom.py --check    # exit status 1 where it is not what would be written

It is made from pyproject.toml and the manifest, and holds no time and no random number, so that builds stay the same.
"""

import argparse
import hashlib
import json
import re
import sys
import tomllib
from pathlib import Path

import senet_zoo
from senet_zoo.weights.rows import PackageFile

ROOT = Path(__file__).parents[1]
BILL = ROOT / "sbom" / "senet_zoo.cdx.json"
WORDS = ROOT / "senet_zoo" / "formats" / "ilsvrc2017_synsets.txt"


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    text = json.dumps(bill(), indent=2, ensure_ascii=False) + "\n"
    if args.check:
        same = BILL.is_file() and BILL.read_text(encoding="utf-8") == text
        if not same:
            print(f"{BILL.relative_to(ROOT)} is not what python tools/sbom.py writes; run it", file=sys.stderr)
        return int(not same)
    BILL.parent.mkdir(exist_ok=True)
    BILL.write_text(text, encoding="utf-8")
    return 0


def bill() -> dict[str, object]:
    """The document."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    package = f"pkg:pypi/{project['name']}@{project['version']}"
    needed = [re.split(r"[<>=\[; ]", need)[0].replace("_", "-").lower() for need in project["dependencies"]]
    parts = [*checkpoints(), class_order()]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "library",
                "bom-ref": package,
                "name": project["name"],
                "version": project["version"],
                "description": project["description"],
                "licenses": [{"license": {"id": project["license"]}}],
                "purl": package,
            }
        },
        "components": [
            *parts,
            *(
                {"type": "library", "bom-ref": f"pkg:pypi/{name}", "name": name, "purl": f"pkg:pypi/{name}"}
                for name in needed
            ),
        ],
        "dependencies": [
            {"ref": package, "dependsOn": [part["bom-ref"] for part in parts] + [f"pkg:pypi/{name}" for name in needed]}
        ],
    }


def checkpoints() -> list[dict[str, object]]:
    """The trained networks inside of the package."""
    found = []
    for name in senet_zoo.list_weights():
        row = senet_zoo.get_weights(name).row
        for source in row.sources:
            if isinstance(source, PackageFile):
                licence = {"Apache-2.0".lower(): "Apache-2.0"}[row.license]
                found.append(
                    {
                        "type": "machine-learning-model",
                        "bom-ref": f"senet_zoo/{source.path}",
                        "name": name,
                        "description": f"{row.parameters} parameters, trained by the authors of senet_zoo",
                        "hashes": [{"alg": "SHA-256", "content": source.sha256}],
                        "licenses": [{"license": {"id": licence}}],
                        "properties": [{"name": "senet_zoo:path", "value": f"senet_zoo/{source.path}"}],
                    }
                )
    return found


def class_order() -> dict[str, object]:
    """The one file of data that others made."""
    path = WORDS.relative_to(ROOT).as_posix()
    return {
        "type": "data",
        "bom-ref": path,
        "name": "order of the classes of ILSVRC 2017",
        "description": "WordNet ids as in the development kit of ILSVRC 2017; see NOTICE",
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(WORDS.read_bytes()).hexdigest()}],
        "properties": [{"name": "senet_zoo:path", "value": path}],
    }


if __name__ == "__main__":
    sys.exit(main())
