"""Diffusion weighting of MR frames: b-value and gradient direction, from the standard's attributes or the makers' own.

Directions are in the patient's axes (LPS, as DICOM states them). GE states its own in the axes of the image; they are
turned here. Oracle: the `.bval` of dcm2niix.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from medshard.converters.dicom.functional_groups import nearest_groups
from medshard.converters.dicom.private_elements import private_numbers, private_value
from medshard.converters.dicom.values import items, numbers, text, texts
from medshard.converters.formats.faults import BAD_FILE

Direction = tuple[float, float, float]

MOST_B = 100_000.0
SIEMENS = ("SIEMENS MR HEADER",)
SIEMENS_CSA = ("SIEMENS CSA HEADER",)
GE = ("GEMS_PARM_01",)
GE_ACQUISITION = ("GEMS_ACQU_01",)
GE_FLAG = 1_000_000_000
PHILIPS = ("Philips Imaging DD 001", "PHILIPS IMAGING DD 001")
PHILIPS_MR = ("Philips MR Imaging DD 001",)
UIH = ("Image Private Header",)
TOSHIBA = ("TOSHIBA", "CANON")
# Toshiba's comment, such as b=1500(0.445,0.000,0.895). Only these numbers are read from it.
TOSHIBA_COMMENT = re.compile(r"^b=(\d{1,6})(?:\.\d*)?(?:\((-?[\d.]{1,8}),(-?[\d.]{1,8}),(-?[\d.]{1,8})\))?$")


@dataclass(frozen=True, kw_only=True)
class Diffusion:
    """b_value_s_mm2; direction: unit vector in the patient's LPS, None for b = 0, isotropic weighting or unstated."""

    b_value_s_mm2: float
    direction: Direction | None = None


def diffusion(dataset: Any, number: int = 0) -> Diffusion | None:
    """Of one frame (from 0); None where the header states none.

    A b-value of 0 in a gradient echo is none: makers write it into every image.
    """
    stated = (_standard(dataset, number), *(private(dataset) for private in (_siemens, _ge, _philips, _uih, _toshiba)))
    for b_value, direction in filter(None, stated):
        if not math.isfinite(b_value) or not 0.0 <= b_value <= MOST_B:
            continue
        if b_value == 0.0 and _is_gradient_echo(dataset):
            return None
        return Diffusion(b_value_s_mm2=b_value, direction=_unit(direction) if b_value else None)
    return None


def is_silent_without_weighting(dataset: Any) -> bool:
    """Whether the maker states b-values of weighted images only, so that one without beside them has b = 0."""
    return (text(dataset, "Manufacturer") or "").upper().startswith(TOSHIBA)


def _is_gradient_echo(dataset: Any) -> bool:
    words = texts(dataset, "ScanningSequence")
    return "GR" in words and "SE" not in words


def _unit(direction: tuple[float, ...] | None) -> Direction | None:
    if direction is None or len(direction) != 3 or not all(map(math.isfinite, direction)):
        return None
    length = math.hypot(*direction)
    if length < 0.1:
        return None
    x, y, z = (part / length for part in direction)
    return x, y, z


Stated = tuple[float, tuple[float, ...] | None] | None


def _standard(dataset: Any, number: int) -> Stated:
    """MR Diffusion macro of the frame (DICOM PS3.3 C.8.13.5.9), or the same attributes of a single frame."""
    for group in _groups(dataset, number):
        b_value = numbers(group, "DiffusionBValue")
        directed = text(group, "DiffusionDirectionality")
        if not b_value:
            if directed == "NONE":
                return 0.0, None
            continue
        nested = items(group, "DiffusionGradientDirectionSequence")
        direction = numbers(nested[0] if nested else group, "DiffusionGradientOrientation")
        if directed in ("ISOTROPIC", "NONE"):
            return b_value[0], None
        return b_value[0], direction or _ge_direction(dataset)
    return None


def _groups(dataset: Any, number: int) -> Iterator[Any]:
    for place in nearest_groups(dataset, number):
        yield from items(place, "MRDiffusionSequence")[:1]
    yield dataset


def _siemens(dataset: Any) -> Stated:
    b_value = private_numbers(dataset, 0x0019, SIEMENS, 0x0C, "IS")
    if b_value:
        return b_value[0], private_numbers(dataset, 0x0019, SIEMENS, 0x0E, "FD") or None
    raw = private_value(dataset, 0x0029, SIEMENS_CSA, 0x10)
    if not isinstance(raw, bytes) or b"B_value" not in raw:
        return None
    tags = _csa_tags(raw)
    stated = tags.get("B_value", ())
    return (stated[0], tags.get("DiffusionGradientDirection")) if stated else None


def _csa_tags(raw: bytes) -> dict[str, tuple[float, ...]]:
    """The two elements about diffusion of a Siemens CSA header; empty where it cannot be read."""
    from nibabel.nicom import csareader  # noqa: PLC0415  # slow to import, and only Siemens needs it

    try:
        tags = csareader.read(raw)["tags"]
        return {
            name: tuple(float(item) for item in tags[name]["items"])
            for name in ("B_value", "DiffusionGradientDirection")
            if name in tags
        }
    except BAD_FILE:
        return {}


def _ge(dataset: Any) -> Stated:
    """The first of four numbers; a billion is added where the b-values of a shell differ."""
    numbers = private_numbers(dataset, 0x0043, GE, 0x39, "IS")
    if not numbers:
        return None
    b_value = numbers[0] % GE_FLAG if numbers[0] >= GE_FLAG else numbers[0]
    return b_value, _ge_direction(dataset)


def _ge_direction(dataset: Any) -> tuple[float, ...] | None:
    """GE states it along (rows, columns, -normal) for a phase encoding along columns, turned by 90 degrees else."""
    parts = [private_numbers(dataset, 0x0019, GE_ACQUISITION, element) for element in (0xBB, 0xBC, 0xBD)]
    if not all(parts):
        return None
    x, y, z = (part[0] for part in parts)
    if text(dataset, "InPlanePhaseEncodingDirection") == "ROW":
        x, y = y, -x
    return _in_patient(dataset, (x, y, -z))


def _in_patient(dataset: Any, along: tuple[float, ...]) -> tuple[float, ...] | None:
    """A vector along (rows, columns, normal) of the image, in LPS."""
    axes = numbers(dataset, "ImageOrientationPatient")
    if len(axes) != 6:
        return None
    row, column = np.array(axes[:3], float), np.array(axes[3:], float)
    found = along[0] * row + along[1] * column + along[2] * np.cross(row, column)
    return tuple(float(part) for part in found)


def _philips(dataset: Any) -> Stated:
    b_value = private_numbers(dataset, 0x2001, PHILIPS, 0x03, "FL")
    if not b_value:
        return None
    parts = [private_numbers(dataset, 0x2005, PHILIPS_MR, element, "FL") for element in (0xB0, 0xB1, 0xB2)]
    isotropic = str(private_value(dataset, 0x2001, PHILIPS, 0x04) or "").startswith("I")
    direction = tuple(part[0] for part in parts) if all(parts) and not isotropic else None
    return b_value[0], direction


def _uih(dataset: Any) -> Stated:
    b_value = private_numbers(dataset, 0x0065, UIH, 0x09, "FD")
    along = private_numbers(dataset, 0x0065, UIH, 0x37, "FD")
    if not b_value:
        return None
    return b_value[0], _in_patient(dataset, along) if len(along) == 3 else None


def _toshiba(dataset: Any) -> Stated:
    if not (text(dataset, "Manufacturer") or "").upper().startswith(TOSHIBA):
        return None
    found = TOSHIBA_COMMENT.match((text(dataset, "ImageComments") or "").replace(" ", ""))
    if not found:
        return None
    try:
        direction = tuple(float(part) for part in found.groups()[1:]) if found.group(2) else None
    except ValueError:
        direction = None
    return float(found.group(1)), direction
