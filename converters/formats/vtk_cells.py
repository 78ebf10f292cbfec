"""Polygons and triangle strips as triangles.

Cells are given as `offsets`, one more than there are cells, into `corners`, the vertex numbers of all cells one after
the other; both int64. Triangles come in the order of the cells, (m, 3) int64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def polygons_as_triangles(offsets: Integers, corners: Integers) -> Integers:
    """Fans around the first corner of each polygon; cells of fewer than three corners have no area and none."""
    starts, place = _triangles_of_cells(offsets)
    return np.stack([corners[starts], corners[starts + place + 1], corners[starts + place + 2]], axis=1)


def strips_as_triangles(offsets: Integers, corners: Integers) -> Integers:
    """Each three corners in a row make a triangle; every second one is turned, so that all face one way."""
    starts, place = _triangles_of_cells(offsets)
    odd = place % 2
    return np.stack([corners[starts + place + odd], corners[starts + place + 1 - odd], corners[starts + place + 2]], 1)


def cells_of_triangles(offsets: Integers) -> Integers:
    """For each triangle of either function, the number of its cell."""
    count = np.maximum(np.diff(offsets) - 2, 0)
    return np.repeat(np.arange(len(count)), count)


def _triangles_of_cells(offsets: Integers) -> tuple[Integers, Integers]:
    """For each triangle, where its cell starts, and which of the cell's triangles it is."""
    count = np.maximum(np.diff(offsets) - 2, 0)
    starts = np.repeat(offsets[:-1], count)
    first = np.cumsum(count) - count
    return starts, np.arange(len(starts)) - np.repeat(first, count)
