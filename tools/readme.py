"""Write the parts of README.md and of the pages in docs/ that a command makes: predictions, and the table of networks.

python tools/readme.py            # writes
python tools/readme.py --check    # exit status 1 where a page is not what would be written

A part stands between the lines `<!-- NAME: made by tools/readme.py -->` and `<!-- /NAME -->`, on any page.
"""

import argparse
import contextlib
import csv
import io
import re
import sys
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import senet_zoo
from senet_zoo import cli
from senet_zoo.analysis.listing import list_rows
from senet_zoo.weights.manifest import load_manifest
from senet_zoo.weights.rows import PinState

ROOT = Path(__file__).parents[1]
LATENCY = ROOT / "benchmarks" / "results" / "latency" / "cpu.csv"
PART = re.compile(r"(<!-- (\w+): made by tools/readme\.py -->\n)(.*?)(<!-- /\2 -->)", re.DOTALL)
CHOSEN = (
    "se_cifarnet.cifar10",
    "se_resnet20.cifar10",
    "se_mobilenet.imagenette",
    "se_shufflenet.imagenette",
    "se_mnasnet.rmsp_in1k",
    "se_resnet18.timm_in1k",
    "se_resnet50.caffe_in1k",
    "se_resnet50b.ra2_in1k",
    "se_resnext50b_32x4d.racm_in1k",
    "senet154.caffe_in1k",
    "se_resnet152d.ra2_in1k",
    "se_resnext101d_32x8d.ah_in1k",
    "se_resnextaa101d_32x8d.sw_in12k_ft_in1k_288",
)


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    stale = []
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        found = page.read_text(encoding="utf-8")
        made = filled(found)
        if made != found:
            stale.append(str(page.relative_to(ROOT)))
            if not args.check:
                page.write_text(made, encoding="utf-8")
    if args.check and stale:
        print(f"{', '.join(stale)}: not what python tools/readme.py writes; run it", file=sys.stderr)
    return int(args.check and bool(stale))


def filled(text: str) -> str:
    """A page with its made parts made anew."""
    return PART.sub(lambda found: found[1] + PARTS[found[2]]() + found[4], text)


def samples() -> str:
    """What ``senet-zoo predict samples/`` prints."""
    return printed("predict", "samples/")


def photograph() -> str:
    """What README's first command prints."""
    return printed("predict", "docs/cat.jpg", "--model", "se_cifarnet")


def printed(*words: str) -> str:
    """What a command prints on a terminal of 100 columns."""
    output = io.StringIO()
    with (
        contextlib.chdir(ROOT),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),  # on a terminal both are seen
        patch.dict("os.environ", {"COLUMNS": "100"}),
        patch("senet_zoo.cli.predict.on_terminal", lambda: True),
    ):
        status = cli.main(list(words))
    if status:
        raise SystemExit(f"senet-zoo {' '.join(words)} failed")
    return f"```text\n{output.getvalue()}```\n"


def chosen() -> str:
    """A table of thirteen checkpoints, from the manifest and from what benchmarks/latency.py measured."""
    with LATENCY.open(encoding="utf-8", newline="") as file:
        measured = list(csv.DictReader(file))
    times = {(row["model"], int(row["size"])): row for row in measured}
    machines = set()
    rows = {row.name: row for row in list_rows(weights=True)}
    lines = ["| network | top-1 | pictures | parameters | file | one core |", "|---|---|---|---|---|---|"]
    for name in CHOSEN:
        top1 = next(metric for metric in senet_zoo.get_weights(name).row.metrics if metric.name == "top1")
        row = rows[name]
        size = f"{row.file_size / 1e6:.1f} MB" if row.file_size else f"{4 * row.parameters / 1e6:.0f} MB"
        time = times[name.partition(".")[0], top1.size]
        machines.add(time["machine"].partition(", senet_zoo ")[0])
        lines.append(
            f"| `{name}` | {top1.value:.2f} % | {top1.dataset}, {top1.size} px | {row.parameters / 1e6:.1f} M "
            f"| {size} | {float(time['milliseconds']):.0f} ms |"
        )
    (machine,) = machines
    facts = dict(fact.split(" ", 1) for fact in machine.split(", "))
    where = f"{facts['processor']} with {facts['capability']}, torch {facts['torch']}"
    states = Counter(row.pin_state for known in load_manifest().models.values() for row in known)
    lines += [
        "",
        f"Of {states.total()} checkpoints that have a name, {states[PinState.PINNED]} are pinned to their bytes, "
        f"{states[PinState.HASHED]} hashed by who published them, and",
        f"{states[PinState.UNPINNED]} unpinned; `senet-zoo info NAME` says which.",
        "",
        "Accuracies of the first four were measured here, the others by timm. Times are of one picture, optimised, in",
        f"float32, on {where}: `python benchmarks/latency.py measure`.",
    ]
    return "\n".join(lines) + "\n"


PARTS = {"samples": samples, "photograph": photograph, "chosen": chosen}


if __name__ == "__main__":
    sys.exit(main())
