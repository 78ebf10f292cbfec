"""Where the voxels of a NRRD file lie.

Source: teem, "Definition of NRRD file format", section 5.3; SimpleITK decides where the definition leaves a choice:
`scanner-xyz` and the unnamed spaces count as LPS, and a position without a space is LPS too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.lps_geometry import lps_affine
from medshard.converters.geometry import pixel_grid_affine
from medshard.converters.volume import Affine

Vector = tuple[float, ...]

TO_LPS = {
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
}
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?nan|[+-]?inf", re.ASCII | re.IGNORECASE)

SPACING_ONLY = "no space is stated: spacing is known, orientation and position are assumed"
SPACING_IN_SPACE = "a space is stated without directions: spacing is known, orientation is assumed"
NO_ORIGIN = "no position is stated: spacing and orientation are known, the origin is assumed"
OTHER_SPACE = "the space is not one of LPS, RAS and LAS: it is taken as LPS"
OTHER_UNITS = "the space units are not mm: the numbers are taken as mm"
ONE_SLICE = "a single slice in space: its thickness is assumed to be 1 mm"


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """affine: (4, 4), index (z, y, x, 1) -> RAS+ mm. trusted: whether the file states any of it."""

    affine: Affine
    trusted: bool
    warnings: tuple[str, ...]


def directions(path: Path, fields: Mapping[str, str], axes: int) -> tuple[Vector | None, ...] | None:
    """The step along each axis of the file, None for `none`; None where the file states no directions at all."""
    text = fields.get("space directions")
    if text is None:
        return None
    words = re.findall(r"\([^()]*\)|[^\s()]+", text)
    steps = tuple(None if word.lower() == "none" else _vector(path, word, "space directions") for word in words)
    lengths = {len(step) for step in steps if step is not None}
    if len(steps) != axes or len(lengths) > 1 or not lengths <= {2, 3, 4}:
        raise bad_file(
            "read.unreadable",
            path,
            "space directions are not one vector, or none, for each axis",
            details={"axes": axes, "found": len(steps)},
        )
    # A vector of nothing but nan is how some writers say none.
    return tuple(None if step is not None and all(map(math.isnan, step)) else step for step in steps)


def geometry_of(
    path: Path, fields: Mapping[str, str], spatial: Sequence[int], steps: tuple[Vector | None, ...] | None
) -> Geometry:
    """spatial: the axes of the file that are x, y and z; steps: as `directions` gives them."""
    if steps is not None:
        return _from_directions(path, fields, [steps[axis] or () for axis in spatial])
    spacings = _numbers(path, fields, "spacings")
    known = [spacings[axis] if axis < len(spacings) else math.nan for axis in spatial]
    if all(map(math.isnan, known)):
        return Geometry(affine=pixel_grid_affine(), trusted=False, warnings=())
    return _from_spacings(path, fields, spatial, [1.0 if math.isnan(step) else step for step in known])


def _from_directions(path: Path, fields: Mapping[str, str], steps: Sequence[Vector]) -> Geometry:
    signs, warnings = _space(fields)
    matrix = np.zeros((3, 3))
    for axis, step in enumerate(steps):
        matrix[: len(step[:3]), axis] = step[:3]
    if len(steps) == 2:
        matrix[:, 2] = _normal(matrix[:, 0], matrix[:, 1])
        warnings += (ONE_SLICE,) if len(steps[0]) > 2 else ()
    origin = _origin(path, fields)
    warnings += (NO_ORIGIN,) if origin is None else ()
    origin = np.zeros(3) if origin is None else origin
    return Geometry(affine=_affine(path, origin * signs, signs[:, None] * matrix), trusted=True, warnings=warnings)


def _from_spacings(
    path: Path, fields: Mapping[str, str], spatial: Sequence[int], spacings: Sequence[float]
) -> Geometry:
    steps = np.ones(3)
    steps[: len(spacings)] = spacings
    origin = np.zeros(3)
    if "space" in fields or "space dimension" in fields:
        signs, warnings = _space(fields)
        stated = _origin(path, fields)
        origin = origin if stated is None else signs * stated
        return Geometry(
            affine=_affine(path, origin, np.diag(steps)), trusted=True, warnings=(SPACING_IN_SPACE, *warnings)
        )
    lowest = _numbers(path, fields, "axis mins")
    centred = fields.get("centerings", "").lower().split()
    for place, axis in enumerate(spatial):
        if axis < len(lowest) and not math.isnan(lowest[axis]):
            # A minimum is the outer face of the first voxel, unless the samples sit on the nodes.
            on_node = axis < len(centred) and centred[axis] == "node"
            origin[place] = lowest[axis] + (0 if on_node else steps[place] / 2)
    return Geometry(affine=_affine(path, origin, np.diag(steps)), trusted=True, warnings=(SPACING_ONLY,))


def _origin(path: Path, fields: Mapping[str, str]) -> NDArray[np.float64] | None:
    """None where it is not stated, which nan says too."""
    if "space origin" not in fields:
        return None
    stated = _vector(path, fields["space origin"], "space origin")[:3]
    if all(map(math.isnan, stated)):
        return None
    return np.array([*stated, 0.0, 0.0][:3])


def _space(fields: Mapping[str, str]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Signs that turn the stated space into LPS, and what is doubtful about them."""
    name = fields.get("space", "").strip().lower()
    plain = name.removesuffix("-time")
    if plain not in TO_LPS and len(plain) == 4 and plain.endswith("t"):
        plain = plain[:3]
    units = set(re.findall(r'"([^"]*)"', fields.get("space units", "")))
    warnings: tuple[str, ...] = (OTHER_SPACE,) if plain not in TO_LPS else ()
    warnings += (OTHER_UNITS,) if units - {"mm", "", "s", "ms", "???", "none", "millimeter", "millimeters"} else ()
    return np.array(TO_LPS.get(plain, (1, 1, 1)), np.float64), warnings


def _normal(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):
        normal = np.cross(first, second)
        length = float(np.linalg.norm(normal))
        return normal / length if length > 0 else np.zeros(3)


def _affine(path: Path, origin: NDArray[np.float64], matrix: NDArray[np.float64]) -> Affine:
    """From the origin and the columns of x, y and z, LPS mm."""
    return lps_affine(path, origin.tolist(), (1.0, 1.0, 1.0), matrix.ravel().tolist())


def _vector(path: Path, text: str, field: str) -> Vector:
    found = re.fullmatch(r"\(([^()]*)\)", text.strip())
    words = [word.strip() for word in found.group(1).split(",")] if found else []
    if not 1 <= len(words) <= 4 or not all(NUMBER.fullmatch(word) for word in words):
        raise bad_file("read.unreadable", path, "a vector of the header is not one", details={"field": field})
    return tuple(float(word) for word in words)


def _numbers(path: Path, fields: Mapping[str, str], field: str) -> Vector:
    words = fields.get(field, "").split()
    if not all(NUMBER.fullmatch(word) for word in words):
        raise bad_file("read.unreadable", path, "a field of the header is not numbers", details={"field": field})
    return tuple(float(word) for word in words)
