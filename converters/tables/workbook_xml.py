"""What has to be known of an xlsx file before its cells are read: that it is no bomb, and what cells do not tell."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from medshard.converters.formats.faults import bad_file
from medshard.errors import CaseError

LARGEST_MEMBER = 2 << 30
LARGEST_STRINGS = 512 << 20
FREE_BYTES = 64 << 20
# Sheets of repeated cells pack best; real ones stay below 60.
LARGEST_RATIO = 250
MOST_MEMBERS = 10_000
PROLOGUE = 1 << 16

_ROW = re.compile(r"[A-Z]{1,3}([0-9]{1,7})(?::[A-Z]{1,3}([0-9]{1,7}))?")


@dataclass(frozen=True, kw_only=True)
class SheetFacts:
    """merged: first and last row of each merged range. unvalued: formulas without a stored result."""

    merged: tuple[tuple[int, int], ...]
    unvalued: int


def is_workbook(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return "xl/workbook.xml" in archive.namelist()


def require_harmless(path: Path) -> None:
    """Raises CaseError[table.inflates_too_far | read.unsupported (a document type, which can define entities)].

    `zipfile` gives no more bytes of a member than its entry states, so what is stated bounds what is read.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > MOST_MEMBERS:
            raise _bomb(path, f"{len(members)} parts")
        for member in members:
            most = LARGEST_STRINGS if "sharedstrings" in member.filename.lower() else LARGEST_MEMBER
            grows = member.file_size > max(FREE_BYTES, LARGEST_RATIO * member.compress_size)
            if member.file_size > most or grows:
                raise _bomb(path, f"{member.file_size} bytes out of {member.compress_size}")
            if member.filename.lower().endswith((".xml", ".rels", ".vml")):
                with archive.open(member) as stream:
                    if b"<!DOCTYPE" in stream.read(PROLOGUE).replace(b"\0", b"").upper():
                        raise bad_file(
                            "read.unsupported", path, "the workbook has a document type, which could define entities"
                        )


def sheet_facts(path: Path, part: str) -> SheetFacts:
    """Of the sheet that lies in a part of the archive."""
    merged: list[tuple[int, int]] = []
    unvalued = 0
    with zipfile.ZipFile(path) as archive, archive.open(part) as stream:
        for element in _elements(ElementTree.iterparse(stream, ("start", "end"))):
            name = element.tag.rpartition("}")[2]
            if name == "mergeCell":
                found = _ROW.fullmatch(element.get("ref", ""))
                if found:
                    merged.append((int(found[1]), int(found[2] or found[1])))
            elif name == "c":
                parts = {child.tag.rpartition("}")[2]: child.text for child in element}
                unvalued += "f" in parts and not parts.get("v") and "is" not in parts
    return SheetFacts(merged=tuple(merged), unvalued=unvalued)


def _elements(events: Iterator[tuple[str, ElementTree.Element]]) -> Iterator[ElementTree.Element]:
    """Elements as they end; what lies above them is emptied, row after row."""
    above: list[ElementTree.Element] = []
    for event, element in events:
        if event == "start":
            above.append(element)
            continue
        above.pop()
        yield element
        if element.tag.rpartition("}")[2] in {"row", "mergeCell"}:
            element.clear()
            if above:
                above[-1].remove(element)


def _bomb(path: Path, found: str) -> CaseError:
    return bad_file(
        "table.inflates_too_far",
        path,
        "the workbook grows far more on unpacking than workbooks do",
        details={"expected": f"at most {LARGEST_RATIO} times its packed size", "found": found},
        action="The case is excluded. If the file is right, export the sheet as csv.",
    )
