"""The top of a JSON text, one value at a time, so that a file may be larger than memory."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from medshard.converters.formats.faults import bad_file
from medshard.converters.tables.encodings import Utf8, encoding_of
from medshard.converters.tables.packed import Unpacked, unpacked_start
from medshard.errors import CaseError

Top = Literal["list", "object", "lines"]

LONGEST_RECORD = 256 << 20
BLOCK = 1 << 20
_SPACE = re.compile(r"[ \t\r\n]*")


class JsonText:
    """A file's text with a place in it. Raises CaseError[read.truncated | read.unreadable | table.duplicate_column]."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream = Utf8(Unpacked(path), encoding_of(path, unpacked_start(path, BLOCK)))
        self._decoder = json.JSONDecoder(object_pairs_hook=self._object, parse_constant=self._no_number)
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0
        self._ended = False
        self._before = 0

    @property
    def passed(self) -> int:
        """Characters up to the place."""
        return self._before + self._at

    def close(self) -> None:
        self._stream.close()

    def peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, expected: str) -> None:
        if self.peek() != expected:
            raise self._broken()
        self._at += 1

    def value(self) -> Any:
        """The next value, whole."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except ValueError as error:
                if self._ended or not self._could_go_on(error):
                    raise self._broken() from None
            except RecursionError:
                raise bad_file("read.unreadable", self.path, "JSON values lie in one another too deeply") from None
            else:
                # A number at the end of the block may go on in the next one.
                if end < len(self._text) or self._ended:
                    self._at = end
                    return value
            self._more(double=True)

    def members(self) -> Iterator[Any]:
        """The values of a list that starts here."""
        self.take("[")
        while self.peek() != "]":
            yield self.value()
            self._separator("]")
        self.take("]")

    def items(self) -> Iterator[tuple[str, Any]]:
        """The names and values of an object that starts here."""
        for name in self.names():
            yield name, self.value()

    def names(self) -> Iterator[str]:
        """As `items`, for callers that take each value themselves before they ask for the next name."""
        self.take("{")
        seen: set[str] = set()
        while self.peek() != "}":
            if self.peek() != '"':
                raise self._broken()
            name = self.value()
            if name in seen:
                raise self._named_twice()
            seen.add(name)
            self.take(":")
            yield name
            self._separator("}")
        self.take("}")

    def lines(self) -> Iterator[Any]:
        """Values one after another, as in JSON lines."""
        while self.peek():
            yield self.value()

    def require_end(self) -> None:
        if self.peek():
            raise self._broken()

    def too_long(self) -> CaseError:
        return bad_file(
            "table.row_too_long",
            self.path,
            "a record is longer than records of tables are",
            details={"expected": f"at most {LONGEST_RECORD >> 20} MB"},
        )

    def _separator(self, end: str) -> None:
        if self.peek() == ",":
            self._at += 1
            if self.peek() == end:
                raise self._broken()
        elif self.peek() != end:
            raise self._broken()

    def _more(self, *, double: bool = False) -> bool:
        """Take more text in; twice as much as there is where a value is long, so that it is not parsed too often."""
        if self._ended:
            return False
        rest = self._text[self._at :]
        self._before += self._at
        self._at = 0
        if len(rest) > LONGEST_RECORD:
            raise self.too_long()
        block = self._stream.read(max(BLOCK, len(rest)) if double else BLOCK)
        self._ended = not block
        self._text = rest + self._utf8.decode(block, final=self._ended)
        return not self._ended

    def _could_go_on(self, error: ValueError) -> bool:
        """Whether more text could mend a value: the parser stopped near the end, or in a text that is still open."""
        if not isinstance(error, json.JSONDecodeError):
            return False
        return "Unterminated" in error.msg or error.pos >= len(self._text) - 16

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            raise self._named_twice()
        return made

    def _named_twice(self) -> CaseError:
        return bad_file("table.duplicate_column", self.path, "an object names one thing twice")

    def _no_number(self, word: str) -> float:
        return float(word.replace("Infinity", "inf"))

    def _broken(self) -> CaseError:
        if self._ended and self._at >= len(self._text):
            return bad_file("read.truncated", self.path, "the JSON text ends too early")
        return bad_file("read.unreadable", self.path, "the file is no JSON text, or not one as it goes on")
