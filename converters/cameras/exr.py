"""OpenEXR pictures of one part in scan lines, stored plainly or with RLE, ZIPS or ZIP.

Source: openexr.com, "OpenEXR file layout" and "Technical introduction". The decoders at hand leave lines that they
cannot decode black and say nothing; here every line is there, or the file is refused. Tiles, several parts, deep data
and the other compressions are refused by name.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import first_bytes
from medshard.errors import CaseError

SIGNATURE = b"v/1\x01"
LARGEST_BYTES = 1 << 30
_MOST_PIXELS = 1 << 26
_LONG_NAMES = 0x400
_LINES_OF_BLOCK = {0: 1, 1: 1, 2: 1, 3: 16}
_RLE, _ZIPS, _ZIP = 1, 2, 3
_PIXEL_TYPES: dict[int, np.dtype[Any]] = {0: np.dtype("<u4"), 1: np.dtype("<f2"), 2: np.dtype("<f4")}


@dataclass(frozen=True, kw_only=True)
class _Header:
    """channels: (name, dtype) in the order of the file. end: where the table of blocks begins."""

    channels: tuple[tuple[str, np.dtype[Any]], ...]
    height: int
    width: int
    first_line: int
    compression: int
    end: int

    @property
    def line_bytes(self) -> int:
        return self.width * sum(dtype.itemsize for _, dtype in self.channels)


def is_exr(path: Path) -> bool:
    return first_bytes(path, 4) == SIGNATURE


def exr_channels(path: Path) -> dict[str, NDArray[np.float32]]:
    """Name of a channel -> (y, x) float32. Raises CaseError[read.truncated | read.unreadable | read.unsupported]."""
    if path.stat().st_size > LARGEST_BYTES:
        raise bad_file("read.unsupported", path, "the EXR picture is larger than any camera's")
    content = path.read_bytes()
    header = _header(path, content)
    lines = _lines(path, content, header)
    channels = {}
    start = 0
    for name, dtype in header.channels:
        stored = np.ascontiguousarray(lines[:, start : start + header.width * dtype.itemsize])
        channels[name] = stored.view(dtype).astype(np.float32)
        start += header.width * dtype.itemsize
    return channels


def _header(path: Path, content: bytes) -> _Header:
    flags = int.from_bytes(content[4:8], "little") & ~0xFF
    if flags & ~_LONG_NAMES:
        raise _unsupported(path, "one part in scan lines", f"flags {flags:#x}")
    attributes, end = _attributes(path, content)
    try:
        window = struct.unpack("<4i", attributes["dataWindow"])
        shown = struct.unpack("<4i", attributes["displayWindow"])
        compression = attributes["compression"][0]
        channels = _channels(path, attributes["channels"])
    except (KeyError, IndexError, struct.error) as error:
        raise bad_file("read.unreadable", path, "the header of the EXR picture is incomplete") from error
    height, width = window[3] - window[1] + 1, window[2] - window[0] + 1
    if window != shown:
        raise _unsupported(path, "data over the whole picture", "a part of it")
    if compression not in _LINES_OF_BLOCK:
        raise _unsupported(path, "no compression, RLE, ZIPS or ZIP", f"compression {compression}")
    if height < 1 or width < 1 or height * width > _MOST_PIXELS or not channels:
        raise bad_file("read.unreadable", path, "the EXR picture has a size that no camera has")
    return _Header(
        channels=channels, height=height, width=width, first_line=window[1], compression=compression, end=end
    )


def _attributes(path: Path, content: bytes) -> tuple[dict[str, bytes], int]:
    """Name -> value, and where the header ends."""
    found: dict[str, bytes] = {}
    place = 8
    while content[place : place + 1] not in {b"", b"\0"}:
        name_end = content.find(b"\0", place)
        kind_end = content.find(b"\0", name_end + 1)
        value = kind_end + 5
        size = int.from_bytes(content[kind_end + 1 : value], "little")
        if min(name_end, kind_end) < 0 or value + size > len(content):
            raise _truncated(path)
        found[content[place:name_end].decode("latin-1")] = content[value : value + size]
        place = value + size
    return found, place + 1


def _channels(path: Path, value: bytes) -> tuple[tuple[str, np.dtype[Any]], ...]:
    channels = []
    place = 0
    while value[place : place + 1] not in {b"", b"\0"}:
        end = value.index(b"\0", place)
        kind, x_step, y_step = struct.unpack_from("<i4xii", value, end + 1)
        if kind not in _PIXEL_TYPES or (x_step, y_step) != (1, 1):
            raise _unsupported(path, "whole channels of integers, halfs or floats", "another kind of channel")
        channels.append((value[place:end].decode("latin-1"), _PIXEL_TYPES[kind]))
        place = end + 17
    return tuple(channels)


def _lines(path: Path, content: bytes, header: _Header) -> NDArray[np.uint8]:
    """(y, bytes of a line), decompressed; every line comes from a block."""
    each = _LINES_OF_BLOCK[header.compression]
    count = -(-header.height // each)
    if header.end + 8 * count > len(content):
        raise _truncated(path)
    # A block of so many bytes takes at least a thousandth of them in the file, however well it compresses.
    if header.height * header.line_bytes > 2000 * len(content):
        raise bad_file("read.unreadable", path, "the EXR picture states more than the file can hold")
    lines = np.zeros((header.height, header.line_bytes), np.uint8)
    filled = np.zeros(header.height, np.bool_)
    for offset in struct.unpack_from(f"<{count}Q", content, header.end):
        if offset + 8 > len(content):
            raise _truncated(path)
        number, size = struct.unpack_from("<ii", content, offset)
        first = number - header.first_line
        stored = content[offset + 8 : offset + 8 + max(size, 0)]
        if len(stored) < size:
            raise _truncated(path)
        if size < 0 or first % each or not 0 <= first < header.height or filled[first]:
            raise bad_file("read.unreadable", path, "the lines of the EXR picture are not in their places")
        last = min(first + each, header.height)
        lines[first:last] = _block(path, stored, (last - first) * header.line_bytes, header.compression).reshape(
            last - first, header.line_bytes
        )
        filled[first:last] = True
    return lines


def _block(path: Path, stored: bytes, size: int, compression: int) -> NDArray[np.uint8]:
    """The bytes of a block. One that would not shrink is stored plainly, whatever the compression."""
    packed = stored
    if compression and len(stored) < size:
        try:
            packed = _unrolled(stored, size) if compression == _RLE else zlib.decompressobj().decompress(stored, size)
        except (zlib.error, IndexError) as error:
            raise bad_file("read.unreadable", path, "a block of the EXR picture cannot be decompressed") from error
    if len(packed) != size:
        raise bad_file(
            "read.unreadable",
            path,
            "a block of the EXR picture has another size",
            details={"expected": f"{size} bytes", "found": len(packed)},
        )
    found = np.frombuffer(packed, np.uint8)
    return found if packed is stored else _unpredicted(found)


def _unpredicted(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Differences, biased by 128, become bytes; the two halves become even and odd bytes."""
    steps = packed.copy()
    steps[1:] -= np.uint8(128)
    bytes_ = np.cumsum(steps, dtype=np.uint8)
    half = (len(bytes_) + 1) // 2
    found = np.empty_like(bytes_)
    found[0::2], found[1::2] = bytes_[:half], bytes_[half:]
    return found


def _unrolled(stored: bytes, size: int) -> bytes:
    """Run lengths: a negative count of plain bytes, or a byte and how often it follows. Stops behind `size`."""
    out = bytearray()
    place = 0
    while place < len(stored) and len(out) <= size:
        count = stored[place] - 256 if stored[place] > 127 else stored[place]
        if count < 0:
            out += stored[place + 1 : place + 1 - count]
            place += 1 - count
        else:
            out += stored[place + 1 : place + 2] * (count + 1)
            place += 2
    return bytes(out)


def _truncated(path: Path) -> CaseError:
    return bad_file("read.truncated", path, "the EXR picture ends too early")


def _unsupported(path: Path, expected: str, found: str) -> CaseError:
    return bad_file(
        "read.unsupported",
        path,
        "the EXR picture is of a kind that medshard does not read",
        details={"expected": expected, "found": found},
    )
