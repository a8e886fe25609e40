"""Match the classes of labelled pictures with the logits of a network."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from senet_zoo.data.labelled import first_few
from senet_zoo.data.labels import IMAGENETTE, NUMBERED, SYNSET, categories
from senet_zoo.errors import DataError, UsageError

_NUMBER = re.compile(r"\d{1,7}", re.ASCII)

LABEL_ORDERS = ("usual", "ilsvrc2017")


@dataclass(frozen=True)
class LogitNames:
    """Classes of a network in the order of its logits.

    Args:
        names: what the classes are called.
        synsets: their WordNet ids, such as ``n01440764``; None where they are not known.
    """

    names: tuple[str, ...]
    synsets: tuple[str, ...] | None = None


def logits_of(names: Sequence[str], order: str = "usual") -> LogitNames:
    """Names of logits, with synsets if the names are those of ImageNet-1k or Imagenette.

    Args:
        names: names of the classes in the usual order, which for ImageNet-1k is that of the sorted synsets.
        order: order of the network's logits: ``usual``, or ``ilsvrc2017`` for a network from the authors' Caffe files
            whose classifier was not sorted.

    Raises:
        UsageError: an unknown order, or ``ilsvrc2017`` for classes that are not those of ImageNet-1k.

    Source: `senet_zoo.formats.caffe` for the authors' order.
    """
    from senet_zoo.formats.caffe import synsets

    if order not in LABEL_ORDERS:
        raise UsageError(f"the order of labels must be one of {', '.join(LABEL_ORDERS)}, got {order!r}")
    usual = tuple(sorted(synsets()))
    if len(names) != len(usual) or tuple(names) != categories("imagenet-1k", len(usual)):
        if order != "usual":
            raise UsageError(
                f"{order} is an order of ImageNet's 1000 classes, and this network tells {len(names)} apart"
            )
        return LogitNames(tuple(names), tuple(IMAGENETTE) if tuple(names) == tuple(IMAGENETTE.values()) else None)
    if order == "usual":
        return LogitNames(tuple(names), usual)
    name_of = dict(zip(usual, names, strict=True))
    return LogitNames(tuple(name_of[synset] for synset in synsets()), synsets())


def match_classes(classes: Sequence[str], logits: LogitNames) -> tuple[int, ...]:
    """Index of each class's logit, found by name, by synset, or by number if all classes are numbers.

    A name that is spelt exactly alike comes first, because two of ImageNet's differ in case only. Then names are
    compared without case, with an underscore for a space, and by each of several synonyms between commas. A synset may
    stand before a name (``n01440764_tench``).

    Raises:
        DataError: a class is not among the network's, or several of the network's have its name, or two of the data
            are one of the network's.
        UsageError: a network without classes.
    """
    if not logits.names:
        raise UsageError("classes are found among the network's, and this one has none: it answers features")
    spellings = _Spellings(logits)
    found = [spellings.find(name) for name in classes]
    if any(len(indices) != 1 for indices in found):
        found = _numbered(classes, len(logits.names)) or found
    if any(len(indices) != 1 for indices in found):
        raise DataError(_unmatched(classes, found, logits))
    chosen = tuple(index for (index,) in found)
    index, count = Counter(chosen).most_common(1)[0]
    if count > 1:
        same = [name for name, other in zip(classes, chosen, strict=True) if other == index]
        raise DataError(
            f"each class of the data must be another one of the network's, and {first_few(same)} are all "
            f"{logits.names[index]!r}: put their pictures into one folder"
        )
    return chosen


class _Spellings:
    """Indices of logits by everything that their classes may be called, the surest spelling first."""

    def __init__(self, logits: LogitNames) -> None:
        self.exact, self.plain, self.synonym = (defaultdict[str, set[int]](set) for _ in range(3))
        for index, name in enumerate(logits.names):
            self.exact[name].add(index)
            self.plain[_plain(name)].add(index)
            for part in _synonyms(name):
                self.synonym[part].add(index)
        self.synsets = {synset: index for index, synset in enumerate(logits.synsets or ())}

    def find(self, name: str) -> set[int]:
        synset = SYNSET.match(name)
        if synset and synset[0] in self.synsets:
            return {self.synsets[synset[0]]}
        for table, spelling in ((self.exact, name), (self.plain, _plain(name))):
            if spelling in table:
                return table[spelling]
        return set().union(*(self.synonym[part] for part in _synonyms(name) if part in self.synonym))


def _numbered(classes: Sequence[str], logits: int) -> list[set[int]] | None:
    if not all(_NUMBER.fullmatch(name) for name in classes):
        return None
    return [{int(name)} if int(name) < logits else set() for name in classes]


def _unmatched(classes: Sequence[str], found: Sequence[Collection[int]], logits: LogitNames) -> str:
    strange = [name for name, indices in zip(classes, found, strict=True) if not indices]
    several = [
        f"{name} ({', '.join(f'{index}: {logits.names[index]}' for index in sorted(indices))})"
        for name, indices in zip(classes, found, strict=True)
        if len(indices) > 1
    ]
    failed = f"{len(strange)} of {len(classes)} are not: {first_few(strange)}" if strange else ""
    if several:
        failed += f"{'; ' if strange else ''}{len(several)} may be several of them, so are not: {first_few(several)}"
    if logits.names[0] == NUMBERED.format(0):
        way = "The network's file does not name them: call the folders by their numbers, or save it with categories"
    else:
        way = f"The network knows {first_few(logits.names)}"
        way += "; synsets and numbers are taken, too" if several else ""
    by = "by name or synset" if logits.synsets else "by name"
    return f"every class of the data must be one that the network tells apart, {by}, and {failed}. {way}"


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())


def _synonyms(name: str) -> set[str]:
    return {plain for part in name.split(",") if (plain := _plain(part))}
