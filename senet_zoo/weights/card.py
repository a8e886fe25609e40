"""The model card: what a stranger reads on a hub before loading, as README.md beside the tensors."""

import json
import re
from collections.abc import Collection

from senet_zoo.errors import UnknownModelError, UnknownWeightsError
from senet_zoo.networks import registry
from senet_zoo.weights.catalogue import get_weights
from senet_zoo.weights.config import CONFIG, HUB, TENSORS, FolderConfig
from senet_zoo.weights.rows import HubFile, Metric, WeightsRow
from senet_zoo.weights.variant import to_json

CARD = "README.md"
PLACE = "PATH/TO/THIS/FOLDER"
"""The address in the card of a folder that is not published; publishing puts the repository's in its stead."""
MOST_NAMES = 40  # of classes, in the card itself
PAPER = "arXiv:1709.01507"
FIGURES = {"curves.png": "loss and accuracy by epoch", "confusion.png": "which classes are taken for which"}
"""Pictures that a run draws, and what they show."""
_DATASETS = {"imagenet-1k": "ILSVRC/imagenet-1k", "cifar10": "uoft-cs/cifar10"}


def model_card(
    config: FolderConfig,
    *,
    parameters: int,
    repo: str | None = None,
    tag: str | None = None,
    figures: Collection[str] = (),
) -> str:
    """The card of a saved folder; the same text for the same arguments every time.

    Every figure in it belongs to the very tensors whose sha256 it names: those of the weights that a model was trained
    on from are not repeated.

    Args:
        config: what the folder's ``config.json`` says.
        parameters: learnt values of the network, classifier included.
        repo: ``organisation/name`` on a hub, for the line that loads it; None for a folder on disk.
        tag: of the commit there; None for a folder on disk.
        figures: those of `FIGURES` that lie beside it.
    """
    row = base_row(config)
    return "\n".join([*_front_matter(config, row), *_body(config, row, parameters, repo, tag, figures), ""])


def with_address(card: str, repo: str) -> str:
    """A card that a person wrote in, with the repository's address where the folder's stood."""
    return card.replace(f"local-dir:{PLACE}", f"hf-hub:{repo}").replace(PLACE, f"{HUB}{repo}")


def address_lines(repo: str | None, tag: str | None) -> list[str]:
    """What a published card says of its tag; nothing in a folder on disk."""
    if repo is None or tag is None:
        return []
    return [
        f"`{HUB}{repo}@{tag}` loads this commit; its 40 hex digits in the tag's place load the same bytes for good.",
        "",
    ]


def base_row(config: FolderConfig) -> WeightsRow | None:
    """The manifest's row of the weights that a folder's tensors are or come from; None where it has none."""
    base = config.provenance.base if config.provenance else None
    try:
        return None if base is None else get_weights(base).row
    except (UnknownModelError, UnknownWeightsError):
        return None  # saved by a senet_zoo with another manifest


def _front_matter(config: FolderConfig, row: WeightsRow | None) -> list[str]:
    provenance = config.provenance
    lines = ["---"]
    if provenance and provenance.license:
        lines.append(f"license: {provenance.license}")
    lines += ["library_name: senet_zoo", "pipeline_tag: image-classification", "tags:"]
    lines += ["- image-classification", "- pytorch", "- squeeze-and-excitation", "- senet_zoo"]
    if config.timm:
        lines.append("- timm")
    repos = [] if row is None else [source.repo for source in row.sources if isinstance(source, HubFile)]
    if repos:
        lines += ["base_model:", f"- {repos[0]}"]
    metrics = provenance.metrics if provenance else ()
    names = sorted({_DATASETS[word] for metric in metrics for word in metric.dataset.split() if word in _DATASETS})
    if names:
        lines += ["datasets:", *(f"- {name}" for name in names)]
    lines += _model_index(config.architecture, [metric for metric in metrics if metric.value is not None])
    return [*lines, "---"]


def _model_index(name: str, metrics: list[Metric]) -> list[str]:
    if not metrics:
        return []
    lines = ["model-index:", f"- name: {name}", "  results:"]
    for metric in metrics:
        lines += [
            "  - task:",
            "      type: image-classification",
            "    dataset:",
            f"      name: {quoted(metric.dataset)}",
            f"      type: {quoted(metric.dataset.split()[0])}",
            "    metrics:",
            "    - type: accuracy",
            f"      name: {metric.name}",
            f"      value: {metric.value}",
        ]
    return lines


def _body(
    config: FolderConfig,
    row: WeightsRow | None,
    parameters: int,
    repo: str | None,
    tag: str | None,
    figures: Collection[str],
) -> list[str]:
    model = registry.find(config.architecture)
    # A path that json.dumps spells is spelt the same in Python.
    address = json.dumps(f"{HUB}{repo}" if repo else PLACE)
    lines = ["", f"# {repo or config.architecture}", "", model.doc.partition("\n")[0], ""]
    lines += ["```python", "import senet_zoo", "", f"model = senet_zoo.from_pretrained({address})", "```", ""]
    if config.timm:
        there = json.dumps(f"hf-hub:{repo}" if repo else f"local-dir:{PLACE}")
        lines += [f"timm, where it is `{config.timm}`: `timm.create_model({there}, pretrained=True)`.", ""]
    lines += address_lines(repo, tag)
    lines += ["## Network", "", "| | |", "|---|---|"]
    lines += [
        f"| architecture | `{config.architecture}`, `{model.defined_in}` |",
        f"| gate | {'none' if config.se is None else f'`{json.dumps(to_json(config.se))}`'} |",
        *(
            []
            if config.widths is None
            else [f"| channels | {_listed(config.widths)}: the stem's map, then each stage's |"]
        ),
        *([] if config.dims is None else [f"| dimensions | {config.dims} |"]),
        f"| parameters | {parameters:,} |",
        f"| logits | {config.num_classes or 'none: it ends in pooled features'} |",
        f"| input channels | {config.in_channels} |",
        f"| class names | {_class_names(config.categories)} |",
        "",
    ]
    lines += _evaluation(config, row)
    for name in (name for name in FIGURES if name in figures):
        lines += [f"![{FIGURES[name]}]({name})", ""]
    lines += [*_preprocessing(config), *_file(config, row)]
    return [*lines, "## Citation", "", *(f"- {cell(paper)}" for paper in _papers(row))]


def _class_names(names: tuple[str, ...] | None) -> str:
    if not names:
        return "not known"
    return ", ".join(map(cell, names)) if len(names) <= MOST_NAMES else f"in `{CONFIG}`"


def _evaluation(config: FolderConfig, row: WeightsRow | None) -> list[str]:
    metrics = config.provenance.metrics if config.provenance else ()
    if not metrics:
        return ["## Evaluation", "", "Nobody has measured these tensors yet.", ""]
    lines = ["## Evaluation", "", "| metric | value | pictures | side | measured by |", "|---|---|---|---|---|"]
    for metric in metrics:
        value = "not known" if metric.value is None else f"{metric.value:g} %"
        lines.append(f"| {metric.name} | {value} | {cell(metric.dataset)} | {metric.size} | {cell(metric.who)} |")
    return [*lines, ""]


def _preprocessing(config: FolderConfig) -> list[str]:
    p = config.preprocessing
    if config.volumes is not None:
        sides = " x ".join(map(str, config.volumes.sides))
        return [
            "## Preprocessing",
            "",
            f"Resampled to {sides} by linear interpolation, then to mean 0 and deviation 1, each by itself.",
            "`model.weights.transforms()` does this to an array of channels first.",
            "",
        ]
    if p is None:
        return ["## Preprocessing", "", "Not known.", ""]
    return [
        "## Preprocessing",
        "",
        f"RGB; the shorter side resized to {p.resize} pixels ({p.interpolation.value}, antialiased), a square of "
        f"{p.size} cut from the centre, values scaled to [0, 1], then minus {list(p.mean)}, divided by {list(p.std)}.",
        "`model.weights.transforms()` does this.",
        "",
    ]


def _file(config: FolderConfig, row: WeightsRow | None) -> list[str]:
    provenance = config.provenance
    if provenance is None:
        return []
    check = f"in `{CONFIG}`; `senet-zoo verify --deep` runs the network and compares" if config.fingerprint else "none"
    lines = ["## Provenance", "", f"- sha256 of `{TENSORS}`: `{provenance.sha256}`", f"- fingerprint: {check}"]
    if provenance.base:
        lines.append(f"- published weights that it is, or was trained on from: `{provenance.base}`")
    if row is not None and row.origin:
        lines.append(f"- trained at first by: {cell(row.origin)}")
    if row is not None and provenance.license and (row.license or "").lower() == provenance.license:
        lines.append(f"- who says so of the licence: {cell(row.license_source)}")
    return [*lines, ""]


def _papers(row: WeightsRow | None) -> list[str]:
    return [PAPER] if row is None else list(dict.fromkeys([row.citation, PAPER]))


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


def quoted(text: str) -> str:
    """A text as YAML reads it, which reads JSON's strings."""
    return json.dumps(text)


def cell(text: str) -> str:
    """A text that cannot leave its cell or line, nor become a tag of HTML, a link or a terminal's command."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return re.sub(r"([|\\`\[\]!])", r"\\\1", " ".join(plain.split())).replace("<", "&lt;").replace(">", "&gt;")
