"""How a picture lies, out of the EXIF or XMP block of its file; nothing else of these blocks is read.

Source: EXIF 2.32 (CIPA DC-008), tag 0x0112; XMP specification part 2, `tiff:Orientation`.
"""

from __future__ import annotations

import re
import struct

import numpy as np

from medshard.converters.array_types import Array

ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)
XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=\"|>)([1-8])\b")
LARGEST_DIRECTORY = 1000


def orientation_of_exif(block: bytes) -> int:
    """1 to 8; 1 where the block is broken or says nothing. block: with or without the six bytes `Exif\\0\\0`."""
    content = block.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(content[:2])
    if order is None or len(content) < 10:
        return 1
    directory = struct.unpack_from(f"{order}I", content, 4)[0]
    if directory + 2 > len(content):
        return 1
    entries = struct.unpack_from(f"{order}H", content, directory)[0]
    for number in range(min(entries, LARGEST_DIRECTORY)):
        place = directory + 2 + 12 * number
        if place + 12 > len(content):
            break
        tag, kind = struct.unpack_from(f"{order}HH", content, place)
        if tag == ORIENTATION and kind in (3, 4):
            value = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", content, place + 8)[0]
            return int(value) if 1 <= value <= 8 else 1
    return 1


def orientation_of_xmp(block: bytes) -> int:
    """1 to 8; 1 where the block says nothing."""
    found = XMP_ORIENTATION.search(block)
    return int(found.group(1)) if found else 1


def upright(pixels: Array, orientation: int) -> Array:
    """A view of `(n, y, x, samples)` as the orientation wants it shown."""
    if orientation in SIDEWAYS:
        pixels = pixels.swapaxes(1, 2)
    flip_y, flip_x = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return np.asarray(pixels)[:, :: -1 if flip_y else 1, :: -1 if flip_x else 1] if flip_y or flip_x else pixels
