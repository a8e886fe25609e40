"""What the paper's figure shows of a network: which gates, and which of their channels.

The paper's figure of the gates, drawn by matplotlib.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from senet_zoo.analysis.excitation.excite import Excitations, GateExcitations
from senet_zoo.analysis.excitation.measures import measures
from senet_zoo.errors import UsageError


def shown_gates(names: Sequence[str]) -> tuple[str, ...]:
    """The last gate of every stage, and the last three of the last stage: for SE-ResNet-50, the paper's six.

    Of gates without the paper's names, which were inserted, six from the first to the last, evenly spaced.

    Args:
        names: of the gates, first to last.

    Example:
        >>> shown_gates(["SE_2_1", "SE_2_2", "SE_2_3", "SE_3_1", "SE_3_2", "SE_3_3"])
        ('SE_2_3', 'SE_3_1', 'SE_3_2', 'SE_3_3')
    """
    stages: dict[str, list[str]] = {}
    for name in names:
        if paper := re.fullmatch(r"SE_(\d+)_.+", name):
            stages.setdefault(paper[1], []).append(name)
    if not stages:
        return tuple(names[i] for i in sampled(len(names), 6))
    *earlier, last = stages.values()
    return (*(gates[-1] for gates in earlier), *last[-3:])


def sampled(channels: int, most: int | None) -> tuple[int, ...]:
    """``most`` channels, evenly spaced, the first and the last among them; all where there are fewer, or for None.

    Example:
        >>> sampled(256, 4)
        (0, 85, 170, 255)
    """
    if most is None or most >= channels:
        return tuple(range(channels))
    return tuple(torch.linspace(0, channels - 1, most, dtype=torch.float64).round().long().tolist())


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


@dataclass(frozen=True)
class Line:
    """A class in a figure.

    Args:
        label: its index.
        name: what it is called there.
    """

    label: int
    name: str


def check_matplotlib() -> None:
    """Refuse, before any work is done, a figure that could not be drawn.

    Raises:
        UsageError: matplotlib is missing.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError("figures are drawn by matplotlib, which is missing: pip install 'senet-zoo[train]'") from error


def draw_classes(
    files: Sequence[Path], found: Excitations, gates: Sequence[str], lines: Sequence[Line], channels: int | None
) -> None:
    """One panel a gate, one line a class: the mean of each channel, and that over all classes.

    Args:
        files: ``.png`` and ``.svg``.
        found: what is drawn.
        gates: names of the panels.
        lines: classes.
        channels: evenly spaced ones in each panel, None for all.

    Source: the paper, figure 6.
    """
    _draw(files, found, gates, lines, channels, spread=False)


def draw_spread(
    files: Sequence[Path], found: Excitations, gates: Sequence[str], lines: Sequence[Line], channels: int | None
) -> None:
    """The same panels with the spread within a class, one standard deviation to either side of its mean.

    As in the paper two classes are shown, the first ones: more bands would hide each other.

    Source: the paper, figure 7.
    """
    _draw(files, found, gates, lines[:2], channels, spread=True)


def _draw(
    files: Sequence[Path],
    found: Excitations,
    gates: Sequence[str],
    lines: Sequence[Line],
    channels: int | None,
    *,
    spread: bool,
) -> None:
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    shown = [gate for gate in found.gates if gate.name in gates]
    columns = min(len(shown), 2 if len(shown) == 4 else 3)
    rows = -(-len(shown) // columns)
    with rc_context(STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
        figure = Figure(figsize=(3.6 * columns + 0.4, 2.5 * rows + 0.7), layout=layout)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, gate in zip(grid.flat, shown, strict=False):
            _panel(axes, gate, lines, channels, spread)
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


def _panel(axes: "Axes", gate: GateExcitations, lines: Sequence[Line], channels: int | None, spread: bool) -> None:
    chosen = list(sampled(gate.channels, channels))
    moments = gate.moments
    for line, colour in zip(lines, COLOURS, strict=False):
        mean, std = moments.mean[line.label, chosen], moments.std[line.label, chosen]
        axes.plot(chosen, mean.numpy(), color=colour, linewidth=1.1, label=_plain(line.name))
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
    """Keep 256 colours, a third of the bytes; a figure of lines shows no difference."""
    from PIL import Image

    with Image.open(png) as picture:
        small = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(png, optimize=True)


def _plain(name: str) -> str:
    """A class's name on one short line, which matplotlib does not read as a formula or hide."""
    text = " ".join(name.split()).replace("$", r"\$").lstrip("_")
    return text if len(text) <= 24 else f"{text[:23]}\N{HORIZONTAL ELLIPSIS}"
