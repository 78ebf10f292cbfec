"""Segments on the grid of the image that they were drawn on; voxels are moved, never interpolated.

A segmentation often stores only the slices that have content, in an orientation of its own, and sometimes only a part
of each slice. It belongs to an image when every slice with content falls on voxels of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medshard.converters.annotations.segments import SegmentedImage
from medshard.converters.spooling import IN_MEMORY, Spool, is_spooled, release_pages
from medshard.converters.volume import Affine, Array
from medshard.errors import CaseError

# In voxels of the image: how far a corner of a slice may lie from the voxel that it falls on.
PLACE_TOLERANCE = 0.02


@dataclass(frozen=True, kw_only=True)
class _Turn:
    """How a slice of the segments lies in the image.

    along: the image axis across it; rows, columns: the image axis that its own rows (y) and columns (x) count along,
    and whether backwards.
    """

    along: int
    rows: int
    columns: int
    rows_flipped: bool
    columns_flipped: bool

    def turned(self, planes: Array) -> Array:
        """(c, y, x) as (c, first, second) of the two remaining image axes, in rising order."""
        flipped = planes[:, :: -1 if self.rows_flipped else 1, :: -1 if self.columns_flipped else 1]
        return flipped if self.rows < self.columns else flipped.swapaxes(1, 2)


def on_image_grid(
    segmented: SegmentedImage, image_shape: tuple[int, int, int], image_affine: Affine, *, spool: Spool = IN_MEMORY
) -> SegmentedImage:
    """The same segments as an array of the image's shape, with the image's affine.

    Slices may be a part of the image's, permuted or flipped, and may be cut out of it in plane; slices without content
    may lie anywhere. Segments without geometry are placed when they have the image's shape, with a warning.
    Raises CaseError[geometry.mismatch] when content does not fall on voxels of the image within PLACE_TOLERANCE.
    """
    if not segmented.trusted_geometry:
        return _by_shape(segmented, image_shape, image_affine)
    relative = np.linalg.inv(image_affine) @ segmented.affine
    turn = _turn(relative, segmented, image_shape)
    filled = _filled_slices(segmented.array)
    if segmented.shape == image_shape and np.abs(_corners(relative, image_shape)).max() <= PLACE_TOLERANCE:
        return replace(segmented, affine=image_affine)
    places = _places(relative, filled, segmented, image_shape)
    target = spool.empty((segmented.array.shape[0], *image_shape), segmented.array.dtype)
    if not is_spooled(target):
        target.fill(0)
    slices = np.moveaxis(target, turn.along + 1, 1)
    for number, place in zip(filled, places, strict=True):
        first, second = (place[axis] for axis in range(3) if axis != turn.along)
        planes = turn.turned(segmented.array[:, number])
        if not 0 <= place[turn.along] < image_shape[turn.along]:
            lost = int(np.count_nonzero(planes))
            raise _mismatch(segmented, image_shape, "segments reach beyond the image", {"voxels outside": lost})
        _put(slices[:, place[turn.along]], planes, (first, second), segmented, image_shape)
        release_pages(segmented.array)
        release_pages(target)
    empty = () if filled else ("no segment has any voxel",)
    return replace(segmented, array=target, affine=image_affine, warnings=(*segmented.warnings, *empty))


def _by_shape(segmented: SegmentedImage, shape: tuple[int, int, int], affine: Affine) -> SegmentedImage:
    if segmented.shape != shape:
        raise _mismatch(segmented, shape, "the segments state no geometry and have another shape than the image", {})
    note = "the segments state no geometry and were placed on the image by their shape alone"
    return replace(segmented, affine=affine, warnings=(*segmented.warnings, note))


def _turn(relative: Affine, segmented: SegmentedImage, shape: tuple[int, int, int]) -> _Turn:
    """Raises CaseError[geometry.mismatch] unless rows and columns of the segments step from voxel to voxel."""
    steps = relative[:3, 1:3]
    units = np.rint(steps)
    ones = (np.abs(units).sum(axis=0) == 1).all() and (np.abs(units).sum(axis=1) <= 1).all()
    if not ones:
        evidence: dict[str, object] = {
            "one row of the segments, in voxels of the image (z, y, x)": _listed(steps[:, 0]),
            "one column of them": _listed(steps[:, 1]),
        }
        raise _mismatch(segmented, shape, "the segments' voxels are not the image's in size or direction", evidence)
    rows, columns = (int(axis) for axis in np.abs(units).argmax(axis=0))
    return _Turn(
        along=3 - rows - columns,
        rows=rows,
        columns=columns,
        rows_flipped=bool(units[rows, 0] < 0),
        columns_flipped=bool(units[columns, 1] < 0),
    )


def _filled_slices(array: Array) -> list[int]:
    filled = []
    for number in range(array.shape[1]):
        if array[:, number].any():
            filled.append(number)
        release_pages(array)
    return filled


def _places(
    relative: Affine, filled: Sequence[int], segmented: SegmentedImage, shape: tuple[int, int, int]
) -> list[tuple[int, int, int]]:
    """Of each slice, the image index (z, y, x) of its lowest corner.

    Raises CaseError[geometry.mismatch] when corners do not fall on voxels, or two slices on one.
    """
    _, rows, columns = segmented.shape
    units = np.rint(relative[:3, 1:3])
    inside = np.array([[r, c] for r in (0, rows - 1) for c in (0, columns - 1)], np.float64)
    places: list[tuple[int, int, int]] = []
    worst, off = 0.0, 0
    for number in filled:
        start = relative[:3, 3] + number * relative[:3, 0]
        exact = start + inside @ relative[:3, 1:3].T
        rounded = np.rint(start) + inside @ units.T
        deviation = float(np.abs(exact - rounded).max())
        worst, off = max(worst, deviation), off + (deviation > PLACE_TOLERANCE)
        z, y, x = rounded.min(axis=0).astype(np.int64).tolist()
        places.append((z, y, x))
    if off:
        evidence: dict[str, object] = {
            "slices with content": len(filled),
            "off the image's voxels": off,
            "farthest": f"{worst:.3f} voxel, allowed {PLACE_TOLERANCE}",
        }
        raise _mismatch(segmented, shape, "slices of the segments lie between voxels of the image", evidence)
    if len(set(places)) < len(places):
        raise _mismatch(segmented, shape, "several slices of the segments fall on one of the image", {})
    return places


def _put(
    plane: Array, content: Array, start: tuple[int, int], segmented: SegmentedImage, shape: tuple[int, int, int]
) -> None:
    """Write (c, first, second) into an image plane at `start`; what is cut off at the edges has to be empty."""
    height, width = content.shape[1:]
    top, left = max(0, -start[0]), max(0, -start[1])
    bottom = min(height, plane.shape[1] - start[0])
    right = min(width, plane.shape[2] - start[1])
    kept = content[:, top : max(top, bottom), left : max(left, right)]
    lost = int(np.count_nonzero(content)) - int(np.count_nonzero(kept))
    if lost:
        raise _mismatch(segmented, shape, "segments reach beyond the image", {"voxels outside": lost})
    plane[:, start[0] + top : start[0] + top + kept.shape[1], start[1] + left : start[1] + left + kept.shape[2]] = kept


def _corners(relative: Affine, shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """How far each corner of one grid lies from that of the other, in voxels."""
    ends = np.array(np.meshgrid(*[(0, size - 1) for size in shape], indexing="ij"), np.float64).reshape(3, -1)
    moved: NDArray[np.float64] = relative[:3, :3] @ ends + relative[:3, 3:] - ends
    return moved


def _listed(vector: NDArray[np.float64]) -> str:
    return ", ".join(f"{value:.4f}" for value in vector)


def _mismatch(
    segmented: SegmentedImage, shape: tuple[int, int, int], problem: str, evidence: dict[str, object]
) -> CaseError:
    details: dict[str, object] = {
        "segments (z, y, x)": segmented.shape,
        "image (z, y, x)": shape,
        **evidence,
    }
    return CaseError(
        "geometry.mismatch",
        where="segments",
        problem=problem,
        details=details,
        action="The case is excluded. Check that the segments were drawn on this image.",
    )
