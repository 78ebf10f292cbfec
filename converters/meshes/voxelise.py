"""A closed surface as a mask.

A voxel is inside by where its centre lies. Rays run along x through all centres; at each crossing the winding number
changes by the direction in which the surface is crossed, and what it is not 0 behind is inside. So overlapping parts
make a union, and a cavity whose faces turn inwards stays empty. A surface that is closed but not consistently wound has
no winding number; then a voxel behind an odd number of crossings is inside.

Crossings are found by half-open intervals: an edge meets a row of centres where one end lies before or on it and the
other behind; a row's piece of a triangle meets a column likewise, and a crossing counts for centres at or behind it. So
a centre on the surface is inside on the low side of x, y and z and outside on the high side, and a ray through an
edge or a vertex is counted once. Where edges cross rows is computed from their ends in one fixed order, so that both
triangles at an edge agree to the last bit, and no ray slips through. Compare J. O'Rourke, "Computational Geometry in
C", on rays through vertices; the winding number as in A. Jacobson and others, "Robust Inside-Outside Segmentation using
Generalized Winding Numbers" (2013).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medshard.converters.meshes.validity import edges_of
from medshard.converters.meshes.welding import welded_faces
from medshard.converters.volume import Affine, Mesh
from medshard.errors import CaseError

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

# Vertices lie on multiples of this part of a voxel, so that the rounding of an affine decides for no centre.
SNAP = 2.0**-20
FARTHEST = 2.0**30

# Voxels that are worked on at a time, pieces of triangles within a row, and crossings.
SLAB_VOXELS = 1 << 24
MOST_PIECES = 1 << 20
MOST_CROSSINGS = 1 << 21
# Of any real surface a ray meets a handful; a file may ask for millions.
CROSSINGS_PER_RAY = 512


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """What rows cut out of triangles: from (y0, x0) to (y1, x1) in row z, in indices of voxels."""

    z: Integers
    y0: Floats
    x0: Floats
    y1: Floats
    x1: Floats


def voxelise(mesh: Mesh, shape: tuple[int, int, int], affine: Affine, *, where: str = "mesh") -> NDArray[np.uint8]:
    """The mask (1, z, y, x) of the voxels inside, 1 and 0.

    shape: (z, y, x). affine: (4, 4), index (z, y, x, 1) to the frame and unit of the mesh. What of the surface lies
    outside the grid is cut off.
    Raises CaseError[mesh.open | mesh.affine | mesh.too_dense].
    """
    faces, _ = welded_faces(mesh)
    edges = edges_of(faces)
    if (edges.faces % 2).any():
        raise CaseError(
            "mesh.open",
            where=where,
            problem="the surface is not closed and has no inside",
            details={"edges": len(edges.faces), "of an odd number of faces": int((edges.faces % 2).sum())},
            action="The case is excluded. Repair the surface at the source, or do not ask for a mask of it.",
        )
    points = _indices(mesh, affine, where)
    wound = bool(edges.balanced.all())
    mask = np.zeros(shape, np.uint8)
    step = max(1, SLAB_VOXELS // max(1, shape[1] * shape[2]))
    for start in range(0, shape[0], step):
        rows = mask[start : start + step]
        rays = _Rays(rows.shape, start, where=where)
        for pieces in _rows(points, faces, start, start + len(rows)):
            rays.cross(pieces, wound=wound)
        winding = np.cumsum(rays.changes, axis=2, dtype=np.int32)
        rows[...] = winding != 0 if wound else winding % 2
    return mask[None]


def _indices(mesh: Mesh, affine: Affine, where: str) -> Floats:
    """Vertices (n, 3) as (z, y, x) in voxels, snapped."""
    with np.errstate(over="ignore", invalid="ignore"):
        try:
            inverse = np.linalg.inv(np.asarray(affine, np.float64))
            indices = mesh.vertices @ inverse[:3, :3].T + inverse[:3, 3]
        except np.linalg.LinAlgError:
            indices = np.full((1, 3), np.nan)
    if not np.isfinite(indices).all() or np.abs(indices).max() > FARTHEST:
        raise CaseError(
            "mesh.affine",
            where=where,
            problem="the surface lies nowhere near the grid, or the grid has no extent",
            action="The case is excluded. Correct the unit and the space of the entry's mesh.",
        )
    return np.round(indices / SNAP) * SNAP


def _rows(points: Floats, faces: Integers, start: int, stop: int) -> Iterator[Pieces]:
    """The pieces of all triangles in rows of z from `start` to before `stop`, some at a time."""
    corners = points[faces, 0]
    # Rows p with min <= p < max of a triangle, which is where one end of an edge is behind p and the other is not.
    first = np.clip(np.ceil(corners.min(axis=1)), start, stop).astype(np.int64)
    last = np.clip(np.ceil(corners.max(axis=1)), start, stop).astype(np.int64)
    for triangle, row in _spread(first, last - first, MOST_PIECES):
        yield _cut(points, faces[triangle], row)


def _spread(first: Integers, count: Integers, most: int) -> Iterator[tuple[Integers, Integers]]:
    """Every (number of interval, integer in it), in batches; an interval may be cut between two of them."""
    ends = np.cumsum(count)
    for start in range(0, int(ends[-1]) if len(ends) else 0, most):
        at = np.arange(start, min(start + most, int(ends[-1])))
        interval = np.searchsorted(ends, at, side="right")
        yield interval, first[interval] + at - (ends - count)[interval]


def _cut(points: Floats, faces: Integers, row: Integers) -> Pieces:
    """Row by row, where a triangle's two crossing edges are met: first the one that comes down to lower z."""
    down_y, down_x = np.zeros(len(row)), np.zeros(len(row))
    up_y, up_x = np.zeros(len(row)), np.zeros(len(row))
    for corner in range(3):
        start, end = faces[:, corner], faces[:, (corner + 1) % 3]
        behind_start, behind_end = points[start, 0] > row, points[end, 0] > row
        crossing = np.flatnonzero(behind_start != behind_end)
        low, high = np.minimum(start, end)[crossing], np.maximum(start, end)[crossing]
        a, b = points[low], points[high]
        part = (row[crossing] - a[:, 0]) / (b[:, 0] - a[:, 0])
        y, x = (a[:, axis] + part * (b[:, axis] - a[:, axis]) for axis in (1, 2))
        down = behind_start[crossing]
        down_y[crossing[down]], down_x[crossing[down]] = y[down], x[down]
        up_y[crossing[~down]], up_x[crossing[~down]] = y[~down], x[~down]
    return Pieces(z=row, y0=down_y, x0=down_x, y1=up_y, x1=up_x)


class _Rays:
    """Along the rays of some rows of z, where the winding number changes and by how much.

    changes: (z, y, x) int32. first: which row of the grid the first one is.
    """

    def __init__(self, shape: tuple[int, ...], first: int, *, where: str) -> None:
        self.changes = np.zeros(shape, np.int32)
        self._first = first
        self._where = where
        self._left = CROSSINGS_PER_RAY * shape[0] * shape[1]

    def cross(self, pieces: Pieces, *, wound: bool) -> None:
        """Add the crossings of some pieces. Raises CaseError[mesh.too_dense]."""
        _, columns, width = self.changes.shape
        low, high = np.minimum(pieces.y0, pieces.y1), np.maximum(pieces.y0, pieces.y1)
        first = np.clip(np.ceil(low), 0, columns).astype(np.int64)
        last = np.clip(np.ceil(high), 0, columns).astype(np.int64)
        self._spend(int((last - first).sum()))
        for piece, column in _spread(first, last - first, MOST_CROSSINGS):
            y0, y1, x0, x1 = (part[piece] for part in (pieces.y0, pieces.y1, pieces.x0, pieces.x1))
            voxel = np.ceil(x0 + (column - y0) / (y1 - y0) * (x1 - x0))
            seen = voxel < width
            row = pieces.z[piece] - self._first
            place = (row * columns + column) * width + np.clip(voxel, 0, width - 1).astype(np.int64)
            change = np.where(y1 > y0, 1, -1) if wound else np.ones(len(piece), np.int64)
            np.add.at(self.changes.reshape(-1), place[seen], change[seen].astype(np.int32))

    def _spend(self, crossings: int) -> None:
        self._left -= crossings
        if self._left < 0:
            raise CaseError(
                "mesh.too_dense",
                where=self._where,
                problem="the surface is crossed far more often than any body is",
                details={"limit": f"{CROSSINGS_PER_RAY} crossings for each ray on average"},
                action="The case is excluded. Look at the surface, its unit and its space.",
            )
