"""A report of excitations: which classes, gates and channels it shows, what each is called, and its JSON document."""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches

import torch

from senet_zoo.analysis.excitation.excite import Excitations
from senet_zoo.analysis.excitation.statistics import GateExcitations, describe_gate, describe_network, measures
from senet_zoo.errors import DataError, UsageError
from senet_zoo.evaluation.label_matching import LogitNames, match_classes

MAX_DRAWN = 10
"""Classes that colours can tell apart in one plot."""


@dataclass(frozen=True)
class ClassName:
    """What a class of the data is called.

    Args:
        shown: in figures: the network's name for it where it has one, else the data's first.
        number: of the network's logit, or the data's label where the network does not know the classes.
        names: all words for it; a name such as ``goldfish, Carassius auratus`` lists synonyms.
    """

    shown: str
    number: int
    names: tuple[str, ...]


def name_classes(classes: Sequence[str], logits: LogitNames) -> tuple[ClassName, ...]:
    """The names of the data's classes, joined with the network's own where it tells all of them apart."""
    try:
        indices = match_classes(classes, logits)
    except DataError:  # pictures of anything may be shown to any network
        return tuple(
            ClassName(name.split(",")[0].strip() or name, label, _synonyms(name)) for label, name in enumerate(classes)
        )
    return tuple(
        ClassName(
            logits.names[index],
            index,
            tuple(dict.fromkeys((logits.names[index], *_synonyms(name), *(logits.synsets or ())[index : index + 1]))),
        )
        for name, index in zip(classes, indices, strict=True)
    )


def choose_classes(words: Sequence[str] | None, known: Sequence[ClassName]) -> tuple[int, ...]:
    """Labels of the classes that are meant, in the order of the words.

    A word is a whole name, synonym or synset of a class, or else its number, or else a part of one class's name only.
    Case does not matter, and an underscore equals a space.

    Args:
        words: None for all classes.
        known: the classes of the data.

    Raises:
        UsageError: a word means no class or several, two words mean one, or there are more than `MAX_DRAWN`.
    """
    if not known and words is not None:
        raise UsageError(
            "these pictures have no classes to choose from: leave --classes out, or give a folder with a subfolder for "
            "each class"
        )
    if words is None:
        if len(known) > MAX_DRAWN:
            raise UsageError(
                f"a figure shows at most {MAX_DRAWN} classes, and the data has {len(known)}: name some of them "
                f"(--classes), such as {','.join(each.names[0] for each in known[:3])}"
            )
        return tuple(range(len(known)))
    chosen = [_choose(word, known) for word in words]
    twice = next((label for label in chosen if chosen.count(label) > 1), None)
    if twice is not None:
        same = [repr(word) for word, label in zip(words, chosen, strict=True) if label == twice]
        raise UsageError(f"each class is named once, and {' and '.join(same)} all mean {known[twice].shown}: leave one")
    if not 1 <= len(chosen) <= MAX_DRAWN:
        raise UsageError(f"a figure shows 1 to {MAX_DRAWN} classes, got {len(chosen)}")
    return tuple(chosen)


def _choose(word: str, known: Sequence[ClassName]) -> int:
    wanted = _plain(word)
    whole = [label for label, each in enumerate(known) if wanted in map(_plain, each.names)]
    if not whole and wanted.isascii() and wanted.isdecimal():
        whole = [label for label, each in enumerate(known) if each.number == int(wanted)]
    found = whole or [
        label for label, each in enumerate(known) if wanted and any(wanted in _plain(n) for n in each.names)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        several = [f"{', '.join(known[label].names[:3])} ({known[label].number})" for label in found[:6]]
        more = f" and {len(found) - 6} more" if len(found) > 6 else ""
        raise UsageError(
            f"a class is named by a word for it alone, and {word!r} means {len(found)}: {'; '.join(several)}{more}. "
            "Write the whole name or the number"
        )
    near = get_close_matches(wanted, [_plain(name) for each in known for name in each.names], n=4)
    raise UsageError(
        f"a class must be one of the data's {len(known)}, by name or number, and {word!r} is none"
        + (f"; did you mean {' or '.join(dict.fromkeys(near))}?" if near else f": those are {_some(known)}")
    )


def _synonyms(name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((name, *(part.strip() for part in name.split(",")))))


def _some(known: Sequence[ClassName]) -> str:
    first = ", ".join(f"{each.names[0]} ({each.number})" for each in known[:6])
    return first + (f" and {len(known) - 6} more" if len(known) > 6 else "")


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())


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
        names: names of the data's classes; none for pictures without labels.
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
    def of_all(self) -> str:
        """What the figures over all pictures are called."""
        if self.names:
            return "all classes"
        return "all pictures" if sum(self.found.count) > 1 else "the picture"

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
                {"name": name, "pictures": count} for name, count in zip(self.class_names, found.count, strict=False)
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
