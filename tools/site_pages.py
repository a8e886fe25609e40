"""The pages of the site that nobody types: mkdocs calls this file, and it makes them from the package while it builds.

README is the first page. Families, networks, checkpoints, the command line and the Python reference come from the
registry, golden.csv, the manifest, ``--help`` and docstrings; notebooks from the outputs that they were saved with.
"""

import contextlib
import importlib
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from unittest.mock import patch

import torch
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import senet_zoo
from senet_zoo import cli
from senet_zoo.analysis.listing import list_rows
from senet_zoo.networks import network as built_networks
from senet_zoo.networks import registry
from senet_zoo.networks.families.family import Model

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))
from counterparts import counterparts  # noqa: E402  the names that the tests compare with

# Files beside docs/ that are pages of the site as well.
TEXTS = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
    "benchmarks/NOTES.md": "benchmark-notes.md",
    "samples/README.md": "samples.md",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)")
SOURCE = re.compile(r'(src=")(?!https?:)([^"]+)(")')
GATE = ("se_mobilenet.imagenette", "stages.2.0.se")
"""The gate of the interactive example: 256 channels, 16 hidden units, as in the paper's table 1."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the sections of the navigation whose pages are made here."""
    for section in config.nav or ():
        for title, entries in section.items():
            if title == "Choose a network":
                entries[-1] = {"Families": [{Path(page.path).stem: page.path} for page in families()]}
            elif title == "Notebooks":
                section[title] = [{title: path} for title, path, _ in notebooks()]
    listed = str(config.nav)
    pages = sorted(page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md"))
    if unlisted := [page for page in pages if f"'{page}'" not in listed]:
        config.nav.append({"More": unlisted})
    if repository := os.environ.get("GITHUB_REPOSITORY"):  # set by GitHub's workflows, so that no address is guessed
        config.repo_url = f"https://github.com/{repository}"
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the made pages."""
    for path, text in made_pages():
        files.append(File.generated(config, path, content=text))
    # Material's offline search asks for this script of unpkg.com; here it lies beside the pages.
    shim = ROOT / "browser" / "node_modules" / "iframe-worker" / "shim" / "index.js"
    files.append(File.generated(config, "assets/iframe-worker.js", abs_src_path=str(shim)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links out of docs/ to the pages that those files became, and put tables in their places."""
    if not page.file.generated_by:
        folder = Path("docs", page.file.src_uri).parent
        markdown = relinked(markdown, folder, Path(page.file.src_uri).parent)
    if page.file.src_uri == "networks.md":
        markdown = markdown.replace("<!-- site: checkpoints -->", checkpoints())
    if page.file.src_uri == "gates.md":
        markdown = markdown.replace("<!-- site: one gate -->", one_gate())
    return markdown


def on_post_build(config: MkDocsConfig) -> None:
    """Write llms.txt, and each page of docs/ as Markdown beside its HTML."""
    lines = [f"# {config.site_name}", "", f"> {config.site_description}", ""]
    for page in sorted((ROOT / "docs").rglob("*.md")):
        relative = page.relative_to(ROOT / "docs")
        text = page.read_text(encoding="utf-8")
        (Path(config.site_dir) / relative).write_text(text, encoding="utf-8")
        lines.append(f"- [{text.splitlines()[0].removeprefix('# ')}]({relative.as_posix()})")
    lines += [
        "",
        "## The whole command line and every public name",
        "",
        "- [commands](commands.html)",
        "- [Python](api.html)",
    ]
    (Path(config.site_dir) / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def made_pages() -> Iterator[tuple[str, str]]:
    """Path and Markdown of each page that is no file of docs/."""
    for source, target in TEXTS.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        yield target, relinked(text, Path(source).parent, Path())
    for page in families():
        yield page.path, page.text()
    for _, path, text in notebooks():
        yield path, text
    yield "differences.md", differences()
    yield "commands.md", commands()
    yield "api.md", reference()


def relinked(text: str, folder: Path, page: Path) -> str:
    """A text of ``folder`` with links as a page of the site in ``page`` has them; links to other files become plain."""

    def target(link: str) -> str | None:
        path = os.path.normpath(folder / link)
        if path in TEXTS:
            return os.path.relpath(TEXTS[path], page)
        return os.path.relpath(path, Path("docs") / page) if path.startswith("docs/") else None

    def markdown(found: re.Match[str]) -> str:
        path = target(found[3])
        return found[2] if path is None else f"{found[1]}[{found[2]}]({path}{found[4] or ''})"

    text = LINK.sub(markdown, text)
    return SOURCE.sub(lambda found: f"{found[1]}{target(found[2]) or found[2]}{found[3]}", text)


class FamilyPage:
    """The networks that one file of senet_zoo/networks/families/ defines."""

    def __init__(self, defined_in: str, models: list[Model]) -> None:
        self.models = models
        self.path = f"families/{Path(defined_in).stem.replace('_', '-')}.md"
        self.defined_in = defined_in
        doc = importlib.import_module(defined_in.removesuffix(".py").replace("/", ".")).__doc__ or ""
        self.title = re.split(r" \(|\.$|\.\n|: | for 32x32| which ", doc.splitlines()[0])[0].rstrip(".,")
        self.doc = doc

    def text(self) -> str:
        """The page."""
        gated = [model for model in self.models if model.se is not None]
        first, _, rest = self.doc.strip().partition("\n\n")
        said = markdown(rest if first.replace("\n", " ").rstrip(".") == self.title else self.doc)
        parts = [f"# {self.title}", said, stages(gated[0]), "## Networks", networks(self.models)]
        parts += ["## How exact", exact(self.models), "## Checkpoints", self.checkpoints()]
        parts += ["## Where the networks differ from their papers"]
        parts += [f"**`{model.name}`**: {markdown(model.doc)}\n" for model in gated]
        parts += [f"## Layers of `{gated[0].name}`", f"```text\n{printed('info', gated[0].name, '--layers')}```"]
        parts += [f"Defined in `{self.defined_in}`."]
        return "\n\n".join(parts) + "\n"

    def checkpoints(self) -> str:
        """The family's rows of the manifest, and under which names other libraries publish the same functions."""
        names = sorted({scheme for model in self.models for scheme in model.published_as})
        schemes = f"Files with the tensors' names of {', '.join(names)} are read as well." if names else ""
        rows = [name for name in senet_zoo.list_weights() if name.partition(".")[0] in {m.name for m in self.models}]
        if not rows:
            return f"None is known to the manifest. {schemes}"
        lines = [
            "| checkpoint | top-1 | pictures | measured by | licence | tensors named as |",
            "|---|---|---|---|---|---|",
        ]
        for name in rows:
            row = senet_zoo.get_weights(name).row
            dialects = ", ".join(dict.fromkeys(source.dialect for source in row.sources))
            lines.append(f"| `{name}` | {' | '.join(measured(name))} | {row.license or 'not known'} | {dialects} |")
        return "\n".join(lines) + f"\n\n{schemes}"


def families() -> list[FamilyPage]:
    """A page for each file of families, in the registry's order."""
    files: dict[str, list[Model]] = {}
    for model in registry.MODELS.values():
        files.setdefault(model.defined_in, []).append(model)
    return [FamilyPage(file, models) for file, models in files.items()]


def networks(models: list[Model]) -> str:
    """Parameters and arithmetic of networks, from golden.csv."""
    rows = {row.name: row for row in list_rows()}
    lines = [
        "| network | plain twin | also known as | parameters | multiply-adds | picture |",
        "|---|---|---|---|---|---|",
    ]
    for model in models:
        if model.se is None:
            continue
        row, aliases = rows[model.name], senet_zoo.model_info(model.name).aliases
        known = ", ".join(f"`{alias}`" for alias in aliases) or "-"
        figures = f"{row.parameters:,} | {row.multiply_adds:,} | {row.picture} px"
        lines.append(f"| `{model.name}` | `{model.twin}` | {known} | {figures} |")
    return "\n".join(lines)


def exact(models: list[Model]) -> str:
    """With which networks of other libraries the tests compare the logits of these."""
    pairs = {model.name: " and ".join(counterparts(model.name)) for model in models}
    lines = [
        "The tests copy weights between these networks; their logits agree to 1e-5 of their scale in float32.",
        "",
        "| here | there |",
        "|---|---|",
        *(f"| `{ours}` | {theirs} |" for ours, theirs in pairs.items() if theirs),
    ]
    others = [f"`{name}`" for name, theirs in pairs.items() if not theirs]
    rest = (
        f"The tests compare {', '.join(others)} with networks put together from the parts of timm, torchvision and "
        "pytorchcv, or with the same parts in a network above or in its twin."
    )
    return "\n".join(lines if len(others) < len(pairs) else []) + (f"\n\n{rest}" if others else "")


def measured(name: str) -> tuple[str, str, str]:
    """Accuracy of a checkpoint, on which pictures, and who measured it."""
    row = senet_zoo.get_weights(name).row
    top1 = next((metric for metric in row.metrics if metric.name == "top1"), None)
    if top1 is None or top1.value is None:
        return "not known", row.labels, "nobody"
    who = "us" if top1.measured_by_us else top1.who.partition(",")[0]
    return f"{top1.value:.2f} %", f"{top1.dataset}, {top1.size} px", who


def checkpoints() -> str:
    """Every checkpoint, as a table that sorts by a click."""
    rows = {row.name: row for row in list_rows(weights=True)}
    titles = (
        "checkpoint",
        "top-1",
        "pictures",
        "measured by",
        "parameters, M",
        "multiply-adds, G",
        "file, MB",
        "licence",
    )
    lines = [f"| {' | '.join(titles)} |", "|---|" + "---:|" + "---|---|" + "---:|---:|---:|" + "---|"]
    for name in senet_zoo.list_weights():
        row = rows[name]
        accuracy, pictures, who = measured(name)
        size = "" if row.file_size is None else f"{row.file_size / 1e6:.1f}"
        figures = f"{row.parameters / 1e6:.1f} | {row.multiply_adds / 1e9:.2f} | {size}"
        lines.append(f"| `{name}` | {accuracy} | {pictures} | {who} | {figures} | {row.license or 'not known'} |")
    return '<div class="sortable" markdown>\n\n' + "\n".join(lines) + "\n\n</div>\n"


def stages(model: Model) -> str:
    """A drawing of a network: a box a stage, as high as its map and as wide as its units, a dot for each gate."""
    network = built_networks.on_meta(model.spec())
    shapes: list[tuple[int, int, int, int]] = []

    def note(stage: torch.nn.Module, _: object, out: torch.Tensor) -> None:
        gates = sum(isinstance(module, senet_zoo.SqueezeExcite) for module in stage.modules())
        shapes.append((out.shape[1], out.shape[2], len(list(stage.children())), gates))

    for stage in network.stages.children():
        stage.register_forward_hook(note)
    side = model.spec().input_size
    network(torch.empty(1, 3, side, side, device="meta"))
    largest, x, drawn = max(shape[1] for shape in shapes), 0, []
    for channels, height, units, gates in shapes:
        width, tall = max(90, 14 * units), 24 + 96 * height / largest
        drawn.append(f'<rect x="{x}" y="{130 - tall:.0f}" width="{width}" height="{tall:.0f}" rx="4"/>')
        drawn += [
            f'<circle cx="{x + width * (2 * index + 1) / (2 * gates):.0f}" cy="{140 - tall:.0f}" r="3"/>'
            for index in range(gates)
        ]
        text = (f"{units} unit{'s' * (units > 1)}", f"{channels} channels", f"{height}x{height}")
        drawn += [f'<text x="{x + width / 2}" y="{146 + 14 * line}">{each}</text>' for line, each in enumerate(text)]
        x += width + 12
    label = f"{model.name}: {len(shapes)} stages"
    return (
        f'<svg class="stages" viewBox="0 0 {x} 182" style="max-width:{x}px" role="img" aria-label="{label}">'
        + "".join(drawn)
        + f"</svg>\n\nThe stages of `{model.name}` at {side} pixels; a dot is a gate."
    )


def differences() -> str:
    """What every network's docstring says under Differs."""
    parts = [
        "# Differences from the papers",
        "Where a network is not what its paper prints, or the paper leaves a choice.",
    ]
    for page in families():
        found = [(model.name, model.doc.partition("Differs:")[2]) for model in page.models if "Differs:" in model.doc]
        general = page.doc.partition("Differs:")[2].partition("\n\n")[0]
        if found or general:
            parts += [f"## {page.title}", markdown(general.strip())]
            parts += [f"**`{name}`**: {markdown(text.partition(chr(10) + chr(10))[0].strip())}" for name, text in found]
    return "\n\n".join(parts) + "\n"


def commands() -> str:
    """``--help`` of every command."""
    parts = ["# Command line"]
    for name in cli.COMMANDS:
        parts.append(f"## senet-zoo {name}\n\n```text\n{printed(name, '--help')}```")
    return "\n\n".join(parts) + "\n"


def reference() -> str:
    """Where mkdocstrings shall write each public name."""
    parts = ["# Python", "Every name of `senet_zoo.__all__`. Errors stand last."]
    names = sorted(senet_zoo.__all__, key=lambda name: getattr(senet_zoo, name).__module__ == "senet_zoo.errors")
    parts += [f"::: {getattr(senet_zoo, name).__module__}.{name}" for name in names]
    return "\n\n".join(parts) + "\n"


def one_gate() -> str:
    """The worked example's place, with the weights of a real gate and what it is given for each sample picture."""
    name, place = GATE
    model = senet_zoo.create_model(name, pretrained=True)
    gate = model.get_submodule(place)
    prepare = senet_zoo.get_weights(name).transforms()
    means: dict[str, list[float]] = {}
    for picture in (ROOT / "docs" / "cat.jpg", *sorted((ROOT / "samples").glob("*.png"))):
        handle = gate.register_forward_pre_hook(
            lambda _, inputs, key=picture.stem: means.update({key: rounded(inputs[0].mean((2, 3))[0])})
        )
        with torch.inference_mode():
            model(prepare(picture)[None])
        handle.remove()
    values = {
        "place": f"{place} of {name}",
        "weights": [rounded(gate.fc1.weight.flatten(1)), rounded(gate.fc2.weight.flatten(1))],
        "biases": [rounded(gate.fc1.bias), rounded(gate.fc2.bias)],
        "means": means,
    }
    return (
        f'<div class="one-gate"></div>\n<script type="application/json" id="one-gate">{json.dumps(values)}</script>\n'
    )


def rounded(values: torch.Tensor) -> list[object]:
    """A tensor as lists of numbers of four decimals."""
    return json.loads(json.dumps(values.tolist()), parse_float=lambda number: round(float(number), 4))


def notebooks() -> list[tuple[str, str, str]]:
    """Title, path and text of each notebook, with the outputs that it was saved with."""
    found = []
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "\n\n".join(part for cell in cells for part in cell_text(cell))
        title = text.splitlines()[0].removeprefix("# ")
        found.append((title, f"notebooks/{path.stem}.md", f"{text}\n\n{opened_elsewhere(path)}\n"))
    return found


def opened_elsewhere(path: Path) -> str:
    """Where the notebook can be had, and run."""
    relative = path.relative_to(ROOT).as_posix()
    repository = os.environ.get("GITHUB_REPOSITORY")
    if repository is None:
        return f"This page is `{relative}` of the source."
    first = f"!git clone -q https://github.com/{repository} clone && pip install -q './clone[train]'\n%cd clone"
    link = f"[Run it on Colab](https://colab.research.google.com/github/{repository}/blob/main/{relative})"
    return f"{link}, with this as the first cell:\n\n```text\n{first}\n```"


def cell_text(cell: dict[str, object]) -> Iterator[str]:
    """A cell as Markdown."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```python\n{source}\n```"
    for output in cell["outputs"]:
        data = output.get("data", {})
        if "image/png" in data:
            yield f"![Output of the cell above](data:image/png;base64,{''.join(data['image/png']).strip()})"
        elif text := "".join(output.get("text") or data.get("text/plain") or ()):
            yield f"```text\n{text.rstrip()}\n```"


def markdown(doc: str) -> str:
    """A docstring's prose and tables as Markdown."""
    parts = []
    for part in doc.strip().split("\n\n"):
        text = escape(part.replace("``", "`"), quote=False)
        parts.append(table(text.splitlines()) if part.lstrip().startswith("====") else text)
    return "\n\n".join(parts)


def table(lines: list[str]) -> str:
    """A table of a docstring; a line whose first cell is empty goes on with the one above."""
    columns = [found.span() for found in re.finditer("=+", lines[0])]
    rows: list[list[str]] = []
    for line in (line for line in lines if not line.startswith("==")):
        cells = [line[start : end if end < columns[-1][1] else None].strip() for start, end in columns]
        if cells[0] or not rows:
            rows.append(cells)
        else:
            rows[-1] = [f"{above} {cell}".strip() for above, cell in zip(rows[-1], cells, strict=True)]
    rows.insert(1, ["---"] * len(columns))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def printed(*words: str) -> str:
    """What a command prints where 100 columns are seen."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), patch.dict("os.environ", {"COLUMNS": "100", "NO_COLOR": "1"}):
        if cli.main(list(words)):
            raise RuntimeError(f"senet-zoo {' '.join(words)} failed")
    return output.getvalue()
