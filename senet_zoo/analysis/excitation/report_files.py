"""The folder of a report: tables, the paper's figures by matplotlib, and a page for a browser.

The page needs no network, no other file and no server. The folder is moved to its place when all files are written.
"""

import base64
import csv
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from senet_zoo.analysis.excitation.report import Line, Report
from senet_zoo.analysis.excitation.statistics import GateExcitations, describe_gate, is_constant, measures
from senet_zoo.errors import SenetZooError, UsageError
from senet_zoo.evaluation.tables import plot_label, require_matplotlib
from senet_zoo.support.json_fields import read_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TABLE, SUMMARY, PAGE = "excitations.csv", "summary.json", "index.html"
CLASSES, SPREAD = ("classes.png", "classes.svg"), ("spread.png", "spread.svg")
FILES = tuple(sorted((TABLE, SUMMARY, PAGE, *CLASSES, *SPREAD)))
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#44bb99", "#777777", "#9a6324")
"""Told apart by readers with any colour vision: Paul Tol's bright scheme, and four of his others."""
ALL_COLOUR = "#111111"
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": "#333333",
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "svg.fonttype": "none",  # text that can be searched
    "svg.hashsalt": "senet_zoo",  # the same file at every run
}
ALL = "(all)"
"""Stands for a class where the figures are those over all pictures."""


def draw_classes(files: Sequence[Path], report: Report) -> None:
    """Draw the mean of each channel, one panel for each gate: a line for each class, and one over all pictures.

    Source: the paper, figure 6.
    """
    _draw(files, report, report.lines, spread=False)


def draw_spread(files: Sequence[Path], report: Report) -> None:
    """The same panels with one standard deviation within a class to either side of its mean.

    As in the paper two classes are shown, the first ones, because more bands would hide each other. Without classes
    it is the spread over all pictures.

    Source: the paper, figure 7.
    """
    _draw(files, report, report.lines[:2], spread=True)


def _draw(files: Sequence[Path], report: Report, lines: Sequence[Line], *, spread: bool) -> None:
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    shown = report.gates
    columns = min(len(shown), 2 if len(shown) == 4 else 3)
    rows = -(-len(shown) // columns)
    with rc_context(STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
        figure = Figure(figsize=(3.6 * columns + 0.4, 2.5 * rows + 0.7), layout=layout)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, gate in zip(grid.flat, shown, strict=False):
            _draw_gate(axes, gate, lines, report, spread)
        empty = list(grid.flat)[len(shown) :]
        for axes in empty:
            axes.set_axis_off()
        for row in grid:
            row[0].set_ylabel("mean activation" + (" ± std" if spread else ""))
        handles, labels = grid[0, 0].get_legend_handles_labels()
        if empty:
            empty[0].legend(handles, labels, loc="center", ncols=1 + (len(labels) > 6), frameon=False)
        else:
            figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(labels)), frameon=False)
        layout.execute(figure)
        figure.set_layout_engine("none")  # once is enough for all files
        for file in files:
            if file.suffix == ".png":
                figure.savefig(file, dpi=110, metadata={"Software": None})
                _shrink(file)
            else:
                figure.savefig(file, metadata={"Date": None})


def _draw_gate(axes: "Axes", gate: GateExcitations, lines: Sequence[Line], report: Report, spread: bool) -> None:
    moments, chosen = gate.moments, report.channels_of(gate)
    curves: list[tuple[Tensor, Tensor, str, dict[str, Any]]] = [
        (moments.mean[line.label], moments.std[line.label], line.name, {"color": colour, "linewidth": 1.1})
        for line, colour in zip(lines, COLOURS, strict=False)
    ]
    if not spread or not lines:
        dashes = {"color": ALL_COLOUR, "linewidth": 1.6, "linestyle": (0, (4, 1.5)) if lines else "solid"}
        curves.append((moments.overall_mean, moments.overall_std, report.of_all, dashes))
    for means, stds, name, style in curves:  # a legend hides names that begin with _
        mean, std = means[chosen], stds[chosen]
        axes.plot(chosen, mean.numpy(), label=plot_label(name.strip().lstrip("_")), **style)
        if spread:
            axes.fill_between(
                chosen, (mean - std).numpy(), (mean + std).numpy(), color=style["color"], alpha=0.15, linewidth=0.0
            )
    separability = measures(gate).separability
    axes.set_title(gate.name, loc="left", fontweight="bold")
    told = "" if separability is None else f"$\\eta^2$ = {separability:.2f}"
    axes.set_title("no channel moves" if is_constant(gate) else told, loc="right", color="#666666", fontsize=9)
    of_all = "channel" if len(chosen) == gate.channels else f"channel ({len(chosen)} of {gate.channels})"
    axes.set_xlabel(of_all)
    pad = 0.03 * (gate.span.top - gate.span.low)
    axes.set_ylim(gate.span.low - pad, gate.span.top + pad)
    axes.set_xlim(0, gate.channels - 1)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def _shrink(png: Path) -> None:
    """Reduce the file to 256 colours and a third of its bytes; a figure of lines shows no difference."""
    from PIL import Image

    with Image.open(png) as picture:
        small = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(png, optimize=True)


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
        "of_all": report.of_all,
        "gates": [_gate(gate, gate.name in in_figure, lines, report.channels_of(gate)) for gate in found.gates],
    }
    parts = {
        "title": escape(f"{report.network} on {report.data}"),
        "pictures": _pictures(report),
        "shown": f"Mean activation of each channel of a gate{', by class' if lines else ''}.",
        "rows": "\n".join(_row(gate) for gate in found.gates),
        # In a script, `</script>` inside a class's name would end it.
        "data": json.dumps(document, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"),
    }
    template = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    file.write_text(re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template), encoding="utf-8")


def _pictures(report: Report) -> str:
    count, classes = sum(report.found.count), sum(count > 0 for count in report.found.count)
    if not report.names:
        return "one picture" if count == 1 else f"{count:,} pictures without classes"
    return f"{count:,} pictures of {classes} classes"


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
    cells = (
        f"{gate.channels}",
        f"{numbers.mean:.3f}",
        f"{numbers.saturated:.1%}",
        "-" if numbers.separability is None else f"{numbers.separability:.3f}",
        "-" if numbers.entropy is None else f"{numbers.entropy:.2f}",
        "-" if numbers.within_class is None else f"{numbers.within_class:.3f}",
        "-" if numbers.still is None else f"{numbers.still}",
    )
    if numbers.still:
        cells = (*cells[:-1], f"{numbers.still} ({numbers.still / gate.channels:.0%})")
    name = escape(gate.name)
    return f'<tr data-gate="{name}"><th scope="row">{name}</th>' + "".join(f"<td>{c}</td>" for c in cells) + "</tr>"


def check_folder(folder: Path) -> None:
    """Refuse, before any work is done, a report that could not be written.

    Raises:
        UsageError: ``folder`` is a file, its parent cannot be written, files that no report wrote are in the way, or
            matplotlib is missing.
    """
    require_matplotlib("the paper's figure")
    foreign = [] if _is_report(folder) else [name for name in FILES if (folder / name).exists()]
    if foreign:
        raise UsageError(
            f"a report replaces only files of an earlier one, and {' and '.join(foreign)} in {folder} "
            f"{'are' if foreign[1:] else 'is'} not of one: choose another folder (-o), or move what is there"
        )
    with _scratch(folder):
        pass


def write_report(folder: Path, report: Report) -> tuple[str, ...]:
    """Write ``excitations.csv``, ``summary.json``, ``index.html``, and ``classes`` and ``spread`` as PNG and SVG.

    Args:
        folder: made if it is not there; those of an earlier report are replaced, others stay.
        report: what is written.

    Returns:
        The names of the files.

    Raises:
        UsageError: the folder cannot be written.
        DataError: a class to draw has no picture.
    """
    check_folder(folder)
    with _scratch(folder) as part:
        _write_csv(part / TABLE, report)
        document = json.dumps(report.document, indent=2, ensure_ascii=False, allow_nan=False)
        (part / SUMMARY).write_text(document + "\n", encoding="utf-8")
        write_page(part / PAGE, report)
        draw_classes([part / name for name in CLASSES], report)
        draw_spread([part / name for name in SPREAD], report)
        if folder.is_dir():
            for name in (SUMMARY, *FILES):  # it says whose the others are
                if (part / name).exists():
                    (part / name).replace(folder / name)
        else:
            part.rename(folder)
    return FILES


def _is_report(folder: Path) -> bool:
    """Whether the files of a folder are those of an earlier report."""
    try:
        found = read_json(folder / SUMMARY)
    except SenetZooError:
        return False
    return isinstance(found, Mapping) and {"weights", "pictures", "in_words", "gates"} <= found.keys()


def _write_csv(file: Path, report: Report) -> None:
    """A row for each gate, class and channel; a class without picture has an empty mean and std."""
    with file.open("w", newline="", encoding="utf-8") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("gate", "class", "channel", "mean", "std", "count"))
        for gate in report.found.gates:
            chosen, moments = report.channels_of(gate), gate.moments
            groups = [(ALL, moments.overall_mean, moments.overall_std, int(moments.count.sum()))]
            if report.names:
                groups += zip(report.class_names, moments.mean, moments.std, moments.count.tolist(), strict=True)
            for name, mean, std, count in groups:
                columns = zip(chosen, _written(mean[chosen]), _written(std[chosen]), strict=True)
                writer.writerows((gate.name, name, channel, m, s, count) for channel, m, s in columns)


def _written(values: Tensor) -> list[str]:
    return ["" if math.isnan(value) else f"{value:.6f}" for value in values.tolist()]


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A hidden folder beside ``folder`` that does not outlive the block."""
    folder = folder.absolute()
    if folder.exists() and not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise UsageError(f"a report goes into a folder that can be written, and {folder} is none: name another (-o)")
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.part")
    try:
        part.mkdir(parents=True)
        yield part
    except OSError as error:
        raise UsageError(f"{folder} must be a folder that can be written, and is not: {error}; name another") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
