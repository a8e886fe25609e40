"""JSON objects read into frozen dataclasses whose fields declare their rules.

::

    size: Annotated[int | None, Nullable(Whole(1, 2**31))]

`read_as` reads a document by these rules and stops at the first mistake, `problems` lists every mistake, `as_json`
writes, and ``tools/manifest_schema.py`` makes a JSON schema of the same declaration. `Fields` reads documents that have
no dataclass of their shape, field by field.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_type_hints

from senet_zoo.errors import ManifestError

MOST_NAME = 100  # characters of a key in a table
MOST_SHOWN = 120  # characters of a value in a message
NOT_BLANK = r"(?s).*\S.*"
BAD: Any = object()
"""Stands in place of a value that breaks its rule, where reading goes on to the next mistake."""

_T = TypeVar("_T")


@dataclass(slots=True)
class Cursor:
    """Where in a document a rule is applied.

    Args:
        path: to the value, for messages: ``models.se_resnet50.weights.caffe_in1k``.
        report: is told each mistake; what it raises ends the reading.
        around: fields of the objects that hold the value, as parsed, and the names of table entries; the innermost win.
    """

    path: str
    report: Callable[[str], object]
    around: Mapping[str, Any] = field(default_factory=dict)

    def at(self, step: str, around: Mapping[str, Any] | None = None) -> "Cursor":
        """The cursor of a value inside this one."""
        return Cursor(self.path + step, self.report, self.around if around is None else around)

    def refuse(self, rule: str, value: object) -> Any:
        """Report that ``value`` breaks ``rule``."""
        self.report(f"{self.path} must be {rule}, got {shown(value)}")
        return BAD


class FieldRule:
    """What a JSON value must be, and which Python value it becomes."""

    def take(self, value: Any) -> Any:
        """The Python value, where the JSON value shows by itself that it keeps the rule; else `BAD`: `read` says more.

        A manifest has thousands of values, and most need no cursor.
        """
        return BAD

    def read(self, value: Any, cursor: Cursor) -> Any:
        """The Python value, or `BAD` after a report."""
        raise NotImplementedError

    def write(self, value: Any) -> object:
        """The JSON value from which `read` reads the same again."""
        return value


@dataclass(frozen=True)
class Text(FieldRule):
    """A string that matches ``pattern`` as a whole."""

    pattern: str = NOT_BLANK
    words: str = "a text that is not empty"

    def take(self, value: Any) -> Any:
        return value if self.holds(value) else BAD

    def read(self, value: Any, cursor: Cursor) -> Any:
        return value if self.holds(value) else cursor.refuse(self.words, value)

    def holds(self, value: object) -> bool:
        return isinstance(value, str) and self._compiled.fullmatch(value) is not None

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern)


@dataclass(frozen=True)
class Member(FieldRule):
    """One of some strings; the member of ``enum`` with that value, where there is one."""

    words: tuple[str, ...]
    enum: type[Enum] | None = None

    def read(self, value: Any, cursor: Cursor) -> Any:
        if not isinstance(value, str) or value not in self.words:
            return cursor.refuse(f"one of {', '.join(self.words)}", value)
        return value if self.enum is None else self.enum(value)

    def write(self, value: Any) -> object:
        return value if self.enum is None else value.value


@dataclass(frozen=True)
class Whole(FieldRule):
    """A whole number from ``low``, or from the value of the field ``low_field`` of the same object, to ``high``."""

    low: int
    high: int
    low_field: str | None = None

    def take(self, value: Any) -> Any:
        return value if self.low_field is None and type(value) is int and self.low <= value <= self.high else BAD

    def read(self, value: Any, cursor: Cursor) -> Any:
        low = cursor.around.get(self.low_field, self.low) if self.low_field else self.low
        low = max(low, self.low) if type(low) is int else self.low
        if type(value) is int and low <= value <= self.high:
            return value
        return cursor.refuse(f"a whole number from {low} to {self.high}", value)


@dataclass(frozen=True)
class Number(FieldRule):
    """A number from ``low`` to ``high``, both included; never NaN."""

    low: float
    high: float

    def take(self, value: Any) -> Any:
        return float(value) if type(value) in (int, float) and self.low <= value <= self.high else BAD

    def read(self, value: Any, cursor: Cursor) -> Any:
        found = self.take(value)
        return cursor.refuse(f"a number from {self.low:g} to {self.high:g}", value) if found is BAD else found


@dataclass(frozen=True)
class Flag(FieldRule):
    """True or false."""

    def read(self, value: Any, cursor: Cursor) -> Any:
        return value if isinstance(value, bool) else cursor.refuse("true or false", value)


@dataclass(frozen=True)
class Nullable(FieldRule):
    """Null, or what ``rule`` says; with ``may_lack``, documents of earlier versions have no such field at all."""

    rule: FieldRule
    may_lack: bool = False

    def take(self, value: Any) -> Any:
        return None if value is None else self.rule.take(value)

    def read(self, value: Any, cursor: Cursor) -> Any:
        if value is None:
            return None
        if isinstance(self.rule, Text) and not self.rule.holds(value):
            return cursor.refuse(f"{self.rule.words}, or null", value)
        return self.rule.read(value, cursor)

    def write(self, value: Any) -> object:
        return None if value is None else self.rule.write(value)


@dataclass(frozen=True)
class Items(FieldRule):
    """A list of ``least`` to ``most`` values, read into a tuple.

    Args:
        item: the rule of each.
        least: number of values.
        most: number of values; None for any.
        words: what the list must be, for messages.
        names: of the values in messages, where they have names; otherwise they are counted.
    """

    item: FieldRule
    least: int = 0
    most: int | None = None
    words: str = ""
    names: tuple[str, ...] = ()

    def read(self, value: Any, cursor: Cursor) -> Any:
        if not isinstance(value, list) or len(value) < self.least or len(value) > (self.most or len(value)):
            return cursor.refuse(self.words or f"a list of {self.least} or more objects", value)
        items = tuple(map(self.item.take, value))
        if BAD not in items:
            return items
        steps = (f".{name}" for name in self.names) if self.names else (f"[{i}]" for i in range(len(value)))
        items = tuple(self.item.read(item, cursor.at(step)) for item, step in zip(value, steps, strict=False))
        return BAD if BAD in items else items

    def write(self, value: Any) -> object:
        return [self.item.write(item) for item in value]


@dataclass(frozen=True)
class Table(FieldRule):
    """An object that is not empty, whose keys match ``pattern``; read into a dict.

    Args:
        name: of the key, for rules and fields inside the items.
        item: the rule of each value.
        pattern: of the keys.
        words: what the keys are, for messages.
    """

    name: str
    item: FieldRule
    pattern: str
    words: str

    def read(self, value: Any, cursor: Cursor) -> Any:
        if not isinstance(value, dict) or not value:
            return cursor.refuse("an object that is not empty", value)
        return {key: self._read(key, item, cursor) for key, item in value.items()}

    def _read(self, key: str, item: Any, cursor: Cursor) -> Any:
        if len(key) > MOST_NAME or re.fullmatch(self.pattern, key) is None:
            return cursor.refuse(f"an object whose keys are {self.words}, of {MOST_NAME} characters at most", key)
        return self.item.read(item, cursor.at(f".{key}", {**cursor.around, self.name: key}))

    def write(self, value: Any) -> object:
        return {key: self.item.write(item) for key, item in value.items()}


@dataclass(frozen=True)
class Record(FieldRule):
    """An object of exactly the fields of a dataclass; fields without a rule are taken from around it."""

    cls: Any

    def read(self, value: Any, cursor: Cursor) -> Any:
        if not isinstance(value, dict):
            return cursor.refuse("a JSON object", value)
        rules = rules_of(self.cls)
        values = {name: rule.take(value[name]) if name in value else BAD for name, rule in rules.items()}
        if BAD in values.values() or len(values) < len(self.cls.__dataclass_fields__):
            inside = Cursor(cursor.path, cursor.report, {**cursor.around, **value})
            values = {
                name: _read_field(name, rules[name], value, inside) if found is BAD else found
                for name, found in values.items()
            }
        unknown = value.keys() - rules.keys()
        if unknown:
            cursor.report(_unknown(cursor.path, unknown))
        if unknown or BAD in values.values():
            return BAD
        if len(values) < len(self.cls.__dataclass_fields__):
            values |= {each.name: inside.around[each.name] for each in fields(self.cls) if each.name not in rules}
        return self.cls(**values)

    def write(self, value: Any) -> dict[str, object]:
        return {name: rule.write(getattr(value, name)) for name, rule in rules_of(self.cls).items()}


@dataclass(frozen=True)
class OneOf(FieldRule):
    """An object of the dataclass that its field ``kind`` names."""

    kinds: Mapping[str, type[Any]]

    def read(self, value: Any, cursor: Cursor) -> Any:
        if not isinstance(value, dict):
            return cursor.refuse("a JSON object", value)
        if "kind" not in value:
            cursor.report(_lacks(cursor.path, "kind"))
            return BAD
        kind = Member(tuple(self.kinds)).read(value["kind"], cursor.at(".kind"))
        if kind is BAD:
            return BAD
        return Record(self.kinds[kind]).read({name: value[name] for name in value if name != "kind"}, cursor)

    def write(self, value: Any) -> object:
        (kind,) = (name for name, cls in self.kinds.items() if cls is type(value))
        return {"kind": kind, **Record(type(value)).write(value)}


WIDTHS = Nullable(Items(Whole(1, 10**5), words="a list of whole numbers from 1 to 100000, or null"), may_lack=True)
"""Channels of a network that was pruned; earlier files lack the field."""


@cache
def rules_of(cls: Any) -> Mapping[str, FieldRule]:
    """The rules that a dataclass declares, by field."""
    hints = get_type_hints(cls, include_extras=True)
    return {
        each.name: rule
        for each in fields(cls)
        for rule in getattr(hints[each.name], "__metadata__", ())
        if isinstance(rule, FieldRule)
    }


def read_as(cls: type[_T], value: object, path: str, around: Mapping[str, object] | None = None) -> _T:
    """Read a parsed JSON value as a dataclass.

    Args:
        cls: a dataclass whose fields declare their rules.
        value: as parsed.
        path: to it, for messages.
        around: values that rules and fields take from the objects around it.

    Raises:
        ManifestError: the first mistake: the path to the field, the rule and the value.
    """
    result: _T = Record(cls).read(value, Cursor(path, _raise, around or {}))
    return result


def problems(cls: type[Any], value: object, path: str) -> list[str]:
    """Every mistake of which `read_as` would name the first; none where it would read."""
    found: list[str] = []
    Record(cls).read(value, Cursor(path, found.append))
    return found


def as_json(value: Any) -> dict[str, object]:
    """The JSON object from which `read_as` reads the same value."""
    return Record(type(value)).write(value)


class Fields:
    """One JSON object whose fields are taken out one at a time; what is left over at the end is refused.

    Args:
        data: the parsed JSON value; must be an object.
        where: the path to it, for messages.

    Raises:
        ManifestError: from every method, where a field is missing or breaks its rule.
    """

    def __init__(self, data: object, where: str) -> None:
        if not isinstance(data, dict):
            raise ManifestError(f"{where} must be a JSON object, got {shown(data)}")
        self.where = where
        self._left = dict(data)

    def take(self, name: str) -> object:
        """The raw value of a field that must be there."""
        if name not in self._left:
            raise ManifestError(_lacks(self.where, name))
        return self._left.pop(name)

    def take_optional(self, name: str) -> object:
        """The raw value of a field that documents of earlier versions lack; None where it is absent or null."""
        return self._left.pop(name, None)

    def read(self, name: str, rule: FieldRule) -> Any:
        """The value that a rule makes of a field."""
        lacking = isinstance(rule, Nullable) and rule.may_lack
        value = self.take_optional(name) if lacking else self.take(name)
        return rule.read(value, Cursor(f"{self.where}.{name}", _raise))

    def text(self, name: str, pattern: str = NOT_BLANK, words: str = Text.words) -> str:
        """A string that matches ``pattern`` as a whole."""
        return str(self.read(name, Text(pattern, words)))

    def choice(self, name: str, words: tuple[str, ...]) -> str:
        """One of ``words``."""
        return str(self.read(name, Member(words)))

    def whole(self, name: str, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``."""
        return int(self.read(name, Whole(low, high)))

    def number(self, name: str, low: float, high: float) -> float:
        """A number from ``low`` to ``high``."""
        return float(self.read(name, Number(low, high)))

    def done(self) -> None:
        """Refuse fields that nobody took."""
        if self._left:
            raise ManifestError(_unknown(self.where, self._left))

    def refuse(self, name: str, value: object, rule: str) -> ManifestError:
        """The error of a field that breaks ``rule``."""
        return ManifestError(f"{self.where}.{name} must be {rule}, got {shown(value)}")


def read_json(path: Path) -> object:
    """The JSON document in ``path``; a key that stands twice in one object is refused."""
    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=no_duplicates)
    except OSError as e:
        raise ManifestError(f"{path} cannot be read: {e.strerror}; name a manifest that exists") from e
    except (ValueError, RecursionError) as e:
        raise ManifestError(f"{path} must be a JSON document: {e}; correct it there") from e


def no_duplicates(pairs: list[tuple[str, object]]) -> Mapping[str, object]:
    """For ``json.loads(object_pairs_hook=...)``: a dict, or a ValueError where a key stands twice."""
    result = dict(pairs)
    if len(result) != len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {shown(twice)} stands twice in one object")
    return result


def shown(value: object) -> str:
    """A value as a message quotes it, its end cut off where it is long."""
    return cut(repr(value))


def cut(text: str) -> str:
    """A text for a message, its end cut off where it is long."""
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 3] + "..."


def _read_field(name: str, rule: FieldRule, value: dict[str, Any], cursor: Cursor) -> Any:
    if name in value:
        return rule.read(value[name], cursor.at(f".{name}"))
    if isinstance(rule, Nullable) and rule.may_lack:
        return None
    cursor.report(_lacks(cursor.path, name))
    return BAD


def _lacks(path: str, name: str) -> str:
    return f"{path} lacks the field {name!r}; a value that is not known is written as null"


def _unknown(path: str, names: Iterable[str]) -> str:
    unknown = cut(", ".join(map(repr, sorted(names))))
    return f"{path} has unknown fields: {unknown}; remove them, or check their spelling"


def _raise(message: str) -> NoReturn:
    raise ManifestError(message)
