"""Rows in XML: an element each, with its attributes and the texts of what lies in it as columns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from medshard.converters.annotations.rows.rows import Cell, Row, Rows, RowShape, columns_of
from medshard.converters.formats.faults import bad_file

LARGEST_XML = 256 << 20


def read_xml(path: Path, shape: RowShape) -> Rows:
    """Columns have dotted names, `bndbox.xmin`; an element with the attribute `Label` is called by that instead of its
    tag. What occurs more than once is a list. Name spaces are left out.

    Raises CaseError[read.too_large | read.unsupported (entities) | read.unreadable | annotation.no_rows].
    """
    if path.stat().st_size > LARGEST_XML:
        raise bad_file("read.too_large", path, f"XML of more than {LARGEST_XML >> 20} MiB")
    content = path.read_bytes()
    # An entity may stand for a billion others, or for a file of this machine.
    if re.search(rb"<!\s*ENTITY", content) or re.search(rb"<\0?!\0?E\0N\0T", content):
        raise bad_file("read.unsupported", path, "XML that declares entities is not read")
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        line, column = error.position
        raise bad_file(
            "read.unreadable", path, "the file is no valid XML", details={"line": line, "column": column}
        ) from error
    for element in root.iter():
        element.tag = str(element.tag).rpartition("}")[2]
    try:
        elements = root.findall(shape.rows) if shape.rows else [root]
    except SyntaxError as error:
        raise bad_file(
            "annotation.no_rows",
            path,
            "`rows` is no path that ElementTree understands",
            details={"rows": shape.rows},
            action="Correct `rows` of the entry's annotation.",
        ) from error
    rows = [_row(element) for element in elements]
    return Rows(columns=columns_of(rows), rows=rows, format="xml")


def _row(element: ElementTree.Element) -> Row:
    row: dict[str, Cell] = {}
    for name, text in _texts(element, ""):
        if name not in row:
            row[name] = text
        elif isinstance(row[name], list):
            row[name].append(text)
        else:
            row[name] = [row[name], text]
    return row


def _texts(element: ElementTree.Element, name: str) -> Iterator[tuple[str, str]]:
    """Column and text of an element and of everything in it, in the order of the file."""
    waiting = [(element, name)]
    while waiting:
        one, prefix = waiting.pop()
        for attribute, text in one.attrib.items():
            plain = attribute.rpartition("}")[2]
            if not (prefix and plain == "Label"):
                yield f"{prefix}.{plain}" if prefix else plain, text
        own = (one.text or "").strip()
        if own or not len(one):
            yield prefix or one.tag, own
        for child in reversed(one):
            called = child.get("Label") or child.tag
            waiting.append((child, f"{prefix}.{called}" if prefix else called))
