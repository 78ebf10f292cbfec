"""The two texts of a PNG that may say how the picture lies: XMP, and the EXIF block as ImageMagick writes it.

Source: PNG specification (W3C, third edition), 11.3.3 (tEXt, zTXt, iTXt); ImageMagick's `Raw profile type`: a name, the
number of bytes and the bytes in hexadecimal digits, each on lines of their own.
"""

from __future__ import annotations

import re
import zlib

from medshard.converters.formats.pictures.exif import orientation_of_exif, orientation_of_xmp

KINDS = (b"tEXt", b"zTXt", b"iTXt")
XMP_KEYWORD = b"XML:com.adobe.xmp"
PROFILE_KEYWORDS = (b"Raw profile type exif", b"Raw profile type APP1")
PROFILE = re.compile(rb"\s*\w+\s+\d+\s+([0-9a-fA-F\s]*)")
LARGEST_TEXT = 1 << 20


def may_orient(start: bytes) -> bool:
    """Whether a text chunk that starts so is one that may hold an orientation."""
    return start.partition(b"\0")[0] in (XMP_KEYWORD, *PROFILE_KEYWORDS)


def orientation_of_text(kind: bytes, content: bytes) -> int:
    """1 to 8; 1 where the text is broken or says nothing. content: of a chunk of one of `KINDS`."""
    keyword, _, rest = content.partition(b"\0")
    text = _text(kind, rest)
    if keyword == XMP_KEYWORD:
        return orientation_of_xmp(text)
    found = PROFILE.fullmatch(text)
    digits = b"".join(found.group(1).split()) if found else b""
    return orientation_of_exif(bytes.fromhex(digits[: len(digits) // 2 * 2].decode("ascii")))


def _text(kind: bytes, rest: bytes) -> bytes:
    """What follows the keyword, inflated where the chunk says so; no more of it than `LARGEST_TEXT`."""
    packed = kind == b"zTXt"
    if packed:
        rest = rest[1:]
    elif kind == b"iTXt":
        packed = rest[:1] == b"\1"
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    if not packed:
        return rest
    try:
        return zlib.decompressobj().decompress(rest, LARGEST_TEXT)
    except zlib.error:
        return b""
