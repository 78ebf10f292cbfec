"""The lines of VTK's legacy files, and the numbers between them.

Source: Kitware, "VTK File Formats", simple legacy formats.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import first_bytes
from medshard.converters.formats.text_numbers import read_text_numbers
from medshard.converters.formats.voxel_stream import read_voxels, require_voxels
from medshard.converters.volume import Array
from medshard.errors import CaseError

START = 4096
LONGEST_LINE = 1 << 12
COUNT = re.compile(rb"\d{1,15}")
DTYPES = {
    b"unsigned_char": "u1",
    b"char": "i1",
    b"unsigned_short": "u2",
    b"short": "i2",
    b"unsigned_int": "u4",
    b"int": "i4",
    b"unsigned_long": "u8",
    b"long": "i8",
    b"vtktypeint64": "i8",
    b"vtktypeuint64": "u8",
    b"vtkidtype": "i8",
    b"float": "f4",
    b"double": "f8",
}
PREAMBLE = re.compile(
    rb"# vtk DataFile Version\s+(\d{1,3}\.\d{1,3})[^\n]*\n([^\n]*)\n"
    rb"\s*(ASCII|BINARY)\s*\n\s*DATASET\s+(\w+)[^\n]*\n",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Preamble:
    """The first lines. space: `RAS` or `LPS` where the title says so. offset: of the line behind `DATASET`."""

    version: float
    binary: bool
    dataset: bytes
    space: str | None
    offset: int


def preamble(path: Path) -> Preamble:
    """Four lines: version, title, ASCII or BINARY, and DATASET; fields of the whole file may stand before the last."""
    found = PREAMBLE.match(first_bytes(path, START))
    if found is None:
        raise broken(path, "the first lines are not those of the format")
    space = re.search(rb"SPACE=(RAS|LPS)\b", found.group(2))
    return Preamble(
        version=float(found.group(1)),
        binary=found.group(3).upper() == b"BINARY",
        dataset=found.group(4).upper(),
        space=space.group(1).decode() if space else None,
        offset=found.end(),
    )


def next_line(file: IO[bytes], path: Path, *, named: bool = False) -> list[bytes]:
    """The words of the next line that has any; none at the end of the file. The first is a keyword, in capitals here,
    or, where `named`, a name that stays as it is.
    """
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise broken(path, "a line is too long")
        if words := line.split():
            return words if named else [words[0].upper(), *words[1:]]
    return []


def skip_to_blank(file: IO[bytes]) -> None:
    while file.readline(LONGEST_LINE).strip():
        pass


def count_at(path: Path, words: list[bytes], place: int) -> int:
    if len(words) <= place or COUNT.fullmatch(words[place]) is None:
        raise broken(path, "a count is missing, or is no number")
    return int(words[place])


def dtype_at(path: Path, words: list[bytes], place: int) -> np.dtype[np.generic]:
    name = words[place].lower() if len(words) > place else b""
    if name not in DTYPES:
        raise bad_file(
            "read.unsupported",
            path,
            "the numbers are of a type that medshard does not read",
            details={"read": ", ".join(known.decode() for known in DTYPES)},
        )
    return np.dtype(DTYPES[name]).newbyteorder(">")


def numbers(path: Path, file: IO[bytes], start: Preamble, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
    offset, count = file.tell(), math.prod(shape)
    if start.binary:
        file.seek(offset + count * dtype.itemsize)
        return read_voxels(path, offset=offset, encoding="raw", shape=shape, dtype=dtype)
    require_voxels(path, max(0, 2 * count - 1), offset=offset, encoding="raw")
    array: Array = np.empty(shape, dtype.newbyteorder("="))
    read_text_numbers(file, path, array)
    return array


def broken(path: Path, problem: str) -> CaseError:
    return bad_file("read.unreadable", path, problem)
