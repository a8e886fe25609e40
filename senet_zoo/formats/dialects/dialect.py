"""What a naming scheme is, and how one is written down: as pairs of patterns that are read in either direction."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from types import MappingProxyType

from senet_zoo.data.preprocessing import Preprocessing

Shape = tuple[int, ...]
Names = dict[str, str]

_NORM = "weight|bias|running_mean|running_var|num_batches_tracked"
_FIELDS = {"bn": _NORM, "wb": "weight|bias", "cn": rf"conv\.weight|bn\.(?:{_NORM})"}
_PLACEHOLDER = re.compile(r"\{(?P<field>[a-z]+)(?P<offset>[+-]\d+)?\}")


def _unambiguous(shapes: Mapping[str, Shape]) -> str | None:
    return None


def _untold(shapes: Mapping[str, Shape]) -> Preprocessing | None:
    return None


def _none(key: str) -> bool:
    return False


@dataclass(frozen=True)
class Dialect:
    """A naming scheme.

    Args:
        name: as in the manifest.
        used_by: which libraries write it.
        reader: what `names` asks. No two foreign names have the same native one, so that the map can be inverted.
        foreign: back, from all native names of a network and those of its average pools, ``{native: foreign}``; None
            where nothing is written in this scheme.
        ambiguity: from a file's shapes to another network of the same library that has the same names and shapes but
            is another function, in words; None where there is none.
        auxiliary: whether a tensor belongs to an auxiliary classifier, which only training has; those are left out.
        linear_gates: whether it keeps a gate's layers as matrices where it is written; most have 1x1 convolutions.
        preprocessing: from a file's shapes to how pictures become its network's input; None where names do not tell.
        caution: what whoever reads such a file must know, in words; empty where there is nothing.
    """

    name: str
    used_by: str
    reader: Callable[[Collection[str]], Names]
    foreign: Callable[[Collection[str], Collection[str]], Names] | None = None
    ambiguity: Callable[[Mapping[str, Shape]], str | None] = _unambiguous
    auxiliary: Callable[[str], bool] = _none
    linear_gates: bool = False
    preprocessing: Callable[[Mapping[str, Shape]], Preprocessing | None] = _untold
    caution: str = ""

    def names(self, keys: Collection[str]) -> Mapping[str, str]:
        """From all names in a file to those of the zoo, ``{foreign: native}``, without those that it does not know."""
        return _cached_names(self.reader, tuple(keys))

    def unknown(self, keys: Collection[str]) -> list[str]:
        """Those of ``keys`` that the scheme does not know, in their order."""
        known = self.names(keys)
        return [key for key in keys if key not in known and not self.auxiliary(key)]


@lru_cache(maxsize=4)
def _cached_names(reader: Callable[[Collection[str]], Names], keys: tuple[str, ...]) -> Mapping[str, str]:
    # A file's names are asked for from its recognition to its reading, and cost 10 ms a thousand.
    return MappingProxyType(reader(keys))


@dataclass(frozen=True)
class Rule:
    """The same tensors in two naming schemes.

    A pattern is a name with fields: a number, ``{b}``, or the last part of a batch norm's tensors, ``{bn}``, of a
    layer's, ``{wb}``, or of a convolution's and its batch norm's, ``{cn}``. A number may count from elsewhere on one
    side: ``layer{l+1}`` is ``stages.{l}``.

    Args:
        foreign: pattern of the other library's name.
        native: pattern of the zoo's.
    """

    foreign: str
    native: str


def conv_bn(theirs: str, ours: str) -> Rule:
    """A convolution and its batch norm, which either library keeps as ``conv`` and ``bn`` of one layer."""
    return Rule(f"{theirs}.{{cn}}", f"{ours}.{{cn}}")


def forward(rules: Sequence[Rule], keys: Collection[str]) -> Names:
    """Native names of those ``keys`` that a rule knows; the first one decides."""
    return _rewrite([(rule.foreign, rule.native) for rule in rules], keys)


def backward(rules: Sequence[Rule], keys: Collection[str]) -> Names:
    """Foreign names of those native ``keys`` that a rule knows; the first one decides."""
    return _rewrite([(rule.native, rule.foreign) for rule in rules], keys)


def two_way(rules: Sequence[Rule]) -> tuple[Callable[[Collection[str]], Names], Callable[..., Names]]:
    """The functions ``names`` and ``foreign`` of a scheme that has the same rules for every network."""
    return lambda keys: forward(rules, keys), lambda keys, pools: backward(rules, keys)


def _rewrite(pairs: Sequence[tuple[str, str]], keys: Collection[str]) -> Names:
    patterns = [(source.partition("{")[0], _expression(source), source, target) for source, target in pairs]
    names: Names = {}
    taken = set()
    for key in keys:
        for start, expression, source, target in patterns:
            match = expression.fullmatch(key) if key.startswith(start) else None
            name = match and _fill(match, source, target)
            if name:
                # Two spellings of one tensor in one file are of no network: the second stays unknown.
                if name not in taken:
                    names[key] = name
                    taken.add(name)
                break
    return names


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    parts, end = [], 0
    for placeholder in _PLACEHOLDER.finditer(pattern):
        field = placeholder["field"]
        parts.append(re.escape(pattern[end : placeholder.start()]))
        parts.append(f"(?P<{field}>{_FIELDS.get(field, '0|[1-9][0-9]{0,3}')})")
        end = placeholder.end()
    return re.compile("".join(parts) + re.escape(pattern[end:]))


def _fill(match: re.Match[str], source: str, target: str) -> str | None:
    """``target`` with the values that ``match`` found in ``source``; None where a number would be negative."""
    offsets = {placeholder["field"]: int(placeholder["offset"] or 0) for placeholder in _PLACEHOLDER.finditer(source)}
    parts, end = [], 0
    for placeholder in _PLACEHOLDER.finditer(target):
        field = placeholder["field"]
        parts.append(target[end : placeholder.start()])
        if field in _FIELDS:
            parts.append(match[field])
        else:
            number = int(match[field]) - offsets[field] + int(placeholder["offset"] or 0)
            if number < 0 or int(match[field]) < offsets[field]:
                return None
            parts.append(str(number))
        end = placeholder.end()
    return "".join(parts) + target[end:]
