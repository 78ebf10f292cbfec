"""What the compressed stream of one tile says of its size: decoders allocate what it states, whatever the slide says.

Sources: ITU-T T.81, B.2.2 (frame header of JPEG); T.87, C.2.2 (of JPEG-LS); T.800, A.5.1 (SIZ of JPEG 2000).
"""

from __future__ import annotations

import struct

NO_LENGTH = (0x01, *range(0xD0, 0xD9))
# Those of JPEG, and the one of JPEG-LS.
FRAME_HEADERS = (frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}) | {0xF7}
START_OF_IMAGE = b"\xff\xd8"
END_OF_IMAGE = b"\xff\xd9"
TAIL = 64


def jpeg_shape(stream: bytes) -> tuple[int, int] | None:
    """(y, x) of the first frame header; None where there is none."""
    at = 2
    while at + 9 <= len(stream):
        if stream[at] != 0xFF:
            return None
        kind = stream[at + 1]
        if kind == 0xFF:
            at += 1
        elif kind in NO_LENGTH:
            at += 2
        elif kind in FRAME_HEADERS:
            y, x = struct.unpack_from(">HH", stream, at + 5)
            return y, x
        else:
            at += 2 + int(struct.unpack_from(">H", stream, at + 2)[0])
    return None


def jpeg_2000_shape(stream: bytes) -> tuple[int, int] | None:
    """(y, x) of the codestream's SIZ segment, which in a JP2 file stands behind its boxes; None without one."""
    at = stream.find(b"\xff\x4f\xff\x51")
    if at < 0 or len(stream) < at + 24:
        return None
    right, bottom, left, top = struct.unpack_from(">IIII", stream, at + 8)
    return bottom - top, right - left


def stated_shape(stream: bytes) -> tuple[int, int] | None:
    """(y, x) of a stream of JPEG, JPEG-LS or JPEG 2000; None of any other."""
    return jpeg_shape(stream) if stream.startswith(START_OF_IMAGE) else jpeg_2000_shape(stream)


def is_complete_jpeg(stream: bytes) -> bool:
    """Whether the end of the image is there: decoders fill in what is missing with grey, without a word."""
    return END_OF_IMAGE in stream[-TAIL:]
