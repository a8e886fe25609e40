"""What a report of excitations shows: which classes, gates and channels, and what each is called."""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch

from senet_zoo.analysis.excitation.classes import ClassName
from senet_zoo.analysis.excitation.excite import Excitations, GateExcitations
from senet_zoo.analysis.excitation.measures import describe_gate, describe_network, measures
from senet_zoo.errors import DataError


@dataclass(frozen=True)
class Line:
    """A class in a figure: its label, and what it is called there."""

    label: int
    name: str


@dataclass(frozen=True, eq=False)
class Report:
    """Excitations, and which of them are shown.

    Args:
        network: name of the weights.
        data: what the user calls the pictures.
        found: what the gates said.
        names: names of the data's classes.
        chosen: labels of the classes that are drawn.
        channels: how many channels of each gate are shown, evenly spaced; None for all.
    """

    network: str
    data: str
    found: Excitations
    names: Sequence[ClassName]
    chosen: Sequence[int]
    channels: int | None

    @property
    def class_names(self) -> list[str]:
        """A name for each class of the data that no other has."""
        shown = [each.shown for each in self.names]  # ImageNet has two classes named crane
        return [f"{name} ({each.number})" if shown.count(name) > 1 else name
                for name, each in zip(shown, self.names, strict=True)]  # fmt: skip

    @property
    def lines(self) -> list[Line]:
        """The classes that are drawn.

        Raises:
            DataError: one of them has no picture.
        """
        absent = [self.names[label].shown for label in self.chosen if not self.found.count[label]]
        if absent:
            raise DataError(f"a class to draw needs a picture that can be read, and {', '.join(absent)} has none")
        return [Line(label, self.class_names[label]) for label in self.chosen]

    @property
    def gates(self) -> list[GateExcitations]:
        """The gates of the paper's figure."""
        names = figure_gates([gate.name for gate in self.found.gates])
        return [gate for gate in self.found.gates if gate.name in names]

    def channels_of(self, gate: GateExcitations) -> list[int]:
        """The channels that are shown of a gate."""
        return evenly_spaced(gate.channels, self.channels)

    @property
    def document(self) -> dict[str, object]:
        """The measures of every gate as plain values, which ``summary.json`` holds."""
        found, numbers = self.found, [measures(gate) for gate in self.found.gates]
        return {
            "weights": self.network,
            "data": self.data,
            "pictures": sum(found.count),
            "classes": [
                {"name": name, "pictures": count} for name, count in zip(self.class_names, found.count, strict=True)
            ],
            "in_words": describe_network(found.gates, numbers),
            "gates": [
                {
                    "gate": gate.name,
                    "channels": gate.channels,
                    "range": [gate.span.low, gate.span.high if math.isfinite(gate.span.high) else None],
                    **asdict(own),
                    "in_words": describe_gate(gate, own),
                }
                for gate, own in zip(found.gates, numbers, strict=True)
            ],
            "unreadable": list(found.unreadable),
        }


def figure_gates(names: Sequence[str]) -> tuple[str, ...]:
    """The last gate of every stage, and the last three of the last stage: for SE-ResNet-50, the paper's six.

    Of gates that were inserted, and have not the paper's names, six from the first to the last, evenly spaced.

    Args:
        names: of all gates, first to last.

    Example:
        >>> figure_gates(["SE_2_1", "SE_2_2", "SE_2_3", "SE_3_1", "SE_3_2", "SE_3_3"])
        ('SE_2_3', 'SE_3_1', 'SE_3_2', 'SE_3_3')
    """
    stages: dict[str, list[str]] = {}
    for name in names:
        if paper := re.fullmatch(r"SE_(\d+)_.+", name):
            stages.setdefault(paper[1], []).append(name)
    if not stages:
        return tuple(names[i] for i in evenly_spaced(len(names), 6))
    *earlier, last = stages.values()
    return (*(gates[-1] for gates in earlier), *last[-3:])


def evenly_spaced(channels: int, most: int | None) -> list[int]:
    """``most`` channels, evenly spaced, with the first and the last; all where there are fewer, or for None.

    Example:
        >>> evenly_spaced(256, 4)
        [0, 85, 170, 255]
    """
    if most is None or most >= channels:
        return list(range(channels))
    chosen: list[int] = torch.linspace(0, channels - 1, most, dtype=torch.float64).round().long().tolist()
    return chosen
