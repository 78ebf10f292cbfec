"""The header of a PLY file: which elements it has, how many, and what each row of them holds.

Comments and `obj_info`, which are free text, are passed over. Source: G. Turk, "The PLY Polygon File Format" (1994).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import first_bytes
from medshard.errors import CaseError

LONGEST_HEADER = 1 << 16
END = re.compile(rb"^[ \t]*end_header[ \t]*(\r\n|\r|\n)", re.MULTILINE)
COUNT = re.compile(r"\d{1,15}")
ORDERS: dict[str, Literal["", "<", ">"]] = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
TYPES = {
    "char": "i1",
    "uchar": "u1",
    "short": "i2",
    "ushort": "u2",
    "int": "i4",
    "uint": "u4",
    "int8": "i1",
    "uint8": "u1",
    "int16": "i2",
    "uint16": "u2",
    "int32": "i4",
    "uint32": "u4",
    "int64": "i8",
    "uint64": "u8",
    "float": "f4",
    "double": "f8",
    "float32": "f4",
    "float64": "f8",
}


@dataclass(frozen=True, kw_only=True)
class Property:
    """length: type of the count before a list; None for a single number."""

    name: str
    dtype: np.dtype[np.generic]
    length: np.dtype[np.generic] | None = None


@dataclass(frozen=True, kw_only=True)
class Element:
    name: str
    count: int
    properties: tuple[Property, ...]

    @property
    def least_bytes(self) -> int:
        """Of a row in binary, with its lists empty."""
        return sum((each.length or each.dtype).itemsize for each in self.properties)


@dataclass(frozen=True, kw_only=True)
class PlyHeader:
    """order: of bytes, "" for text. offset: of the first row."""

    order: Literal["", "<", ">"]
    elements: tuple[Element, ...]
    offset: int


def read_ply_header(path: Path) -> PlyHeader:
    """Raises CaseError[read.unreadable]."""
    start = first_bytes(path, LONGEST_HEADER)
    end = END.search(start)
    if end is None:
        raise broken(path, "the header has no end")
    lines = [line.split() for line in start[: end.start()].decode("latin-1").splitlines()[1:]]
    lines = [words for words in lines if words and words[0] not in ("comment", "obj_info")]
    if not lines or len(lines[0]) != 3 or lines[0][0] != "format" or lines[0][1] not in ORDERS:
        raise broken(path, "the header does not say whether it is text or binary")
    order = ORDERS[lines[0][1]]
    elements: list[Element] = []
    for words in lines[1:]:
        if words[0] == "element" and len(words) == 3 and COUNT.fullmatch(words[2]):
            elements.append(Element(name=words[1], count=int(words[2]), properties=()))
        elif words[0] == "property" and elements:
            last = elements[-1]
            properties = (*last.properties, _property(path, words, order))
            elements[-1] = Element(name=last.name, count=last.count, properties=properties)
        else:
            raise broken(path, "a line of the header is neither an element nor a property")
    for element in elements:
        names = [each.name for each in element.properties]
        if len(set(names)) != len(names) or (element.count and not names):
            raise broken(path, "an element has no properties, or one of them twice")
    return PlyHeader(order=order, elements=tuple(elements), offset=end.end())


def broken(path: Path, problem: str) -> CaseError:
    return bad_file("read.unreadable", path, problem)


def _property(path: Path, words: list[str], order: str) -> Property:
    if len(words) == 3 and words[1] in TYPES:
        return Property(name=words[2], dtype=np.dtype(order + TYPES[words[1]]))
    if len(words) == 5 and words[1] == "list" and words[2] in TYPES and words[3] in TYPES:
        length = np.dtype(order + TYPES[words[2]])
        if length.kind != "f":
            return Property(name=words[4], dtype=np.dtype(order + TYPES[words[3]]), length=length)
    raise broken(path, "a property is of a type that the format does not have")
