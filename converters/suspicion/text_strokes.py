"""Writing in a picture: rows of small, flat, sharp-edged marks of one height on one line.

Not a reader of text: it counts marks that stand on a common line. The header's own word on burned-in text is
converters/dicom/burned_in.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Values = NDArray[np.float32]
Reader = Callable[[slice, slice, slice], Values]

# Planes that are looked at closely: evenly spaced ones, and those with more sharp steps than their neighbours.
EVEN_PLANES, BUSY_PLANES = 16, 16
MOST_PIXELS = 1 << 22
# A stroke is thinner than this many pixels, and stands out by this share of the picture's range.
STROKE, STANDS_OUT = 9, 0.35
LEAST_HEIGHT, LEAST_PIXELS = 5, 5
MOST_MARKS = 4000
# Strokes that a line through letters that touch each other crosses at least.
LEAST_CROSSED = 3


def text_rows(read: Reader, shape: tuple[int, int, int], low: float, high: float) -> int:
    """The most marks of one row of writing in any plane that was looked at; 0 to 2 mean nothing.

    low, high: 1st and 99th percentile of the image.
    """
    if min(shape[1:]) < 4 * LEAST_HEIGHT:
        return 0
    return max(
        (_marks_in_row(_plane(read, z, shape), low, high) for z in _chosen_planes(read, shape, low, high)), default=0
    )


def _plane(read: Reader, z: int, shape: tuple[int, int, int]) -> Values:
    step = max(1, int(np.ceil(np.sqrt(shape[1] * shape[2] / MOST_PIXELS))))
    return np.nan_to_num(read(slice(z, z + 1), slice(None, None, step), slice(None, None, step))[0])


def _chosen_planes(read: Reader, shape: tuple[int, int, int], low: float, high: float) -> list[int]:
    planes = shape[0]
    if planes <= EVEN_PLANES + BUSY_PLANES:
        return list(range(planes))
    even = {(2 * n + 1) * planes // (2 * EVEN_PLANES) for n in range(EVEN_PLANES)}
    steps = np.array([_sharp_steps(_plane(read, z, shape), low, high) for z in range(planes)], np.float64)
    excess = steps - ndimage.median_filter(steps, 5, mode="nearest")
    busy = np.argsort(-excess, kind="stable")[:BUSY_PLANES]
    return sorted(even | {int(z) for z in busy})


def _sharp_steps(plane: Values, low: float, high: float) -> int:
    return int(np.count_nonzero(np.abs(np.diff(plane, axis=1)) > STANDS_OUT * max(high - low, 1e-6)))


def _marks_in_row(plane: Values, low: float, high: float) -> int:
    # What is far brighter than the image (65535 in a picture of 12 bits) is cut off: only that it stands out counts.
    spread = max(high - low, float(np.finfo(np.float32).tiny))
    plane = np.clip(plane, low - spread / 2, high + spread)
    return max(_longest_row(_strokes(plane, spread)), _longest_row(_strokes(-plane, spread)))


def _strokes(plane: Values, spread: float) -> NDArray[np.bool_]:
    """Thin bright parts: what a grey opening takes away (white top-hat), by steps rather than slopes."""
    if float(plane.max() - np.median(plane)) <= STANDS_OUT * spread:
        return np.zeros(plane.shape, bool)
    opened = ndimage.maximum_filter(ndimage.minimum_filter(plane, STROKE), STROKE)
    return np.asarray(plane - opened > STANDS_OUT * spread)


def _longest_row(strokes: NDArray[np.bool_]) -> int:
    if np.count_nonzero(strokes) < 4 * LEAST_PIXELS:
        return 0
    marks, count = ndimage.label(strokes, structure=np.ones((3, 3)))
    if count > MOST_MARKS:  # noise
        return 0
    sizes = np.bincount(marks.ravel())[1:]
    most_height = max(24, strokes.shape[0] // 12)
    found = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(marks), start=1):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if LEAST_HEIGHT <= height <= most_height and sizes[number - 1] >= LEAST_PIXELS:
            letters = 1 if width <= 1.5 * height else _touching_letters(marks[rows, columns] == number)
            if letters:
                found.append((rows.stop, height, columns.start, columns.stop, letters))
    return _longest_chain(np.array(found, np.int64)) if found else 0


def _touching_letters(mark: NDArray[np.bool_]) -> int:
    """How many letters a wide mark may be: strokes that a line through it crosses, two to a letter; 0 of a plain line."""
    ends = np.diff(np.pad(mark, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    crossed = float(np.median((ends == 1).sum(axis=1)))
    return round(crossed / 1.5) if crossed >= LEAST_CROSSED else 0


def _longest_chain(marks: NDArray[np.int64]) -> int:
    """marks: rows of (bottom, height, left, right, letters). A row of writing: equal bottoms and heights, small gaps."""
    best = 0
    for bottom, height in np.unique(marks[:, :2], axis=0):
        slack = max(1, height // 10)
        same = (np.abs(marks[:, 0] - bottom) <= slack) & (np.abs(marks[:, 1] - height) <= slack)
        row = marks[same]
        row = row[np.argsort(row[:, 2], kind="stable")]
        letters = int(row[0, 4])
        best = max(best, letters)
        for mark, before in zip(row[1:], row[:-1], strict=True):
            letters = int(mark[4]) + (letters if mark[2] - before[3] <= 2 * height else 0)
            best = max(best, letters)
    return best
