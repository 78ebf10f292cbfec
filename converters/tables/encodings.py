"""Text as UTF-8, whatever it was written in: UTF-8, UTF-16, or a single-byte encoding of western Europe.

A byte order mark decides; without one, zeros in every second byte mean UTF-16. What is no UTF-8 is read as
Windows-1252, which has the characters of latin-1 in their places, with a warning. Files with other zeros are no text.
"""

from __future__ import annotations

import codecs
import io
from pathlib import Path

from medshard.converters.formats.faults import bad_file
from medshard.converters.tables.packed import Readable
from medshard.errors import CaseError

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF32_BE, "utf-32"),
)
SINGLE_BYTE = "cp1252"
WESTERN = "the text is no UTF-8 and is read as Windows-1252 (latin-1): letters with accents may be wrong"
UNMARKED = "the text has no byte order mark and looks like UTF-16"
LOOKED_AT = 4096


def encoding_of(path: Path, start: bytes) -> str:
    """The encoding that a text's first bytes speak for. Raises CaseError[table.no_text]."""
    marked = next((name for mark, name in MARKS if start.startswith(mark)), None)
    if marked == "utf-32":
        raise _no_text(path, "UTF-32")
    if marked:
        return marked
    looked = start[:LOOKED_AT]
    if b"\0" in looked:
        return _unmarked(path, looked)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return SINGLE_BYTE
    return "utf-8"


def is_text(start: bytes) -> bool:
    """Whether bytes could begin a text."""
    try:
        encoding = encoding_of(Path("text"), start)
        text = codecs.getincrementaldecoder(encoding)().decode(start)
    except (CaseError, UnicodeDecodeError):
        return False
    controls = sum(text.count(chr(code)) for code in range(32) if code not in (9, 10, 12, 13))
    return not controls


def encoding_warnings(encoding: str, start: bytes) -> tuple[str, ...]:
    if encoding == SINGLE_BYTE:
        return (WESTERN,)
    marked = any(start.startswith(mark) for mark, _ in MARKS)
    return (UNMARKED,) if encoding.startswith("utf-16") and not marked else ()


class Utf8(io.RawIOBase):
    """UTF-8 without byte order mark, made of a stream of bytes. `read` gives no more than it is asked for.

    Raises UnicodeDecodeError at bytes that are not of the encoding.
    """

    def __init__(self, source: Readable, encoding: str) -> None:
        self._source = source
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._as_it_is = encoding == "utf-8"
        self._left = b""
        self._begun = False

    def readable(self) -> bool:
        return True

    def read(self, count: int = -1, /) -> bytes:
        if count < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        while len(self._left) < count:
            block = self._source.read(count)
            text = self._decoder.decode(block, final=not block)
            utf8 = block if self._as_it_is else text.encode()
            if not self._begun and utf8:
                self._begun = True
                utf8 = utf8.removeprefix(codecs.BOM_UTF8)
            self._left += utf8
            if not block:
                break
        given, self._left = self._left[:count], self._left[count:]
        return given

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        part = self.read(len(view))
        view[: len(part)] = part
        return len(part)

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()


def _unmarked(path: Path, looked: bytes) -> str:
    even, odd = looked[::2].count(0), looked[1::2].count(0)
    if odd > 4 * even and odd > len(looked) // 8:
        return "utf-16-le"
    if even > 4 * odd and even > len(looked) // 8:
        return "utf-16-be"
    raise _no_text(path, "bytes of zero")


def _no_text(path: Path, found: str) -> CaseError:
    return bad_file(
        "table.no_text",
        path,
        "the file is no text that medshard reads",
        details={"expected": "UTF-8, UTF-16 or Windows-1252", "found": found},
    )
