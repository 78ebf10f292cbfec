"""The frames of a DICOM segmentation as pixels, a few at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medshard.converters.dicom.pixels import decode_file
from medshard.converters.formats.faults import bad_file

Plane = NDArray[Any]

MOST_FRAMES = 1 << 20
# Frames are asked for one by one, mostly in order, and decoded in runs of about this many bytes.
RUN_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True)
class SegmentFrames:
    """plane: frame number from 0 -> (rows, columns) unsigned integers, as stored."""

    count: int
    rows: int
    columns: int
    plane: Callable[[int], Plane]


def segment_frames(dataset: Any, path: Path) -> SegmentFrames:
    """The frames of a segmentation that has its pixels attached.

    A palette (label maps may have one) stays with the header: what is decoded are the stored numbers.
    Raises CaseError[read.truncated | read.unreadable], as `plane` does.
    """
    rows, columns, bits = int(dataset.Rows), int(dataset.Columns), int(dataset.BitsAllocated)
    count = int(dataset.get("NumberOfFrames") or 1)
    details: dict[str, object] = {"frames": count, "rows": rows, "columns": columns, "Bits Allocated": bits}
    if bits not in (1, 8, 16) or int(dataset.get("SamplesPerPixel") or 1) != 1:
        raise bad_file("read.unreadable", path, "the pixels are of no kind that a segmentation has", details=details)
    if not (rows > 0 and columns > 0 and 0 < count <= MOST_FRAMES):
        raise bad_file("read.unreadable", path, "the size of the frames is not possible", details=details)
    if dataset.get("PixelRepresentation") or "ModalityLUTSequence" in dataset:
        raise bad_file("read.unreadable", path, "the pixels are no plain unsigned numbers", details=details)
    dataset.PhotometricInterpretation = "MONOCHROME2"
    run = max(1, RUN_BYTES // (rows * columns))
    decoded: tuple[int, Plane] = (-1, np.zeros((0, 0, 0), np.uint8))

    def plane(number: int) -> Plane:
        nonlocal decoded
        if number // run != decoded[0]:
            first = number // run * run
            numbers = range(first, min(first + run, count))
            decoded = number // run, decode_file(dataset, numbers, file=path)[..., 0]
        return decoded[1][number % run]

    plane(count - 1)
    return SegmentFrames(count=count, rows=rows, columns=columns, plane=plane)
