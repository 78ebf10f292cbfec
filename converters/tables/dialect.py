"""How a delimited text is written: its encoding, its delimiter and its header, found from its beginning."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medshard.converters.formats.faults import bad_file
from medshard.converters.tables.encodings import Utf8, encoding_of, encoding_warnings
from medshard.converters.tables.packed import Unpacked, unpacked_name, unpacked_start
from medshard.converters.tables.table_format import too_many_columns, usable_names
from medshard.errors import CaseError

DELIMITERS = (",", "\t", ";", "|")
SAMPLE_BYTES = 1 << 20
SAMPLE_ROWS = 50
# A row lies in one block of Arrow's reader, and so does a line in what looks at the text here.
LONGEST_ROW = 16 << 20
MOST_NUMBERS = 200_000
NUMBER_LIKE = re.compile(r"\s*[-+]?[\d.,-]*\d[\d.,-]*(?:[eE][-+]?\d+)?\s*|[-+]?(?i:nan|inf)", re.ASCII)

csv.field_size_limit(max(csv.field_size_limit(), LONGEST_ROW))


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """delimiter: one character. names: of the columns. skip: bytes of UTF-8 before the first row.
    rows: the first few.
    """

    path: Path
    encoding: str
    delimiter: str
    names: tuple[str, ...]
    skip: int
    rows: tuple[tuple[str, ...], ...]
    warnings: tuple[str, ...] = ()

    def opened(self) -> Utf8:
        """The text as UTF-8, from its first byte."""
        return Utf8(Unpacked(self.path), self.encoding)

    def opened_at_rows(self) -> Utf8:
        """The text as UTF-8, from the first row after the header."""
        stream = self.opened()
        stream.read(self.skip)
        return stream


def dialect_of(path: Path, *, encoding: str | None = None, names: Sequence[str] | None = None) -> Dialect:
    """The dialect of a file. encoding: what turned out further down in it. names: of a format that has no header.

    Raises CaseError[table.ambiguous_delimiter | table.row_too_long | table.no_text | table.too_many_columns |
    table.duplicate_column | read.truncated (nothing but white space)].
    """
    start, whole = _beginning(path)
    encoding = encoding or encoding_of(path, start)
    text = codecs.getincrementaldecoder(encoding)().decode(start, final=whole).removeprefix("\ufeff")
    if not text.strip():
        raise bad_file("read.truncated", path, "the file holds no header and no rows")
    delimiter = "\t" if names else delimiter_of(path, text, whole=whole)
    header, length = _header(text, delimiter) if not names else (list(names), 0)
    if len(header) > MOST_NUMBERS:
        raise too_many_columns(path, len(header), MOST_NUMBERS)
    named, unnamed = usable_names(path, header)
    rows = _records(text[length:], delimiter, whole=whole)
    looks_bare = all(NUMBER_LIKE.fullmatch(name) for name in header if name)
    bare = ("the first line, which is taken for the header, holds numbers only",) if looks_bare else ()
    return Dialect(
        path=path,
        encoding=encoding,
        delimiter=delimiter,
        names=tuple(named),
        skip=len(text[:length].encode()),
        rows=tuple(map(tuple, rows)),
        warnings=(*encoding_warnings(encoding, start), *unnamed, *bare),
    )


def delimiter_of(path: Path, text: str, *, whole: bool) -> str:
    """What separates the columns: the one character that splits the header and gives the first rows as many columns.

    A space counts only where the header has none of the others. Raises CaseError[table.ambiguous_delimiter].
    """
    header = _header(text, "\0")[0][0]
    found = [mark for mark in DELIMITERS if mark in header] or [mark for mark in " " if mark in header.strip()]
    fitting = [mark for mark in found if _fits(text, mark, whole=whole)] or found
    if len(fitting) > 1 and "\t" in fitting and unpacked_name(path).endswith((".tsv", ".tab")):
        fitting = ["\t"]
    if len(fitting) > 1:
        words = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar", " ": "space"}
        raise bad_file(
            "table.ambiguous_delimiter",
            path,
            "the header does not show what separates the columns",
            details={"expected": "one character that splits every row alike", "found": [words[m] for m in fitting]},
            action="The case is excluded. Quote the names and values that hold the other characters.",
        )
    return fitting[0] if fitting else ","


def is_delimited(start: str) -> bool:
    """Whether a text's beginning shows at least two columns, alike in every row."""
    try:
        header = _header(start, "\0")[0][0] if start.strip() else ""
        found = [mark for mark in DELIMITERS if mark in header]
        rows = start.count("\n") + start.count("\r")
        return rows >= 1 and any(_fits(start, mark, whole=False) for mark in found)
    except csv.Error:
        return False


def _beginning(path: Path) -> tuple[bytes, bool]:
    """The first bytes of a text, with a line end among them, and whether they are all."""
    for count in (SAMPLE_BYTES, LONGEST_ROW):
        start = unpacked_start(path, count)
        if len(start) < count:
            return start, True
        if b"\n" in start or b"\r" in start:
            return start, False
    raise row_too_long(path)


def row_too_long(path: Path) -> CaseError:
    return bad_file(
        "table.row_too_long",
        path,
        "a row is longer than rows of tables are, or a quotation mark is never closed",
        details={"expected": f"at most {LONGEST_ROW >> 20} MB for each row"},
        action="The case is excluded. Repair the file at the source.",
    )


def _header(text: str, delimiter: str) -> tuple[list[str], int]:
    """The first line that is not blank, split, and the characters up to its end. `\0` splits nothing."""
    consumed = 0

    def lines() -> Iterator[str]:
        nonlocal consumed
        for line in io.StringIO(text, newline=""):
            consumed += len(line)
            yield line

    if delimiter == "\0":
        reader = csv.reader(lines(), delimiter="\x1f", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(lines(), delimiter=delimiter)
    return next((record for record in reader if any(record)), [""]), consumed


def _records(text: str, delimiter: str, *, whole: bool) -> list[list[str]]:
    """The first complete records."""
    lines = io.StringIO(text, newline="")
    records = [
        record for record, _ in zip(csv.reader(lines, delimiter=delimiter), range(SAMPLE_ROWS + 1), strict=False)
    ]
    if not whole and len(records) <= SAMPLE_ROWS:
        records = records[:-1]  # the last one may be cut
    return [record for record in records[:SAMPLE_ROWS] if record]


def _fits(text: str, delimiter: str, *, whole: bool) -> bool:
    """Whether a delimiter gives the header at least two columns and the first rows as many."""
    header, length = _header(text, delimiter)
    return len(header) > 1 and all(len(row) == len(header) for row in _records(text[length:], delimiter, whole=whole))
