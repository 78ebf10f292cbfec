"""Video files by their first bytes, and what of a file's length its container states.

Sources: ISO/IEC 14496-12 (boxes), RFC 8794 (EBML), Microsoft's RIFF and ASF specifications, ISO/IEC 13818-1 (MPEG-2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import first_bytes

Container = Literal["mov", "matroska", "avi", "asf", "mpeg", "mpegts", "gif"]
"""What FFmpeg calls the reader of the container; nothing else is tried on a file."""

_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"uuid"}
_STILL_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis", b"jxl ", b"jp2 ", b"crx "}
_NESTED_BOXES = {b"moov", b"trak", b"mdia", b"minf", b"stbl"}
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
_SIGNATURES: tuple[tuple[bytes, Container], ...] = (
    (_EBML, "matroska"),
    (_ASF_HEADER, "asf"),
    (b"\x00\x00\x01\xba", "mpeg"),
)
_MOST_BOXES = 100_000


def container_of(path: Path) -> Container | None:
    """The container of a video file by its first bytes, None of anything else (a still GIF is a picture)."""
    start = first_bytes(path, 577)
    if start[4:8] in _FIRST_BOXES:
        return None if start[4:8] == b"ftyp" and start[8:12] in _STILL_BRANDS else "mov"
    if start[:4] == b"RIFF":
        return "avi" if start[8:12] == b"AVI " else None
    if start[:6] in {b"GIF87a", b"GIF89a"}:
        return "gif" if _gif_moves(path) else None
    named = next((container for signature, container in _SIGNATURES if start.startswith(signature)), None)
    return named or ("mpegts" if _is_transport_stream(start) else None)


def _is_transport_stream(start: bytes) -> bool:
    """Packets of 188 bytes, or of 192 with a time before each, all begin with the same byte."""
    return any(
        len(start) > offset + 2 * size and {start[offset + n * size] for n in range(3)} == {0x47}
        for size, offset in ((188, 0), (192, 4))
    )


def missing_bytes(path: Path, container: Container) -> int:
    """How many bytes a file is shorter than its container states; 0 where it states no length (MPEG, GIF).

    Raises CaseError[read.unreadable] where it states more samples than the file could hold.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        stated = _stated_length(stream, container, size, path)
    return max((stated or 0) - size, 0)


def _stated_length(stream: BinaryIO, container: Container, size: int, path: Path) -> int | None:
    """Where the container says that the file ends, in bytes."""
    if container == "mov":
        return _check_boxes(stream, path, 0, size)
    if container == "matroska":
        return _segment_end(stream)
    if container == "avi":
        return _riff_end(stream, size)
    if container == "asf":
        return _asf_size(stream)
    return None


def _check_boxes(stream: BinaryIO, path: Path, start: int, end: int) -> int:
    """The end of the last box in a stretch of a file; counts of samples are checked on the way."""
    last = start
    for kind, content, box_end in _boxes(stream, start, end):
        last = max(last, box_end)
        if kind in _NESTED_BOXES and box_end <= end:
            _check_boxes(stream, path, content, box_end)
        if kind == b"stsz":
            _check_sample_sizes(stream, path, content, min(box_end, end))
    return last


def _boxes(stream: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, offset of the content, end) of each box; the last may end behind the stretch."""
    for _ in range(_MOST_BOXES):
        stream.seek(start)
        head = stream.read(16)
        if start + 8 > end or len(head) < 8:
            return
        length, kind, content = int.from_bytes(head[:4], "big"), head[4:8], start + 8
        if length == 1:
            length, content = int.from_bytes(head[8:16], "big"), start + 16
        if length == 0:
            length = end - start
        if length < content - start or not kind.replace(b"\xa9", b"c").replace(b" ", b"s").isalnum():
            return  # not a box: bytes that somebody added behind the last one
        yield kind, content, start + length
        start += length


def _check_sample_sizes(stream: BinaryIO, path: Path, content: int, end: int) -> None:
    """A table of sample sizes that claims more than the file holds would make the reader allocate for it."""
    stream.seek(content)
    head = stream.read(12)
    if len(head) < 12:
        return
    each, count = struct.unpack(">4xII", head)
    possible = path.stat().st_size // each if each else max(end - content - 12, 0) // 4
    if count > possible:
        raise bad_file(
            "read.unreadable",
            path,
            "the header of the video states more samples than the file can hold",
            details={"expected": f"at most {possible} samples", "found": count},
        )


def _segment_end(stream: BinaryIO) -> int | None:
    """Of Matroska, where the segment ends; None where it was written without a length."""
    stream.seek(4)
    header = _vint(stream)
    if header is None:
        return None
    stream.seek(header, 1)
    if stream.read(4) != _SEGMENT:
        return None
    length = _vint(stream)
    return None if length is None else stream.tell() + length


def _vint(stream: BinaryIO) -> int | None:
    """A number of variable length of EBML; None for the one that stands for an unknown length."""
    first = stream.read(1)
    if not first or not first[0]:
        return None
    width = 9 - first[0].bit_length()
    rest = stream.read(width - 1)
    value = int.from_bytes(bytes([first[0] & (0xFF >> width)]) + rest, "big")
    return None if value == (1 << 7 * width) - 1 else value


def _riff_end(stream: BinaryIO, size: int) -> int | None:
    """Of AVI, where the last RIFF part ends; None where the writer never filled in a length."""
    end = 0
    for _ in range(_MOST_BOXES):
        stream.seek(end)
        head = stream.read(8)
        if len(head) < 8 or head[:4] != b"RIFF":
            break
        length = int.from_bytes(head[4:], "little")
        if length in {0, 0xFFFFFFFF}:
            return None
        end += 8 + length
        if end >= size:
            break
    # A last part of odd length is padded by a byte that some writers leave out.
    return max(end - 1, 0) if end == size + 1 else end


def _asf_size(stream: BinaryIO) -> int | None:
    """Of ASF, the size in the file properties; None of a broadcast, which states none."""
    stream.seek(24)
    count = int.from_bytes(stream.read(4), "little")
    stream.seek(30)
    for _ in range(min(count, 1000)):
        head = stream.read(24)
        length = int.from_bytes(head[16:], "little")
        if len(head) < 24 or length < 24:
            return None
        if head[:16] == _ASF_FILE_PROPERTIES:
            fields = stream.read(72)
            broadcast = len(fields) < 68 or fields[64] & 1
            return None if broadcast else int.from_bytes(fields[16:24], "little")
        stream.seek(length - 24, 1)
    return None


def _gif_moves(path: Path) -> bool:
    from PIL import Image as Picture  # noqa: PLC0415
    from PIL import UnidentifiedImageError  # noqa: PLC0415

    try:
        with Picture.open(path, formats=["GIF"]) as picture:
            return bool(getattr(picture, "is_animated", False))
    except (UnidentifiedImageError, OSError, EOFError, ValueError, SyntaxError):
        return False
