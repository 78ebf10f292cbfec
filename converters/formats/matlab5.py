"""Arrays of numbers in MATLAB files of level 5.

SciPy is the oracle of the tests. Source: MathWorks, "MAT-File Format", chapter 1, "Level 5 MAT-File Format".
"""

# Not read by SciPy: of 3,000 damaged files 1.17.1 crashed on 23 (13: arrays of numbers), hung on 4, reserved 4 GB.

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import numpy as np
from isal import isal_zlib

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import first_bytes
from medshard.converters.formats.voxel_stream import INFLATE_ERROR, LARGEST_DEFLATE_RATIO, short_voxels
from medshard.converters.spooling import Spool, release_pages
from medshard.converters.volume import Array

HEADER_BYTES = 128
BLOCK = 1 << 20
LONGEST_NAME = 1 << 12
MOST_AXES = 32
MOST_VARIABLES = 1 << 12
NAMED_VARIABLES = 20
# Data types of elements.
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
INT8, INT32, UINT32, MATRIX, COMPRESSED = 1, 5, 6, 14, 15
# Array classes.
CLASSES = {
    6: "float64",
    7: "float32",
    8: "int8",
    9: "uint8",
    10: "int16",
    11: "uint16",
    12: "int32",
    13: "uint32",
    14: "int64",
    15: "uint64",
}
OTHER_CLASSES = {1: "cell array", 2: "structure", 3: "object", 4: "text", 5: "sparse array", 16: "function handle"}
LOGICAL, COMPLEX = 0x02, 0x08


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One variable of a file.

    shape: MATLAB's size the other way round. kind: what it is, where that is no array of real numbers, else empty.
    start, size: of its element in the file, behind the tag. compressed: whether that element is a zlib stream.
    order: `<` or `>`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    kind: str
    start: int
    size: int
    compressed: bool
    order: str


class Source(Protocol):
    """Decoded bytes of one element, from its start on."""

    def read(self, count: int) -> bytes: ...


def is_level5(path: Path) -> bool:
    """Text, version 0x0100, and the byte order mark, which is `MI` in the order of the writer."""
    start = first_bytes(path, HEADER_BYTES)
    return len(start) == HEADER_BYTES and start[124:128] in (b"\x00\x01IM", b"\x01\x00MI")


def find(path: Path, key: str | None) -> Variable:
    """The variable of that name, or the only one that holds numbers.

    Raises CaseError[read.no_such_array | read.unsupported | read.truncated | read.unreadable].
    """
    known = tuple(variables(path))
    named = [variable for variable in known if variable.name == key]
    numeric = [variable for variable in known if not variable.kind]
    if key is None and len(numeric) == 1:
        return numeric[0]
    if key is None or not named:
        listed = {
            f"array {variable.name[:60]}": variable.kind or f"{variable.shape[::-1]} {variable.dtype.name}"
            for variable in known[:NAMED_VARIABLES]
        }
        raise bad_file(
            "read.no_such_array",
            path,
            "no array of the file is named, and not exactly one holds numbers"
            if key is None
            else "the file holds no such array",
            details={"wanted": key or "-", **listed},
            action="Name one of them as `key` in the entry's layout.",
        )
    if named[0].kind:
        raise bad_file(
            "read.unsupported",
            path,
            "the variable is not an array of real numbers",
            details={"variable": key, "found": named[0].kind},
        )
    return named[0]


def variables(path: Path) -> Iterator[Variable]:
    """The variables in the order of the file; of each only its head is decoded."""
    end = path.stat().st_size
    with path.open("rb") as file:
        order = "<" if file.read(HEADER_BYTES)[126:128] == b"IM" else ">"
        at, count = HEADER_BYTES, 0
        while at + 8 <= end:
            file.seek(at)
            kind, size, _ = _tag(file, path, order)
            if kind not in (MATRIX, COMPRESSED) or count == MOST_VARIABLES:
                raise _broken(path, at, "an element is no variable")
            if at + 8 + size > end:
                raise short_voxels(path, size, end - at - 8)
            found = _variable(path, file, order, at + 8, size, compressed=kind == COMPRESSED)
            if found is not None:
                yield found
            at += 8 + size
            count += 1


def read(path: Path, variable: Variable, spool: Spool) -> Array:
    """The numbers of a variable that has no `kind`, C-ordered, in the shape and type that `find` says."""
    with path.open("rb") as file:
        file.seek(variable.start)
        source: Source = _Inflated(file, variable.size) if variable.compressed else file
        if variable.compressed:
            _tag(source, path, variable.order)
        _head(source, path, variable.order)
        number, size, inline = _tag(source, path, variable.order)
        stored = _stored_type(path, number, variable.order)
        count = math.prod(variable.shape)
        most = variable.size * (LARGEST_DEFLATE_RATIO if variable.compressed else 1)
        if size != count * stored.itemsize or size > most:
            raise short_voxels(path, count * stored.itemsize, min(size, most))
        array = spool.empty(variable.shape, variable.dtype)
        _fill(path, source if inline is None else _Bytes(inline), array, stored)
        if isinstance(source, _Inflated):
            source.drain()
    return array


def _variable(path: Path, file: IO[bytes], order: str, start: int, size: int, *, compressed: bool) -> Variable | None:
    """None for what MATLAB writes for itself: an element without a name."""
    source: Source = _Inflated(file, size) if compressed else file
    if compressed and _tag(source, path, order)[0] != MATRIX:
        raise _broken(path, start, "a compressed element holds no variable")
    class_number, flags, sizes, name = _head(source, path, order)
    if not name:
        return None
    dtype = np.dtype("uint8" if flags & LOGICAL else CLASSES.get(class_number, "uint8"))
    kind = "" if class_number in CLASSES else OTHER_CLASSES.get(class_number, "of an unknown class")
    if not kind and flags & COMPLEX:
        kind = "complex numbers"
    return Variable(
        name=name,
        shape=sizes[::-1],
        dtype=dtype,
        kind=kind,
        start=start,
        size=size,
        compressed=compressed,
        order=order,
    )


def _head(source: Source, path: Path, order: str) -> tuple[int, int, tuple[int, ...], str]:
    """Class, flags, size in MATLAB and name of an array; the source stands before its numbers then."""
    kind, flags = _small(source, path, order, 16)
    if kind != UINT32 or len(flags) != 8:
        raise _broken(path, None, "an array has no flags")
    word = int(np.frombuffer(flags, f"{order}u4")[0])
    class_number = word & 0xFF
    if class_number == 17:  # An opaque object has no size; its class name follows.
        return class_number, 0, (), "-"
    kind, sizes = _small(source, path, order, 4 * MOST_AXES)
    if kind != INT32 or len(sizes) % 4 or len(sizes) < 8:
        raise _broken(path, None, "an array has no size")
    shape = tuple(int(size) for size in np.frombuffer(sizes, f"{order}i4"))
    kind, name = _small(source, path, order, LONGEST_NAME)
    if kind != INT8 or min(shape) < 0:
        raise _broken(path, None, "an array has no name, or a size below zero")
    return class_number, word >> 8 & 0xFF, shape, name.decode("latin-1")


def _small(source: Source, path: Path, order: str, most: int) -> tuple[int, bytes]:
    """Type and content of an element that must be short."""
    kind, size, inline = _tag(source, path, order)
    if inline is not None:
        return kind, inline
    if size > most:
        raise _broken(path, None, "a part of an array is longer than it can be")
    return kind, _exactly(source, path, size + -size % 8)[:size]


def _tag(source: Source, path: Path, order: str) -> tuple[int, int, bytes | None]:
    """Type, size, and the content where it is so small that it stands in the tag."""
    tag = _exactly(source, path, 8)
    word, size = (int(number) for number in np.frombuffer(tag, f"{order}u4"))
    if word >> 16:
        short = word >> 16
        if short > 4:
            raise _broken(path, None, "a small element is longer than four bytes")
        return word & 0xFFFF, short, tag[4 : 4 + short]
    return word, size, None


def _stored_type(path: Path, number: int, order: str) -> np.dtype[np.generic]:
    """Integers that fit are stored narrower than the array's class says."""
    if number not in NUMBERS:
        raise _broken(path, None, "the numbers of an array are of an unknown type")
    return np.dtype(f"{order}{NUMBERS[number]}")


def _fill(path: Path, source: Source, array: Array, stored: np.dtype[np.generic]) -> None:
    flat = array.reshape(-1)
    step = BLOCK // stored.itemsize
    for start in range(0, flat.size, step):
        block = flat[start : start + step]
        content = _exactly(source, path, block.size * stored.itemsize)
        with np.errstate(invalid="ignore", over="ignore"):
            block[:] = np.frombuffer(content, stored).astype(array.dtype, casting="unsafe")
        release_pages(array)


def _exactly(source: Source, path: Path, count: int) -> bytes:
    content = source.read(count)
    if len(content) < count:
        raise bad_file("read.truncated", path, "the file ends inside an array")
    return content


class _Bytes:
    """Content that stood inside a tag."""

    def __init__(self, content: bytes) -> None:
        self._rest = content

    def read(self, count: int) -> bytes:
        found, self._rest = self._rest[:count], self._rest[count:]
        return found


class _Inflated:
    """A zlib stream of so many bytes in a file."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._left = size
        self._stream = isal_zlib.decompressobj()

    def read(self, count: int) -> bytes:
        parts = []
        while count > 0 and not self._stream.eof:
            source = self._stream.unconsumed_tail
            if not source and self._left > 0:
                source = self._file.read(min(self._left, BLOCK))
                self._left = self._left - len(source) if source else 0
            try:
                decoded = self._stream.decompress(source, count)
            except INFLATE_ERROR as error:
                raise zlib.error(*error.args) from error
            if not decoded and not self._stream.unconsumed_tail and self._left == 0:
                break
            parts.append(decoded)
            count -= len(decoded)
        return b"".join(parts)

    def drain(self) -> None:
        """To the checksum at the end. Raises EOFError where it is missing."""
        while self.read(BLOCK):
            pass
        if not self._stream.eof:
            message = "the compressed data are truncated"
            raise EOFError(message)


def _broken(path: Path, at: int | None, problem: str) -> Exception:
    return bad_file("read.unreadable", path, problem, details={} if at is None else {"at byte": at})
