"""Where a NIfTI header places its voxels: one rule, and what is done about broken headers.

Rule: the sform where its code is above 0 and it is usable, else the qform where its code is above 0 and it is usable,
else the voxel sizes with nibabel's base affine (x flipped, origin in the centre) and the warning that the orientation
is assumed. That is the choice of nibabel's `get_best_affine`, the oracle; nibabel does not look whether a form is
usable, and knows no units. Micrometres and metres become mm.

A form is usable if its numbers are finite, its axes have a length and span space. Affines here map (x, y, z, 1) to
RAS+ mm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from nibabel.nifti1 import unit_codes

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.nifti_header import NiftiHeader
from medshard.converters.volume import Affine

Sides = tuple[int, int, int]

# One disagreement of sform and qform is worth a warning from a tenth of a voxel on.
FORM_DISAGREEMENT_VOXELS = 0.1
# Angles between axes that rounding to float32 does not make.
SHEAR_DEGREES = 0.05
SPACING_TOLERANCE = 0.01
# Writers round quaternions to a few digits; what is longer than this is no rounded rotation.
LONGEST_QUATERNION = 1.01
QUATERNION_ROUNDING = 1e-5
# The limit of `check_affine`: a form that would fail there is not taken here.
SMALLEST_DETERMINANT = 1e-3
LARGEST_MM = 1e9
SMALLEST_STEP_MM = 1e-9
# No scanner makes a voxel of 10 cm: a header that counts in metres so is in mm, and its unit is wrong.
LARGEST_VOXEL_MM = 100.0
MM_PER_UNIT = {
    unit_codes["meter"]: ("metre", 1000.0),
    unit_codes["mm"]: ("mm", 1.0),
    unit_codes["micron"]: ("micrometre", 0.001),
}


@dataclass(frozen=True, kw_only=True)
class Form:
    """An affine that a header states, or None with the reason why it cannot be used. repairs: what was done to it."""

    affine: Affine | None
    reason: str = ""
    repairs: tuple[str, ...] = ()


def affine_of(header: NiftiHeader, sides: Sides, file: Path) -> tuple[Affine, tuple[str, ...]]:
    """The affine, and what is doubtful about it.

    sides: voxels along (x, y, z). Raises CaseError[geometry.singular] where no form is usable and a voxel size is
    missing.
    """
    warnings: list[str] = []
    sform = _sform(header) if header.sform_code > 0 else None
    qform = _qform(header, sides) if header.qform_code > 0 else None
    usable = []
    for name, form in (("sform", sform), ("qform", qform)):
        if form is not None and form.affine is None:
            warnings.append(f"the {name} is set but {form.reason}; it is not used")
        elif form is not None and form.affine is not None:
            usable.append((name, form, form.affine))
    if not usable:
        affine, repairs = base_affine(header, sides, file)
        warnings += [*repairs, "no form is usable: spacing is known, orientation and position are assumed"]
    else:
        name, form, affine = usable[0]
        warnings += form.repairs
        warnings += _shear_warning(name, affine)
        if name == "sform":
            warnings += _spacing_warning(header, affine)
    if len(usable) == 2:
        warnings += _disagreement(affine, usable[1][2], sides)
    scale, doubts = _mm_per_unit(header, affine)
    return np.diag([scale, scale, scale, 1.0]) @ affine, (*warnings, *doubts)


def base_affine(header: NiftiHeader, sides: Sides, file: Path) -> tuple[Affine, tuple[str, ...]]:
    """Voxel sizes alone: x flipped and the origin in the centre, as nibabel assumes. Raises as `affine_of`."""
    sizes, repairs = _voxel_sizes(header, sides)
    if sizes is None:
        raise bad_file(
            "geometry.singular",
            file,
            "no form places the voxels, and a voxel size is not a positive number",
            details={
                "pixdim": ", ".join(f"{size:g}" for size in header.pixdim[1:4]),
                "qform_code": header.qform_code,
                "sform_code": header.sform_code,
            },
        )
    steps = np.array(sizes) * [-1.0, 1.0, 1.0]
    affine = np.diag([*steps, 1.0])
    affine[:3, 3] = -steps * (np.array(sides) - 1) / 2
    return affine, repairs


def _sform(header: NiftiHeader) -> Form:
    affine = np.eye(4)
    affine[:3] = np.array(header.srow, np.float64).reshape(3, 4)
    reason = _unusable(affine)
    return Form(affine=None if reason else affine, reason=reason)


def _qform(header: NiftiHeader, sides: Sides) -> Form:
    """Rotation from the quaternion (a, b, c, d), steps from pixdim, the third step times qfac. Source: nifti1.h."""
    if not np.isfinite([*header.quatern, *header.qoffset]).all():
        return Form(affine=None, reason="holds something that is no finite number")
    length = math.sqrt(sum(part * part for part in header.quatern))
    if length > LONGEST_QUATERNION:
        return Form(affine=None, reason=f"its quaternion has the length {length:.4g} and is no rotation")
    sizes, repairs = _voxel_sizes(header, sides)
    if sizes is None:
        return Form(affine=None, reason="a voxel size is not a positive number")
    if length > 1 + QUATERNION_ROUNDING:
        repairs = (*repairs, f"the quaternion has the length {length:.6f}; made a unit one")
    parts = np.array(header.quatern, np.float64) / max(1.0, length)
    affine = np.eye(4)
    qfac = -1.0 if header.pixdim[0] < 0 else 1.0
    if header.pixdim[0] not in (-1.0, 0.0, 1.0):
        repairs = (*repairs, f"qfac, pixdim[0], is neither 1 nor -1; taken as {qfac:.0f}")
    affine[:3, :3] = _rotation(math.sqrt(max(0.0, 1.0 - float(parts @ parts))), *parts) * [*sizes[:2], sizes[2] * qfac]
    affine[:3, 3] = header.qoffset
    reason = _unusable(affine)
    return Form(affine=None if reason else affine, reason=reason, repairs=repairs)


def _rotation(a: float, b: float, c: float, d: float) -> Affine:
    """The (3, 3) rotation of a unit quaternion. Source: nifti1.h, section on method 2."""
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )


def _voxel_sizes(header: NiftiHeader, sides: Sides) -> tuple[tuple[float, float, float] | None, tuple[str, ...]]:
    """pixdim as positive numbers along (x, y, z), None if one is missing; and what was done to get them."""
    repairs = []
    sizes = []
    for axis, size, side in zip("xyz", header.pixdim[1:4], sides, strict=True):
        usable = math.isfinite(size) and SMALLEST_STEP_MM <= abs(size) <= LARGEST_MM
        if not usable and side > 1:
            return None, ()
        if not usable:
            repairs.append(f"no voxel size is stated along {axis}, which has one voxel; taken as 1")
        elif size < 0:
            repairs.append(f"the voxel size along {axis} is negative; its sign is ignored")
        sizes.append(abs(size) if usable else 1.0)
    return (sizes[0], sizes[1], sizes[2]), tuple(repairs)


def _unusable(affine: Affine) -> str:
    """Why a form cannot place voxels; empty if it can."""
    if not np.isfinite(affine).all():
        return "holds something that is no finite number"
    if not affine[:3, :3].any():
        return "is all zeros"
    lengths = np.linalg.norm(affine[:3, :3], axis=0) if np.abs(affine).max() <= LARGEST_MM else np.zeros(3)
    if lengths.min() < SMALLEST_STEP_MM or abs(np.linalg.det(affine[:3, :3] / lengths)) <= SMALLEST_DETERMINANT:
        return "is singular"
    return ""


def _disagreement(chosen: Affine, other: Affine, sides: Sides) -> list[str]:
    corners = np.array([(*corner, 1.0) for corner in product(*((0.0, n - 1.0) for n in sides))])
    apart_mm = (corners @ (other - chosen).T)[:, :3]
    apart = float(np.abs(np.linalg.solve(chosen[:3, :3], apart_mm.T)).max())
    if apart <= FORM_DISAGREEMENT_VOXELS:
        return []
    return [f"sform and qform disagree by {apart:.1f} voxels at a corner; the sform is used"]


def _shear_warning(name: str, affine: Affine) -> list[str]:
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosines = axes.T @ axes - np.eye(3)
    degrees = math.degrees(math.asin(min(1.0, float(np.abs(cosines).max()))))
    return [f"the axes of the {name} are {degrees:.2f} degrees off a right angle; kept as stated"] * (
        degrees > SHEAR_DEGREES
    )


def _spacing_warning(header: NiftiHeader, affine: Affine) -> list[str]:
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    stated = np.abs(np.array(header.pixdim[1:4], np.float64))
    if not (np.isfinite(stated).all() and (stated > 0).all()):
        return ["a voxel size in pixdim is not a positive number; that of the sform is used"]
    if (np.abs(stated / lengths - 1) <= SPACING_TOLERANCE).all():
        return []
    said, used = ("x".join(f"{size:.4g}" for size in sizes) for sizes in (stated, lengths))
    return [f"pixdim says voxels of {said}, the sform {used}; the sform is used"]


def _mm_per_unit(header: NiftiHeader, affine: Affine) -> tuple[float, tuple[str, ...]]:
    code = header.xyzt_units & 7
    if code == 0:
        return 1.0, ()
    if code not in MM_PER_UNIT:
        return 1.0, (f"the unit of length has the unknown code {code}; mm is assumed",)
    unit, scale = MM_PER_UNIT[code]
    if scale == 1.0:
        return 1.0, ()
    if scale * float(np.linalg.norm(affine[:3, :3], axis=0).max()) > LARGEST_VOXEL_MM:
        return 1.0, (f"the unit {unit} would make voxels of more than {LARGEST_VOXEL_MM:g} mm; mm is assumed",)
    return scale, (f"the header counts in the unit {unit}; converted to mm",)
