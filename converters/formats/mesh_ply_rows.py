"""The rows of a PLY file, as columns: numbers for each property, and for a list its lengths and its values.

A row is read one by one only where lists of one property differ in length; otherwise all at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.mesh_ply_header import Element, PlyHeader, Property, broken
from medshard.converters.formats.mesh_text import decimal, whole
from medshard.converters.volume import Array
from medshard.errors import CaseError


@dataclass(frozen=True, kw_only=True)
class Column:
    """values: one for each row; of a list all of them one after the other. lengths: of a list, else None."""

    values: Array
    lengths: NDArray[np.int64] | None = None


Columns = dict[str, Column]


def read_rows(path: Path, header: PlyHeader) -> dict[str, Columns]:
    """Element -> property -> its column. Raises CaseError[read.truncated | read.unreadable], ValueError."""
    with path.open("rb") as file:
        file.seek(header.offset)
        content = file.read()
    return _text(path, header, content) if not header.order else _binary(path, header, content)


def _text(path: Path, header: PlyHeader, content: bytes) -> dict[str, Columns]:
    lines = [words for line in content.splitlines() if (words := line.split())]
    found: dict[str, Columns] = {}
    at = 0
    for element in header.elements:
        if element.count > len(lines) - at:
            raise _short(path, element, len(lines) - at)
        found[element.name] = _text_rows(path, element, lines[at : at + element.count])
        at += element.count
    return found


def _text_rows(path: Path, element: Element, rows: list[list[bytes]]) -> Columns:
    columns: Columns = {}
    # Where each row's next word stands: the same for all of them until a list comes by.
    at = np.zeros(len(rows), np.int64)
    for each in element.properties:
        try:
            if each.length is None:
                words = [row[place] for row, place in zip(rows, at.tolist(), strict=True)]
                columns[each.name] = Column(values=_numbers(words, each))
                at += 1
                continue
            counts = [whole(row[place]) for row, place in zip(rows, at.tolist(), strict=True)]
        except IndexError as error:
            raise broken(path, "a row has fewer numbers than its properties") from error
        lengths = np.array(counts, np.int64)
        at += 1
        parts = [row[place : place + n] for row, place, n in zip(rows, at.tolist(), counts, strict=True)]
        if any(len(part) != n for part, n in zip(parts, counts, strict=True)):
            raise broken(path, "a list is not as long as it says")
        columns[each.name] = Column(values=_numbers(list(chain.from_iterable(parts)), each), lengths=lengths)
        at += lengths
    if any(len(row) != place for row, place in zip(rows, at.tolist(), strict=True)):
        raise broken(path, "a row has more numbers than its properties")
    return columns


def _numbers(words: list[bytes], of: Property) -> Array:
    if of.dtype.kind == "f":
        # Not rounded to a float32: the text says more than the type that its writer used.
        return np.array([decimal(word) for word in words], np.float64)
    # numpy raises OverflowError where a number is not one of the type.
    return np.array([whole(word) for word in words], of.dtype)


def _binary(path: Path, header: PlyHeader, content: bytes) -> dict[str, Columns]:
    found: dict[str, Columns] = {}
    at = 0
    for element in header.elements:
        if element.count * element.least_bytes > len(content) - at:
            raise _short(path, element, (len(content) - at) // max(1, element.least_bytes))
        found[element.name], at = _binary_rows(path, element, content, at)
    return found


def _binary_rows(path: Path, element: Element, content: bytes, at: int) -> tuple[Columns, int]:
    """The columns, and where the next element begins."""
    if not element.count:
        return {each.name: _no_rows(each) for each in element.properties}, at
    counts = _counts_of_row(path, element, content, at)
    row = np.dtype(
        [
            part
            for number, each in enumerate(element.properties)
            for part in (
                [(f"v{number}", each.dtype)]
                if each.length is None
                else [(f"n{number}", each.length), (f"v{number}", each.dtype, (counts[number],))]
            )
        ]
    )
    if element.count * row.itemsize <= len(content) - at:
        rows = np.frombuffer(content, row, element.count, at)
        lists = [number for number, each in enumerate(element.properties) if each.length is not None]
        if all((rows[f"n{number}"] == counts[number]).all() for number in lists):
            columns = {
                each.name: Column(
                    values=rows[f"v{number}"].reshape(-1),
                    lengths=None if each.length is None else rows[f"n{number}"].astype(np.int64),
                )
                for number, each in enumerate(element.properties)
            }
            return columns, at + element.count * row.itemsize
    return _rows_one_by_one(path, element, content, at)


def _counts_of_row(path: Path, element: Element, content: bytes, at: int) -> list[int]:
    """How many values each property of the row at an offset has."""
    counts = []
    for each in element.properties:
        count = 1
        if each.length is not None:
            count = int(_values(path, content, at, each.length, 1)[0])
            at += each.length.itemsize
        if count < 0 or count * each.dtype.itemsize > len(content) - at:
            raise broken(path, "a list is not as long as it says")
        at += count * each.dtype.itemsize
        counts.append(count)
    return counts


def _rows_one_by_one(path: Path, element: Element, content: bytes, at: int) -> tuple[Columns, int]:
    lengths = [np.zeros(element.count, np.int64) for _ in element.properties]
    values: list[list[bytes]] = [[] for _ in element.properties]
    for row in range(element.count):
        for number, count in enumerate(_counts_of_row(path, element, content, at)):
            each = element.properties[number]
            at += 0 if each.length is None else each.length.itemsize
            end = at + count * each.dtype.itemsize
            values[number].append(content[at:end])
            lengths[number][row] = count
            at = end
    columns = {
        each.name: Column(
            values=np.frombuffer(b"".join(values[number]), each.dtype),
            lengths=None if each.length is None else lengths[number],
        )
        for number, each in enumerate(element.properties)
    }
    return columns, at


def _values(path: Path, content: bytes, at: int, dtype: np.dtype[np.generic], count: int) -> Array:
    if at + count * dtype.itemsize > len(content):
        raise bad_file("read.truncated", path, "the file ends within a row")
    return np.frombuffer(content, dtype, count, at)


def _no_rows(of: Property) -> Column:
    return Column(values=np.empty(0, of.dtype), lengths=None if of.length is None else np.empty(0, np.int64))


def _short(path: Path, element: Element, found: int) -> CaseError:
    return bad_file(
        "read.truncated",
        path,
        "the file holds fewer rows than its header promises",
        details={"expected": element.count, "found at most": max(0, found)},
    )
