"""Writing in a picture: rows of small, flat, sharp-edged marks of one height on one line.

Not a reader of text: it counts marks that stand on a common line. The header's own word on burned-in text is
converters/dicom/burned_in.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medshard.converters.suspicion.windows import highest_in_window, lowest_in_window

Values = NDArray[np.float32]
Reader = Callable[[slice, slice, slice], Values]

# Planes that are looked at closely: evenly spaced ones, and those with more sharp steps than their neighbours.
EVEN_PLANES, BUSY_PLANES = 16, 16
MOST_PIXELS = 1 << 22
# A stroke is thinner than this many pixels, and stands out by this share of the picture's range.
STROKE, STANDS_OUT = 9, 0.35
LEAST_HEIGHT, LEAST_PIXELS = 5, 5
# Of fewer planes neighbours are not compared. More marks in a plane are noise.
LEAST_PLANES = 5
MOST_MARKS = 4000
# Half of the gap between letters of one line.
GAP = 3
NEIGHBOURS = np.ones((3, 3))
# Of a line of writing the first and last rows have at least SHARP_END of the usual ink, and no row is full.
SHARP_END, MOST_INK = 0.4, 0.7
STROKES_OF_A_LETTER = 1.6


def text_rows(read: Reader, shape: tuple[int, int, int], low: float, high: float) -> int:
    """The most marks of one row of writing in any plane that was looked at; 0 to 2 mean nothing.

    low, high: 1st and 99th percentile of the image.
    """
    if min(shape[1:]) < 4 * LEAST_HEIGHT:
        return 0
    return max((_marks_of(read, z, shape, low, high) for z in _chosen_planes(read, shape, low, high)), default=0)


def _marks_of(read: Reader, z: int, shape: tuple[int, int, int], low: float, high: float) -> int:
    """Also in what a plane has more or less than those on either side: over anatomy, writing stands out there alone."""
    # What is far brighter than the image (65535 in a picture of 12 bits) is cut off: only that it stands out counts.
    spread = max(high - low, float(np.finfo(np.float32).tiny))
    ends = low - spread / 2, high + spread
    plane = np.clip(_plane(read, z, shape), *ends)
    found = _marks_in_row(plane, spread)
    if shape[0] >= LEAST_PLANES and 0 < z < shape[0] - 1:
        beside = [np.clip(_plane(read, other, shape), *ends) for other in (z - 1, z + 1)]
        more = plane - np.maximum(*beside)
        less = np.minimum(*beside) - plane
        found = max(found, *(_letters_found(_strokes(np.maximum(part, 0), spread)) for part in (more, less)))
    return found


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


def _marks_in_row(plane: Values, spread: float) -> int:
    return max(_letters_found(_strokes(plane, spread)), _letters_found(_strokes(-plane, spread)))


def _strokes(plane: Values, spread: float) -> NDArray[np.bool_]:
    """Thin bright parts: what a grey opening takes away (white top-hat), by steps rather than slopes."""
    if float(plane.max() - np.median(plane)) <= STANDS_OUT * spread:
        return np.zeros(plane.shape, bool)
    eroded = lowest_in_window(lowest_in_window(plane, STROKE, 0), STROKE, 1)
    opened = highest_in_window(highest_in_window(eroded, STROKE, 0), STROKE, 1)
    return np.asarray(plane - opened > STANDS_OUT * spread)


def _letters_found(strokes: NDArray[np.bool_]) -> int:
    """Letters of the longest row of writing: counted one by one, or, where they touch or are broken, by their line."""
    if np.count_nonzero(strokes) < 4 * LEAST_PIXELS:
        return 0
    most_height = max(24, strokes.shape[0] // 12)
    return max(_letters_apart(strokes, most_height), _letters_of_lines(strokes, most_height))


def _letters_apart(strokes: NDArray[np.bool_], most_height: int) -> int:
    """The most marks, about as wide as high, that have one height and one bottom and follow each other."""
    marks, count = ndimage.label(strokes, NEIGHBOURS)
    if count > MOST_MARKS:  # noise
        return 0
    found = [
        (rows.stop, rows.stop - rows.start, columns.start, columns.stop)
        for rows, columns in ndimage.find_objects(marks)
        if LEAST_HEIGHT <= rows.stop - rows.start <= most_height
        and columns.stop - columns.start <= 2 * (rows.stop - rows.start)
    ]
    rows_of_marks = np.array(found, np.int64).reshape(-1, 4)
    best = 0
    for bottom, height in np.unique(rows_of_marks[:, :2], axis=0):
        slack = max(1, height // 10)
        same = np.abs(rows_of_marks[:, :2] - (bottom, height)).max(axis=1) <= slack
        lefts, rights = (np.sort(rows_of_marks[same, column]) for column in (2, 3))
        length = 1
        for left, right in zip(lefts[1:], rights[:-1], strict=True):
            length = length + 1 if left - right <= 2 * height else 1
            best = max(best, length)
    return best


def _letters_of_lines(strokes: NDArray[np.bool_], most_height: int) -> int:
    """Strokes that are near each other along a row make a line.

    Of writing it is at least twice as wide as high, begins and ends sharply (letters stand on one line and are of one
    height), and a row through it crosses many strokes.
    """
    lines, count = ndimage.label(ndimage.maximum_filter1d(strokes.view(np.uint8), 2 * GAP + 1, axis=1), NEIGHBOURS)
    if count > MOST_MARKS:
        return 0
    best = 0
    for number, (rows, columns) in enumerate(ndimage.find_objects(lines), start=1):
        height, width = rows.stop - rows.start, columns.stop - columns.start - 2 * GAP
        if LEAST_HEIGHT <= height <= most_height and width >= 2 * height:
            best = max(best, _letters(strokes[rows, columns] & (lines[rows, columns] == number)))
    return best


def _letters(line: NDArray[np.bool_]) -> int:
    """How many letters a line may be: the strokes that a row through it crosses, by those of a letter; or 0."""
    ink = line.sum(axis=1)
    usual = float(np.median(ink))
    if usual > MOST_INK * line.shape[1] or min(ink[:2].max(), ink[-2:].max()) < SHARP_END * usual:
        return 0
    starts = np.diff(np.pad(line, ((0, 0), (1, 0))).astype(np.int8), axis=1) == 1
    return round(float(np.median(starts.sum(axis=1))) / STROKES_OF_A_LETTER)
