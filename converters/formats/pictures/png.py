"""PNG. The chunks are ours, the pixels libpng's (imagecodecs).

libpng and Pillow change numbers on the way out: palettes become colours, 1, 2 and 4 bits are stretched to 255, colours
of 16 bits lose half of them. So the decoder is given a picture of the bare samples: the same data without any other
chunk, a palette declared as grey; and what it stretches is divided again, which is exact.
Source: PNG specification (W3C, third edition), 5 (chunks), 11.2 (IHDR, PLTE, IDAT), 11.3 (tRNS, eXIf, iCCP).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from medshard.converters.array_types import Array, AttributeValue
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.pictures.exif import orientation_of_exif
from medshard.converters.formats.pictures.picture import (
    Palette,
    Picture,
    imagecodecs,
    require_bytes,
    require_page,
    require_size,
    truncated,
)
from medshard.converters.formats.pictures.png_texts import KINDS, may_orient, orientation_of_text
from medshard.converters.formats.voxel_stream import LARGEST_DEFLATE_RATIO
from medshard.converters.spooling import Spool, release_pages

MAGIC = b"\x89PNG\r\n\x1a\n"
SMALL_CHUNK = 1 << 20
KEPT = (b"PLTE", b"tRNS", b"eXIf", b"acTL", b"iCCP")
# Colour type -> samples without alpha, whether alpha follows, and the bit depths that it may have.
COLOUR_TYPES = {
    0: (1, False, (1, 2, 4, 8, 16)),
    2: (3, False, (8, 16)),
    3: (1, False, (1, 2, 4, 8)),
    4: (1, True, (8, 16)),
    6: (3, True, (8, 16)),
}
# First row and column of each pass, and the steps from there.
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
LONGEST_KEYWORD = 80


@dataclass(frozen=True, kw_only=True)
class Chunks:
    """x, y, depth, colour_type, interlaced: of IHDR. data: offset and length of each IDAT. kept: type -> content.
    texts: type and content of each that may say how the picture lies.
    """

    x: int
    y: int
    depth: int
    colour_type: int
    interlaced: int
    data: tuple[tuple[int, int], ...]
    kept: dict[bytes, bytes] = field(default_factory=dict)
    texts: tuple[tuple[bytes, bytes], ...] = ()


def sniff(start: bytes) -> bool:
    return start.startswith(MAGIC)


def stated(path: Path, page: int | None) -> Picture:
    """What a PNG states. Raises CaseError[read.truncated | read.unreadable | read.too_large | read.no_such_page]."""
    require_page(path, page, 1)
    with path.open("rb") as file:
        chunks = _chunks(path, file)
    samples, alpha, depths = COLOUR_TYPES.get(chunks.colour_type, (0, False, ()))
    if chunks.depth not in depths or chunks.interlaced not in (0, 1):
        details: dict[str, object] = {"bit depth": chunks.depth, "colour type": chunks.colour_type}
        raise bad_file("read.unreadable", path, "the header is not one that PNG knows", details=details)
    require_size(path, chunks.y, chunks.x)
    row = (chunks.x * (samples + alpha) * chunks.depth + 7) // 8
    require_bytes(path, chunks.y * row, sum(length for _, length in chunks.data), LARGEST_DEFLATE_RATIO)
    palette = _palette(path, chunks)
    return Picture(
        kind="PNG",
        y=chunks.y,
        x=chunks.x,
        meaning="palette" if palette else "rgb" if samples == 3 else "grey",
        samples=samples,
        dtype=np.dtype(np.uint16 if chunks.depth == 16 else np.uint8),
        decode=lambda spool: _decode(path, chunks, spool),
        alpha=alpha,
        key=_key(path, chunks, samples),
        palette=palette,
        orientation=_orientation(chunks),
        notes=tuple(_notes(chunks)),
        attributes=_attributes(chunks),
    )


def _chunks(path: Path, file: IO[bytes]) -> Chunks:
    """All chunks, each checked against its own checksum where it is looked at."""
    file.seek(0, 2)
    size = file.tell()
    place, header = len(MAGIC), b""
    data: list[tuple[int, int]] = []
    kept: dict[bytes, bytes] = {}
    texts: list[tuple[bytes, bytes]] = []
    while True:
        file.seek(place)
        start = file.read(8)
        if len(start) < 8:
            raise truncated(path, "the file ends before the chunk that ends a PNG")
        length, kind = struct.unpack(">I4s", start)
        if place + 12 + length > size:
            raise truncated(path, "the file ends within a chunk")
        if not header and (kind != b"IHDR" or length != 13):
            raise bad_file("read.unreadable", path, "the file does not begin with the header of a PNG")
        if kind == b"IHDR":
            header = _checked(path, file, kind, length)
        elif kind == b"IDAT":
            if data and sum(data[-1]) + 4 != place:
                raise bad_file("read.unreadable", path, "other chunks lie between those of the pixels")
            data.append((place + 8, length))
        elif kind in KEPT and length <= SMALL_CHUNK:
            kept.setdefault(kind, _checked(path, file, kind, length))
        elif kind in KEPT:
            kept.setdefault(kind, b"")
        elif kind in KINDS and length <= SMALL_CHUNK and may_orient(file.read(min(length, LONGEST_KEYWORD))):
            file.seek(place + 8)
            texts.append((kind, _checked(path, file, kind, length)))
        elif kind == b"IEND":
            break
        place += 12 + length
    if not data:
        raise bad_file("read.unreadable", path, "the file holds no pixels")
    _require_methods(path, *header[10:12])
    x, y, depth, colour_type, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    return Chunks(
        x=x,
        y=y,
        depth=depth,
        colour_type=colour_type,
        interlaced=interlaced,
        data=tuple(data),
        kept=kept,
        texts=tuple(texts),
    )


def _require_methods(path: Path, compression: int, filtering: int) -> None:
    """Raises CaseError[read.unreadable]. PNG knows one way to pack its pixels, and one set of filters."""
    if compression or filtering:
        details: dict[str, object] = {"compression": compression, "filter": filtering}
        raise bad_file("read.unreadable", path, "the pixels are packed by no method that PNG knows", details=details)


def _checked(path: Path, file: IO[bytes], kind: bytes, length: int) -> bytes:
    content, stated_sum = file.read(length), file.read(4)
    if zlib.crc32(kind + content).to_bytes(4, "big") != stated_sum:
        details: dict[str, object] = {"chunk": kind.decode("ascii", "replace")}
        raise bad_file("read.unreadable", path, "the checksum of a chunk is not that of its content", details=details)
    return content


def _decode(path: Path, chunks: Chunks, spool: Spool) -> Array:
    samples, alpha, _ = COLOUR_TYPES[chunks.colour_type]
    with path.open("rb") as file:
        packed = b"".join(_data(path, file, chunks))
    pixels: NDArray[Any] = spool.empty(
        (chunks.y, chunks.x, samples + alpha), np.uint16 if chunks.depth == 16 else np.uint8
    )
    if chunks.interlaced:
        for (top, left, down, right), part in zip(ADAM7, _passes(path, chunks, packed), strict=True):
            target = pixels[top::down, left::right]
            if part is not None:
                target[...] = _unfiltered(chunks, part, np.empty(target.shape, target.dtype))
    else:
        _unfiltered(chunks, packed, pixels)
    if chunks.depth < 8:
        pixels //= 255 // (2**chunks.depth - 1)
    release_pages(pixels)
    return pixels[None]


def _data(path: Path, file: IO[bytes], chunks: Chunks) -> Iterator[bytes]:
    for offset, length in chunks.data:
        file.seek(offset)
        yield _checked(path, file, b"IDAT", length)


def _passes(path: Path, chunks: Chunks, packed: bytes) -> Iterator[bytes | None]:
    """The seven passes of an interlaced picture, each packed anew; None for one without pixels.

    Each is a whole picture of its own, and libpng, told so, needs no memory of the others.
    Source: PNG specification, 8.2.
    """
    samples, alpha, _ = COLOUR_TYPES[chunks.colour_type]
    sizes = []
    for top, left, down, right in ADAM7:
        y, x = len(range(top, chunks.y, down)), len(range(left, chunks.x, right))
        sizes.append(y * (1 + (x * (samples + alpha) * chunks.depth + 7) // 8) if x else 0)
    inflater = zlib.decompressobj()
    raw = inflater.decompress(packed, sum(sizes) + 1)
    if len(raw) < sum(sizes) or not inflater.eof:
        raise truncated(path, "the pixels end before the last pass of the picture")
    place = 0
    for size in sizes:
        yield zlib.compress(raw[place : place + size], 0) if size else None
        place += size


def _unfiltered(chunks: Chunks, packed: bytes, target: NDArray[Any]) -> NDArray[Any]:
    """Decode the bare samples into (y, x, s), as a PNG of their own; 1, 2 and 4 bits come out stretched to 255."""
    colour_type = 0 if chunks.colour_type == 3 else chunks.colour_type
    header = struct.pack(">IIBBBBB", target.shape[1], target.shape[0], chunks.depth, colour_type, 0, 0, 0)
    bare = b"".join([MAGIC, _chunk(b"IHDR", header), _chunk(b"IDAT", packed), _chunk(b"IEND", b"")])
    imagecodecs().png_decode(bare, out=target[..., 0] if target.shape[-1] == 1 else target)
    return target


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _palette(path: Path, chunks: Chunks) -> Palette | None:
    if chunks.colour_type != 3:
        return None
    content = chunks.kept.get(b"PLTE", b"")
    if not content or len(content) % 3 or len(content) > 3 * 2**chunks.depth:
        raise bad_file(
            "read.unreadable", path, "the palette is missing or broken", details={"found": f"{len(content)} bytes"}
        )
    colours = np.frombuffer(content, np.uint8).reshape(-1, 3)
    stated_alpha = np.frombuffer(chunks.kept.get(b"tRNS", b""), np.uint8)[: len(colours)]
    alpha = np.full(len(colours), 255, np.uint8)
    alpha[: len(stated_alpha)] = stated_alpha
    return Palette(colours=colours, alpha=alpha if len(stated_alpha) else None)


def _key(path: Path, chunks: Chunks, samples: int) -> tuple[int, ...] | None:
    content = chunks.kept.get(b"tRNS")
    if content is None or chunks.colour_type not in (0, 2):
        return None
    if len(content) != 2 * samples:
        raise bad_file("read.unreadable", path, "the transparent colour is not one of this picture")
    most = 2**chunks.depth - 1
    return tuple(value & most for value in struct.unpack(f">{samples}H", content))


def _orientation(chunks: Chunks) -> int:
    if b"eXIf" in chunks.kept:
        return orientation_of_exif(chunks.kept[b"eXIf"])
    return next((found for kind, text in chunks.texts if (found := orientation_of_text(kind, text)) != 1), 1)


def _notes(chunks: Chunks) -> Iterator[str]:
    if chunks.colour_type == 0 and chunks.depth in (2, 4):
        yield f"{chunks.depth} bits a pixel: the values are 0 to {2**chunks.depth - 1}, as they are stored"
    if b"acTL" in chunks.kept:
        yield "an animation: only the still picture is read"


def _attributes(chunks: Chunks) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {}
    if chunks.depth < 8 and chunks.colour_type == 0:
        found["BitsStored"] = chunks.depth
    if b"iCCP" in chunks.kept:
        found["ICCProfile"] = True
    return found
