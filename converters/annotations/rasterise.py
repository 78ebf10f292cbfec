"""Outlines to voxels.

A voxel belongs to a region when its centre lies inside the outlines of its slice, by the even-odd rule: an outline
inside another one is a hole. Edges are half open: a centre on the lower or left side of a polygon is inside, one on its
upper or right side is not (rows and columns counted upwards), so polygons that share an edge neither overlap nor leave
a gap. Nothing is interpolated between slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from medshard.converters.annotations.segments import OutlinedRegion, OutlineSet
from medshard.converters.volume import Affine
from medshard.errors import CaseError

Points = NDArray[np.float64]

# Indices are rounded to this many decimals, so that a vertex on a voxel's centre stays there through the arithmetic.
INDEX_DECIMALS = 6
# In slices: how far the points of one outline may leave a common plane of the grid.
FLATNESS = 0.5
# In slices: outlines closer than this lie in one plane, and farther than this from a slice they are reported.
ONE_PLANE = 0.02
BETWEEN_SLICES = 0.1
# Where points end that are farther away than any image reaches.
FARTHEST = 1e8
# Crossings of edges and rows that are worked on at once.
CROSSINGS_AT_ONCE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class DrawingReport:
    """Counts of the outlines of one region.

    outlines: of the region; drawn: of them; slices: that were drawn in. Not drawn: oblique to the slices; outside of
    the image; crowded, where another plane is nearer to the slice; repeated, point by point. Drawn all the same:
    between slices, in the nearest one; beyond the image's edge, as far as the image goes; without any voxel's centre.
    skipped_slices: slices without an outline between slices with one. stride: n where only every nth slice has one.
    """

    outlines: int = 0
    drawn: int = 0
    slices: int = 0
    oblique: int = 0
    outside: int = 0
    crowded: int = 0
    repeated: int = 0
    between: int = 0
    beyond: int = 0
    without_centre: int = 0
    skipped_slices: int = 0
    stride: int = 1

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for each kind of doubt; numbers only."""
        sentences = (
            (self.oblique, "outlines are oblique to the image's slices and not drawn"),
            (self.outside, "outlines lie outside of the image and are not drawn"),
            (self.crowded, "outlines are not drawn: another plane of outlines is nearer to the slice"),
            (self.repeated, "outlines are stated twice and drawn once"),
            (self.between, "outlines lie between slices and are drawn in the nearest"),
            (self.beyond, "outlines reach beyond the edge of the image"),
            (self.without_centre, "outlines enclose no voxel's centre"),
            (self.skipped_slices, f"slices between outlined ones have no outline{self._rhythm}"),
        )
        return tuple(f"{count} {what} (of {self.outlines} outlines)" for count, what in sentences if count)

    @property
    def _rhythm(self) -> str:
        return f": only every {_ordinal(self.stride)} slice has" if self.stride > 1 else ""


@dataclass(frozen=True, kw_only=True)
class DrawnRegion:
    """mask: (z, y, x) booleans on the image's grid."""

    mask: NDArray[np.bool_]
    report: DrawingReport


@dataclass(kw_only=True)
class _Slice:
    """The outlines that belong to one slice: (n, 2) indices (row, column), and how far each lies from the slice."""

    polygons: list[Points] = field(default_factory=list)
    offsets: list[float] = field(default_factory=list)


def rasterise(outlines: OutlineSet, region: OutlinedRegion, shape: tuple[int, int, int], affine: Affine) -> DrawnRegion:
    """Draw one region of a set on the grid of an image; any axis of the image may be the one that slices are along.

    shape, affine: of the image, (z, y, x) and index (z, y, x, 1) -> RAS+ mm. Of outlines in index space the affine is
    not used. A region without outlines is empty.
    Raises CaseError[geometry.mismatch] when there are outlines and none lies in a slice of the image.
    """
    indices = [_indices(outline.points, outlines.space, affine) for outline in region.outlines]
    axis = _slice_axis(indices)
    size = shape[axis]
    slices: dict[int, _Slice] = {}
    oblique = outside = between = 0
    for points in indices:
        along = points[:, axis]
        middle = float(along.min() + along.max()) / 2
        number = int(np.clip(np.ceil(middle - 0.5), -1, size))
        if np.ptp(along) > FLATNESS:
            oblique += 1
        elif not 0 <= number < size:
            outside += 1
        else:
            between += abs(middle - number) > BETWEEN_SLICES
            here = slices.setdefault(number, _Slice())
            here.polygons.append(np.delete(points, axis, axis=1))
            here.offsets.append(middle - number)
    if indices and not slices:
        raise _off_grid(region, len(indices), oblique, outside)
    mask = np.zeros(shape, np.bool_)
    planes = np.moveaxis(mask, axis, 0)
    crowded = repeated = beyond = without = drawn = 0
    for number, here in sorted(slices.items()):
        nearest = _nearest_plane(here)
        polygons = _once(nearest)
        crowded += len(here.polygons) - len(nearest)
        repeated += len(nearest) - len(polygons)
        drawn += len(polygons)
        for polygon in polygons:
            beyond += _reaches_beyond(polygon, planes[number].shape)
        without += _draw(planes[number], polygons)
    skipped, stride = _rhythm(sorted(slices))
    return DrawnRegion(
        mask=mask,
        report=DrawingReport(
            outlines=len(indices),
            drawn=drawn,
            slices=len(slices),
            oblique=oblique,
            outside=outside,
            crowded=crowded,
            repeated=repeated,
            between=between,
            beyond=beyond,
            without_centre=without,
            skipped_slices=skipped,
            stride=stride,
        ),
    )


def fill_polygons(plane: NDArray[np.bool_], polygons: Sequence[Points]) -> None:
    """Turn over every pixel of a plane (rows, columns) that lies in an odd number of polygons.

    polygons: (n, 2) indices (row, column), closed by themselves.
    """
    starts = np.concatenate(polygons)
    ends = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in polygons])
    upwards = (starts[:, 0] <= ends[:, 0])[:, None]
    # From its lower end, whichever way round the polygon runs: a shared edge then crosses each row at the same place.
    low, high = np.where(upwards, starts, ends), np.where(upwards, ends, starts)
    rows, columns = plane.shape
    first = np.clip(np.ceil(low[:, 0]), 0, rows).astype(np.int64)
    last = np.clip(np.ceil(high[:, 0]), 0, rows).astype(np.int64)
    crossed = np.flatnonzero(last > first)
    if not len(crossed):
        return
    low, high, first, last = low[crossed], high[crossed], first[crossed], last[crossed]
    bottom, top = int(first.min()), int(last.max())
    width = int(np.clip(np.ceil(max(low[:, 1].max(), high[:, 1].max())), 0, columns))
    turns = np.zeros((top - bottom, width + 1), np.bool_)
    slope = (high[:, 1] - low[:, 1]) / (high[:, 0] - low[:, 0])
    for block in _blocks(last - first):
        count = (last - first)[block]
        edge = np.repeat(np.arange(block.start, block.stop), count)
        row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[edge]
        column = low[edge, 1] + (row - low[edge, 0]) * slope[edge]
        entered = np.clip(np.ceil(column), 0, width).astype(np.int64)
        places, times = np.unique((row - bottom) * (width + 1) + entered, return_counts=True)
        turns.reshape(-1)[places[times % 2 == 1]] ^= True
    inside = np.logical_xor.accumulate(turns[:, :width], axis=1)
    plane[bottom:top, :width] ^= inside


def _blocks(counts: NDArray[np.int64]) -> list[slice]:
    """Runs of edges with about CROSSINGS_AT_ONCE crossings each."""
    marks = np.cumsum(counts) // CROSSINGS_AT_ONCE
    starts = [0, *(np.flatnonzero(np.diff(marks)) + 1).tolist(), len(counts)]
    return [slice(start, stop) for start, stop in pairwise(starts) if stop > start]


def _indices(points: Points, space: str, affine: Affine) -> Points:
    """Points as (z, y, x) of the image.

    Written out by element: a matrix product may round one and the same point differently in two polygons.
    """
    if space == "ras-mm":
        inverse = np.linalg.inv(affine)
        x, y, z = points.T
        columns = [row[0] * x + row[1] * y + row[2] * z + row[3] for row in inverse[:3]]
        points = np.stack(columns, axis=1)
    near: Points = np.clip(np.nan_to_num(points, nan=-FARTHEST), -FARTHEST, FARTHEST)
    return near.round(INDEX_DECIMALS)


def _slice_axis(indices: Sequence[Points]) -> int:
    """The axis along which the outlines extend least."""
    if not indices:
        return 0
    extents = np.array([np.ptp(points, axis=0) for points in indices])
    return int(np.argmin(np.median(np.round(extents, 3), axis=0)))


def _nearest_plane(here: _Slice) -> list[Points]:
    """The outlines of the plane nearest to the slice; of two equally near ones the lower."""
    nearest = min(here.offsets, key=lambda offset: (round(abs(offset), INDEX_DECIMALS), offset))
    together = zip(here.polygons, here.offsets, strict=True)
    return [polygon for polygon, offset in together if abs(offset - nearest) <= ONE_PLANE]


def _once(polygons: Sequence[Points]) -> list[Points]:
    """Each polygon once: two equal ones would undo each other."""
    return list({polygon.tobytes(): polygon for polygon in polygons}.values())


def _reaches_beyond(polygon: Points, shape: tuple[int, ...]) -> bool:
    return bool((polygon < -0.5).any() or (polygon > np.array(shape) - 0.5).any())


def _draw(plane: NDArray[np.bool_], polygons: Sequence[Points]) -> int:
    """Draw the polygons of one slice. Returns how many of them hold no centre."""
    small = [polygon for polygon in polygons if np.ptp(polygon, axis=0).min() < 2]
    without = 0
    for polygon in small:
        low = np.floor(polygon.min(axis=0))
        probe = np.zeros(np.minimum(np.ptp(polygon, axis=0) + 3, plane.shape).astype(int), np.bool_)
        fill_polygons(probe, [polygon - low])
        without += not probe.any()
    fill_polygons(plane, polygons)
    return without


def _rhythm(numbers: Sequence[int]) -> tuple[int, int]:
    """(slices without an outline between outlined ones, the common step of the outlined ones)."""
    gaps = np.diff(numbers)
    return int((gaps - 1).sum()), int(np.gcd.reduce(gaps)) if len(gaps) > 1 else 1


def _ordinal(number: int) -> str:
    return {2: "2nd", 3: "3rd"}.get(number, f"{number}th")


def _off_grid(region: OutlinedRegion, count: int, oblique: int, outside: int) -> CaseError:
    return CaseError(
        "geometry.mismatch",
        where=f"region {region.number}",
        problem="no outline lies in a slice of the image",
        details={"outlines": count, "oblique to the slices": oblique, "outside of the image": outside},
        action="The case is excluded. Check that outlines and image belong together.",
    )
