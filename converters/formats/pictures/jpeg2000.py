"""JPEG 2000: `.jp2` files and bare codestreams, 1 to 16 bits, signed or not. Decoded by OpenJPEG (imagecodecs).

Sources: ITU-T T.800, A.4 to A.6 (markers SOC, SIZ, SOT, EOC), I.5 (boxes jp2h, ihdr, colr, cdef, pclr, jp2c).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medshard.converters.array_types import Array, AttributeValue
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.pictures.picture import (
    MOST_PIXELS_IN_MEMORY,
    Picture,
    imagecodecs,
    require_page,
    require_size,
    truncated,
    unsupported,
)
from medshard.converters.spooling import Spool

BOX_MAGIC = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
STREAM_MAGIC = b"\xff\x4f\xff\x51"
END = b"\xff\xd9"
SYCC = 18


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Of a codestream. start, end: its place in the file. bits, signed: of each component. steps: its subsampling."""

    y: int
    x: int
    bits: tuple[int, ...]
    signed: tuple[bool, ...]
    steps: tuple[tuple[int, int], ...]
    tiles: int


def sniff(start: bytes) -> bool:
    return start.startswith((BOX_MAGIC, STREAM_MAGIC))


def stated(path: Path, page: int | None) -> Picture:
    """What a JPEG 2000 file states. Raises CaseError[read.truncated | read.unreadable | read.unsupported |
    read.too_large]."""
    require_page(path, page, 1)
    content = path.read_bytes()
    boxes = dict(_boxes(path, content)) if content.startswith(BOX_MAGIC) else {b"jp2c": (0, len(content))}
    if b"jp2c" not in boxes:
        raise truncated(path, "the file ends before its picture")
    start, end = boxes[b"jp2c"]
    stream = _stream(path, content[start:end])
    count = len(stream.bits)
    require_size(path, stream.y, stream.x, most=MOST_PIXELS_IN_MEMORY // count)
    _require_tiles(path, content[start:end])
    colour = _colour_space(content, boxes)
    _require_uniform(path, stream, colour)
    if b"pclr" in boxes:
        raise unsupported(path, "a palette within JPEG 2000 is not read")
    alpha = count in (2, 4) and _last_is_alpha(content, boxes, count)
    bits, signed = stream.bits[0], stream.signed[0]
    kind = "i" if signed else "u"
    samples = count - alpha
    attributes: dict[str, AttributeValue] = {"ICCProfile": True} if colour == -1 else {}
    if bits not in (8, 16):
        attributes["BitsStored"] = bits
    return Picture(
        kind="JPEG 2000",
        y=stream.y,
        x=stream.x,
        meaning={1: "grey", 3: "rgb"}.get(samples, "channels"),  # type: ignore[arg-type]
        samples=samples,
        dtype=np.dtype(f"{kind}{1 if bits <= 8 else 2}"),
        decode=lambda spool: _decode(path, stream, spool),
        alpha=alpha,
        notes=tuple(_notes(colour, samples)),
        attributes=attributes,
    )


def _notes(colour: int | None, samples: int) -> Iterator[str]:
    if colour == SYCC and samples >= 3:
        yield "YCbCr converted to RGB"
    if samples not in (1, 3):
        yield f"{samples} samples a pixel, which the file does not explain: all are kept as channels"


def _boxes(path: Path, content: bytes) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Type of each box, with those inside the header box, and where its content starts and ends."""
    waiting = [(0, len(content))]
    while waiting:
        place, stop = waiting.pop(0)
        while place + 8 <= stop:
            length, kind = struct.unpack_from(">I4s", content, place)
            start = place + 8
            if length == 1 and place + 16 <= stop:
                length, start = struct.unpack_from(">Q", content, place + 8)[0], place + 16
            elif length == 0:
                length = stop - place
            if length < start - place:
                raise bad_file("read.unreadable", path, "a box has an impossible length", details={"offset": place})
            end = place + length
            if end > stop:
                raise truncated(path, "the file ends within a box")
            if kind == b"jp2h":
                waiting.append((start, end))
            yield kind, (start, end)
            if kind == b"jp2c":
                break
            place = end


def _stream(path: Path, content: bytes) -> Stream:
    if not content.startswith(STREAM_MAGIC) or len(content) < 42:
        raise truncated(path, "the file ends within the header of its picture")
    numbers = struct.unpack_from(">HH8IH", content, 4)
    _, _, right, bottom, left, top, tile_x, tile_y, _, _, count = numbers
    if not 1 <= count <= 16384 or len(content) < 42 + 3 * count or 0 in (tile_x, tile_y):
        raise bad_file("read.unreadable", path, "the header of the picture is broken", details={"components": count})
    parts = [struct.unpack_from("BBB", content, 42 + 3 * number) for number in range(count)]
    return Stream(
        y=bottom - top,
        x=right - left,
        bits=tuple((depth & 0x7F) + 1 for depth, _, _ in parts),
        signed=tuple(bool(depth & 0x80) for depth, _, _ in parts),
        steps=tuple((step_x, step_y) for _, step_x, step_y in parts),
        tiles=-(-right // tile_x) * -(-bottom // tile_y),
    )


def _require_tiles(path: Path, content: bytes) -> None:
    """Raises CaseError[read.truncated] unless the parts of the tiles lie in the file, with the marker that ends them.

    A part of length 0, which only the last may have, goes to the end.
    """
    place = 2
    while place + 4 <= len(content):
        marker, length = struct.unpack_from(">HH", content, place)
        if marker == 0xFFD9:
            return
        if marker == 0xFF90 and place + 12 <= len(content):
            part = struct.unpack_from(">I", content, place + 6)[0]
            if part == 0:
                place = content.rfind(END)
                if place < 0:
                    break
                return
            place += max(part, 12)
        else:
            place += 2 + max(length, 2)
    if content[place : place + 2] != END:
        raise truncated(path, "the file ends before the marker that ends a JPEG 2000 picture")


def _colour_space(content: bytes, boxes: dict[bytes, tuple[int, int]]) -> int | None:
    """The enumerated colour space; -1 for a profile; None where nothing is stated."""
    start, end = boxes.get(b"colr", (0, 0))
    if end - start < 3:
        return None
    if content[start] == 1 and end - start >= 7:
        return int(struct.unpack_from(">I", content, start + 3)[0])
    return -1 if content[start] == 2 else None


def _require_uniform(path: Path, stream: Stream, colour: int | None) -> None:
    if len(set(stream.bits)) != 1 or len(set(stream.signed)) != 1 or max(stream.bits) > 16:
        raise unsupported(path, "the components differ in depth, or have more than 16 bits", bits=stream.bits)
    if set(stream.steps) != {(1, 1)}:
        raise unsupported(path, "components with fewer pixels than the picture are not read", steps=stream.steps)
    if colour not in (None, -1, 16, 17, SYCC):
        raise unsupported(path, "the colour space is not read", found=colour)


def _last_is_alpha(content: bytes, boxes: dict[bytes, tuple[int, int]], count: int) -> bool:
    """Source: T.800, I.5.3.6: component, type (1 and 2 are opacity), association."""
    start, end = boxes.get(b"cdef", (0, 0))
    places = range(start + 2, end - 5, 6)
    return any(struct.unpack_from(">HH", content, place) in ((count - 1, 1), (count - 1, 2)) for place in places)


def _decode(path: Path, stream: Stream, spool: Spool) -> Array:
    decoded: Array = imagecodecs().jpeg2k_decode(path.read_bytes())
    count = len(stream.bits)
    if decoded.shape not in ((stream.y, stream.x, count), (stream.y, stream.x)) or decoded.dtype.itemsize > 2:
        details: dict[str, object] = {"found": f"{decoded.dtype} {decoded.shape}"}
        raise bad_file("read.unreadable", path, "the picture is not what its header says", details=details)
    pixels = spool.empty((1, stream.y, stream.x, count), decoded.dtype)
    pixels[0] = decoded.reshape(stream.y, stream.x, count)
    return pixels
