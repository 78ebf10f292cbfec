"""Small XML files from strangers: no document types (and so no entities), and bounded in size, elements and depth."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import first_bytes
from medshard.errors import CaseError

LARGEST_FILE = 32 << 20
MOST_ELEMENTS = 1_000_000
DEEPEST = 64


def parse_xml(path: Path) -> ElementTree.Element:
    """The root element. Raises CaseError[read.unsupported | read.unreadable]."""
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise _refused(path, "the file is too large for outlines", found=f"{size} bytes", most=f"{LARGEST_FILE} bytes")
    text = path.read_bytes()
    _require_plain(text, path)
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise _broken(path, error.code, error.position[0]) from None


def starts_as(path: Path, element: re.Pattern[bytes]) -> bool:
    """Whether a file begins as XML and an element's start is among its first bytes, in an ASCII-like encoding."""
    start = first_bytes(path, 4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    return start.startswith(b"<") and element.search(start) is not None


def local_name(element: ElementTree.Element) -> str:
    """The element's name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def children(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """Direct children of a name, whatever their namespace."""
    return (child for child in element if local_name(child) == name)


def child_text(element: ElementTree.Element, name: str) -> str:
    """Text of the first child of a name; empty where there is none."""
    return next(((child.text or "").strip() for child in children(element, name)), "")


def _require_plain(text: bytes, path: Path) -> None:
    """Raises CaseError before a tree is built of what could fill the memory."""
    parser = expat.ParserCreate()
    depth = elements = 0

    def start(*_: object) -> None:
        nonlocal depth, elements
        depth, elements = depth + 1, elements + 1
        if depth > DEEPEST or elements > MOST_ELEMENTS:
            raise _refused(path, "the file has too many elements for outlines", most=MOST_ELEMENTS, deepest=DEEPEST)

    def end(*_: object) -> None:
        nonlocal depth
        depth -= 1

    def doctype(*_: object) -> None:
        raise _refused(path, "the file declares a document type, which could declare entities")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise _broken(path, error.code, error.lineno) from None


def _refused(path: Path, problem: str, **details: object) -> CaseError:
    return bad_file("read.unsupported", path, problem, details=details)


def _broken(path: Path, code: int, line: int) -> CaseError:
    details: dict[str, object] = {"reason": expat.errors.messages.get(code, "not well formed"), "line": line}
    return bad_file("read.unreadable", path, "the file is no XML", details=details)
