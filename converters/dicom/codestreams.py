"""Frames of compressed pixels, each by one named decoder, after a look at what the stream says of itself.

The decoders are C, C++ and Rust code that allocates what a stream states, so its size is compared with the header's
first. JPEG by libjpeg, JPEG-LS by CharLS (libjpeg's JPEG-LS takes four times as long and was seen to hang on a broken
stream), JPEG 2000 and HTJ2K by OpenJPEG, RLE by pylibjpeg-rle.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.uid
from jpeg_ls import decode_pixel_data as decode_ls
from libjpeg.utils import decode_pixel_data as decode_jpeg
from openjpeg.utils import decode_pixel_data as decode_2000
from pydicom.encaps import generate_frames
from rle.utils import decode_pixel_data as decode_rle

from medshard.converters.dicom.native_pixels import significant
from medshard.converters.dicom.pixel_layout import PixelLayout, pixel_error
from medshard.converters.dicom.values import name_of_uid
from medshard.converters.volume import Array
from medshard.errors import CaseError

JPEG = {
    pydicom.uid.JPEGBaseline8Bit,
    pydicom.uid.JPEGExtended12Bit,
    pydicom.uid.JPEGLossless,
    pydicom.uid.JPEGLosslessSV1,
}
JPEG_LS = {pydicom.uid.JPEGLSLossless, pydicom.uid.JPEGLSNearLossless}
JPEG_2000 = {
    pydicom.uid.JPEG2000Lossless,
    pydicom.uid.JPEG2000,
    pydicom.uid.HTJ2KLossless,
    pydicom.uid.HTJ2KLosslessRPCL,
    pydicom.uid.HTJ2K,
}
RLE = {pydicom.uid.RLELossless}
DEFLATED_FRAMES = {"1.2.840.10008.1.2.8.1"}
READ_SYNTAXES = JPEG | JPEG_LS | JPEG_2000 | RLE | DEFLATED_FRAMES

# A blank frame compresses without limit in JPEG-LS and JPEG 2000. Frames above this size must have a stream of at least
# a thousandth of it, so that some bytes cannot ask for gigabytes.
FREE_BYTES = 64 << 20
MOST_SHRUNK = 1000
TAIL_BYTES = 64


@dataclass(frozen=True, kw_only=True)
class Stream:
    """What a JPEG, JPEG-LS or JPEG 2000 stream says of itself.

    is_rgb: True where it says that its colours are RGB, False for YBR, None where it says nothing.
    complete: whether its end is there; the decoders fill what is missing without a word.
    tiles: of JPEG 2000.
    """

    rows: int
    columns: int
    components: int
    precision: int
    is_rgb: bool | None = None
    interleaved: bool = True
    complete: bool = True
    tiles: int = 1


def compressed_frames(
    dataset: Any, layout: PixelLayout, numbers: Sequence[int], file: Path | None = None
) -> Iterator[tuple[Array, bool]]:
    """Each wanted frame as (y, x, c), and whether its colours, where it has any, are RGB (else YBR).

    Raises CaseError[read.truncated | read.unsupported | read.unreadable], and what the decoders raise.
    """
    if layout.syntax not in READ_SYNTAXES:
        name = name_of_uid(layout.syntax)
        raise pixel_error("read.unsupported", dataset, file, "the transfer syntax is not read", {"found": name})
    data = dataset["PixelData"].value if "PixelData" in dataset else None
    if not isinstance(data, bytes | bytearray) or not dataset["PixelData"].is_undefined_length:
        raise pixel_error("read.unreadable", dataset, file, "the pixels are not in fragments as the syntax asks")
    if len(data) < 8 * layout.frames:
        raise _too_few(dataset, file, layout, f"{len(data)} bytes")
    wanted = sorted(set(numbers))
    decoded: dict[int, tuple[Array, bool]] | None = {} if list(numbers) != wanted else None
    for number, source in _streams(dataset, layout, data, wanted, file):
        frame = _decoded(dataset, layout, source, file)
        if decoded is None:
            yield frame
        else:
            decoded[number] = frame
    if decoded is not None:
        yield from (decoded[number] for number in numbers)


def _streams(
    dataset: Any, layout: PixelLayout, data: bytes | bytearray, wanted: list[int], file: Path | None
) -> Iterator[tuple[int, bytes]]:
    """The streams of the wanted frames, in order, none of the others decoded."""
    extended = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        extended = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    left = set(wanted)
    found = 0
    for number, source in enumerate(
        generate_frames(bytes(data), number_of_frames=layout.frames, extended_offsets=extended)
    ):
        found = number + 1
        if number in left:
            left.discard(number)
            yield number, source
        if not left:
            return
    raise _too_few(dataset, file, layout, f"{found} frames")


def _decoded(dataset: Any, layout: PixelLayout, source: bytes, file: Path | None) -> tuple[Array, bool]:
    if layout.syntax in RLE or layout.syntax in DEFLATED_FRAMES:
        least = 64 if layout.syntax in RLE else 1032  # The best that PackBits and Deflate can do.
        if layout.decoded_bytes > least * len(source) + least:
            raise pixel_error("read.truncated", dataset, file, "a compressed frame ends too early")
        frame = _run_lengths(layout, source) if layout.syntax in RLE else _inflated(layout, source)
        return frame, layout.photometric == "RGB"
    stream = _jpeg_2000(source) if layout.syntax in JPEG_2000 else _jpeg(source)
    if stream is None:
        raise pixel_error("read.unreadable", dataset, file, "a frame does not begin as a stream of its syntax")
    _require_match(dataset, layout, stream, len(source), file)
    words = _words(layout, source, stream)
    bits = layout.stored if layout.syntax in JPEG else stream.precision
    frame = significant(words, stored=min(bits, words.dtype.itemsize * 8), high=bits - 1, signed=layout.signed)
    shaped = frame.reshape(_shape(stream))
    if not stream.interleaved:
        shaped = np.moveaxis(shaped, 0, -1)
    rgb = stream.is_rgb
    if rgb is None:
        rgb = layout.photometric in ("RGB", "YBR_RCT", "YBR_ICT")
    return shaped.astype(layout.dtype, copy=False), rgb


def _require_match(dataset: Any, layout: PixelLayout, stream: Stream, size: int, file: Path | None) -> None:
    stated = (layout.rows, layout.columns, layout.samples)
    found = (stream.rows, stream.columns, stream.components)
    if stated != found:
        raise pixel_error(
            "read.unreadable",
            dataset,
            file,
            "a compressed frame is of another size than the header says",
            {"header (rows, columns, samples)": stated, "stream": found},
        )
    if not 1 <= stream.precision <= layout.allocated or not 1 <= stream.tiles <= 65535:
        raise pixel_error(
            "read.unreadable",
            dataset,
            file,
            "a compressed frame states an impossible depth or tiling",
            {"Bits Allocated": layout.allocated, "bits of the stream": stream.precision, "tiles": stream.tiles},
        )
    if not stream.complete or layout.decoded_bytes > max(FREE_BYTES, MOST_SHRUNK * size):
        raise pixel_error("read.truncated", dataset, file, "a compressed frame ends too early")


def _words(layout: PixelLayout, source: bytes, stream: Stream) -> Array:
    """The decoder's output as unsigned words, flat."""
    if layout.syntax in JPEG_2000:
        data, width = decode_2000(source, version=2), {1: 1, 2: 2}.get(-(-stream.precision // 8), 4)
    elif layout.syntax in JPEG_LS:
        data, width = decode_ls(source)[0], -(-stream.precision // 8)
    else:
        data, width = decode_jpeg(source, version=2), -(-stream.precision // 8)
    if len(data) != layout.frame_samples * width:
        raise ValueError(f"the decoder returned {len(data)} bytes, expected {layout.frame_samples * width}")
    return np.frombuffer(data, f"<u{width}")


def _run_lengths(layout: PixelLayout, source: bytes) -> Array:
    data = decode_rle(source, version=2, rows=layout.rows, columns=layout.columns, bits_allocated=layout.allocated)
    words = np.frombuffer(data, f"<u{max(8, layout.allocated) // 8}")
    planes = words.reshape(layout.samples, layout.rows, layout.columns)
    kept = significant(planes, stored=layout.stored, high=layout.high, signed=layout.signed)
    return np.moveaxis(kept, 0, -1)


def _inflated(layout: PixelLayout, source: bytes) -> Array:
    """A frame compressed by Deflate alone (DICOM PS3.5 annex A.4.13); one bit a sample is packed, frame by frame."""
    size = -(-layout.frame_samples * layout.allocated // 8)
    data = zlib.decompressobj(-15).decompress(source, size)
    if layout.allocated == 1:
        samples = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[: layout.frame_samples]
        return samples.reshape(layout.rows, layout.columns, layout.samples)
    words = np.frombuffer(data, f"<u{layout.allocated // 8}")
    kept = significant(words, stored=layout.stored, high=layout.high, signed=layout.signed)
    if layout.planar and layout.samples > 1:
        return np.moveaxis(kept.reshape(layout.samples, layout.rows, layout.columns), 0, -1)
    return kept.reshape(layout.rows, layout.columns, layout.samples)


def _shape(stream: Stream) -> tuple[int, int, int]:
    if stream.interleaved:
        return stream.rows, stream.columns, stream.components
    return stream.components, stream.rows, stream.columns


def _jpeg(source: bytes) -> Stream | None:
    """Frame header of a JPEG or JPEG-LS stream (ITU-T T.81 B.2.2, T.87 C.1); None where there is none."""
    if source[:2] != b"\xff\xd8":
        return None
    at, adobe, jfif = 2, None, False
    frame: bytes | None = None
    kind, interleaved = 0, True
    while at + 4 <= len(source) and source[at] == 0xFF:
        marker = source[at + 1]
        if marker == 0xFF or 0xD0 <= marker <= 0xD7 or marker == 0x01:
            at += 1 if marker == 0xFF else 2
            continue
        body = source[at + 4 : at + 2 + int.from_bytes(source[at + 2 : at + 4], "big")]
        if marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12:
            adobe = body[11]
        elif marker == 0xE0 and body[:4] == b"JFIF":
            jfif = True
        elif (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            frame, kind = body, marker
        elif marker == 0xDA:
            interleaved = not (kind == 0xF7 and len(body) >= 3 and body[-2] == 0)
            break
        at += 2 + int.from_bytes(source[at + 2 : at + 4], "big")
    if frame is None or len(frame) < 6 or len(frame) < 6 + 3 * frame[5]:
        return None
    ids = bytes(frame[6 : 6 + 3 * frame[5] : 3])
    return Stream(
        rows=int.from_bytes(frame[1:3], "big"),
        columns=int.from_bytes(frame[3:5], "big"),
        components=frame[5],
        precision=frame[0],
        # JFIF is about DCT; some lossless encoders write its marker without meaning it.
        is_rgb=_says_rgb(ids, adobe, jfif and kind in (0xC0, 0xC1, 0xC2)),
        interleaved=interleaved or frame[5] == 1,
        # Behind the end may stand padding, within the coded numbers no such marker.
        complete=b"\xff\xd9" in source[-TAIL_BYTES:],
    )


def _says_rgb(ids: bytes, adobe: int | None, jfif: bool) -> bool | None:
    """What the markers of a JPEG stream say of its colours: names of components, Adobe's transform, JFIF."""
    if ids in (b"RGB", b"rgb"):
        return True
    if adobe is not None:
        return adobe == 0
    return False if jfif else None


def _jpeg_2000(source: bytes) -> Stream | None:
    """SIZ and COD of a JPEG 2000 code stream, bare or in a JP2 box (ITU-T T.800 A.5.1, A.6.1); None without them."""
    start = source[: 1 << 16].find(b"\xff\x4f\xff\x51")
    siz = source[start + 4 : start + 4 + 2 + 36 + 3]
    if start < 0 or len(siz) < 41:
        return None
    right, bottom, left, top, tile_x, tile_y, tile_left, tile_top = (
        int.from_bytes(siz[4 + 4 * place : 8 + 4 * place], "big") for place in range(8)
    )
    components = int.from_bytes(siz[36:38], "big")
    parts = source[start + 4 + 38 : start + 4 + 38 + 3 * components]
    sampled = any(parts[place] != 1 for place in range(1, len(parts)) if place % 3)
    if not (tile_x and tile_y) or len(parts) < 3 * components or sampled or tile_left > right or tile_top > bottom:
        return None
    depths = {(part & 0x7F) + 1 for part in parts[::3]}
    if len(depths) != 1:
        return None
    mixed = _uses_colour_transform(source, start + 4 + int.from_bytes(siz[:2], "big"))
    return Stream(
        rows=bottom - top,
        columns=right - left,
        components=components,
        precision=depths.pop(),
        is_rgb=True if mixed else None,
        complete=_has_all_tile_parts(source, start + 4 + int.from_bytes(siz[:2], "big")),
        tiles=-(-(right - tile_left) // tile_x) * -(-(bottom - tile_top) // tile_y),
    )


def _uses_colour_transform(source: bytes, at: int) -> bool:
    """Whether the code stream transforms the colours itself, so that the decoder gives back RGB."""
    while at + 4 <= len(source) and source[at] == 0xFF and source[at + 1] not in (0x90, 0x93, 0xD9):
        if source[at + 1] == 0x52:
            return source[at + 8 : at + 9] == b"\x01"
        at += 2 + int.from_bytes(source[at + 2 : at + 4], "big")
    return False


def _has_all_tile_parts(source: bytes, at: int) -> bool:
    """Whether the tile-parts have the lengths that they state (ITU-T T.800 A.4.2)."""
    while at + 12 <= len(source) and source[at] == 0xFF and source[at + 1] != 0xD9:
        if source[at + 1] == 0x90:
            length = int.from_bytes(source[at + 6 : at + 10], "big")
            if length == 0:  # Up to the end of the stream.
                return b"\xff\xd9" in source[-TAIL_BYTES:]
            at += max(14, length)
        else:
            at += 2 + int.from_bytes(source[at + 2 : at + 4], "big")
    return at <= len(source)


def _too_few(dataset: Any, file: Path | None, layout: PixelLayout, found: str) -> CaseError:
    return pixel_error(
        "read.truncated",
        dataset,
        file,
        "the file holds fewer frames than its header says",
        {"frames": layout.frames, "found": found},
    )
