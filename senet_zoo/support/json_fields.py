"""Reading JSON data field by field, so that nothing unchecked and nothing unknown gets through."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from senet_zoo.errors import ManifestError

MOST_NAME = 100  # characters of a key in a table
MOST_SHOWN = 120  # characters of a value in a message


class Fields:
    """One JSON object whose fields are taken out one at a time; what is left over at the end is refused.

    Args:
        data: the parsed JSON value; must be an object.
        where: the path to it, for messages: ``models.se_resnet50.weights.caffe_in1k``.

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
            raise ManifestError(f"{self.where} lacks the field {name!r}; a value that is not known is written as null")
        return self._left.pop(name)

    def take_optional(self, name: str) -> object:
        """The raw value of a field that rows of earlier versions lack; None where it is absent, as where it is null."""
        return self._left.pop(name, None)

    def done(self) -> None:
        """Refuse fields that nobody took."""
        if self._left:
            unknown = _cut(", ".join(map(repr, sorted(self._left))))
            raise ManifestError(f"{self.where} has unknown fields: {unknown}; remove them, or check their spelling")

    def refuse(self, name: str, value: object, rule: str) -> ManifestError:
        """The error of a field that breaks ``rule``."""
        return ManifestError(f"{self.where}.{name} must be {rule}, got {shown(value)}")

    def text(self, name: str, pattern: str = r"(?s).*\S.*", rule: str = "a text that is not empty") -> str:
        """A string that matches ``pattern`` as a whole."""
        value = self.take(name)
        if not isinstance(value, str) or re.fullmatch(pattern, value) is None:
            raise self.refuse(name, value, rule)
        return value

    def text_or_null(
        self, name: str, pattern: str = r"(?s).*\S.*", rule: str = "a text that is not empty"
    ) -> str | None:
        """The same, or null for what is not known."""
        if self._take_null(name):
            return None
        return self.text(name, pattern, f"{rule}, or null")

    def _take_null(self, name: str) -> bool:
        return self._left.get(name, ...) is None and self._left.pop(name) is None

    def choice(self, name: str, words: tuple[str, ...]) -> str:
        """One of ``words``."""
        value = self.take(name)
        if value not in words or not isinstance(value, str):
            raise self.refuse(name, value, f"one of {', '.join(words)}")
        return value

    def whole(self, name: str, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``."""
        value = self.take(name)
        if type(value) is not int or not low <= value <= high:
            raise self.refuse(name, value, f"a whole number from {low} to {high}")
        return value

    def whole_or_null(self, name: str, low: int, high: int) -> int | None:
        """The same, or null for what is not known."""
        if self._take_null(name):
            return None
        return self.whole(name, low, high)

    def wholes_or_null(self, name: str, low: int, high: int) -> tuple[int, ...] | None:
        """A list of whole numbers from ``low`` to ``high``; None where it is null or, as in earlier files, absent."""
        value = self.take_optional(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(type(number) is int and low <= number <= high for number in value):
            raise self.refuse(name, value, f"a list of whole numbers from {low} to {high}, or null")
        return tuple(value)

    def number(self, name: str, low: float, high: float) -> float:
        """A number from ``low`` to ``high``."""
        value = self.take(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            raise self.refuse(name, value, f"a number from {low:g} to {high:g}")
        return float(value)

    def number_or_null(self, name: str, low: float, high: float) -> float | None:
        """The same, or null for what is not known."""
        if self._take_null(name):
            return None
        return self.number(name, low, high)

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self.take(name)
        if not isinstance(value, bool):
            raise self.refuse(name, value, "true or false")
        return value

    def objects(self, name: str, least: int) -> Iterator["Fields"]:
        """A list of at least ``least`` objects, made when they are asked for: the first that is bad is the last."""
        value = self.take(name)
        if not isinstance(value, list) or len(value) < least:
            raise self.refuse(name, value, f"a list of {least} or more objects")
        return (Fields(item, f"{self.where}.{name}[{i}]") for i, item in enumerate(value))

    def table(self, name: str, pattern: str, rule: str) -> Iterator[tuple[str, "Fields"]]:
        """An object of objects, whose keys match ``pattern``, as pairs, made when they are asked for."""
        value = self.take(name)
        if not isinstance(value, dict) or not value:
            raise self.refuse(name, value, "an object that is not empty")
        for key in value:
            if len(key) > MOST_NAME or re.fullmatch(pattern, key) is None:
                raise self.refuse(name, key, f"an object whose keys are {rule}, of {MOST_NAME} characters at most")
        return ((key, Fields(item, f"{self.where}.{name}.{key}")) for key, item in value.items())


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
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 3] + "..."
