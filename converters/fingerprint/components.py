"""Connected components of all classes of a label map in one pass over it, on its runs of equal labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph

Labels = NDArray[np.unsignedinteger[Any]]
Numbers = NDArray[np.int64]

# Rows before this one that touch it over a face, an edge or a corner: (z, y) of the neighbour less its own.
NEIGHBOURS = ((0, -1), (-1, -1), (-1, 0), (-1, 1))
# Voxels whose runs are looked for at once.
SLAB_VOXELS = 1 << 24
MOST_RUNS = 1 << 23


def count_components(numbers: Labels, classes: int) -> list[int]:
    """How many components each of the numbers 1..classes of a map `(z, y, x)` has, over faces, edges and corners.

    Runs along x of one number are the nodes of a graph and what neighbouring rows share its edges, so the time goes
    with the surface of the structures, not with their number. A map of little but surface is done class by class.
    """
    runs = _runs(numbers)
    if runs is None:
        return [int(ndimage.label(numbers == number, np.ones((3, 3, 3)))[1]) for number in range(1, classes + 1)]
    rows, starts, stops, values = runs
    first, second = _touching(numbers.shape, rows, starts, stops, values)
    graph = sparse.coo_matrix((np.ones(len(first), np.int8), (first, second)), (len(rows), len(rows)))
    count, parts = csgraph.connected_components(graph, directed=False)
    number_of_part = np.zeros(count, np.int64)
    number_of_part[parts] = values
    totals = np.bincount(number_of_part, minlength=classes + 1)
    return [int(total) for total in totals[1 : classes + 1]]


def grouped(labels: Labels, number_of: Mapping[int, int], *, other: int) -> Labels:
    """Labels `(z, y, x)` with each value replaced by its number, values above 0 without one by `other`; the same array
    where nothing changes.
    """
    numbers = np.min_scalar_type(max(other, *number_of.values(), 0))
    if labels.dtype.itemsize > 2:
        values, places = np.unique(labels, return_inverse=True)
        mapped = np.array([number_of.get(int(value), other if value else 0) for value in values], numbers)
        return cast(Labels, mapped[places.reshape(labels.shape)])
    highest = int(labels.max(initial=0))
    table = np.array([0, *(number_of.get(value, other) for value in range(1, highest + 1))], numbers)
    if np.array_equal(table, np.arange(highest + 1)):
        return labels
    return cast(Labels, table[labels])


def _runs(labels: Labels) -> tuple[Numbers, Numbers, Numbers, NDArray[Any]] | None:
    """Of every run of one value above 0, in C order: its row (z * ny + y), first x, x after the last, and value. None
    where there are too many to hold.
    """
    nz, ny, nx = labels.shape
    slab = max(1, SLAB_VOXELS // max(1, ny * nx))
    pieces, count = [], 0
    for z in range(0, nz, slab):
        pieces.append(_runs_of_slab(labels[z : z + slab], z * ny))
        count += len(pieces[-1][0])
        if count > MOST_RUNS:
            return None
    rows, starts, stops, values = (np.concatenate([piece[n] for piece in pieces]) for n in range(4))
    return rows, starts, stops, values


def _runs_of_slab(labels: Labels, first_row: int) -> tuple[Numbers, Numbers, Numbers, NDArray[Any]]:
    nx = labels.shape[2]
    lines = np.ascontiguousarray(labels).reshape(-1, nx)
    changes = np.empty(lines.shape, bool)
    changes[:, 0] = True
    np.not_equal(lines[:, 1:], lines[:, :-1], out=changes[:, 1:])
    begins = np.flatnonzero(changes)
    ends = np.append(begins[1:], lines.size)
    values = lines.ravel()[begins]
    inside = values > 0
    begins, ends, values = begins[inside], ends[inside], values[inside]
    rows = begins // nx
    return rows + first_row, begins - rows * nx, ends - rows * nx, values


def _touching(
    shape: tuple[int, ...], rows: Numbers, starts: Numbers, stops: Numbers, values: NDArray[Any]
) -> tuple[Numbers, Numbers]:
    """Pairs of runs of one value in neighbouring rows that overlap, or touch over an edge or a corner."""
    _, ny, nx = shape
    width = nx + 2  # so that what reaches one beyond a row never meets the next
    begins, ends = rows * width + starts, rows * width + stops
    y = rows % ny
    pairs = []
    for dz, dy in NEIGHBOURS:
        own = np.flatnonzero((y + dy >= 0) & (y + dy < ny) & (rows + dz * ny >= 0))
        shift = (dz * ny + dy) * width
        # Runs of a row do not overlap: both their begins and their ends ascend.
        low = np.searchsorted(ends, begins[own] + shift, side="left")
        high = np.searchsorted(begins, ends[own] + shift, side="right")
        counts = np.maximum(high - low, 0)
        of_own = np.repeat(own, counts)
        offsets = np.arange(len(of_own)) - np.repeat(np.cumsum(counts) - counts, counts)
        other = np.repeat(low, counts) + offsets
        same = values[of_own] == values[other]
        pairs.append((of_own[same], other[same]))
    return np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])
