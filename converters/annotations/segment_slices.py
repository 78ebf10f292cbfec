"""The regular grid of slices that the frames of a segmentation lie on; slices without content are often left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medshard.converters.formats.faults import bad_file
from medshard.converters.geometry import affine_from_dicom, pixel_grid_affine
from medshard.converters.volume import Affine
from medshard.errors import CaseError

Vector = tuple[float, ...]
Vectors = NDArray[np.float64]

ORIENTATION_TOLERANCE = 1e-4
# In parts of the slice step, and of a pixel: how far a frame may lie from its place on the even grid.
POSITION_TOLERANCE = 0.1
# A step that no two neighbouring frames show is believed only when the positions meet it this well.
FINER_TOLERANCE = 0.02
# A common divisor of the gaps is looked for down to this part of the smallest gap.
FINEST_PART = 8
# In pixels: frames closer than this lie in one slice.
SAME_PLACE = 0.02
MOST_SLICES = 20_000


@dataclass(frozen=True, kw_only=True)
class PlacedFrame:
    """What a segmentation states of the place of one frame; mm, LPS.

    spacing: between rows, between columns. step: Spacing Between Slices; thickness: Slice Thickness.
    """

    position: Vector | None
    orientation: Vector | None
    spacing: Vector | None
    step: float | None = None
    thickness: float | None = None


@dataclass(frozen=True, kw_only=True)
class SliceGrid:
    """slices: of each frame, its z index in a grid of `count` slices. affine: index (z, y, x, 1) -> RAS+ mm."""

    slices: tuple[int, ...]
    count: int
    affine: Affine
    trusted_geometry: bool = True
    warnings: tuple[str, ...] = ()


def slice_grid(frames: Sequence[PlacedFrame], path: Path) -> SliceGrid:
    """Sort frames along the normal of their planes and find the even spacing that explains every gap.

    The spacing is the stated Spacing Between Slices where all gaps are whole multiples of it, else the smallest gap or
    its largest whole part that divides all gaps; for one slice the stated spacing or thickness.
    Raises CaseError[dicom.no_positions | dicom.no_spacing | dicom.bad_orientation | dicom.mixed_orientation |
    dicom.mixed_grid | dicom.irregular_spacing].
    """
    if not any(frame.position and frame.orientation for frame in frames):
        return _unplaced(frames)
    orientation, spacing = _common_plane(frames, path)
    positions = np.array([frame.position for frame in frames], np.float64)
    along = positions @ np.cross(orientation[:3], orientation[3:])
    order = np.argsort(along, kind="stable")
    new_slice = np.diff(along[order], prepend=-np.inf) > SAME_PLACE * min(spacing)
    place = np.empty(len(frames), np.int64)
    place[order] = np.cumsum(new_slice) - 1
    levels = along[order][new_slice]
    if len(levels) == 1:
        step, warning = _single_step(frames[0])
        vector = np.cross(orientation[:3], orientation[3:]) * step
        index, warnings = np.zeros(1, np.int64), warning
    else:
        index, warnings = _even_index(levels, frames[0], path)
        vector = _fitted_step(positions, index[place])
    first = positions[order[0]] if len(levels) == 1 else (positions - np.outer(index[place], vector)).mean(axis=0)
    count = int(index[-1]) + 1
    if count > MOST_SLICES:
        raise _uneven(path, "the frames lie too far apart", {"slices": count, "most": MOST_SLICES})
    _require_near(positions, first + np.outer(index[place], vector), vector, spacing, path)
    affine = affine_from_dicom(orientation.tolist(), first.tolist(), vector.tolist(), spacing)
    return SliceGrid(slices=tuple(index[place].tolist()), count=count, affine=affine, warnings=warnings)


def _unplaced(frames: Sequence[PlacedFrame]) -> SliceGrid:
    return SliceGrid(
        slices=(0,) * len(frames),
        count=1,
        affine=pixel_grid_affine(),
        trusted_geometry=False,
        warnings=("no position and orientation are stated: the pixel grid is not placed in the patient",),
    )


def _common_plane(frames: Sequence[PlacedFrame], path: Path) -> tuple[Vectors, Vector]:
    """Row and column directions (six numbers) and pixel spacing of all frames."""
    first = frames[0]
    missing = sum(frame.position is None or frame.orientation is None for frame in frames)
    if missing:
        raise _refused("dicom.no_positions", path, "frames state no position", missing=missing, frames=len(frames))
    if any(frame.spacing is None or min(frame.spacing) <= 0 for frame in frames) or first.spacing is None:
        raise _refused("dicom.no_spacing", path, "frames state no pixel spacing", missing="Pixel Spacing")
    stated = _stated(frames)
    if stated.shape != (len(frames), 9) or not np.isfinite(stated).all() or len(first.spacing) != 2:
        raise _refused("read.unreadable", path, "a position or an orientation is not made of finite numbers")
    orientation = stated[0, 3:]
    row, column = orientation[:3], orientation[3:]
    if abs(row @ column) > 1e-3 or max(abs(np.linalg.norm(row) - 1), abs(np.linalg.norm(column) - 1)) > 1e-3:
        raise _refused(
            "dicom.bad_orientation",
            path,
            "rows and columns are not perpendicular unit vectors",
            found=first.orientation,
        )
    if np.abs(stated[:, 3:] - orientation).max() > ORIENTATION_TOLERANCE:
        raise _refused("dicom.mixed_orientation", path, "the frames do not lie in parallel planes", frames=len(frames))
    if any(frame.spacing != first.spacing for frame in frames):
        raise _refused("dicom.mixed_grid", path, "the frames differ in pixel spacing", frames=len(frames))
    return orientation, first.spacing


def _stated(frames: Sequence[PlacedFrame]) -> Vectors:
    """Position and orientation of each frame, nine numbers; of none, where they are not three and six."""
    rows = [(*(frame.position or ()), *(frame.orientation or ())) for frame in frames]
    whole = all(len(frame.position or ()) == 3 for frame in frames) and {len(row) for row in rows} == {9}
    return np.array(rows if whole else [], np.float64)


def _single_step(frame: PlacedFrame) -> tuple[float, tuple[str, ...]]:
    stated = next((value for value in (frame.step, frame.thickness) if value), None)
    if stated is None:
        return 1.0, ("one slice without a stated spacing or thickness: 1 mm is assumed",)
    return stated, ()


def _even_index(levels: Vectors, frame: PlacedFrame, path: Path) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The number of each level, counted from the first in even steps."""
    gaps = np.diff(levels)
    if frame.step:
        index = _multiples(levels, frame.step, POSITION_TOLERANCE)
        if index is not None:
            return index, ()
    smallest = float(gaps.min())
    for part in range(1, FINEST_PART + 1):
        index = _multiples(levels, smallest / part, POSITION_TOLERANCE if part == 1 else FINER_TOLERANCE)
        if index is not None:
            return index, _doubts(frame, float(levels[-1] - levels[0]) / float(index[-1]))
    raise _uneven(
        path,
        "no even spacing explains the positions of the frames",
        {"slices": len(levels), "smallest gap": f"{smallest:.4f} mm", "largest gap": f"{gaps.max():.4f} mm"},
    )


def _multiples(levels: Vectors, step: float, tolerance: float) -> NDArray[np.int64] | None:
    """Levels as whole numbers of steps; None where they are none. The step is refined by the levels themselves."""
    counts = np.rint(np.diff(levels) / step)
    if counts.min() < 1 or counts.sum() > MOST_SLICES:
        return None
    index = np.concatenate([[0.0], np.cumsum(counts)])
    fitted = np.polyfit(index, levels, 1)
    deviation = np.abs(levels - np.polyval(fitted, index)).max()
    if abs(fitted[0] - step) > 0.05 * step or deviation > tolerance * step:
        return None
    return index.astype(np.int64)


def _doubts(frame: PlacedFrame, step: float) -> tuple[str, ...]:
    stated = frame.step or frame.thickness
    if not stated or abs(stated - step) <= POSITION_TOLERANCE * step:
        return ()
    field = "Spacing Between Slices" if frame.step else "Slice Thickness"
    return (f"the positions of the frames are {step:.4f} mm apart, {field} says {stated:.4f} mm; positions are taken",)


def _fitted_step(positions: Vectors, index: NDArray[np.int64]) -> Vectors:
    """The vector from slice to slice that fits all positions best."""
    centred = index - index.mean()
    step: Vectors = centred @ (positions - positions.mean(axis=0)) / float(centred @ centred)
    return step


def _require_near(positions: Vectors, places: Vectors, step: Vectors, spacing: Vector, path: Path) -> None:
    away = float(np.linalg.norm(positions - places, axis=1).max())
    allowed = POSITION_TOLERANCE * min(float(np.linalg.norm(step)), *spacing)
    if away > allowed:
        raise _uneven(
            path,
            "the frames do not lie on one line",
            {"farthest from it": f"{away:.4f} mm", "allowed": f"{allowed:.4f} mm"},
        )


def _uneven(path: Path, problem: str, details: dict[str, object]) -> CaseError:
    return bad_file("dicom.irregular_spacing", path, problem, details=details)


def _refused(code: str, path: Path, problem: str, **details: object) -> CaseError:
    return bad_file(code, path, problem, details=details)
