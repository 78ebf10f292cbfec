"""Run lengths of BMP: BI_RLE8 and BI_RLE4. Source: "Bitmap Compression" in the Windows documentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.pictures.picture import truncated

END_OF_LINE, END_OF_PICTURE, STEP = 0, 1, 2


def unpacked_runs(path: Path, content: bytes, y: int, x: int, *, four_bits: bool) -> NDArray[np.uint8]:
    """Indices (y, x) in the order of the file. What no run covers is 0, as programs show it.

    Rows may be filled up to a multiple of four pixels, as ImageMagick does; what lies there is not part of the picture.
    Raises CaseError[read.truncated | read.unreadable].
    """
    rows = np.zeros((y, x), np.uint8)
    row = column = place = 0
    widest = -(-x // 4) * 4
    while place + 2 <= len(content):
        count, value = content[place], content[place + 1]
        place += 2
        if count:
            run = np.resize([value >> 4, value & 15], count) if four_bits else np.full(count, value, np.uint8)
        elif value == END_OF_LINE:
            row, column = row + 1, 0
            continue
        elif value == END_OF_PICTURE:
            return rows
        elif value == STEP:
            if place + 2 > len(content):
                break
            column, row = column + content[place], row + content[place + 1]
            place += 2
            continue
        else:
            size = (value + 1) // 2 if four_bits else value
            stored = np.frombuffer(content[place : place + size], np.uint8)
            if len(stored) < size:
                break
            run = np.stack([stored >> 4, stored & 15], axis=-1).reshape(-1)[:value] if four_bits else stored
            place += size + size % 2
        # A last half byte may reach one pixel too far.
        if row >= y or column + len(run) > widest + four_bits:
            raise bad_file("read.unreadable", path, "a run reaches beyond the picture", details={"row": row})
        part = run[: max(0, x - column)]
        rows[row, column : column + len(part)] = part
        column += len(run)
    raise truncated(path, "the file ends before the mark that ends the picture")
