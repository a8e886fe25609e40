"""How the package is built, in numbers: files, names, and how many files a reader of one call has to open.

Run in the tree, or with ``--package`` over another checkout's package; figures of both stand side by side then::

    python tools/structure.py
    python tools/structure.py --package ../before/senet_zoo

Files "touched" by a call are those of the package in which at least one function ran; a first call has imported what
is needed.
"""

import argparse
import ast
import collections
import os
import statistics
import subprocess
import sys
from pathlib import Path

CALLS = {
    "create_model": ('senet_zoo.create_model("se_resnet20")', 'senet_zoo.create_model("se_resnet18")'),
    "forward": ('m = senet_zoo.create_model("se_resnet18").eval(); x = torch.zeros(1, 3, 64, 64)', "m(x)"),
    "fit": (
        "import numpy, tempfile\n"
        "from senet_zoo.training import TrainConfig, fit\n"
        "folder = tempfile.mkdtemp()\n"
        "images = numpy.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=numpy.uint8)\n"
        "numpy.savez(folder + '/train.npz', images=images, labels=numpy.arange(16) % 2,"
        " classes=numpy.array(['a', 'b']))\n"
        "config = TrainConfig(data=folder + '/train.npz', model='se_resnet20', output=folder + '/run', val_share=0.5,"
        " epochs=1, batch=4, workers=0)",
        "fit(config)",
    ),
}
TRACED = """
import sys, threading, torch, senet_zoo
{before}
seen = set()
def note(frame, event, argument):
    code = frame.f_code
    if event == "call" and code.co_name != "<module>" and code.co_filename.startswith({root!r}):
        seen.add(code.co_filename)
threading.setprofile(note)
sys.setprofile(note)
{call}
sys.setprofile(None)
print(len(seen))
"""


def main() -> None:
    """Print the figures of this tree, and of another one beside them."""
    parser = argparse.ArgumentParser(description="Print how the package is built, in numbers.")
    here = Path(__file__).resolve().parents[1] / "senet_zoo"
    parser.add_argument("--package", type=Path, default=here, help="another checkout's senet_zoo, shown as well")
    packages = list(dict.fromkeys([parser.parse_args().package.resolve(), here]))
    columns = [figures(package) for package in packages]
    for name in columns[0]:
        print(f"{name:48}", *(f"{column[name]:>8}" for column in columns))
    for package in packages:
        twice = {name: files for name, files in definitions(package).items() if len(files) > 1}
        for name, files in sorted(twice.items()):
            print(f"  {name} stands in {', '.join(files)}")


def figures(package: Path) -> dict[str, int]:
    """What is counted of a package, by name."""
    files = sorted(package.rglob("*.py"))
    lines = [len(file.read_text().splitlines()) for file in files]
    doors = [p for p in package.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()]
    return {
        "files": len(files),
        "lines": sum(lines),
        "lines of a file, median": round(statistics.median(lines)),
        "lines of a file, most": max(lines),
        "files of fewer than 60 lines": sum(count < 60 for count in lines),
        "first-level doors": len(doors),
        "names of public classes that are defined twice": sum(len(f) > 1 for f in definitions(package).values()),
        **{f"files touched by {name}": touched(package, *call) for name, call in CALLS.items()},
    }


def definitions(package: Path) -> dict[str, list[str]]:
    """The files that define each public class."""
    homes = collections.defaultdict(list)
    for file in sorted(package.rglob("*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(str(file.relative_to(package)))
    return homes


def touched(package: Path, before: str, call: str) -> int:
    """How many files of the package run while a call does."""
    code = TRACED.format(root=str(package), before=before, call=call)
    environment = os.environ | {"PYTHONPATH": str(package.parent), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=package.parent, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return int(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
