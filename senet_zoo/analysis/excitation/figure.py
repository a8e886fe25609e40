"""The paper's figures of the gates, drawn by matplotlib."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from senet_zoo.analysis.excitation.excite import GateExcitations
from senet_zoo.analysis.excitation.measures import measures
from senet_zoo.analysis.excitation.report import Line, Report
from senet_zoo.evaluation.tables import plot_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#44bb99", "#777777", "#9a6324")
"""Told apart by readers with any colour vision: Paul Tol's bright scheme, and four of his others."""
ALL = "#111111"
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


def draw_classes(files: Sequence[Path], report: Report) -> None:
    """Draw the mean of each channel, one panel for each gate: a line for each class, and one over all classes.

    Args:
        files: ``.png`` and ``.svg``.
        report: what is drawn.

    Source: the paper, figure 6.
    """
    _draw(files, report, report.lines, spread=False)


def draw_spread(files: Sequence[Path], report: Report) -> None:
    """The same panels with one standard deviation within a class to either side of its mean.

    As in the paper two classes are shown, the first ones, because more bands would hide each other.

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
            _draw_gate(axes, gate, lines, report.channels_of(gate), spread)
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


def _draw_gate(axes: "Axes", gate: GateExcitations, lines: Sequence[Line], chosen: Sequence[int], spread: bool) -> None:
    moments = gate.moments
    for line, colour in zip(lines, COLOURS, strict=False):  # a legend hides names that begin with _
        mean, std = moments.mean[line.label, chosen], moments.std[line.label, chosen]
        axes.plot(chosen, mean.numpy(), color=colour, linewidth=1.1, label=plot_label(line.name.strip().lstrip("_")))
        if spread:
            axes.fill_between(
                chosen, (mean - std).numpy(), (mean + std).numpy(), color=colour, alpha=0.15, linewidth=0.0
            )
    if not spread:
        axes.plot(
            chosen,
            moments.overall_mean[chosen].numpy(),
            color=ALL,
            linewidth=1.6,
            linestyle=(0, (4, 1.5)),
            label="all classes",
        )
    separability = measures(gate).separability
    axes.set_title(gate.name, loc="left", fontweight="bold")
    axes.set_title(
        "no channel moves" if separability is None else f"$\\eta^2$ = {separability:.2f}",
        loc="right", color="#666666", fontsize=9,
    )  # fmt: skip
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
