"""Write the parts of README.md that a command makes: the predictions over samples/ and the table of weights.

python tools/readme.py            # writes
python tools/readme.py --check    # exit status 1 where the README is not what would be written
"""

import argparse
import contextlib
import io
import sys
from pathlib import Path
from unittest.mock import patch

import senet_zoo
from senet_zoo import cli

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    readme = ROOT / "README.md"
    found = readme.read_text()
    made = filled(found)
    if args.check:
        if made != found:
            print("README.md is not what python tools/readme.py writes; run it", file=sys.stderr)
        return int(made != found)
    readme.write_text(made)
    return 0


def filled(text: str) -> str:
    """The README with its made parts made anew."""
    for name, part in (("predict", predictions()), ("weights", weights())):
        start, end = f"<!-- {name}: made by tools/readme.py -->\n", f"<!-- /{name} -->"
        if start not in text:
            raise SystemExit(f"README.md lacks the line {start.strip()}")
        before, _, rest = text.partition(start)
        text = before + start + part + end + rest.partition(end)[2]
    return text


def predictions() -> str:
    """What ``senet-zoo predict samples/`` prints on a terminal of 100 columns."""
    output = io.StringIO()
    with (
        contextlib.chdir(ROOT),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),  # on a terminal both are seen
        patch.dict("os.environ", {"COLUMNS": "100"}),
        patch("senet_zoo.cli.predict.on_terminal", lambda: True),
    ):
        status = cli.main(["predict", "samples/"])
    if status:
        raise SystemExit("senet-zoo predict samples/ failed")
    return f"```text\n{output.getvalue()}```\n"


def weights() -> str:
    """A table of all checkpoints: the accuracy that their owners or we measured, and on what."""
    lines = ["| weights | top-1 | pictures | measured by | licence |", "|---|---|---|---|---|"]
    for name in senet_zoo.list_weights():
        row = senet_zoo.get_weights(name).row
        top1 = next((metric for metric in row.metrics if metric.name == "top1"), None)
        value = "not known" if top1 is None or top1.value is None else f"{top1.value:.2f} %"
        pictures = f"{top1.dataset}, {top1.size} px" if top1 else row.labels
        who = ("us" if top1.measured_by_us else top1.who.partition(",")[0]) if top1 else "nobody"
        lines.append(f"| `{name}` | {value} | {pictures} | {who} | {row.license or 'not known'} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
