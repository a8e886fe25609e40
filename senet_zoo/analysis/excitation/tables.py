"""Excitations as rows and as one document."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from senet_zoo.analysis.excitation.excite import Excitations
from senet_zoo.analysis.excitation.measures import measures
from senet_zoo.analysis.excitation.panels import sampled
from senet_zoo.analysis.excitation.words import in_words, overview

ALL = "(all)"
"""Stands for a class where the figures are those over all pictures."""


def write_csv(file: Path, found: Excitations, names: Sequence[str], channels: int | None) -> None:
    """A row for each gate, class and channel: its mean and standard deviation over so many pictures.

    Args:
        file: the CSV; a class without picture has an empty mean and spread.
        found: what is written.
        names: of the classes.
        channels: evenly spaced ones of each gate, None for all.
    """
    with file.open("w", newline="", encoding="utf-8") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("gate", "class", "channel", "mean", "std", "count"))
        for gate in found.gates:
            chosen, moments = sampled(gate.channels, channels), gate.moments
            groups = [(ALL, moments.overall_mean, moments.overall_std, int(moments.count.sum()))]
            groups += zip(names, moments.mean, moments.std, moments.count.tolist(), strict=True)
            for name, mean, std, count in groups:
                picked = zip(chosen, _written(mean[list(chosen)]), _written(std[list(chosen)]), strict=True)
                writer.writerows((gate.name, name, channel, m, s, count) for channel, m, s in picked)


def summary(found: Excitations, names: Sequence[str]) -> dict[str, object]:
    """The measures of every gate as a document of plain values.

    Args:
        found: what is summed up.
        names: of the classes.
    """
    numbers = [measures(gate) for gate in found.gates]
    rows = [
        {
            "gate": gate.name,
            "channels": gate.channels,
            "range": [gate.span.low, gate.span.high if math.isfinite(gate.span.high) else None],
            **asdict(own),
            "in_words": in_words(gate, own),
        }
        for gate, own in zip(found.gates, numbers, strict=True)
    ]
    return {
        "pictures": sum(found.count),
        "classes": [{"name": name, "pictures": count} for name, count in zip(names, found.count, strict=True)],
        "in_words": overview(found.gates, numbers),
        "gates": rows,
        "unreadable": list(found.unreadable),
    }


def write_json(file: Path, document: dict[str, object]) -> None:
    """One document, indented."""
    file.write_text(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _written(values: Tensor) -> list[str]:
    return ["" if math.isnan(value) else f"{value:.6f}" for value in values.tolist()]
