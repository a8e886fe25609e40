"""A gate's variant as a text, for people and the command line, and as JSON, for files."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from enum import Enum
from itertools import pairwise
from typing import Any

from senet_zoo.errors import UsageError
from senet_zoo.networks.specs import SE

STANDARD = "standard"
"""The text of the paper's own gate, ``SE()``."""

_PAPER = SE()
_FIELDS = tuple(field.name for field in fields(SE))
_ALL_STAGES = "all"


def parse(text: str) -> SE:
    """The variant that a text describes: ``reduction=8,placement=pre,stages=2-4``.

    What is not named is as in ``SE()``, whatever model the text is meant for: one text, one variant.

    Args:
        text: fields of `SE`, each at most once: whole numbers, true or false, or a lower-case word; stages are
            ``3``, ``2-4``, ``2+5`` or ``all``, blocks without gate ``4_6`` or ``4_6+5_1``. ``standard`` alone is
            ``SE()``.

    Raises:
        UsageError: a word or a value that is not known, or one named twice.

    Example:
        >>> parse("reduction=8,stages=2-4") == SE(reduction=8, stages=(2, 3, 4))
        True
    """
    if text.strip() == STANDARD:
        return _PAPER
    values: dict[str, object] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not name or not equals or not value:
            raise UsageError(
                f"a variant is {STANDARD!r} or word=value pairs with commas between, such as reduction=8,"
                f"placement=pre; got {part.strip()!r} in {text!r}"
            )
        _require_known(name, _FIELDS)
        if name in values:
            raise UsageError(f"a variant names each of its words once, got {name} twice in {text!r}")
        values[name] = _PARSERS[name](value) if name in _PARSERS else _parse_value(name, value)
    return replace(_PAPER, **values)  # type: ignore[arg-type]  # SE checks each of them


def to_text(se: SE) -> str:
    """The text that `parse` reads back: only what differs from ``SE()``, or ``standard``.

    Example:
        >>> to_text(SE(bias=False, stages=(2, 3, 5)))
        'bias=false,stages=2-3+5'
    """
    changed = {name: getattr(se, name) for name in _FIELDS if getattr(se, name) != getattr(_PAPER, name)}
    return ",".join(f"{name}={_WRITERS.get(name, _word)(value)}" for name, value in changed.items()) or STANDARD


def to_json(se: SE) -> dict[str, object]:
    """Every field, as values that JSON has: numbers, booleans, words, a list of stages or null, [stage, block]s.

    ``hidden`` is there only where it is chosen: older releases do not know it.
    """
    values = {name: getattr(se, name) for name in _FIELDS if name != "hidden" or se.hidden is not None}
    plain = {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}
    return plain | {"stages": se.stages and list(se.stages), "without": [list(block) for block in se.without]}


def from_json(mapping: Mapping[str, object]) -> SE:
    """The variant that `to_json` wrote.

    A field that is not there is as in ``SE()``: a file written before the field existed keeps its meaning.

    Raises:
        UsageError: a name that is no field, or a value of another type.
    """
    if not isinstance(mapping, Mapping):
        raise UsageError(f"a variant is a JSON object with the fields {', '.join(_FIELDS)}, got {mapping!r}")
    values: dict[str, object] = {}
    for name, value in mapping.items():
        _require_known(name, _FIELDS)
        kind = type(getattr(_PAPER, name))
        if name == "stages" and value is not None:
            if not isinstance(value, list):
                raise UsageError(f"stages must be a list of stage numbers, or null for all, got {value!r}")
            value = tuple(value)
        elif name == "without":
            if not isinstance(value, list) or not all(isinstance(block, list) for block in value):
                raise UsageError(f"without must be a list of [stage, block], got {value!r}")
            value = tuple(map(tuple, value))
        values[name] = _member(name, kind, value) if issubclass(kind, Enum) else value
    return replace(_PAPER, **values)  # type: ignore[arg-type]  # SE checks each of them


def _parse_value(name: str, value: str) -> object:
    standard = _PAPER.reduction if name == "hidden" else getattr(_PAPER, name)
    if isinstance(standard, Enum):
        return _member(name, type(standard), value)
    if isinstance(standard, bool):
        _require_known(value, ("true", "false"), f"{name}=")
        return value == "true"
    if not re.fullmatch(r"[0-9]{1,6}", value):
        raise UsageError(f"{name}=... takes a whole number, such as {standard}, got {value!r}")
    return int(value)


def _parse_stages(value: str) -> tuple[int, ...] | None:
    if value == _ALL_STAGES:
        return None
    stages: list[int] = []
    for part in value.split("+"):
        ends = re.fullmatch(r"([0-9]{1,3})(?:-([0-9]{1,3}))?", part.strip())
        first, last = (int(ends[1]), int(ends[2] or ends[1])) if ends else (1, 0)
        if first > last or (stages and first <= stages[-1]):
            raise UsageError(
                f"stages=... takes stage numbers in ascending order: 3, 2-4, 2+5 or {_ALL_STAGES}, got {value!r}"
            )
        stages.extend(range(first, last + 1))
    return tuple(stages)


def _stages_words(stages: tuple[int, ...]) -> str:
    gaps = [(before, after) for before, after in pairwise(stages) if after != before + 1]
    starts, ends = [stages[0], *(after for _, after in gaps)], [*(before for before, _ in gaps), stages[-1]]
    return "+".join(f"{start}-{end}" if start < end else f"{start}" for start, end in zip(starts, ends, strict=True))


def _parse_blocks(value: str) -> tuple[tuple[int, int], ...]:
    parts = [re.fullmatch(r"([0-9]{1,3})_([0-9]{1,3})", part.strip()) for part in value.split("+")]
    blocks = tuple((int(part[1]), int(part[2])) for part in parts if part)
    if len(blocks) != len(parts) or blocks != tuple(sorted(set(blocks))):
        raise UsageError(f"without=... takes stage_block in ascending order: 4_6 or 4_6+5_1, got {value!r}")
    return blocks


def _blocks_words(blocks: tuple[tuple[int, int], ...]) -> str:
    return "+".join(f"{stage}_{block}" for stage, block in blocks)


_PARSERS: Mapping[str, Callable[[str], object]] = {"stages": _parse_stages, "without": _parse_blocks}
_WRITERS: Mapping[str, Callable[[Any], str]] = {"stages": _stages_words, "without": _blocks_words}


def _word(value: object) -> str:
    return str(value.value) if isinstance(value, Enum) else str(value).lower()


def _member(name: str, kind: type[Enum], value: object) -> Enum:
    _require_known(value, [str(member.value) for member in kind], f"{name}=")
    return kind(value)


def _require_known(word: object, known: Iterable[str], before: str = "") -> None:
    known = list(known)
    if isinstance(word, str) and word in known:
        return
    near = get_close_matches(word.lower(), known, n=2, cutoff=0.6) if isinstance(word, str) else []
    hint = f"; did you mean {' or '.join(near)}?" if near else f"; choose among {', '.join(known)}"
    raise UsageError(f"{before + '...' if before else 'a variant'} does not know {word!r}{hint}")
