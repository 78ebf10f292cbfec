"""Triangles seen along an axis: each is sampled finely enough for the picture, and of each pixel the nearest stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Points at a time: some tens of megabytes.
POINTS_AT_ONCE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Triangles in the picture.

    rows, columns, nearness: (n, 3) of their corners in pixels. size: rows and columns.
    """

    rows: Floats
    columns: Floats
    nearness: Floats
    size: tuple[int, int]


def nearest_triangles(drawn: Drawn) -> NDArray[np.int64]:
    """(rows, columns): the number of the triangle that is seen in each pixel, -1 where there is none."""
    count = drawn.size[0] * drawn.size[1]
    nearest, owner = np.full(count, -np.inf), np.full(count, -1, np.int64)
    for places, nearness, faces in _samples(drawn):
        # Sorted by pixel and by nearness, the last of each pixel is the nearest.
        order = np.lexsort((-faces, nearness, places))
        chosen = order[np.append(np.diff(places[order]) != 0, True)]
        chosen = chosen[nearness[chosen] > nearest[places[chosen]]]
        nearest[places[chosen]], owner[places[chosen]] = nearness[chosen], faces[chosen]
    return owner.reshape(drawn.size)


def _samples(drawn: Drawn) -> Iterator[tuple[NDArray[np.int64], Floats, NDArray[np.int64]]]:
    """(pixel, nearness, triangle) of points on the triangles, no two neighbours of one farther apart than a pixel."""
    spans = np.maximum(np.ptp(drawn.rows, axis=1), np.ptp(drawn.columns, axis=1))
    steps = 2 ** np.ceil(np.log2(np.maximum(spans * 1.2, 1.0))).astype(np.int64)
    for step in np.unique(steps).tolist():
        weights = _lattice(step)
        members = np.flatnonzero(steps == step)
        batch = max(1, POINTS_AT_ONCE // len(weights))
        for start in range(0, len(members), batch):
            faces = members[start : start + batch]
            rows = np.rint(drawn.rows[faces] @ weights.T).astype(np.int64).clip(0, drawn.size[0] - 1)
            columns = np.rint(drawn.columns[faces] @ weights.T).astype(np.int64).clip(0, drawn.size[1] - 1)
            places = rows * drawn.size[1] + columns
            yield places.ravel(), (drawn.nearness[faces] @ weights.T).ravel(), np.repeat(faces, len(weights))


def _lattice(step: int) -> Floats:
    """(n, 3) weights of the corners at the points of a triangle cut into `step` parts a side."""
    first, second = np.meshgrid(np.arange(step + 1), np.arange(step + 1), indexing="ij")
    inside = first + second <= step
    a, b = first[inside] / step, second[inside] / step
    return np.stack([a, b, 1.0 - a - b], axis=1)
