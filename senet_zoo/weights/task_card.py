"""The model card of a detector or a segmenter, as README.md beside its tensors."""

import json
from dataclasses import dataclass

from senet_zoo.errors import UnknownModelError, UnknownWeightsError
from senet_zoo.networks.specs import SE
from senet_zoo.networks.widths import Widths
from senet_zoo.weights.card import PAPER, PLACE, address_lines, cell, quoted
from senet_zoo.weights.catalogue import get_weights
from senet_zoo.weights.config import HUB, TENSORS, Provenance, SavedTask
from senet_zoo.weights.rows import HubFile, WeightsRow
from senet_zoo.weights.variant import to_json

PREDICTIONS, CURVES = "predictions.png", "curves.png"


HUB_WORDS = {SavedTask.DETECTION: "object-detection", SavedTask.SEGMENTATION: "image-segmentation"}
Rows = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class TaskCard:
    """What a card says.

    Args:
        task: which.
        title: such as ``faster_rcnn on se_resnet18``.
        backbone: name of the network.
        se: its gate; None for a plain twin.
        widths: channels of its maps, where some were removed.
        classes: what it tells apart.
        parameters: learnt values.
        network: more lines about the network: a name and a value each.
        measured: data, and a table of figures; None where nobody has measured.
        index: ``(type, value)`` of the figures that a hub lists.
        pictures: how pictures are prepared.
        papers: what to cite.
        provenance: whose tensors these are.
    """

    task: SavedTask
    title: str
    backbone: str
    se: SE | None
    widths: Widths | None
    classes: tuple[str, ...]
    parameters: int
    network: Rows
    measured: tuple[str, Rows] | None
    index: tuple[tuple[str, float], ...]
    pictures: str
    papers: tuple[str, ...]
    provenance: Provenance | None

    def text(self, repo: str | None = None, tag: str | None = None) -> str:
        """The card, for a tag in a repository of a hub or, without one, for a folder."""
        row = _base_row(self.provenance)
        return "\n".join([*self._front_matter(row), *self._body(row, repo, tag), ""])

    def _front_matter(self, row: WeightsRow | None) -> list[str]:
        lines, tag = ["---"], HUB_WORDS[self.task]
        if self.provenance and self.provenance.license:
            lines.append(f"license: {self.provenance.license}")
        lines += ["library_name: senet_zoo", f"pipeline_tag: {tag}", "tags:"]
        lines += [f"- {tag}", "- pytorch", "- squeeze-and-excitation", "- senet_zoo"]
        repos = [] if row is None else [source.repo for source in row.sources if isinstance(source, HubFile)]
        if repos:
            lines += ["base_model:", f"- {repos[0]}"]
        if self.measured and self.index:
            lines += ["model-index:", f"- name: {quoted(self.title)}", "  results:", "  - task:"]
            lines += [f"      type: {tag}", "    dataset:", f"      name: {quoted(self.measured[0])}"]
            lines += [f"      type: {quoted(self.measured[0].split()[0])}", "    metrics:"]
            for kind, value in self.index:
                lines += [f"    - type: {quoted(kind)}", f"      value: {value:.2f}"]
        return [*lines, "---"]

    def _body(self, row: WeightsRow | None, repo: str | None, tag: str | None) -> list[str]:
        address = json.dumps(f"{HUB}{repo}" if repo else PLACE)
        lines = ["", f"# {repo or self.title}", "", f"{self.title}: {len(self.classes)} classes.", ""]
        if self.measured is not None:  # by the run that drew it
            lines += [f"![what it finds in pictures that it was not trained on]({PREDICTIONS})", ""]
        lines += ["```python", "import senet_zoo", ""]
        lines += [f"predictor = senet_zoo.Predictor({address})"]
        lines += ['(found,) = predictor.predict("picture.jpg")', 'found.drawn().save("drawn.png")', "```", ""]
        lines += address_lines(repo, tag)
        gate = "none" if self.se is None else f"`{json.dumps(to_json(self.se))}`"
        rows: list[tuple[str, str]] = [("backbone", f"`{self.backbone}`"), ("gate", gate)]
        if self.widths is not None:
            rows.append(("channels", f"{', '.join(map(str, self.widths))}: the stem's map, then each stage's"))
        rows += [("parameters", f"{self.parameters:,}"), *self.network, ("pictures", self.pictures)]
        lines += ["## Network", "", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows), ""]
        lines += ["## Classes", "", ", ".join(cell(name) for name in self.classes), ""]
        lines += ["## Evaluation", ""]
        if self.measured is None:
            lines += ["Nobody has measured these tensors yet.", ""]
        else:
            data, figures = self.measured
            lines += [f"On {cell(data)}, by `senet-zoo`, after training:", "", "| metric | value |", "|---|---|"]
            lines += [*(f"| {cell(name)} | {value} |" for name, value in figures), ""]
            lines += [f"![loss and scores by step]({CURVES})", ""]
        lines += [*self._file(row), "## Citation", ""]
        papers = dict.fromkeys([*([row.citation] if row else []), *self.papers, PAPER])
        return [*lines, *(f"- {cell(paper)}" for paper in papers)]

    def _file(self, row: WeightsRow | None) -> list[str]:
        if self.provenance is None:
            return []
        lines = ["## Provenance", "", f"- sha256 of `{TENSORS}`: `{self.provenance.sha256}`"]
        if self.provenance.base:
            lines.append(f"- published weights that its backbone was trained on from: `{self.provenance.base}`")
        if row is not None and row.origin:
            lines.append(f"- trained at first by: {cell(row.origin)}")
        licence = self.provenance.license
        lines.append(f"- licence: {licence}" if licence else "- licence: nobody has chosen one yet")
        return [*lines, ""]


def percents(figures: tuple[tuple[str, float | None], ...]) -> Rows:
    """Figures as a card shows them."""
    return tuple((name, "-" if value is None else f"{value:.1f} %") for name, value in figures)


def _base_row(provenance: Provenance | None) -> WeightsRow | None:
    try:
        return None if provenance is None or provenance.base is None else get_weights(provenance.base).row
    except (UnknownModelError, UnknownWeightsError):
        return None  # saved by a senet_zoo with another manifest
