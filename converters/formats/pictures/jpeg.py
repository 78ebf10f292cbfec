"""JPEG: baseline, progressive and lossless, 8 and 12 bits (16 lossless). Decoded by libjpeg (imagecodecs).

libjpeg fills what a cut file lacks with grey, so the markers are walked to the one that ends the picture first.
A picture of four colours with Adobe's marker is stored inverted, as Adobe does; without the marker it is taken as
written, which is said. Sources: ITU-T T.81, B.1 (markers), B.2.2 (frame header); T.872, 6.5.3 (Adobe's marker).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medshard.converters.array_types import Array, AttributeValue
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.pictures.exif import orientation_of_exif, orientation_of_xmp
from medshard.converters.formats.pictures.picture import (
    MOST_PIXELS,
    MOST_PIXELS_IN_MEMORY,
    Picture,
    imagecodecs,
    require_bytes,
    require_page,
    require_size,
    truncated,
    unsupported,
)
from medshard.converters.spooling import Spool, release_pages

MAGIC = b"\xff\xd8\xff"
# A block of 64 pixels takes at least a bit in one scan of coefficients, which makes 512 pixels a byte.
LARGEST_RATIO = 512
HUFFMAN_FRAMES = (0xC0, 0xC1, 0xC2)
LOSSLESS_FRAME = 0xC3
PROGRESSIVE_FRAME = 0xC2
FRAMES = (*HUFFMAN_FRAMES, LOSSLESS_FRAME, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7)
LOSSLESS_NOTE = "colours stored without loss: taken as red, green and blue, as they stand"
ALONE = (0x01, *range(0xD0, 0xD9))
# Within a scan: 0xff00 is a 0xff of the data, and 0xffd0 to 0xffd7 restart the decoder.
MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
EXIF, XMP, ICC, MPF = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0", b"MPF\0"


@dataclass(frozen=True, kw_only=True)
class Markers:
    """frame: marker, bits, y, x, components. end: offset behind the picture. adobe: its colour transform."""

    frame: tuple[int, int, int, int, int]
    end: int
    adobe: int | None = None
    orientation: int = 1
    notes: tuple[str, ...] = ()
    attributes: dict[str, AttributeValue] = field(default_factory=dict)


def sniff(start: bytes) -> bool:
    return start.startswith(MAGIC)


def stated(path: Path, page: int | None) -> Picture:
    """What a JPEG states. Raises CaseError[read.truncated | read.unreadable | read.unsupported | read.too_large]."""
    require_page(path, page, 1)
    found = markers(path, path.read_bytes())
    marker, bits, y, x, components = found.frame
    _require_decodable(path, found)
    require_size(path, y, x, most=MOST_PIXELS if marker != PROGRESSIVE_FRAME else MOST_PIXELS_IN_MEMORY)
    require_bytes(path, y * x, found.end, LARGEST_RATIO if marker != LOSSLESS_FRAME else 8)
    inverted = components == 4 and found.adobe is not None
    return Picture(
        kind="JPEG",
        y=y,
        x=x,
        meaning={1: "grey", 3: "rgb", 4: "cmyk"}[components],  # type: ignore[arg-type]
        samples=components,
        dtype=np.dtype(np.uint8 if bits <= 8 else np.uint16),
        decode=lambda spool: _decode(path, found, spool),
        inverted_by=2**bits - 1 if inverted else None,
        orientation=found.orientation,
        notes=(*found.notes, *((LOSSLESS_NOTE,) if _is_lossless_colour(found) else ())),
        attributes=found.attributes | ({"BitsStored": bits} if bits not in (8, 16) else {}),
    )


def markers(path: Path, content: bytes) -> Markers:
    """Walks a JPEG from its start to its end. Raises CaseError[read.truncated | read.unreadable]."""
    frame: tuple[int, int, int, int, int] | None = None
    adobe, exif, xmp = None, 1, 1
    notes: list[str] = []
    attributes: dict[str, AttributeValue] = {}
    for marker, start, end in _segments(path, content):
        body = content[start:end]
        if marker == 0xD9:
            if frame is None:
                raise bad_file("read.unreadable", path, "the file holds no picture")
            orientation = exif if exif != 1 else xmp
            return Markers(
                frame=frame,
                end=end,
                adobe=adobe,
                orientation=orientation,
                notes=tuple(notes),
                attributes=attributes,
            )
        if marker in FRAMES and len(body) >= 6:
            if frame is not None:
                raise unsupported(path, "the picture is stored in several frames")
            bits, y, x, components = struct.unpack_from(">BHHB", body)
            frame = (marker, bits, y, x, components)
        elif marker == 0xE1 and body.startswith(EXIF):
            exif = orientation_of_exif(body)
        elif marker == 0xE1 and body.startswith(XMP):
            xmp = orientation_of_xmp(body)
        elif marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            adobe = body[11]
        elif marker == 0xE2 and body.startswith(ICC):
            attributes["ICCProfile"] = True
        elif marker == 0xE2 and body.startswith(MPF):
            notes.append("further pictures lie behind the first: only the first is read")
    raise truncated(path, "the file ends before the marker that ends a JPEG")


def _segments(path: Path, content: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, and where its content starts and ends; the last is the one that ends the picture."""
    place = 2
    while place + 2 <= len(content):
        if content[place] != 0xFF:
            raise bad_file("read.unreadable", path, "there is no marker where one must be", details={"offset": place})
        marker = content[place + 1]
        if marker == 0xFF:
            place += 1
            continue
        place += 2
        if marker == 0xD9:
            yield marker, place, place
            return
        if marker in ALONE:
            continue
        if place + 2 > len(content):
            return
        length = int.from_bytes(content[place : place + 2], "big")
        if length < 2:
            raise bad_file("read.unreadable", path, "a segment has an impossible length", details={"offset": place})
        if place + length > len(content):
            return
        yield marker, place + 2, place + length
        place += length
        if marker == 0xDA:
            following = MARKER_IN_SCAN.search(content, place)
            if following is None:
                return
            place = following.start()


def _require_decodable(path: Path, found: Markers) -> None:
    marker, bits, y, _, components = found.frame
    depths = (8, 12) if marker in HUFFMAN_FRAMES else tuple(range(2, 17)) if marker == LOSSLESS_FRAME else ()
    if bits not in depths or components not in (1, 3, 4):
        raise unsupported(
            path,
            "this kind of JPEG is not read",
            frame=f"0x{marker:02x}",
            bits=bits,
            components=components,
        )
    if marker == LOSSLESS_FRAME and components > 1 and (components == 4 or found.adobe):
        raise unsupported(path, "these colours without loss are not read", components=components, transform=found.adobe)
    if bits == 12 and components == 4:
        raise unsupported(path, "four colours of 12 bits are not read")
    if y == 0:
        raise unsupported(path, "the height of the picture stands behind its pixels")


def _decode(path: Path, found: Markers, spool: Spool) -> Array:
    _, bits, y, x, components = found.frame
    shape = (y, x) if components == 1 else (y, x, components)
    pixels = spool.empty(shape, np.uint8 if bits <= 8 else np.uint16)
    content = path.read_bytes()[: found.end]
    # Without loss nothing may be converted, so libjpeg is told that the colours are what they shall be.
    plain = {"colorspace": "RGB", "outcolorspace": "RGB"} if _is_lossless_colour(found) else {}
    decoded = imagecodecs().jpeg8_decode(content, out=pixels, **plain)
    if decoded.shape != shape or decoded.dtype != pixels.dtype:
        details: dict[str, object] = {
            "expected": shape,
            "found": f"{decoded.dtype} {decoded.shape}",
        }
        raise bad_file("read.unreadable", path, "the picture is not what its header says", details=details)
    release_pages(pixels)
    return decoded.reshape(1, y, x, components)


def _is_lossless_colour(found: Markers) -> bool:
    return found.frame[0] == LOSSLESS_FRAME and found.frame[4] == 3


def colour_notes(found: Picture) -> tuple[str, ...]:
    """What has to be said about four colours."""
    if found.kind != "JPEG" or found.meaning != "cmyk":
        return ()
    if found.inverted_by is None:
        return ("CMYK without Adobe's marker: taken as not inverted",)
    return ("CMYK with Adobe's marker: inverted before it is converted",)
