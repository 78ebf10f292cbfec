"""Frames of uncompressed pixels: views of the bytes wherever the bits allow it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medshard.converters.dicom.pixel_layout import PixelLayout, frame_count_within, pixel_error
from medshard.converters.volume import Array


def native_frames(
    dataset: Any, layout: PixelLayout, numbers: Sequence[int], file: Path | None = None
) -> Iterator[Array]:
    """Each wanted frame as (y, x, c), meaningful bits only, colours as stored. Raises CaseError[read.truncated]."""
    data = dataset[layout.keyword].value
    if not isinstance(data, bytes | bytearray | memoryview):
        raise pixel_error("read.unreadable", dataset, file, "the pixels are not stored as plain bytes")
    if not frame_count_within(layout, len(data)):
        raise pixel_error(
            "read.truncated",
            dataset,
            file,
            "the file ends too early",
            {
                "pixel bytes expected": -(-layout.frames * layout.frame_bits // 8),
                "found": len(data),
                "frames": layout.frames,
            },
        )
    swapped = layout.big_endian and layout.allocated <= 8 and dataset[layout.keyword].VR == "OW"
    samples = np.frombuffer(data, np.uint8)
    if swapped:
        # 8-bit samples written as big endian words lie pairwise the other way round (DICOM PS3.5 annex A.3).
        samples = samples[: len(samples) // 2 * 2].reshape(-1, 2)[:, ::-1].reshape(-1)
    for number in numbers:
        yield _frame(samples, layout, number)


def significant(raw: NDArray[Any], *, stored: int, high: int, signed: bool) -> Array:
    """The numbers in the bits `high - stored + 1` to `high` of unsigned words; what lies in the others is dropped.

    Older images keep overlays or padding there (DICOM PS3.5 8.1.1). Returns a view where nothing has to be dropped.
    """
    bits = raw.dtype.itemsize * 8
    wanted = raw.view(np.dtype(f"{'i' if signed else 'u'}{raw.dtype.itemsize}"))
    if stored == bits or _already_clean(wanted, stored, high, signed):
        return wanted
    # Up, so that the highest meaningful bit is the highest of the word, and down with or without the sign.
    return (raw << np.uint8(bits - 1 - high)).view(wanted.dtype) >> np.uint8(bits - stored)


def _already_clean(values: Array, stored: int, high: int, signed: bool) -> bool:
    if high != stored - 1:
        return False
    least, most = (-(1 << (stored - 1)), (1 << (stored - 1)) - 1) if signed else (0, (1 << stored) - 1)
    inside = int(values.max(initial=0)) <= most
    return inside and (not signed or int(values.min(initial=0)) >= least)


def _frame(samples: NDArray[np.uint8], layout: PixelLayout, number: int) -> Array:
    rows, columns, channels = layout.rows, layout.columns, layout.samples
    if layout.allocated == 1:
        return _bits(samples, number * layout.frame_samples, layout.frame_samples).reshape(rows, columns, channels)
    size = layout.frame_bits // 8
    frame = samples[number * size : (number + 1) * size]
    if layout.photometric == "YBR_FULL_422":
        return _full_colour(frame, rows, columns)
    order = ">" if layout.big_endian else "<"
    if layout.is_float:
        flat: Array = frame.view(f"{order}f{layout.allocated // 8}")
    else:
        words = frame.view(f"{order}u{layout.allocated // 8}")
        words = words.astype(words.dtype.newbyteorder("="), copy=False)
        flat = significant(words, stored=layout.stored, high=layout.high, signed=layout.signed)
    flat = flat.astype(flat.dtype.newbyteorder("="), copy=False)
    if layout.planar and channels > 1:
        return np.moveaxis(flat.reshape(channels, rows, columns), 0, -1)
    return flat.reshape(rows, columns, channels)


def _bits(samples: NDArray[np.uint8], first: int, count: int) -> NDArray[np.uint8]:
    """Samples of one bit, lowest bit first, frames without gaps between them (DICOM PS3.5 8.1.1)."""
    packed = samples[first // 8 : -(-(first + count) // 8)]
    return np.unpackbits(packed, bitorder="little")[first % 8 : first % 8 + count]


def _full_colour(frame: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    """Y1 Y2 Cb Cr for two pixels -> Y Cb Cr for each."""
    pairs = frame.reshape(-1, 4)
    full = np.empty((len(pairs), 2, 3), np.uint8)
    full[:, :, 0] = pairs[:, :2]
    full[:, :, 1:] = pairs[:, None, 2:]
    return full.reshape(rows, columns, 3)
