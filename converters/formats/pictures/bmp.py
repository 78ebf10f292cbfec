"""BMP. Ours, because Pillow takes a palette of black and white for 1 bit a pixel, whatever the pixels have.

Source: Windows structures BITMAPFILEHEADER, BITMAPCOREHEADER, BITMAPINFOHEADER, BITMAPV4HEADER, BITMAPV5HEADER; and
"Bitmap Compression" (BI_RLE8, BI_RLE4) there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medshard.converters.array_types import Array
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.pictures.bmp_runs import unpacked_runs
from medshard.converters.formats.pictures.picture import (
    MOST_PIXELS,
    MOST_PIXELS_IN_MEMORY,
    Palette,
    Picture,
    require_bytes,
    require_page,
    require_size,
    truncated,
    unsupported,
)
from medshard.converters.formats.voxel_stream import read_voxels
from medshard.converters.spooling import Spool, is_spooled, release_pages

HEADERS = (12, 40, 52, 56, 64, 108, 124)
PLAIN, RLE8, RLE4, BITFIELDS, ALPHA_BITFIELDS = 0, 1, 2, 3, 6
# Bits a pixel -> the compressions that they may have.
COMPRESSIONS = {
    1: (PLAIN,),
    2: (PLAIN,),
    4: (PLAIN, RLE4),
    8: (PLAIN, RLE8),
    16: (PLAIN, BITFIELDS, ALPHA_BITFIELDS),
    24: (PLAIN,),
    32: (PLAIN, BITFIELDS, ALPHA_BITFIELDS),
}
PLAIN_MASKS = {16: (0x7C00, 0x3E0, 0x1F, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}
LARGEST_RATIO = 255
SLAB_BYTES = 8 << 20


@dataclass(frozen=True, kw_only=True)
class Start:
    """masks: of red, green, blue and alpha, 0 where there is none. down: whether the first row is on top."""

    y: int
    x: int
    bits: int
    compression: int
    offset: int
    down: bool
    masks: tuple[int, ...]
    palette: Array

    @property
    def row_bytes(self) -> int:
        return (self.x * self.bits + 31) // 32 * 4


def sniff(start: bytes) -> bool:
    return start.startswith(b"BM") and len(start) >= 18 and struct.unpack_from("<I", start, 14)[0] in HEADERS


def stated(path: Path, page: int | None) -> Picture:
    """What a BMP states. Raises CaseError[read.truncated | read.unreadable | read.unsupported | read.too_large]."""
    require_page(path, page, 1)
    start = _start(path)
    runs = start.compression in (RLE8, RLE4)
    require_size(path, start.y, start.x, most=MOST_PIXELS_IN_MEMORY if runs else MOST_PIXELS)
    held = path.stat().st_size - start.offset
    require_bytes(path, start.y * start.row_bytes, held, LARGEST_RATIO if runs else 1)
    by_palette = start.bits <= 8
    greys = by_palette and _is_grey(start)
    return Picture(
        kind="BMP",
        y=start.y,
        x=start.x,
        meaning="grey" if greys else "palette" if by_palette else "rgb",
        samples=1 if by_palette else 3,
        dtype=np.dtype(np.uint8),
        decode=lambda spool: _decode(path, start, spool),
        alpha=len(start.masks) == 4 and start.masks[3] != 0,
        palette=Palette(colours=start.palette) if by_palette and not greys else None,
        notes=tuple(_notes(path, start)),
        attributes={"BitsStored": 1} if greys and start.bits == 1 else {},
    )


def _start(path: Path) -> Start:
    with path.open("rb") as file:
        head = file.read(14 + max(HEADERS) + 16 + 1024)
    offset, size = struct.unpack_from("<II", head, 10)
    if len(head) < 14 + size:
        raise truncated(path, "the file ends within its header")
    if size == 12:
        x, y, _, bits = struct.unpack_from("<HHHH", head, 18)
        compression = used = 0
    else:
        x, y, _, bits, compression, _, _, _, used, _ = struct.unpack_from("<iiHHIIiiII", head, 18)
    if compression not in COMPRESSIONS.get(bits, ()):
        raise unsupported(path, "this kind of BMP is not read", bits=bits, compression=compression)
    masks = PLAIN_MASKS.get(bits, ())
    behind = 14 + size
    if compression in (BITFIELDS, ALPHA_BITFIELDS):
        count = 4 if size >= 56 or compression == ALPHA_BITFIELDS else 3
        masks = (*struct.unpack_from(f"<{count}I", head, 54), 0)[:4]
        behind = max(behind, 54 + 4 * count)
        _require_masks(path, masks, bits)
    return Start(
        y=abs(y),
        x=x,
        bits=bits,
        compression=compression,
        offset=offset,
        down=y < 0,
        masks=masks,
        palette=_palette(path, head[behind:offset], 3 if size == 12 else 4, bits, used),
    )


def _palette(path: Path, content: bytes, width: int, bits: int, used: int) -> Array:
    """(n, 3) red, green, blue; empty for pixels that are colours themselves."""
    if bits > 8:
        return np.empty((0, 3), np.uint8)
    count = min(2**bits, used or 2**bits, len(content) // width)
    if not count:
        raise bad_file("read.unreadable", path, "the palette is missing")
    return np.frombuffer(content[: count * width], np.uint8).reshape(count, width)[:, 2::-1].copy()


def _is_grey(start: Start) -> bool:
    """Whether the palette says no more than the index: 0 is black, and so on; of 1 bit, black and white."""
    count = len(start.palette)
    steps = np.array([0, 255]) if start.bits == 1 and count == 2 else np.arange(count)
    return bool((start.palette == steps[:, None]).all())


def _require_masks(path: Path, masks: tuple[int, ...], bits: int) -> None:
    for number, mask in enumerate(masks):
        field = mask >> _shift(mask)
        if (mask == 0 and number < 3) or mask >= 1 << bits or field & (field + 1) or field > 255:
            raise unsupported(path, "colours of these bits are not read", masks=", ".join(f"{one:#x}" for one in masks))


def _shift(mask: int) -> int:
    return (mask & -mask).bit_length() - 1 if mask else 0


def _decode(path: Path, start: Start, spool: Spool) -> Array:
    if start.compression in (RLE8, RLE4):
        with path.open("rb") as file:
            file.seek(start.offset)
            indices = unpacked_runs(path, file.read(), start.y, start.x, four_bits=start.compression == RLE4)
        return _upright(start, indices)[None, ..., None]
    shape = (start.y, start.row_bytes)
    rows = read_voxels(path, offset=start.offset, encoding="raw", shape=shape, dtype=np.uint8, spool=spool)
    if start.bits == 24:
        colours = rows[:, : 3 * start.x].reshape(start.y, start.x, 3)
        return _upright(start, colours)[None, ..., ::-1]
    if start.bits == 8:
        return _upright(start, rows[:, : start.x])[None, ..., None]
    samples = 1 if start.bits < 8 else 4 if start.masks[3] else 3
    pixels = spool.empty((start.y, start.x, samples), np.uint8)
    step = max(1, SLAB_BYTES // max(1, 4 * start.x))
    for first in range(0, start.y, step):
        part = rows[first : first + step]
        pixels[first : first + step] = _indices(start, part) if start.bits < 8 else _fields(start, part)
        if is_spooled(pixels):
            release_pages(rows)
            release_pages(pixels)
    return _upright(start, pixels)[None]


def _upright(start: Start, rows: Array) -> Array:
    return rows if start.down else rows[::-1]


def _indices(start: Start, rows: Array) -> Array:
    """(y, x, 1) of rows whose pixels are smaller than a byte."""
    parts: NDArray[Any] = np.asarray(rows)
    shifts = np.arange(8 - start.bits, -1, -start.bits, dtype=np.uint8)
    spread = (parts[..., None] >> shifts) & np.uint8(2**start.bits - 1)
    return spread.reshape(len(parts), -1)[:, : start.x, None].astype(np.uint8)


def _fields(start: Start, rows: Array) -> Array:
    """(y, x, 3 or 4) of rows whose pixels hold all colours in one number; fewer than 8 bits are stretched to 8."""
    numbers = np.ascontiguousarray(rows).view("<u2" if start.bits == 16 else "<u4")[:, : start.x].astype(np.uint32)
    samples = []
    for mask in start.masks[: 4 if start.masks[3] else 3]:
        most = mask >> _shift(mask)
        value = (numbers & mask) >> _shift(mask)
        samples.append(((value * 255 + most // 2) // most).astype(np.uint8))
    return np.stack(samples, axis=-1)


def _notes(path: Path, start: Start) -> Iterator[str]:
    if start.bits in (16, 32) and any(0 < mask >> _shift(mask) < 255 for mask in start.masks):
        yield f"{start.bits} bits a pixel: each colour is stretched to 8 bits"
    if start.bits == 32 and start.compression == PLAIN:
        # The structure calls the fourth byte unused; programs write alpha there all the same.
        shape = (start.y * start.x, 4)
        fourth: NDArray[Any] = np.memmap(path, np.uint8, mode="r", offset=start.offset, shape=shape)[:, 3]
        if fourth.min() != fourth.max():
            yield "alpha channel dropped: the fourth byte of the pixels varies, and the header does not say what it is"
