"""The order and the geometry of a stack of DICOM frames.

Frames are sorted by the projection of their position on the slice normal; instance numbers and file names say nothing.
The stack is accepted when every position lies within a tenth of a slice step of an even spacing between the first and
the last one: judged over the whole stack, because a drift hides from a comparison of neighbours. A stack whose step is
not along the normal (gantry tilt) keeps its true, sheared affine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medshard.converters.dicom.frames import Frame, numbers_of
from medshard.converters.dicom.steps import Steps
from medshard.converters.formats.faults import bad_file
from medshard.converters.geometry import affine_from_dicom, pixel_grid_affine
from medshard.converters.volume import Affine, LeadingAxis, spacing_of

# In parts of the slice step; scanners round positions to a tenth of a millimetre or finer.
POSITION_TOLERANCE = 0.1
DUPLICATE_MM = 1e-3
ORIENTATION_TOLERANCE = 1e-3
SPACING_TOLERANCE = 1e-3
# What rounding to hundredths of a millimetre can move the last slice across the normal.
ROUNDING_MM = 0.01
# A shear that moves the last slice by less than this part of a pixel is rounding.
TILT_PIXELS = 0.1

Vectors = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Frames in order.

    order: indices into the frames that were given: all slices of the first step, first slice first, then the next.
    steps: how many there are; leading: what they count, where it is more than one.
    affine: index (z, y, x, 1) -> RAS+ mm.
    """

    order: tuple[int, ...]
    affine: Affine
    trusted_geometry: bool = True
    steps: int = 1
    leading: LeadingAxis | None = None
    warnings: tuple[str, ...] = ()

    @property
    def slices(self) -> int:
        return len(self.order) // self.steps

    def with_warnings(self, more: Sequence[str]) -> Stack:
        return replace(self, warnings=(*self.warnings, *more)) if more else self


def stack_frames(frames: Sequence[Frame], *, in_time: bool) -> Stack:
    """Order frames and state their affine.

    in_time: what several frames without positions are: time points (True) or slices.
    Raises CaseError[dicom.no_positions | dicom.mixed_orientation | dicom.mixed_grid | dicom.duplicate_slices |
    dicom.missing_slices | dicom.irregular_spacing].
    """
    if not any(frame.position is not None and frame.orientation is not None for frame in frames):
        return _unplaced(frames, in_time)
    require_places(frames)
    orientation, spacing = _common_plane(frames)
    positions = np.array([frame.position for frame in frames], np.float64)
    normal = np.cross(orientation[:3], orientation[3:])
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    if len(frames) == 1:
        step, warning = _single_step(frames[0], normal)
        warnings = [warning]
    else:
        _require_even([frames[i] for i in order], positions[order], along[order])
        step = _step(positions[order], normal)
        warnings = _step_warnings(step, normal, spacing, frames)
    affine = affine_from_dicom(orientation.tolist(), positions[order[0]].tolist(), step.tolist(), spacing)
    return Stack(order=tuple(int(i) for i in order), affine=affine, warnings=tuple(warnings))


def require_places(frames: Sequence[Frame]) -> None:
    """Raises CaseError[dicom.no_positions] unless every frame has a position and an orientation."""
    without = [frame for frame in frames if frame.position is None or frame.orientation is None]
    if without:
        raise bad_file(
            "dicom.no_positions",
            without[0].file,
            "some frames of the series state no position",
            details={"frames": len(frames), "without position": len(without)},
        )


def stack_steps(frames: Sequence[Frame], steps: Steps) -> Stack:
    """Frames of several steps: the geometry is that of the first one, and the others must have it too.

    Raises CaseError as `stack_frames` does.
    """
    first = [frames[index] for index in steps.volumes[0]]
    stack = stack_frames(first, in_time=False)
    places = np.array([frame.position for frame in first], np.float64)[list(stack.order)]
    limit = POSITION_TOLERANCE * float(min(spacing_of(stack.affine)))
    for volume in steps.volumes[1:]:
        members = [frames[volume[index]] for index in stack.order]
        away = np.linalg.norm(np.array([frame.position for frame in members], np.float64) - places, axis=1)
        if away.max() > limit:
            worst = int(away.argmax())
            raise bad_file(
                "dicom.irregular_spacing",
                members[worst].file,
                "the volumes of the series do not lie at the same place",
                details={"largest deviation": f"{away[worst]:.3f} mm, at {_place(members[worst])}"},
            )
    return replace(
        stack,
        order=tuple(volume[index] for volume in steps.volumes for index in stack.order),
        steps=len(steps.volumes),
        leading=steps.leading,
        warnings=(*stack.warnings, *steps.notes),
    )


def _unplaced(frames: Sequence[Frame], in_time: bool) -> Stack:
    files = {frame.file for frame in frames}
    if len(files) > 1:
        raise bad_file(
            "dicom.no_positions",
            frames[0].file,
            "the files of the series state no position",
            details={"files": len(files)},
            action="The case is excluded. Describe each file as an image of its own in the catalog.",
        )
    warnings = ("no position and orientation are stated: the pixel grid is not placed in the patient",)
    along_time = in_time and len(frames) > 1
    return Stack(
        order=tuple(range(len(frames))),
        affine=pixel_grid_affine(),
        trusted_geometry=False,
        steps=len(frames) if along_time else 1,
        leading=LeadingAxis(values=_frame_times(frames)) if along_time else None,
        warnings=warnings,
    )


def _frame_times(frames: Sequence[Frame]) -> tuple[float, ...] | None:
    """Seconds from the first frame of a cine (DICOM PS3.3 C.7.6.5: Frame Time and Frame Time Vector are in ms)."""
    dataset = frames[0].source.dataset
    vector, time = (numbers_of((dataset,), "", name) for name in ("FrameTimeVector", "FrameTime"))
    if len(vector) == len(frames):
        return tuple(float(v) for v in np.round(np.cumsum(vector) / 1000, 6))
    if len(time) == 1 and time[0] > 0:
        return tuple(round(number * time[0] / 1000, 6) for number in range(len(frames)))
    return None


def _common_plane(frames: Sequence[Frame]) -> tuple[Vectors, tuple[float, ...]]:
    """The row and column directions (six numbers) and the pixel spacing that all frames share."""
    first = frames[0]
    orientation = np.asarray(first.orientation, np.float64)
    row, column = orientation[:3], orientation[3:]
    if abs(row @ column) > 1e-3 or max(abs(np.linalg.norm(row) - 1), abs(np.linalg.norm(column) - 1)) > 1e-3:
        raise bad_file(
            "dicom.bad_orientation",
            first.file,
            "rows and columns are not perpendicular unit vectors",
            details={"Image Orientation (Patient)": first.orientation},
        )
    for frame in frames:
        if not np.allclose(np.asarray(frame.orientation), orientation, rtol=0, atol=ORIENTATION_TOLERANCE):
            raise bad_file(
                "dicom.mixed_orientation",
                frame.file,
                "the frames of the series do not lie in parallel planes",
                details={first.file.name: first.orientation, frame.file.name: frame.orientation},
                action="The case is excluded. Separate the localiser from the stack.",
            )
        if not np.allclose(frame.pixel_spacing or 0.0, first.pixel_spacing or 0.0, rtol=0, atol=SPACING_TOLERANCE):
            raise bad_file(
                "dicom.mixed_grid",
                frame.file,
                "the frames of the series differ in pixel spacing",
                details={first.file.name: first.pixel_spacing, frame.file.name: frame.pixel_spacing},
            )
    if first.pixel_spacing is None or min(first.pixel_spacing) <= 0:
        raise bad_file(
            "dicom.no_spacing",
            first.file,
            "the frames are placed in the patient, but state no pixel spacing",
            details={"Pixel Spacing": first.pixel_spacing},
        )
    return orientation, first.pixel_spacing


def _require_even(frames: Sequence[Frame], positions: Vectors, along: Vectors) -> None:
    """Raises CaseError unless the sorted positions are evenly spaced."""
    gaps = np.diff(along)
    if gaps.min() < DUPLICATE_MM:
        raise _duplicates(frames, gaps)
    steps = np.linspace(0.0, 1.0, len(frames))[:, None]
    even = positions[0] + steps * (positions[-1] - positions[0])
    deviation_mm = np.linalg.norm(positions - even, axis=1)
    step_mm = float(along[-1] - along[0]) / (len(frames) - 1)
    if deviation_mm.max() <= POSITION_TOLERANCE * step_mm:
        return
    # The lower median: with three slices of which one gap is double, that is the usual gap.
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])
    widest = int(gaps.argmax())
    details: dict[str, object] = {
        "slices": len(frames),
        "usual gap": f"{usual:.3f} mm",
        "widest gap": f"{gaps[widest]:.3f} mm, between {_place(frames[widest])} and {_place(frames[widest + 1])}",
    }
    multiples = np.rint(gaps / usual)
    if (np.abs(gaps / usual - multiples) <= POSITION_TOLERANCE).all() and multiples.min() >= 1 and multiples.max() > 1:
        missing = _missing_positions(positions, multiples)
        details["missing at"] = "; ".join(missing[:5]) + (f"; and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise bad_file(
            "dicom.missing_slices",
            frames[widest].file,
            f"{len(missing)} slices of the stack are missing",
            details=details,
        )
    worst = int(deviation_mm.argmax())
    details["largest deviation"] = f"{deviation_mm[worst]:.3f} mm from even spacing, at {_place(frames[worst])}"
    raise bad_file("dicom.irregular_spacing", frames[widest].file, "the slices are not evenly spaced", details=details)


def _duplicates(frames: Sequence[Frame], gaps: Vectors) -> Exception:
    at = int(gaps.argmin())
    places = 1 + int((gaps >= DUPLICATE_MM).sum())
    details: dict[str, object] = {
        "slices": len(frames),
        "places": places,
        "first pair": f"{_place(frames[at])} and {_place(frames[at + 1])}",
    }
    if len(frames) % places == 0 and places > 1:
        details["remark"] = f"{len(frames) // places} frames a place: several time points, echoes or segments?"
    return bad_file("dicom.duplicate_slices", frames[at].file, "several slices lie at the same place", details=details)


def _missing_positions(positions: Vectors, multiples: Vectors) -> list[str]:
    missing = []
    for index, multiple in enumerate(multiples):
        for part in range(1, int(multiple)):
            x, y, z = positions[index] + (positions[index + 1] - positions[index]) * part / multiple
            missing.append(f"({x:.2f}, {y:.2f}, {z:.2f}) mm LPS")
    return missing


def _single_step(frame: Frame, normal: Vectors) -> tuple[Vectors, str]:
    """The step of a stack of one slice, which no second position tells."""
    for name, value in (
        ("Spacing Between Slices", frame.spacing_between_slices),
        ("Slice Thickness", frame.slice_thickness),
    ):
        if value:
            return normal * abs(value), f"a single slice: its step of {abs(value):g} mm is the {name}"
    return normal, "a single slice without thickness: a step of 1 mm is assumed"


def _step(positions: Vectors, normal: Vectors) -> Vectors:
    """From the first of the sorted positions to the last; along the normal where rounding explains what is across it.

    How far positions are rounded shows in how far they lie beside their line.
    """
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    unit = normal / np.linalg.norm(normal)
    upright = unit * (step @ unit)
    drift = float(np.linalg.norm(step - upright)) * (len(positions) - 1)
    beside = positions - positions[0] - np.arange(len(positions))[:, None] * step
    return upright if drift <= min(ROUNDING_MM, 2 * float(np.abs(beside).max())) else step


def _step_warnings(step: Vectors, normal: Vectors, spacing: Sequence[float], frames: Sequence[Frame]) -> list[str]:
    warnings = []
    across = step - normal * (step @ normal)
    if np.linalg.norm(across) * (len(frames) - 1) > TILT_PIXELS * min(spacing):
        angle = np.degrees(np.arctan2(np.linalg.norm(across), step @ normal))
        warnings.append(
            f"the slices are stacked {angle:.2f} degrees off their normal (gantry tilt); the affine is sheared"
        )
    stated = frames[0].spacing_between_slices
    length = float(np.linalg.norm(step))
    if stated and abs(abs(stated) - length) > POSITION_TOLERANCE * length:
        warnings.append(f"Spacing Between Slices says {abs(stated):g} mm, the positions say {length:.3f} mm")
    return warnings


def _place(frame: Frame) -> str:
    position = ", ".join(f"{value:.2f}" for value in frame.position or ())
    return f"{frame.name} at ({position}) mm LPS"
