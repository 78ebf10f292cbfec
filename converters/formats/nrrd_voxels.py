"""Which numbers a NRRD file holds, and in which bytes of which files.

Source: teem, "Definition of NRRD file format", sections 3 and 4.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from medshard.converters.formats.data_files import (
    Encoding,
    Stored,
    StoredVoxels,
    data_file,
    distinct,
    numbered,
)
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.nrrd_header import TextHeader

TYPES = {
    "int8": ("signed char", "int8", "int8_t"),
    "uint8": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "int16": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "uint16": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "int32": ("int", "signed int", "int32", "int32_t"),
    "uint32": ("uint", "unsigned int", "uint32", "uint32_t"),
    "int64": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "uint64": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "float32": ("float",),
    "float64": ("double",),
}
DTYPES = {name: dtype for dtype, names in TYPES.items() for name in names}
ENCODINGS: dict[str, Encoding] = {
    "raw": "raw",
    "gz": "gzip",
    "gzip": "gzip",
    "bz2": "bzip2",
    "bzip2": "bzip2",
    "txt": "text",
    "text": "text",
    "ascii": "text",
}
MOST_AXES = 16


def stored_voxels(path: Path, header: TextHeader, sizes: tuple[int, ...]) -> StoredVoxels:
    fields = header.fields
    encoding = ENCODINGS.get(fields.get("encoding", "").lower())
    if encoding is None:
        raise bad_file(
            "read.unsupported",
            path,
            "the encoding of the voxels is not one that medshard reads",
            details={"field": "encoding", "read": ", ".join(sorted(set(ENCODINGS)))},
            action="The case is excluded. Save the file with encoding gzip or raw.",
        )
    names = data_files_of(path, header)
    files = tuple(data_file(path, name) for name in names) if names else (path,)
    start = 0 if names else header.end
    skip = _skip(path, fields.get("byte skip", "0"))
    lines = _skip(path, fields.get("line skip", "0"))
    if lines:
        start = _behind_lines(files[0], start, lines)
    plain = encoding in ("raw", "text")
    return StoredVoxels(
        files=files,
        offset=None if skip < 0 and encoding == "raw" else start + (skip if plain else 0),
        skip=0 if plain else max(0, skip),
        encoding=encoding,
        shape=sizes[::-1],
        dtype=_dtype(path, fields.get("type", ""), fields.get("endian"), encoding),
    )


def stated_sizes(path: Path, dimension: str, text: str) -> tuple[int, ...]:
    words = text.split()
    if not dimension.isdecimal() or not 2 <= len(words) <= MOST_AXES or not all(_is_size(word) for word in words):
        raise bad_file(
            "read.unreadable",
            path,
            "dimension or sizes are missing, or are no numbers of voxels",
            details={"expected": f"2 to {MOST_AXES} sizes, each at least 1", "sizes": len(words)},
        )
    if dimension != str(len(words)):
        raise bad_file(
            "read.unreadable",
            path,
            "dimension and sizes contradict each other",
            details={"sizes": len(words)},
        )
    return tuple(int(word) for word in words)


def _is_size(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) <= 18 and int(word) > 0


def data_files_of(path: Path, header: TextHeader) -> tuple[str, ...]:
    text = header.fields.get("data file")
    if text is None:
        return ()
    if text.split()[:1] == ["LIST"]:
        return distinct(path, header.listed)
    pattern = re.fullmatch(r"(.*%.*?)\s+(-?\d{1,9})\s+(-?\d{1,9})\s+(-?\d{1,9})(?:\s+\d{1,2})?", text, re.ASCII)
    if pattern is None:
        return (text,)
    first, last, step = (int(number) for number in pattern.groups()[1:])
    return numbered(path, pattern.group(1), first, last, step)


def _dtype(path: Path, name: str, endian: str | None, encoding: Encoding) -> Stored:
    found = DTYPES.get(" ".join(name.lower().split()))
    if found is None:
        raise bad_file(
            "read.unsupported",
            path,
            "the voxels are not integers or real numbers",
            details={"field": "type", "read": ", ".join(TYPES)},
        )
    dtype = np.dtype(found)
    if dtype.itemsize == 1 or encoding == "text":
        return dtype
    if endian is None or endian.lower() not in ("little", "big"):
        raise bad_file(
            "read.unreadable",
            path,
            "the byte order is not stated",
            details={"field": "endian", "expected": "little or big"},
        )
    return dtype.newbyteorder("<" if endian.lower() == "little" else ">")


def _skip(path: Path, text: str) -> int:
    if re.fullmatch(r"-1|\d{1,18}", text, re.ASCII) is None:
        raise bad_file(
            "read.unreadable", path, "a skip in the header is no number", details={"expected": "-1, 0 or more"}
        )
    return int(text)


def _behind_lines(path: Path, start: int, lines: int) -> int:
    """Offset behind so many lines of the data file; raises CaseError[read.truncated] when it has fewer."""
    with path.open("rb") as file:
        file.seek(start)
        for _ in range(lines):
            while (piece := file.readline(1 << 16)) and not piece.endswith(b"\n"):
                pass
            if not piece:
                raise bad_file("read.truncated", path, "the data file has fewer lines than are to be skipped")
        return file.tell()
