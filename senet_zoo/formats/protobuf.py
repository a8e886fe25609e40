"""The protobuf wire format, for reading files of others: fields of a message, one after the other.

A field starts with a varint, ``number << 3 | wire type``; the wire type says how long the value is, so that a reader
steps over fields it does not know. Nothing here is recursive: a message inside a message is handed out as bytes.

The protobuf package would parse a whole file before any limit on its fields could be checked, and would be one more
dependency.

Source: https://protobuf.dev/programming-guides/encoding
"""

from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from senet_zoo.errors import WeightsCorrupted, WeightsUnsafe

MOST_FIELDS = 2**16  # SENet-154's 1100 layers of about 20 need a third
MOST_TEXT_BYTES = 1000  # names of layers; each of a layer's blobs repeats it


class Wire(IntEnum):
    """How a value is written."""

    VARINT = 0
    FIXED64 = 1
    BYTES = 2
    GROUP_START = 3
    GROUP_END = 4
    FIXED32 = 5


class Field(NamedTuple):
    """One field of a message."""

    number: int
    wire: Wire
    number_value: int
    """Of a varint, from 0 to 2**64 - 1; 0 otherwise."""
    data: memoryview
    """A fixed value (4 or 8 bytes, little-endian), a text, a message or packed values; empty for a varint."""


_WIRES = tuple(Wire)
_NOTHING = memoryview(b"")


class WireReader:
    """Reads messages out of one file and counts their fields, so that a file of nothing but empty fields ends early.

    Args:
        path: of the file, for messages.

    Raises:
        WeightsCorrupted: from every method, where the bytes are no message or another kind of value.
        WeightsUnsafe: the file has too many fields, or a text that is too long.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fields_left = MOST_FIELDS

    def fields(self, message: memoryview) -> Iterator[Field]:
        """The fields of a message in the order of the file; groups, long out of use, are stepped over."""
        offset, open_groups = 0, []
        while offset < len(message):
            self._count()
            tag, offset = self._varint(message, offset)
            number, code = tag >> 3, tag & 7
            if not 1 <= number < 2**29 or code > Wire.FIXED32:
                raise self.corrupted(f"there is no field {number} of wire type {code}")
            wire, value, start = _WIRES[code], 0, offset
            if wire is Wire.VARINT:
                value, offset = self._varint(message, offset)
                start = offset
            elif wire is Wire.BYTES:
                length, start = self._varint(message, offset)
                offset = start + length
            elif wire is Wire.GROUP_START:
                open_groups.append(number)
                continue
            elif wire is Wire.GROUP_END:
                if not open_groups or open_groups.pop() != number:
                    raise self.corrupted(f"group {number} ends, but did not start")
                continue
            else:
                offset = start + (8 if wire is Wire.FIXED64 else 4)
            if offset > len(message):
                raise self.corrupted(f"field {number} claims {offset - start} bytes of {len(message) - start}")
            if not open_groups:
                yield Field(number, wire, value, message[start:offset] if offset > start else _NOTHING)
        if open_groups:
            raise self.corrupted(f"group {open_groups[-1]} does not end")

    def whole_numbers(self, field: Field) -> Iterator[int]:
        """The values of a repeated varint, packed or not, each from 0 to 2**64 - 1."""
        if field.wire is Wire.VARINT:
            yield field.number_value
            return
        if field.wire is not Wire.BYTES:
            raise self.corrupted(f"field {field.number} must hold whole numbers")
        offset = 0
        while offset < len(field.data):
            value, offset = self._varint(field.data, offset)
            yield value

    def message(self, field: Field) -> memoryview:
        """The bytes of a field that must be a message, a text or packed values."""
        if field.wire is not Wire.BYTES:
            raise self.corrupted(f"field {field.number} must have a length, but is written as {field.wire.name}")
        return field.data

    def text(self, field: Field) -> str:
        """The value of a field that must be a text no longer than a name."""
        content = self.message(field)
        if len(content) > MOST_TEXT_BYTES:
            raise WeightsUnsafe(
                f"a name may have {MOST_TEXT_BYTES} bytes at most, {self._path} has one of {len(content)}; its reading "
                f"was stopped"
            )
        try:
            return bytes(content).decode()
        except UnicodeDecodeError as e:
            raise self.corrupted(f"field {field.number} must be a text in UTF-8: {e.reason}") from e

    def corrupted(self, what: str) -> WeightsCorrupted:
        """The error of a file whose bytes make no sense."""
        return WeightsCorrupted(
            f"{self._path} must be a whole protobuf file: {what}; it is truncated or of another kind, fetch it again"
        )

    def _count(self) -> None:
        self._fields_left -= 1
        if self._fields_left < 0:
            raise WeightsUnsafe(
                f"a file may have {MOST_FIELDS} fields at most, {self._path} has more; its reading was stopped"
            )

    def _varint(self, message: memoryview, offset: int) -> tuple[int, int]:
        if offset < len(message) and message[offset] < 0x80:  # most are one byte
            return message[offset], offset + 1
        value = 0
        for count, byte in enumerate(message[offset : offset + 10]):
            value |= (byte & 0x7F) << (7 * count)
            if byte < 0x80:
                return value & (2**64 - 1), offset + count + 1
        raise self.corrupted("a number does not end")
