"""Which of a network's logits stands for each class of the data."""

from collections.abc import Sequence
from dataclasses import dataclass

from senet_zoo.data.labelled import first_few
from senet_zoo.data.labels import IMAGENETTE, categories
from senet_zoo.errors import DataError, UsageError

LABEL_ORDERS = ("usual", "ilsvrc2017")


@dataclass(frozen=True)
class Logits:
    """What a network's logits are called, first to last.

    Args:
        names: of the classes.
        synsets: their WordNet ids, such as ``n01440764``; None where they are not known.
    """

    names: tuple[str, ...]
    synsets: tuple[str, ...] | None = None


def logits_of(names: Sequence[str], order: str = "usual") -> Logits:
    """Logits with these names, and their synsets where the names are those of ImageNet-1k or Imagenette.

    Args:
        names: of the classes, in the usual order: for ImageNet-1k that of the sorted synsets.
        order: of the network's logits; ``ilsvrc2017`` for a network that came from the authors' Caffe files without
            having its classifier sorted.

    Raises:
        UsageError: another order than the usual one for classes that are not ImageNet-1k's.

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
        return Logits(tuple(names), tuple(IMAGENETTE) if tuple(names) == tuple(IMAGENETTE.values()) else None)
    if order == "usual":
        return Logits(tuple(names), usual)
    name_of = dict(zip(usual, names, strict=True))
    return Logits(tuple(name_of[synset] for synset in synsets()), synsets())


def match(classes: Sequence[str], logits: Logits) -> tuple[int, ...]:
    """The logit of each class: by its name, its synset, or its number where all classes are numbers.

    Names are compared without case, and an underscore is a space.

    Raises:
        DataError: a class is none of the network's, or its name is that of several.
    """
    numbers = [str(index) for index in range(len(logits.names))]
    ways = (([_plain(name) for name in logits.names], _plain), (logits.synsets or (), str), (numbers, str))
    for names, written in ways:
        places = {name: index for index, name in enumerate(names) if names.count(name) == 1}
        if all(written(name) in places for name in classes):
            return tuple(places[written(name)] for name in classes)
    known = {_plain(name) for name in logits.names} | set(logits.synsets or ())
    strange = [name for name in classes if name not in known and _plain(name) not in known]
    raise DataError(
        f"every class of the data must be one that the network tells apart, by name"
        f"{' or synset' if logits.synsets else ''}, and {len(strange)} of {len(classes)} are not: "
        f"{first_few(strange)}. The network knows {first_few(logits.names)}"
    )


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ")
