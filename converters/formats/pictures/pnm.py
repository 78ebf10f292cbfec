"""Netpbm: PBM, PGM, PPM (P1 to P6) and PAM (P7). Ours: others stretch the values to 255 or 65535; here they stay.

In PBM 1 is black; it is turned, so that 0 is black as everywhere else, and that is said.
Source: the manual pages pbm(5), pgm(5), ppm(5), pam(5).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from medshard.converters.array_types import Array, AttributeValue
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.pictures.picture import (
    Picture,
    require_page,
    require_size,
    several_images,
    truncated,
    unsupported,
)
from medshard.converters.formats.voxel_stream import read_voxels
from medshard.converters.spooling import Spool

MAGIC = re.compile(rb"P[1-6](?:\s+[\d#]|#)|P7\n")
LONGEST_HEADER = 1 << 16
TEXT_BLOCK = 1 << 20
COMMENT = re.compile(rb"#[^\n\r]*")
PAM_LINE = re.compile(rb"(WIDTH|HEIGHT|DEPTH|MAXVAL|TUPLTYPE)\s+(\S+)")


@dataclass(frozen=True, kw_only=True)
class Start:
    """kind: the digit behind the P. most: the largest value that a sample may have. offset: of the pixels."""

    kind: int
    y: int
    x: int
    samples: int
    alpha: bool
    most: int
    offset: int


def sniff(start: bytes) -> bool:
    return MAGIC.match(start) is not None


def stated(path: Path, page: int | None) -> Picture:
    """What a Netpbm file states. Raises CaseError[read.truncated | read.unreadable | read.unsupported |
    read.too_large | read.several_images]."""
    require_page(path, page, 1)
    with path.open("rb") as file:
        start = _start(path, file.read(LONGEST_HEADER))
    require_size(path, start.y, start.x)
    if not 1 <= start.most <= 65535:
        raise bad_file("read.unreadable", path, "the largest value is none", details={"found": start.most})
    _require_content(path, start)
    bilevel = start.kind in (1, 4)
    attributes: dict[str, AttributeValue] = {}
    if not bilevel and start.most not in (255, 65535):
        attributes["LargestPossibleValue"] = start.most
    elif bilevel:
        attributes["BitsStored"] = 1
    return Picture(
        kind="Netpbm",
        y=start.y,
        x=start.x,
        meaning={1: "grey", 3: "rgb"}[start.samples],  # type: ignore[arg-type]
        samples=start.samples,
        dtype=np.dtype(np.uint8 if start.most < 256 else np.uint16),
        decode=lambda spool: _decode(path, start, spool),
        alpha=start.alpha,
        inverted_by=1 if bilevel else None,
        notes=(f"the file states {start.most} as its largest value: the numbers stay as they are stored",)
        if "LargestPossibleValue" in attributes
        else (),
        attributes=attributes,
    )


def _start(path: Path, head: bytes) -> Start:
    if head.startswith(b"P7"):
        return _start_of_pam(path, head)
    kind = int(head[1:2])
    wanted = 2 if kind in (1, 4) else 3
    numbers: list[int] = []
    place = 2
    while len(numbers) < wanted:
        found = re.compile(rb"(?:\s|#[^\n\r]*[\n\r])*(\d{1,9})(?=[\s#]|$)").match(head, place)
        if found is None or (found.end() == len(head) and kind not in (1, 2, 3)):
            raise bad_file("read.unreadable", path, "the header of the picture is broken, or ends too early")
        numbers.append(int(found.group(1)))
        place = found.end()
    x, y, most = (*numbers, 1)[:3]
    # One whitespace, and before it perhaps a comment, stands between the header and the pixels.
    comment = COMMENT.match(head, place)
    place = (comment.end() if comment else place) + 1
    return Start(kind=kind, y=y, x=x, samples=3 if kind in (3, 6) else 1, alpha=False, most=most, offset=place)


def _start_of_pam(path: Path, head: bytes) -> Start:
    end = head.find(b"ENDHDR\n")
    if end < 0:
        raise bad_file("read.unreadable", path, "the header of the picture is broken, or ends too early")
    lines = COMMENT.sub(b"", head[:end])
    words = {name.decode(): value.decode("latin-1") for name, value in PAM_LINE.findall(lines)}
    numbers = [words.get(name, "") for name in ("HEIGHT", "WIDTH", "DEPTH", "MAXVAL")]
    if not all(word.isascii() and word.isdigit() and len(word) < 10 for word in numbers):
        raise bad_file("read.unreadable", path, "the header of the picture is broken")
    y, x, depth, most = map(int, numbers)
    alpha = words.get("TUPLTYPE", "").endswith("_ALPHA")
    if depth - alpha not in (1, 3):
        raise unsupported(path, "the picture has neither one nor three samples a pixel", depth=depth)
    return Start(kind=7, y=y, x=x, samples=depth - alpha, alpha=alpha, most=most, offset=end + 7)


def _row_bytes(start: Start) -> int:
    if start.kind == 4:
        return (start.x + 7) // 8
    return start.x * (start.samples + start.alpha) * (1 if start.most < 256 else 2)


def _require_content(path: Path, start: Start) -> None:
    """Raises CaseError[read.truncated | read.several_images]; a sample of text takes at least a character."""
    held = path.stat().st_size - start.offset
    text = start.kind in (1, 2, 3)
    expected = start.y * (start.x * start.samples if text else _row_bytes(start))
    if held < expected:
        raise truncated(path, "the file holds fewer pixels than its header promises")
    if not text and held > expected:
        with path.open("rb") as file:
            file.seek(start.offset + expected)
            if MAGIC.match(file.read(16)):
                raise several_images(path, 2, "the file holds several pictures one after the other")


def _decode(path: Path, start: Start, spool: Spool) -> Array:
    shape = (1, start.y, start.x, start.samples + start.alpha)
    if start.kind in (1, 2, 3):
        pixels = _numbers(path, start, spool).reshape(shape)
    elif start.kind == 4:
        packed = read_voxels(
            path, offset=start.offset, encoding="raw", shape=(start.y, _row_bytes(start)), dtype=np.uint8, spool=spool
        )
        pixels = spool.empty(shape, np.uint8)
        for row in range(start.y):
            pixels[0, row, :, 0] = np.unpackbits(packed[row], count=start.x)
    else:
        dtype = np.dtype(np.uint8 if start.most < 256 else ">u2")
        pixels = read_voxels(path, offset=start.offset, encoding="raw", shape=shape, dtype=dtype, spool=spool)
    # Row by row, since a picture may lie in a file.
    if any(int(row.max()) > start.most for row in pixels[0]):
        raise bad_file("read.unreadable", path, "a value is larger than the largest that the file states")
    return pixels


def _numbers(path: Path, start: Start, spool: Spool) -> Array:
    """The samples of a text picture, block by block; those of PBM need no blank between them."""
    count = math.prod((start.y, start.x, start.samples))
    result = spool.empty((count,), np.uint8 if start.most < 256 else np.uint16)
    done = 0
    with path.open("rb") as file:
        file.seek(start.offset - 1)
        for words in _words(file, one_digit=start.kind == 1):
            part = words[: count - done]
            if not all(word.isdigit() and len(word) < 10 for word in part):
                raise bad_file("read.unreadable", path, "a value is no number")
            values = np.array(part, dtype=np.int64) if part else np.empty(0, np.int64)
            if len(values) and int(values.max()) > start.most:
                raise bad_file("read.unreadable", path, "a value is larger than the largest that the file states")
            result[done : done + len(values)] = values
            done += len(values)
            if done == count:
                return result
    raise truncated(path, "the file holds fewer pixels than its header promises")


def _words(file: IO[bytes], *, one_digit: bool) -> Iterator[list[bytes]]:
    """The words of a text in blocks, without comments; a word or a comment may span two reads.

    one_digit: every digit is a word.
    """
    rest = b""
    while True:
        block = file.read(TEXT_BLOCK)
        text = rest + block
        # Where a comment may be open the text is cut behind a line, else behind a blank.
        blank = text.rfind(b"\n") if b"#" in text else max(text.rfind(b"\n"), text.rfind(b" "))
        cut = blank + 1 if block and not (one_digit and b"#" not in text) else len(text)
        if not cut and len(text) > 2 * TEXT_BLOCK:
            message = "a value or a comment of the text has no end"
            raise ValueError(message)
        text, rest = text[:cut], text[cut:]
        words = COMMENT.sub(b"", text).split()
        yield [bytes([digit]) for word in words for digit in word] if one_digit else words
        if not block:
            return
