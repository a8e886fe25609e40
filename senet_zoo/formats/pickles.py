"""A pickle, read without running it: instructions that make containers, texts and numbers, and stand-ins for the rest.

A pickle is a program. Python's own reader looks up whatever the program names and calls it; PyTorch's ``weights_only``
calls what a list allows. The machine here calls nothing: `PickleMachine` carries out the instructions that containers
and constants take, and a subclass says what stands for a name, a call and an object. Nothing is imported.

A `pickle.Unpickler` with a list of allowed names is not enough. It allocates whatever length or memory index a file
names before it reads on, sets attributes of what it looked up, takes any value as a key although the hash of a nested
tuple can take exponential time, and does not notice a key that stands twice.

Source: Python's ``pickletools`` for the instructions.

Differs: protocols 0 and 1, written as text, are not read.
"""

import pickletools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import IO

_CONSTANTS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_SINGLETONS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TAKEN = {
    **dict.fromkeys(("TUPLE1", "APPEND", "BUILD", "BINPERSID"), 1),
    **dict.fromkeys(("TUPLE2", "SETITEM", "STACK_GLOBAL", "REDUCE", "NEWOBJ"), 2),
    **dict.fromkeys(("TUPLE3", "NEWOBJ_EX"), 3),
}
"""How many values an instruction takes from the stack."""
_TO_MARK = {"TUPLE", "APPENDS", "SETITEMS", "ADDITEMS", "FROZENSET", "OBJ", "INST"}


class NotReadable(Exception):
    """An instruction that does not fit what came before it; the file's reader makes a typed error of it."""


class TooLong(Exception):
    """More instructions than a file of tensors has."""


@dataclass(frozen=True, eq=False)
class Name:
    """A function or class that a pickle names: ``module name``. It is never looked up."""

    text: str

    def __str__(self) -> str:
        return "".join(c if c.isprintable() else "?" for c in self.text.replace(" ", "."))[:80]


class Bystander:
    """A value of a class that is not looked up: what the file puts into it as into a list or a dictionary.

    Args:
        kind: the class that the file names.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.items: list[object] = []
        self.pairs: dict[object, object] = {}


class PickleMachine(ABC):
    """The stack and the memory of a pickle.

    Args:
        most_instructions: that a pickle may have, and pairs that its dictionaries may be made from.
    """

    def __init__(self, most_instructions: int) -> None:
        self._most = self._pairs_left = most_instructions
        self._stack: list[object] = []
        self._below: list[list[object]] = []  # stacks under the open marks
        self._memory: dict[object, object] = {}

    @abstractmethod
    def find(self, name: str) -> object:
        """What stands for ``module name``."""

    @abstractmethod
    def call(self, function: object, arguments: object) -> object:
        """What stands for the result of a call."""

    @abstractmethod
    def make(self, kind: object, instruction: str) -> object:
        """What stands for a new object of a class."""

    @abstractmethod
    def build(self, target: object, state: object) -> None:
        """Give an object its state."""

    @abstractmethod
    def persistent(self, value: object) -> object:
        """What stands for a value that the file keeps elsewhere."""

    def key(self, value: object) -> object:
        """A dictionary's key; texts alone are taken here."""
        if not isinstance(value, str):
            raise NotReadable("keys and names must be texts")
        return value

    def finished(self, value: object) -> object:
        """What goes into a container in a value's place."""
        return value

    def run(self, content: bytes | IO[bytes]) -> object:
        """The value of the pickle at the beginning of ``content``.

        Raises:
            NotReadable: an instruction does not fit what came before it, or has no part in such files.
            ValueError: the bytes are no whole pickle.
            TooLong: it has more instructions than allowed.
        """
        for count, (instruction, argument, _) in enumerate(pickletools.genops(content)):
            if count == self._most:
                raise TooLong
            self._step(instruction.name, argument)
        if len(self._stack) != 1 or self._below:
            raise NotReadable("it ends within a container")
        return self.finished(self._stack.pop())

    def dictionary(self, pairs: list[object]) -> dict[object, object]:
        """A dictionary of pairs, as Python 2 writes an OrderedDict."""
        self._pairs_left -= len(pairs)
        if self._pairs_left < 0:  # a list that is remembered can be called upon again and again
            raise NotReadable("its dictionaries hold more pairs than the file has")
        if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
            raise NotReadable("a dictionary is made of pairs")
        return self._assign({}, [item for pair in pairs for item in pair])  # type: ignore[attr-defined]

    def _step(self, instruction: str, argument: object) -> None:
        if instruction in _CONSTANTS:
            self._stack.append(argument)
            return
        items = self._to_mark() if instruction in _TO_MARK else self._take(_TAKEN.get(instruction, 0))
        match instruction:
            case "BINPUT" | "LONG_BINPUT":
                self._memory[argument] = self._top()
            case "MEMOIZE":
                self._memory[len(self._memory)] = self._top()
            case "BINGET" | "LONG_BINGET":
                if argument not in self._memory:
                    raise NotReadable(f"nothing was remembered as {argument}")
                self._stack.append(self._memory[argument])
            case "EMPTY_TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3" | "TUPLE" | "FROZENSET":
                self._stack.append(tuple(items))
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                self._below.append(self._stack)
                self._stack = []
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                self._stack.append(_SINGLETONS[instruction])
            case "EMPTY_DICT":
                self._stack.append({})
            case "EMPTY_LIST" | "EMPTY_SET":
                self._stack.append([])
            case "APPEND" | "APPENDS" | "ADDITEMS":
                target = self._top()
                held = target.items if isinstance(target, Bystander) else target
                if not isinstance(held, list):
                    raise NotReadable("items are appended to a list only")
                held.extend(map(self.finished, items))
            case "SETITEM" | "SETITEMS":
                self._assign(self._top(), items)
            case "GLOBAL":
                self._stack.append(self.find(str(argument)))
            case "STACK_GLOBAL":
                if not all(isinstance(item, str) for item in items):
                    raise NotReadable("keys and names must be texts")
                self._stack.append(self.find(" ".join(map(str, items))))
            case "REDUCE":
                self._stack.append(self.call(*items))
            case "BUILD":
                self.build(self._top(), items[0])
            case "BINPERSID":
                self._stack.append(self.persistent(items[0]))
            case "NEWOBJ" | "NEWOBJ_EX":
                self._stack.append(self.make(items[0], instruction))
            case "OBJ" | "INST" | "PERSID" | "EXT1" | "EXT2" | "EXT4":
                self._stack.append(self.make(argument, instruction))
            case _:
                raise NotReadable(f"the instruction {instruction} has no part in it")

    def _assign(self, target: object, items: list[object]) -> dict[object, object]:
        """Add items to a dictionary: key, value, key, value."""
        held = target.pairs if isinstance(target, Bystander) else target
        if not isinstance(held, dict) or len(items) % 2:
            raise NotReadable("keys and values go into a dictionary only")
        for key, value in zip(map(self.key, items[::2]), items[1::2], strict=True):
            if key in held:
                raise NotReadable(f"{str(key)[:80]!r} stands twice")
            held[key] = self.finished(value)
        return held

    def _take(self, count: int) -> list[object]:
        if not count:
            return []
        if len(self._stack) < count:
            raise NotReadable("an instruction lacks its values")
        begin = len(self._stack) - count
        items = self._stack[begin:]
        del self._stack[begin:]
        return items

    def _to_mark(self) -> list[object]:
        if not self._below:
            raise NotReadable("a container ends that did not begin")
        items, self._stack = self._stack, self._below.pop()
        return items

    def _top(self) -> object:
        if not self._stack:
            raise NotReadable("an instruction lacks its value")
        return self._stack[-1]
