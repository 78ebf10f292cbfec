"""Masks as run lengths in a cell of text, and the outlines of a mask along the borders of its pixels."""

from __future__ import annotations

from collections import defaultdict
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medshard.converters.annotations.rows.rows import Cell, text_of

Mask = NDArray[np.bool_]

Corner = tuple[int, int]
"""Row and column of a corner between four pixels: 0, 0 is the outer corner of the first one."""

NOTHING = frozenset({"-1", "", "nan"})


def mask_of_runs(cell: Cell, shape: tuple[int, int], *, form: Literal["relative", "absolute"]) -> Mask | None:
    """The mask (y, x) that pairs of start and length make, column by column from the top; None for `-1` or nothing.

    relative: a start counts from the end of the run before, from 0 (SIIM-ACR pneumothorax); absolute: from 1 at the
    first pixel (the usual form of Kaggle's competitions). Raises ValueError on an odd count, and on runs outside the
    image or, where they are absolute, out of order.
    """
    text = text_of(cell)
    if text.lower() in NOTHING:
        return None
    numbers = np.array(text.split(), np.int64)
    if numbers.size % 2 or (numbers < 0).any():
        raise ValueError("run lengths are pairs of a start and a length")
    starts, lengths = numbers[0::2], numbers[1::2]
    if numbers.max(initial=0) > shape[0] * shape[1]:
        raise ValueError("a run lies outside the image")
    relative = np.cumsum(starts) + np.cumsum(lengths) - lengths
    starts = relative if form == "relative" else starts - 1
    ends = starts + lengths
    if (starts < 0).any() or (ends > shape[0] * shape[1]).any() or (starts[1:] < ends[:-1]).any():
        raise ValueError("a run lies outside the image, or begins before the end of another")
    changes = np.zeros(shape[0] * shape[1] + 1, np.int8)
    np.add.at(changes, starts, 1)
    np.add.at(changes, ends, -1)
    return np.cumsum(changes[:-1], dtype=np.int8).astype(bool).reshape(shape, order="F")


def outlines_of_mask(mask: Mask) -> list[tuple[bool, list[Corner]]]:
    """Closed polygons along the borders of the pixels, exactly: (whether it is a hole, its corners).

    Outer borders run clockwise on the screen, holes the other way; regions that touch at a corner are apart. The first
    corner is not repeated. Ordered by the first corner of each, top row first.
    """
    follow = _borders(mask)
    outlines: list[tuple[bool, list[Corner]]] = []
    for start in sorted(follow):
        while follow[start]:
            path = _loop(follow, start)
            corners = _without_straight(path)
            outlines.append((_area(corners) < 0, corners))
    return outlines


def _borders(mask: Mask) -> dict[Corner, list[Corner]]:
    """Corner -> the corners that follow it along a border, with the region on the right-hand side."""
    padded = np.pad(mask, 1)
    inner = padded[1:-1, 1:-1]
    follow: dict[Corner, list[Corner]] = defaultdict(list)
    sides = (
        (~padded[:-2, 1:-1], (0, 0), (0, 1)),
        (~padded[1:-1, 2:], (0, 1), (1, 1)),
        (~padded[2:, 1:-1], (1, 1), (1, 0)),
        (~padded[1:-1, :-2], (1, 0), (0, 0)),
    )
    for outside, start, end in sides:
        for y, x in np.argwhere(inner & outside).tolist():
            follow[(y + start[0], x + start[1])].append((y + end[0], x + end[1]))
    return follow


def _loop(follow: dict[Corner, list[Corner]], start: Corner) -> list[Corner]:
    """One closed way from a corner; where two ways cross, it turns right, so that it stays on its own region."""
    path = [start]
    at = follow[start].pop(0)
    while at != start:
        before = path[-1]
        path.append(at)
        ways = follow[at]
        right = (at[0] + (at[1] - before[1]), at[1] - (at[0] - before[0]))
        ways.sort(key=lambda way: way != right)
        at = ways.pop(0)
    return path


def _without_straight(path: list[Corner]) -> list[Corner]:
    count = len(path)
    return [
        path[place]
        for place in range(count)
        if (path[place][0] - path[place - 1][0]) * (path[(place + 1) % count][1] - path[place][1])
        != (path[place][1] - path[place - 1][1]) * (path[(place + 1) % count][0] - path[place][0])
    ]


def _area(corners: list[Corner]) -> float:
    """Positive where the way runs clockwise on the screen (x to the right, y down)."""
    points = np.array(corners, np.float64)
    following = np.roll(points, -1, axis=0)
    return float(np.sum(points[:, 1] * following[:, 0] - following[:, 1] * points[:, 0]) / 2)
