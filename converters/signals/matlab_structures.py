"""Arrays inside structures and cells of MATLAB files of level 5, in one pass over the file.

Nothing in a file is run; text, objects and sparse arrays are passed over. A compressed variable is inflated as far as
it is asked for, so that a structure of many arrays costs one pass and never lies in memory as a whole.
Source: MathWorks, "MAT-File Format", chapter 1, "Level 5 MAT-File Format". SciPy is the oracle of the tests.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from isal import isal_zlib

from medshard.converters.array_types import Array
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.matlab5 import CLASSES, COMPLEX, COMPRESSED, HEADER_BYTES, LOGICAL, MATRIX, NUMBERS
from medshard.converters.formats.voxel_stream import INFLATE_ERROR, LARGEST_DEFLATE_RATIO
from medshard.converters.signals.stored_arrays import DEEPEST, Place, StoredArray
from medshard.converters.spooling import Spool
from medshard.errors import CaseError

BLOCK = 1 << 20
PACKED_BLOCK = 1 << 16
MOST_PARTS = 1 << 20
LONGEST_PART = 1 << 16
CELL, STRUCTURE = 1, 2
LARGEST_TAIL = 8


class _Stream:
    """Bytes of one variable, plain or inflated. left: how many there can be at most."""

    def __init__(self, path: Path, file: IO[bytes], size: int, *, compressed: bool) -> None:
        self.path = path
        self.left = size * (LARGEST_DEFLATE_RATIO if compressed else 1)
        self.parts = 0
        self._file = file
        self._packed = size
        self._inflate = isal_zlib.decompressobj() if compressed else None
        self._ready = bytearray()

    def take(self, count: int) -> bytes:
        """Exactly so many bytes. Raises CaseError[read.truncated]."""
        if count > self.left:
            raise _short(self.path)
        self.left -= count
        if self._inflate is None:
            found = self._file.read(count)
            if len(found) < count:
                raise _short(self.path)
            return found
        while len(self._ready) < count:
            self._refill()
        found = bytes(memoryview(self._ready)[:count])
        del self._ready[:count]
        return found

    def skip(self, count: int) -> None:
        if self._inflate is None and count <= self.left:
            self.left -= count
            self._file.seek(count, 1)
            return
        while count > 0:
            count -= len(self.take(min(count, BLOCK)))

    def finish(self) -> None:
        """Inflate what little may stand behind a variable, so that the checksum is compared.

        Files are in use whose stream goes on behind its variable, or does not end; SciPy refuses them unless told not
        to look. What was read of them was read whole.
        """
        for _ in range(LARGEST_TAIL):
            if self._inflate is None or self._inflate.eof or self._packed == 0:
                return
            self._ready.clear()
            try:
                self._refill()
            except CaseError:
                return

    def _refill(self) -> None:
        if self._inflate is None or self._inflate.eof:
            raise _short(self.path)
        source = self._inflate.unconsumed_tail
        if not source:
            source = self._file.read(min(self._packed, PACKED_BLOCK))
            self._packed -= len(source)
        try:
            found = self._inflate.decompress(source, BLOCK)
        except INFLATE_ERROR as error:
            raise zlib.error(*error.args) from error
        if not found and not self._inflate.unconsumed_tail and not source:
            raise _short(self.path)
        self._ready += found


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Head of an array: what follows it, in `left` bytes."""

    class_number: int
    flags: int
    sizes: tuple[int, ...]
    name: str
    left: int


def arrays(path: Path) -> Iterator[StoredArray]:
    """Every array of real numbers, with the path to it; a structure of one element has no index in the path.

    Raises CaseError[read.truncated | read.unreadable].
    """
    end = path.stat().st_size
    with path.open("rb") as file:
        order = "<" if file.read(HEADER_BYTES)[126:128] == b"IM" else ">"
        at = HEADER_BYTES
        while at + 8 <= end:
            file.seek(at)
            kind, stored = (int(word) for word in np.frombuffer(file.read(8), f"{order}u4"))
            size = stored
            if kind not in (MATRIX, COMPRESSED):
                raise _broken(path, "an element of the file is no variable")
            if at + 8 + size > end:
                raise _short(path)
            stream = _Stream(path, file, size, compressed=kind == COMPRESSED)
            if kind == COMPRESSED:
                kind, size, _ = _tag(stream, order)
            if kind != MATRIX:
                raise _broken(path, "a compressed element holds no variable")
            part = _head(stream, order, size)
            if part is not None and part.name:
                yield from _within(stream, order, part, (part.name,))
            stream.finish()
            at += 8 + stored


def _within(stream: _Stream, order: str, part: _Part, place: Place) -> Iterator[StoredArray]:
    """The arrays of one element; the stream stands behind the element afterwards."""
    stop = stream.left - part.left
    count = math.prod(part.sizes)
    if len(place) > DEEPEST:
        raise _broken(stream.path, "structures lie deeper in each other than recordings need")
    if part.class_number == CELL:
        # MATLAB counts its first index fastest.
        for number in range(count):
            yield from _element(stream, order, (*place, number))
    elif part.class_number == STRUCTURE:
        names = _field_names(stream, order)
        for number in range(count if names else 0):
            for name in names:
                yield from _element(stream, order, (*place, name) if count == 1 else (*place, number, name))
    elif part.class_number in CLASSES and not part.flags & COMPLEX and count:
        yield _numbers(stream, order, part, place)
    stream.skip(stream.left - stop)


def _element(stream: _Stream, order: str, place: Place) -> Iterator[StoredArray]:
    stream.parts += 1
    if stream.parts > MOST_PARTS:
        raise _broken(stream.path, "a structure has more parts than recordings need")
    kind, size, inline = _tag(stream, order)
    if kind != MATRIX or inline is not None:
        raise _broken(stream.path, "a part of a structure is no array")
    if size > stream.left:
        raise _short(stream.path)
    part = _head(stream, order, size)
    if part is not None:
        yield from _within(stream, order, part, place)


def _head(stream: _Stream, order: str, size: int) -> _Part | None:
    """None for an empty element and for what has no size, such as an object; it is behind the stream then."""
    before = stream.left
    if size == 0:
        return None
    flags = np.frombuffer(_small(stream, order), f"{order}u4")
    if len(flags) != 2:
        raise _broken(stream.path, "an array has no flags")
    class_number = int(flags[0]) & 0xFF
    if class_number == 17:
        stream.skip(size - (before - stream.left))
        return None
    sizes = tuple(int(number) for number in np.frombuffer(_small(stream, order), f"{order}i4"))
    if len(sizes) < 2 or len(sizes) > DEEPEST or min(sizes) < 0:
        raise _broken(stream.path, "an array has no size")
    name = _small(stream, order).decode("latin-1")
    left = size - (before - stream.left)
    if left < 0:
        raise _broken(stream.path, "the head of an array is longer than the array")
    return _Part(class_number=class_number, flags=int(flags[0]) >> 8 & 0xFF, sizes=sizes, name=name, left=left)


def _field_names(stream: _Stream, order: str) -> list[str]:
    widths = np.frombuffer(_small(stream, order), f"{order}i4")
    if len(widths) != 1 or not 0 < widths[0] <= 64:
        raise _broken(stream.path, "a structure has no names")
    width = int(widths[0])
    names = _small(stream, order)
    return [names[at : at + width].partition(b"\0")[0].decode("latin-1") for at in range(0, len(names), width)]


def _numbers(stream: _Stream, order: str, part: _Part, place: Place) -> StoredArray:
    dtype = np.dtype("uint8" if part.flags & LOGICAL else CLASSES[part.class_number])
    before = stream.left

    def load(spool: Spool) -> Array:
        if stream.left != before:
            message = "an array of a MATLAB file is loaded before the next one is asked for"
            raise RuntimeError(message)
        kind, size, inline = _tag(stream, order)
        if kind not in NUMBERS:
            raise _broken(stream.path, "the numbers of an array are of an unknown type")
        stored = np.dtype(f"{order}{NUMBERS[kind]}")
        if size != math.prod(part.sizes) * stored.itemsize or size > stream.left + 4:
            raise _short(stream.path)
        flat = spool.empty((math.prod(part.sizes),), dtype)
        step = BLOCK // stored.itemsize
        for start in range(0, flat.size, step):
            block = flat[start : start + step]
            content = inline if inline is not None else stream.take(block.size * stored.itemsize)
            with np.errstate(invalid="ignore", over="ignore"):
                block[:] = np.frombuffer(content, stored, block.size).astype(dtype, casting="unsafe")
        return flat.reshape(part.sizes[::-1]).T

    return StoredArray(place=place, shape=part.sizes, dtype=dtype, load=load)


def _small(stream: _Stream, order: str) -> bytes:
    _, size, inline = _tag(stream, order)
    if inline is not None:
        return inline
    if size > LONGEST_PART:
        raise _broken(stream.path, "a part of an array is longer than it can be")
    return stream.take(size + -size % 8)[:size]


def _tag(stream: _Stream, order: str) -> tuple[int, int, bytes | None]:
    """Type, size, and the content where it is so small that it stands in the tag."""
    tag = stream.take(8)
    word, size = (int(number) for number in np.frombuffer(tag, f"{order}u4"))
    if word >> 16 == 0:
        return word, size, None
    if word >> 16 > 4:
        raise _broken(stream.path, "a small element is longer than four bytes")
    return word & 0xFFFF, word >> 16, tag[4 : 4 + (word >> 16)]


def _short(path: Path) -> CaseError:
    return bad_file("read.truncated", path, "the file ends inside an array, or an array is longer than the file")


def _broken(path: Path, problem: str) -> CaseError:
    return bad_file("read.unreadable", path, problem)
