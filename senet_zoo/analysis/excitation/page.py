"""A report as one page for a browser, which needs no network, no other file and no server."""

import base64
import json
import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

import torch

from senet_zoo.analysis.excitation.excite import GateExcitations
from senet_zoo.analysis.excitation.figure import COLOURS
from senet_zoo.analysis.excitation.measures import describe_gate, measures
from senet_zoo.analysis.excitation.report import Line, Report


def write_page(file: Path, report: Report) -> None:
    """One page to look at the gates: hover for values, choose a gate and classes; the paper's gates are small plots."""
    found, lines = report.found, report.lines
    in_figure = {gate.name for gate in report.gates}
    document = {
        "classes": [
            {"name": line.name, "colour": colour, "count": found.count[line.label]}
            for line, colour in zip(lines, COLOURS, strict=False)
        ],
        "all": sum(found.count),
        "gates": [_gate(gate, gate.name in in_figure, lines, report.channels_of(gate)) for gate in found.gates],
    }
    parts = {
        "title": escape(f"{report.network} on {report.data}"),
        "pictures": f"{sum(found.count):,} pictures of {sum(count > 0 for count in found.count)} classes",
        "rows": "\n".join(_row(gate) for gate in found.gates),
        # In a script, `</script>` inside a class's name would end it.
        "data": json.dumps(document, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"),
    }
    template = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    file.write_text(re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template), encoding="utf-8")


def _gate(gate: GateExcitations, panel: bool, lines: Sequence[Line], chosen: Sequence[int]) -> dict[str, object]:
    moments = gate.moments
    rows = [row for line in lines for row in (moments.mean[line.label], moments.std[line.label])]
    values = torch.stack([*rows, moments.overall_mean, moments.overall_std])[:, chosen]
    return {
        "name": gate.name,
        "panel": panel,
        "low": gate.span.low,
        "top": gate.span.top,
        "of": gate.channels,
        "channels": chosen,
        "words": describe_gate(gate, measures(gate)),
        # Mean and std of each class and then of all, little-endian float32.
        "values": base64.b64encode(values.float().numpy().astype("<f4").tobytes()).decode(),
    }


def _row(gate: GateExcitations) -> str:
    numbers = measures(gate)
    separability = "-" if numbers.separability is None else f"{numbers.separability:.3f}"
    share = gate.channels and numbers.still / gate.channels
    cells = (
        f"{gate.channels}",
        f"{numbers.mean:.3f}",
        f"{numbers.saturated:.1%}",
        separability,
        f"{numbers.entropy:.2f}",
        f"{numbers.within_class:.3f}",
        f"{numbers.still}" + (f" ({share:.0%})" if numbers.still else ""),
    )
    name = escape(gate.name)
    return f'<tr data-gate="{name}"><th scope="row">{name}</th>' + "".join(f"<td>{c}</td>" for c in cells) + "</tr>"
