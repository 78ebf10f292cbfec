"""The frames of DICOM files, from their headers alone.

A classic file holds one frame; multi-frame files state the place of each frame in functional groups (enhanced CT and
MR, segmentations), in an offset vector (dose), or by a first position and a spacing (nuclear medicine).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.formats.faults import bad_file

# Modalities whose frames follow each other in time where nothing else is said.
CINE_MODALITIES = frozenset({"US", "IVUS", "XA", "XRF", "RF", "ES", "XC", "GM", "OPT"})
FRAME_TIME_POINTERS = (0x00181063, 0x00181065)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One plane.

    number: within its file, from 0.
    orientation: directions of a row and a column in LPS, six numbers; position: of the first pixel, mm LPS;
    pixel_spacing: mm between rows, mm between columns. Each None where the header has none.
    spacing_between_slices, slice_thickness: mm, as stated.
    slope, intercept: of the rescale, 1 and 0 where none is stated.
    """

    file: Path
    number: int
    orientation: tuple[float, ...] | None
    position: tuple[float, ...] | None
    pixel_spacing: tuple[float, ...] | None
    spacing_between_slices: float | None
    slice_thickness: float | None
    slope: float = 1.0
    intercept: float = 0.0


def frames_of(path: Path, dataset: Any) -> list[Frame]:
    """The frames of one file in stored order. Raises CaseError[read.unsupported] for a file that is no image."""
    if "Rows" not in dataset or "Columns" not in dataset:
        raise bad_file(
            "read.unsupported",
            path,
            "the DICOM object is not an image",
            details={"kind": getattr(dataset.get("SOPClassUID"), "name", "unknown")},
        )
    count = int(dataset.get("NumberOfFrames") or 1)
    positions = _stated_positions(dataset, count)
    frames = []
    for number in range(count):
        groups = list(_groups(dataset, number))
        position = (
            positions[number] if positions else _numbers(groups, "PlanePositionSequence", "ImagePositionPatient", 3)
        )
        slope = _numbers(groups, "PixelValueTransformationSequence", "RescaleSlope", 1) or (_dose_scaling(dataset),)
        intercept = _numbers(groups, "PixelValueTransformationSequence", "RescaleIntercept", 1) or (0.0,)
        frames.append(
            Frame(
                file=path,
                number=number,
                orientation=_numbers(groups, "PlaneOrientationSequence", "ImageOrientationPatient", 6),
                position=position,
                pixel_spacing=_numbers(groups, "PixelMeasuresSequence", "PixelSpacing", 2),
                spacing_between_slices=_number(groups, "PixelMeasuresSequence", "SpacingBetweenSlices"),
                slice_thickness=_number(groups, "PixelMeasuresSequence", "SliceThickness"),
                slope=slope[0],
                intercept=intercept[0],
            )
        )
    return frames


def runs_in_time(dataset: Any) -> bool:
    """Whether frames without positions follow each other in time rather than in space."""
    pointer = dataset.get("FrameIncrementPointer")
    if pointer is not None:
        tags = [pointer] if isinstance(pointer, int) else list(pointer)
        return any(int(tag) in FRAME_TIME_POINTERS for tag in tags)
    return str(dataset.get("Modality", "")) in CINE_MODALITIES


def _groups(dataset: Any, number: int) -> Iterator[Any]:
    """Where the attributes of a frame may stand, nearest first (DICOM PS3.3 C.7.6.16)."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    if per_frame and number < len(per_frame):
        yield per_frame[number]
    if shared := dataset.get("SharedFunctionalGroupsSequence"):
        yield shared[0]
    yield dataset
    if detectors := dataset.get("DetectorInformationSequence"):
        yield detectors[0]


def _numbers(groups: list[Any], sequence: str, keyword: str, count: int) -> tuple[float, ...] | None:
    """The values of one attribute, from the nearest group that has it, in its macro or bare; None where none has."""
    for group in groups:
        items = group.get(sequence)
        value = (items[0] if items else group).get(keyword)
        if value is None or value == "":
            continue
        numbers = tuple(float(v) for v in (value if count > 1 else [value]))
        if len(numbers) == count:
            return numbers
    return None


def _number(groups: list[Any], sequence: str, keyword: str) -> float | None:
    numbers = _numbers(groups, sequence, keyword, 1)
    return numbers[0] if numbers else None


def _dose_scaling(dataset: Any) -> float:
    """Dose grids state their slope under a name of their own (DICOM PS3.3 C.8.8.3)."""
    return float(dataset.get("DoseGridScaling") or 1.0)


def _stated_positions(dataset: Any, count: int) -> list[tuple[float, ...]]:
    """Positions of the frames of a multi-frame file that states only the first one; empty where it states none or all.

    Sources: DICOM PS3.3 C.8.8.3.2 (Grid Frame Offset Vector, along the normal) and C.8.4.15 (nuclear medicine).
    """
    groups = [dataset, *(dataset.get("DetectorInformationSequence") or [])[:1]]
    first = _numbers(groups, "PlanePositionSequence", "ImagePositionPatient", 3)
    orientation = _numbers(groups, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    if count == 1 or first is None or orientation is None or "PerFrameFunctionalGroupsSequence" in dataset:
        return []
    offsets = dataset.get("GridFrameOffsetVector")
    step = dataset.get("SpacingBetweenSlices") or dataset.get("SliceThickness")
    if offsets is not None and len(offsets) == count:
        along = [float(offset) - float(offsets[0]) for offset in offsets]
    elif step:
        along = [number * float(step) for number in range(count)]
    else:
        return []
    normal = np.cross(orientation[:3], orientation[3:])
    return [tuple(float(v) for v in np.asarray(first) + normal * distance) for distance in along]
