"""Match the classes of labelled pictures with the logits of a network."""

from collections.abc import Sequence
from dataclasses import dataclass

from senet_zoo.data.labelled import first_few
from senet_zoo.data.labels import IMAGENETTE, categories
from senet_zoo.errors import DataError, UsageError

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

    Names are compared without case, and an underscore equals a space.

    Raises:
        DataError: a class is not among the network's, or several of the network's have its name.
    """
    numbers = [str(index) for index in range(len(logits.names))]
    ways = (([_plain(name) for name in logits.names], _plain), (logits.synsets or (), str), (numbers, str))
    for names, written in ways:
        index_of = {name: index for index, name in enumerate(names) if names.count(name) == 1}
        if all(written(name) in index_of for name in classes):
            return tuple(index_of[written(name)] for name in classes)
    known = {_plain(name) for name in logits.names} | set(logits.synsets or ())
    strange = [name for name in classes if name not in known and _plain(name) not in known]
    raise DataError(
        f"every class of the data must be one that the network tells apart, by name"
        f"{' or synset' if logits.synsets else ''}, and {len(strange)} of {len(classes)} are not: "
        f"{first_few(strange)}. The network knows {first_few(logits.names)}"
    )


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ")
