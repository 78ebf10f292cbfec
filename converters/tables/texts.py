"""Texts: a file of prose is one row, XML a row for each piece of text in it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from xml.parsers import expat

import pyarrow as pa

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import installed_versions
from medshard.converters.table import Table
from medshard.converters.tables.encodings import SINGLE_BYTE, Utf8, encoding_of, encoding_warnings, is_text
from medshard.converters.tables.packed import Unpacked, unpacked_name, unpacked_start
from medshard.converters.tables.refused import refuse
from medshard.converters.tables.table_format import Files, TableFormat, TableRequest, one_file, require_columns

SUFFIXES = (".txt", ".md", ".rst", ".text")
LARGEST_TEXT = 64 << 20
MOST_PIECES = 1_000_000
DEEPEST = 64
PROSE = pa.schema([("text", pa.string())])
PIECES = pa.schema([("path", pa.string()), ("text", pa.string())])


def sniff(files: Files) -> bool:
    """Any text; asked last."""
    return is_text(unpacked_start(files[0], 1 << 16))


def sniff_xml(files: Files) -> bool:
    start = unpacked_start(files[0], 1 << 12)
    if not is_text(start):
        return False
    text = start.decode(encoding_of(files[0], start), "ignore").lstrip("\ufeff \t\r\n")
    return text.startswith("<") and (text.startswith("<?xml") or unpacked_name(files[0]).endswith(".xml"))


def read(files: Files, request: TableRequest) -> Table:
    """One row: the whole text, with line ends as they are, without a byte order mark."""
    path = one_file(files)
    text, warnings = _text(path)
    if not text.strip():
        raise bad_file("read.truncated", path, "the text is empty")
    if text.lstrip()[:15].lower().startswith(("<!doctype html", "<html")):
        refuse(path, "an HTML page")
    return _table(pa.Table.from_pydict({"text": [text]}, PROSE), FORMAT, path, request, warnings)


def read_xml(files: Files, request: TableRequest) -> Table:
    """Rows in the order of the document: `path`, such as `/a/b` or `/a/b/@id`, and `text`, without white space around.

    Raises CaseError[read.unsupported (a document type, which can define entities) | read.unreadable].
    """
    path = one_file(files)
    rows = list(_pieces(path, _bytes(path)))
    columns = {"path": [place for place, _ in rows], "text": [text for _, text in rows]}
    return _table(pa.Table.from_pydict(columns, PIECES), XML, path, request, ())


def _table(
    whole: pa.Table, read_by: TableFormat, path: Path, request: TableRequest, warnings: tuple[str, ...]
) -> Table:
    require_columns(path, whole.schema.names, request.dtypes)
    return Table(schema=whole.schema, batches=lambda: iter(whole.to_batches()), format=read_by.name, warnings=warnings)


def _bytes(path: Path) -> bytes:
    with Unpacked(path) as stream:
        content = stream.read(LARGEST_TEXT + 1)
    if len(content) > LARGEST_TEXT:
        raise bad_file(
            "table.row_too_long",
            path,
            "the text is longer than one text of a case",
            details={"expected": f"at most {LARGEST_TEXT >> 20} MB"},
        )
    return content


def _text(path: Path) -> tuple[str, tuple[str, ...]]:
    content = _bytes(path)
    encoding = encoding_of(path, content)
    try:
        return Utf8(io.BytesIO(content), encoding).read().decode(), encoding_warnings(encoding, content)
    except UnicodeDecodeError:
        return content.decode(SINGLE_BYTE), encoding_warnings(SINGLE_BYTE, content)


def _pieces(path: Path, content: bytes) -> Iterator[tuple[str, str]]:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    names: list[str] = []
    found: list[tuple[str, str]] = []

    def place() -> str:
        return "/" + "/".join(names)

    def start(name: str, attributes: dict[str, str]) -> None:
        names.append(name)
        if len(names) > DEEPEST or len(found) > MOST_PIECES:
            raise bad_file("read.unsupported", path, "the XML is too deep or has too many elements for a report")
        found.extend((f"{place()}/@{key}", value) for key, value in attributes.items())

    def characters(text: str) -> None:
        if text.strip():
            found.append((place(), text.strip()))

    def doctype(*_: object) -> None:
        raise bad_file("read.unsupported", path, "the XML has a document type, which could define entities")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: names.pop()
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise bad_file("read.unreadable", path, "the file is no XML", details={"line": error.lineno}) from None
    return iter(found)


FORMAT = TableFormat(
    name="text", suffixes=SUFFIXES, sniff=sniff, read=read, decoders=lambda: installed_versions("isal")
)
XML = TableFormat(
    name="XML", suffixes=(".xml",), sniff=sniff_xml, read=read_xml, decoders=lambda: installed_versions("isal")
)
