"""The data arrays of VTK's XML files: where their bytes lie, and how they are packed.

Source: Kitware, "VTK File Formats", XML formats. A packed array begins with its length in bytes, or, in zlib blocks,
with the number of blocks, their length, that of the last one if it is shorter, and the packed length of each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree as ET

import numpy as np

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.mesh_inflate import Budget, budget_of, inflated
from medshard.converters.formats.mesh_xml import count_of, from_base64, parsed, text_numbers
from medshard.converters.volume import Array
from medshard.errors import CaseError

PADDED = re.compile(rb"[^=]+=*")
APPENDED = re.compile(rb"<AppendedData\b[^>]*>")
ZLIB = "vtkZLibDataCompressor"
OTHER_KINDS = ("UnstructuredGrid", "StructuredGrid", "RectilinearGrid", "ImageData", "MultiBlock", "PPolyData")
TYPES = {
    **{f"{sign}Int{8 * size}": f"{kind}{size}" for sign, kind in (("", "i"), ("U", "u")) for size in (1, 2, 4, 8)},
    "Float32": "f4",
    "Float64": "f8",
}


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """What it takes to read an array.

    length: type of the lengths before a packed array. packed: whether arrays that are no text are in zlib blocks.
    appended: what lies behind the XML, from behind the mark `_` on; ends: where each part of it ends, by its offset.
    """

    path: Path
    budget: Budget
    order: Literal["<", ">"]
    length: np.dtype[np.generic]
    packed: bool
    appended: bytes
    appended_base64: bool
    ends: Mapping[int, int]

    def read(self, element: ET.Element, count: int) -> Array:
        """`count` numbers of a data array. Raises CaseError where there are more or fewer."""
        name = TYPES.get(element.get("type", ""))
        if name is None:
            raise bad_file("read.unsupported", self.path, "numbers are of a type that medshard does not read")
        dtype = np.dtype(self.order + name)
        where = element.get("format", "ascii")
        if where == "ascii":
            numbers = text_numbers(_own_text(element), dtype)
            if len(numbers) != count:
                raise self._other_length(count * dtype.itemsize, len(numbers) * dtype.itemsize)
            return numbers
        if where == "binary":
            content = _from_parts(self.path, _own_text(element).encode())
        elif where == "appended":
            content = self._appended(count_of(self.path, element, "offset"))
        else:
            raise bad_file("read.unsupported", self.path, "numbers are stored in a way that the format does not have")
        self.budget.spend(len(content))
        unpacked = (
            self._unpacked(content, count * dtype.itemsize) if self.packed else self._plain(content, count, dtype)
        )
        return np.frombuffer(unpacked, dtype, count)

    def _appended(self, offset: int) -> bytes:
        if offset >= len(self.appended):
            raise bad_file("read.truncated", self.path, "numbers lie behind the end of the file")
        part = self.appended[offset : self.ends.get(offset, len(self.appended))]
        return _from_parts(self.path, part) if self.appended_base64 else part

    def _plain(self, content: bytes, count: int, dtype: np.dtype[np.generic]) -> bytes:
        expected = count * dtype.itemsize
        (found,) = self._lengths(content, 1, 0)
        if found != expected:
            raise self._other_length(expected, found)
        start = self.length.itemsize
        if len(content) - start < expected:
            raise self._cut(expected, len(content) - start)
        return content[start : start + expected]

    def _unpacked(self, content: bytes, expected: int) -> bytes:
        (blocks,) = self._lengths(content, 1, 0)
        if not blocks and not expected:
            return b""
        size, last = self._lengths(content, 2, 1)
        total = blocks * size if not last else (blocks - 1) * size + last
        if total != expected or last > size:
            raise self._other_length(expected, total)
        ends = np.cumsum(self._lengths(content, blocks, 3), dtype=np.uint64)
        start = (3 + blocks) * self.length.itemsize
        if start + int(ends[-1]) > len(content):
            raise self._cut(int(ends[-1]), len(content) - start)
        return b"".join(
            inflated(self.budget, content[start + begin : start + end], most=size)
            for begin, end in pairwise([0, *ends.tolist()])
        )

    def _lengths(self, content: bytes, count: int, at: int) -> list[int]:
        size = self.length.itemsize
        if (at + count) * size > len(content):
            raise self._cut((at + count) * size, len(content))
        return [int(length) for length in np.frombuffer(content, self.length, count, at * size)]

    def _other_length(self, expected: int, found: int) -> CaseError:
        return bad_file(
            "read.unreadable",
            self.path,
            "an array is not as long as the counts of the file say",
            details={"expected": f"{expected} bytes", "found": f"{found} bytes"},
        )

    def _cut(self, expected: int, found: int) -> CaseError:
        return bad_file(
            "read.truncated",
            self.path,
            "an array is shorter than its own header says",
            details={"expected": f"{expected} bytes", "found": f"{max(0, found)} bytes"},
        )


def open_vtp(path: Path) -> tuple[Arrays, ET.Element]:
    """The arrays and the root. Raises CaseError[read.unreadable | read.unsupported]."""
    content = path.read_bytes()
    mark = APPENDED.search(content)
    appended = b""
    if mark is not None and not mark.group().endswith(b"/>"):
        appended = content[mark.end() :].lstrip()
        if not appended.startswith(b"_"):
            raise bad_file("read.unreadable", path, "appended data do not begin with their mark")
        content, appended = content[: mark.end()] + b"</AppendedData></VTKFile>", appended[1:]
    root = parsed(path, content)
    if root.tag != "VTKFile" or root.get("type") != "PolyData":
        kind = root.get("type") if root.get("type") in OTHER_KINDS else "another kind"
        raise bad_file("read.unsupported", path, f"of VTK's XML files PolyData is read; this is {kind}")
    packed = root.get("compressor") is not None
    if packed and root.get("compressor") != ZLIB:
        raise bad_file("read.unsupported", path, f"of VTK's compressions {ZLIB} is read only")
    order: Literal["<", ">"] = ">" if root.get("byte_order") == "BigEndian" else "<"
    base64 = mark is not None and b"base64" in mark.group()
    if base64:
        appended = appended.partition(b"<")[0]
    arrays = Arrays(
        path=path,
        budget=budget_of(path),
        order=order,
        length=np.dtype(order + ("u8" if root.get("header_type") == "UInt64" else "u4")),
        packed=packed,
        appended=appended,
        appended_base64=base64,
        ends=_ends(path, root),
    )
    return arrays, root


def _ends(path: Path, root: ET.Element) -> dict[int, int]:
    """Where each appended part ends: where the next one begins."""
    offsets = sorted({count_of(path, each, "offset") for each in root.iter("DataArray") if each.get("offset")})
    return dict(pairwise(offsets))


def _own_text(element: ET.Element) -> str:
    """The text of an element without that of its children: VTK keeps facts such as the range of a norm in those."""
    return (element.text or "") + "".join(child.tail or "" for child in element)


def _from_parts(path: Path, text: bytes) -> bytes:
    """Base64, of which a part that ends in `=` may be followed by the next: lengths are often encoded on their own."""
    return b"".join(from_base64(path, part) for part in PADDED.findall(b"".join(text.split())))
