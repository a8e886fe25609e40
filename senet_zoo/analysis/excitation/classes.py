"""Names of classes in a report, and the choice of classes by name, synonym, synset or number."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

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
    """The names of the data's classes, joined with the network's own where it tells all of them apart.

    Args:
        classes: of the data.
        logits: of the network.
    """
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
