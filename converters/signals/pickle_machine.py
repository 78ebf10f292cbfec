"""The stack machine of Python's pickles, of which only what makes arrays of plain numbers is followed.

Source: CPython, `pickletools` (meaning of the instructions); NumPy, `ndarray.__reduce__`, `dtype.__reduce__`.
"""

from __future__ import annotations

import codecs
import mmap
import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medshard.converters.formats.faults import bad_file
from medshard.converters.signals.pickled_numpy import CALLABLES, Name, broken, built, made, unsupported, word
from medshard.errors import CaseError

MOST_STEPS = 4_000_000
LARGEST_INTEGER_BYTES = 16
PROTOCOLS = range(2, 6)
_MARK = object()


class Machine:
    """The stack machine. A class, because the instructions share a stack, a memo and a place in the file."""

    def __init__(self, path: Path, content: mmap.mmap) -> None:
        self._path = path
        self._content = content
        self._view = memoryview(content)
        self._at = 0
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._copied = 0

    def run(self, steps: Mapping[int, Callable[[Machine], None]]) -> Any:
        """What the program leaves. steps: code of an instruction -> what it does."""
        for _ in range(MOST_STEPS):
            code = self._bytes(1)[0]
            if code == ord("."):
                return self._pop()
            step = steps.get(code)
            if step is None:
                raise unsupported(self._path, "the pickle would create an object that is no array of numbers")
            step(self)
        raise unsupported(self._path, "the pickle has more instructions than recordings need")

    # Reading.

    def _bytes(self, count: int) -> memoryview:
        if count < 0 or self._at + count > len(self._view):
            raise bad_file("read.truncated", self._path, "the pickle ends too early")
        self._at += count
        return self._view[self._at - count : self._at]

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._bytes(struct.calcsize(form)))[0]

    def _line(self) -> memoryview:
        end = self._content.find(b"\n", self._at)
        if end < 0:
            raise bad_file("read.truncated", self._path, "the pickle ends too early")
        line = self._bytes(end - self._at)
        self._at += 1
        return line

    def _short_line(self) -> str:
        return self._word(self._line())

    def _word(self, value: Any) -> str:
        return word(self._path, value)

    def _broken(self) -> CaseError:
        return broken(self._path)

    # The stack.

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise self._broken()
        return self._stack.pop()

    def _top(self, kind: type) -> Any:
        if not self._stack or type(self._stack[-1]) is not kind:
            raise self._broken()
        return self._stack[-1]

    def _since_mark(self) -> list[Any]:
        for place in range(len(self._stack) - 1, -1, -1):
            if self._stack[place] is _MARK:
                items = self._stack[place + 1 :]
                del self._stack[place:]
                return items
        raise self._broken()

    def push(self, value: Any) -> None:
        self._stack.append(value)

    # Instructions.

    def protocol(self) -> None:
        if self._bytes(1)[0] > PROTOCOLS[-1]:
            raise unsupported(self._path, "the pickle is of a protocol that medshard does not know")

    def frame(self) -> None:
        self._bytes(8)

    def put_at(self, form: str) -> None:
        self.put(self._index(form))

    def get_at(self, form: str) -> None:
        self.get(self._index(form))

    def _index(self, form: str) -> int:
        """Of the memo; an empty form stands for a number in a line of text."""
        if form:
            return int(self._number(form))
        text = self._short_line()
        if not re.fullmatch(r"\d{1,12}", text, re.ASCII):
            raise self._broken()
        return int(text)

    def memoize(self) -> None:
        self.put(len(self._memo))

    def number(self, form: str) -> None:
        self.push(self._number(form))

    def tuple_to_mark(self) -> None:
        self.push(tuple(self._since_mark()))

    def list_to_mark(self) -> None:
        self.push(self._since_mark())

    def mark(self) -> None:
        self._stack.append(_MARK)

    def pop_to_mark(self) -> None:
        self._since_mark()

    def pop(self) -> None:
        if not self._stack:
            raise self._broken()
        self._stack.pop()

    def duplicate(self) -> None:
        value = self._pop()
        self._stack += [value, value]

    def put(self, index: int) -> None:
        if not self._stack or self._stack[-1] is _MARK:
            raise self._broken()
        self._memo[index] = self._stack[-1]

    def get(self, index: int) -> None:
        if index not in self._memo:
            raise self._broken()
        self._stack.append(self._memo[index])

    def integer_line(self) -> None:
        text = self._short_line().removesuffix("L")
        if not re.fullmatch(r"[+-]?\d{1,39}", text, re.ASCII):
            raise self._broken()
        self.push({"00": False, "01": True}.get(text, int(text)))

    def long(self, form: str) -> None:
        count = self._number(form)
        if not 0 <= count <= LARGEST_INTEGER_BYTES:
            raise self._broken()
        self.push(int.from_bytes(self._bytes(count), "little", signed=True))

    def float_line(self) -> None:
        self.push(float(self._short_line()))

    def content(self, form: str) -> None:
        self.push(self._bytes(self._number(form)))

    def text(self, form: str) -> None:
        self.push(str(self._bytes(self._number(form)), "utf-8", "surrogatepass"))

    def text_line(self) -> None:
        self.push(bytes(self._line()).decode("raw-unicode-escape"))

    def string_line(self) -> None:
        line = self._line()
        if len(line) < 2 or line[0] != line[-1] or line[0] not in b"'\"":
            raise self._broken()
        self.push(codecs.escape_decode(line[1:-1])[0])

    def tuple_of(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self.push(tuple(reversed(items)))

    def append(self) -> None:
        value = self._pop()
        self._top(list).append(value)

    def appends(self) -> None:
        items = self._since_mark()
        self._top(list).extend(items)

    def set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._set(self._top(dict), [key, value])

    def set_items(self) -> None:
        items = self._since_mark()
        self._set(self._top(dict), items)

    def new_dict(self) -> None:
        found: dict[Any, Any] = {}
        self._set(found, self._since_mark())
        self.push(found)

    def _set(self, target: dict[Any, Any], items: list[Any]) -> None:
        if len(items) % 2:
            raise self._broken()
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key if isinstance(key, int) else self._word(key)] = value

    def named(self, module: str, name: str) -> None:
        if (module, name) not in CALLABLES:
            raise unsupported(self._path, "the pickle names a function or class that has no place in arrays")
        self.push(Name(CALLABLES[module, name]))

    def named_lines(self) -> None:
        self.named(self._short_line(), self._short_line())

    def named_on_stack(self) -> None:
        name, module = self._pop(), self._pop()
        self.named(self._word(module), self._word(name))

    def reduce(self) -> None:
        arguments, name = self._pop(), self._pop()
        if type(arguments) is not tuple or type(name) is not Name:
            raise self._broken()
        result = made(self._path, name.name, arguments)
        if isinstance(result, bytes):
            # Each text becomes bytes once; one that does so again and again would fill the memory.
            self._copied += len(result)
            if self._copied > len(self._view):
                raise self._broken()
        self.push(result)

    def build(self) -> None:
        state = self._pop()
        built(self._path, self._stack[-1] if self._stack else None, state)
