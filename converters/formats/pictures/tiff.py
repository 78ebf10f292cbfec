"""TIFF and BigTIFF. The structure is read by tifffile, segment after segment by imagecodecs.

tifffile fills a strip or tile that is missing with zeros, and libjpeg one that is cut with grey; so each segment is
looked up in the file first. Source: TIFF 6.0, sections 3 to 6, 8, 15 and 22, and Technical Note 2 (JPEG).
"""

from __future__ import annotations

import logging
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from medshard.converters.array_types import Array, AttributeValue
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.pictures.picture import (
    MOST_PIXELS,
    Meaning,
    Palette,
    Picture,
    require_bytes,
    require_size,
    tifffile,
    too_large,
    truncated,
    unsupported,
)
from medshard.converters.formats.pictures.tiff_pages import Chosen, chosen
from medshard.converters.formats.voxel_stream import read_voxels
from medshard.converters.spooling import Spool, release_pages

MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
NO_COMPRESSION, LZW, JPEG, DEFLATE, PACKBITS = 1, 5, 7, (8, 32946), 32773
# What one byte of a segment can become at most, by method; methods that are not named know no bound of use.
LARGEST_RATIO = {NO_COMPRESSION: 1, PACKBITS: 64, LZW: 4096, **dict.fromkeys(DEFLATE, 1032)}
UNKNOWN_RATIO = 1 << 16
SMALL_SEGMENT = 1 << 16
RELEASE_BYTES = 64 << 20
MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, SEPARATED, YCBCR = 0, 1, 2, 3, 5, 6
MEANINGS: dict[int, tuple[Meaning, int]] = {
    MIN_IS_WHITE: ("grey", 1),
    MIN_IS_BLACK: ("grey", 1),
    RGB: ("rgb", 3),
    PALETTE: ("palette", 1),
    4: ("grey", 1),
    SEPARATED: ("cmyk", 4),
    YCBCR: ("rgb", 3),
}
PREMULTIPLIED, STRAIGHT = 1, 2
DISPLAY_PALETTE_NOTE = "the palette says how a channel is shown: left out, the stored values are kept"
ORIENTATION, ICC_PROFILE, INK_SET = 274, 34675, 332


def sniff(start: bytes) -> bool:
    return start.startswith(MAGIC)


def stated(path: Path, page: int | None) -> Picture:
    """What a TIFF states. Raises CaseError[read.truncated | read.unreadable | read.unsupported | read.too_large |
    read.several_images | read.no_such_page], MissingExtraError without tifffile."""
    with _opened(path) as tiff:
        found = chosen(path, tiff, page)
        first = found.pages[0].keyframe
        _require_readable(path, first)
        count = math.prod(length for _, length in found.planes)
        require_size(path, first.imagelength, first.imagewidth)
        if first.imagelength * first.imagewidth * first.samplesperpixel * count > 4 * MOST_PIXELS:
            raise too_large(path, {"found": f"{count} x {first.imagewidth} x {first.imagelength}"})
        if found.contiguous is None:
            for one in found.pages:
                _require_segments(path, one)
        meaning, samples, alpha, notes = _meaning(path, first)
        if meaning == "palette" and found.display_palette:
            meaning, notes = "grey", (*notes, DISPLAY_PALETTE_NOTE)
        return Picture(
            kind="TIFF",
            y=first.imagelength,
            x=first.imagewidth,
            meaning=meaning,
            samples=samples,
            dtype=_dtype(first),
            decode=lambda spool: _decode(path, page, spool),
            alpha=alpha,
            palette=_palette(path, first) if meaning == "palette" else None,
            inverted_by=_white(path, first),
            orientation=_orientation(first),
            planes=found.planes,
            spacing_mm=found.spacing_mm,
            notes=(*found.notes, *notes),
            attributes=_attributes(first),
        )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """tifffile's log stays silent meanwhile: it would quote tags, and what it only logs is checked here."""
    log = logging.getLogger("tifffile")
    before, log.disabled = log.disabled, True
    try:
        # Other files that OME metadata name are not looked for: a case is made of the files of its layout.
        with tifffile().TiffFile(path, _multifile=False) as tiff:
            yield tiff
    finally:
        log.disabled = before


def _require_readable(path: Path, page: Any) -> None:
    if page.dtype is None or page.dtype.kind == "c":
        raise unsupported(path, "samples of this kind are not read", bits=page.bitspersample)
    if page.imagedepth != 1 or int(page.photometric) not in MEANINGS:
        raise unsupported(path, "this kind of TIFF is not read", photometric=int(page.photometric))
    if int(page.photometric) in (SEPARATED, PALETTE) and page.dtype.kind not in "ub":
        raise unsupported(path, "inks or indices that are signed or real are not read", found=page.dtype)
    if int(page.photometric) == YCBCR and int(page.compression) not in (6, JPEG, 33007, 34892):
        raise unsupported(path, "YCbCr is read within JPEG only", compression=int(page.compression))
    if int(page.photometric) == SEPARATED and page.tags.valueof(INK_SET, 1) != 1:
        raise unsupported(path, "inks other than CMYK are not read")


def _meaning(path: Path, page: Any) -> tuple[Meaning, int, bool, tuple[str, ...]]:
    """What the samples are, how many belong to the picture itself, whether alpha follows, and what has to be said."""
    meaning, own = MEANINGS[int(page.photometric)]
    extra = tuple(int(kind) for kind in page.extrasamples)
    total = page.samplesperpixel
    if total < own or (meaning == "palette" and page.colormap is None):
        raise bad_file("read.unreadable", path, "the page has too few samples, or no palette")
    if total == own:
        return meaning, own, False, ()
    if total == own + 1 and extra[-1:] in ((PREMULTIPLIED,), (STRAIGHT,)):
        notes = ("the colours are stored multiplied by alpha",) if extra[-1] == PREMULTIPLIED else ()
        return meaning, own, True, notes
    if meaning in ("palette", "cmyk"):
        raise unsupported(path, "further samples beside a palette or CMYK are not read", samples=total)
    note = f"{total} samples a pixel, whose further ones the file does not explain: all are kept as channels"
    return "channels", total, False, (note,)


def _dtype(page: Any) -> np.dtype[Any]:
    return np.dtype(np.uint8) if page.dtype.kind == "b" else np.dtype(page.dtype).newbyteorder("=")


def _white(path: Path, page: Any) -> int | None:
    """What the value of a picture is taken from, where 0 is white."""
    if int(page.photometric) != MIN_IS_WHITE:
        return None
    if page.dtype.kind not in "ub":
        raise unsupported(path, "0 is white, in samples that are signed or real", found=page.dtype)
    return int(2**page.bitspersample - 1)


def _orientation(page: Any) -> int:
    value = page.tags.valueof(ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _palette(path: Path, page: Any) -> Palette:
    """Colours have 16 bits in TIFF; what was made from 8 bits, in one of the two usual ways, is 8 bits again."""
    colours = np.asarray(page.colormap, np.uint16)
    if colours.ndim != 2 or colours.shape[0] != 3:
        raise bad_file("read.unreadable", path, "the palette is broken", details={"found": colours.shape})
    table = np.ascontiguousarray(colours.T)
    for factor in (257, 256):
        if not (table % factor).any():
            return Palette(colours=(table // factor).astype(np.uint8))
    return Palette(colours=table)


def _attributes(page: Any) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {}
    bits = page.bitspersample
    if (isinstance(bits, int) and bits != 8 * page.dtype.itemsize) or page.dtype.kind == "b":
        found["BitsStored"] = int(bits)
    if ICC_PROFILE in page.tags:
        found["ICCProfile"] = True
    return found


def _require_segments(path: Path, page: Any) -> None:
    """Raises CaseError unless every strip or tile of a page lies in the file and can be what it must."""
    frame = page.keyframe
    size = path.stat().st_size
    offsets, counts = page.dataoffsets, page.databytecounts
    expected = _segment_count(frame)
    if len(offsets) != expected or len(counts) != expected:
        details: dict[str, object] = {"expected": f"{expected} strips or tiles", "found": len(offsets)}
        raise bad_file("read.unreadable", path, "the page does not list all of its parts", details=details)
    if any(offset <= 0 or count <= 0 for offset, count in zip(offsets, counts, strict=True)):
        raise bad_file("read.unreadable", path, "a part of the page is not stored in the file")
    if any(offset + count > size for offset, count in zip(offsets, counts, strict=True)):
        raise truncated(path, "the file ends before the last part of the page")
    bits = frame.bitspersample if isinstance(frame.bitspersample, int) else max(frame.bitspersample)
    held = frame.imagelength * frame.imagewidth * frame.samplesperpixel * bits // 8
    require_bytes(path, held, sum(counts), LARGEST_RATIO.get(int(frame.compression), UNKNOWN_RATIO))
    most = 2 * _segment_bytes(frame) + SMALL_SEGMENT
    if max(counts) > most:
        details = {"expected": f"at most {most} bytes", "found": max(counts)}
        raise bad_file("read.unreadable", path, "a part of the page is larger than its pixels", details=details)


def _segment_count(page: Any) -> int:
    planes = page.samplesperpixel if int(page.planarconfig) == 2 else 1
    if page.is_tiled:
        across, down = math.ceil(page.imagewidth / page.tilewidth), math.ceil(page.imagelength / page.tilelength)
        return int(planes * across * down)
    return int(planes * math.ceil(page.imagelength / max(1, page.rowsperstrip)))


def _segment_bytes(page: Any) -> int:
    """Decoded bytes of the largest strip or tile."""
    rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    samples = page.samplesperpixel if int(page.planarconfig) == 1 else 1
    return int(min(rows, max(page.imagelength, page.tilelength or 0)) * columns * samples * page.dtype.itemsize)


def _decode(path: Path, page: int | None, spool: Spool) -> Array:
    with _opened(path) as tiff, path.open("rb") as file:
        found = chosen(path, tiff, page)
        first = found.pages[0].keyframe
        if found.contiguous is not None:
            return _contiguous(path, found, first, spool)
        separate, _, y, x, contiguous = first.shaped
        pixels = spool.empty((len(found.pages), separate, y, x, contiguous), _dtype(first))
        for number, one in enumerate(found.pages):
            _decode_page(path, file, one, pixels[number])
            release_pages(pixels)
    if separate > 1:
        return pixels.transpose(0, 4, 2, 3, 1)[:, 0]
    return pixels[:, 0]


def _decode_page(path: Path, file: IO[bytes], page: Any, target: Array) -> None:
    """Fill (separate samples, y, x, samples) with a page, segment after segment."""
    frame, done = page.keyframe, 0
    for index, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        file.seek(offset)
        content = file.read(count)
        if int(frame.compression) == JPEG and not content.rstrip(b"\0").endswith(b"\xff\xd9"):
            raise truncated(path, "a JPEG within the page ends too early")
        if int(frame.compression) in DEFLATE and count > SMALL_SEGMENT:
            _refuse_bomb(path, content, _segment_bytes(frame))
        options = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if _is_jpeg(frame) else {}
        decoded, place, shape = frame.decode(content, index, **options)
        if decoded is None:
            raise truncated(path, "a part of the page is missing")
        done += decoded.nbytes
        if done > RELEASE_BYTES:
            release_pages(target)
            done = 0
        sample, _, top, left, _ = place
        rows, columns = min(shape[1], target.shape[1] - top), min(shape[2], target.shape[2] - left)
        target[sample, top : top + rows, left : left + columns] = decoded[0, :rows, :columns]


def _is_jpeg(page: Any) -> bool:
    return int(page.compression) in (6, JPEG, 33007, 34892)


def _refuse_bomb(path: Path, content: bytes, most: int) -> None:
    """A segment may say more than its tile holds; it is measured before it is decoded at once."""
    inflater = zlib.decompressobj()
    inflater.decompress(content, 2 * most + SMALL_SEGMENT)
    if inflater.unconsumed_tail:
        raise bad_file("read.unreadable", path, "a part of the page grows beyond its pixels")


def _contiguous(path: Path, found: Chosen, page: Any, spool: Spool) -> Array:
    if int(page.compression) != NO_COMPRESSION or int(page.planarconfig) != 1 or page.bitspersample % 8:
        raise unsupported(path, "a stack with one page for all pictures is read uncompressed only")
    count = math.prod(length for _, length in found.planes)
    shape = (count, page.imagelength, page.imagewidth, page.samplesperpixel)
    dtype = page.dtype.newbyteorder(page.parent.byteorder)
    return read_voxels(path, offset=found.contiguous or 0, encoding="raw", shape=shape, dtype=dtype, spool=spool)
