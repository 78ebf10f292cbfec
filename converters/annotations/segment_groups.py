"""Functional groups of a DICOM segmentation: what it states of each frame, or of all at once (PS3.3 C.7.6.16)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.annotations.segment_slices import PlacedFrame
from medshard.converters.formats.faults import bad_file


def functional_groups(dataset: Any, path: Path, count: int) -> tuple[Any, Sequence[Any]]:
    """(of all frames, of each frame). Raises CaseError[read.unreadable] unless there is one for each frame."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or [{}]
    own = dataset.get("PerFrameFunctionalGroupsSequence") or [{}] * (count == 1)
    if len(own) != count:
        raise bad_file(
            "read.unreadable",
            path,
            "not every frame has its functional groups",
            details={"Number of Frames": count, "Per-Frame Functional Groups": len(own)},
        )
    return shared[0], own


def segment_of(shared: Any, own: Any) -> int:
    """The number of the segment that a frame belongs to."""
    return int(_group_value(shared, own, "SegmentIdentificationSequence", "ReferencedSegmentNumber"))


def placed_frame(shared: Any, own: Any) -> PlacedFrame:
    """Where a frame lies, as far as it is stated."""

    def numbers(sequence: str, field: str) -> tuple[float, ...] | None:
        value = _group_value(shared, own, sequence, field)
        return None if value is None else tuple(float(number) for number in value)

    def length(field: str) -> float | None:
        value = _group_value(shared, own, "PixelMeasuresSequence", field)
        return None if value is None or not np.isfinite(float(value)) else abs(float(value)) or None

    return PlacedFrame(
        position=numbers("PlanePositionSequence", "ImagePositionPatient"),
        orientation=numbers("PlaneOrientationSequence", "ImageOrientationPatient"),
        spacing=numbers("PixelMeasuresSequence", "PixelSpacing"),
        step=length("SpacingBetweenSlices"),
        thickness=length("SliceThickness"),
    )


def _group_value(shared: Any, own: Any, sequence: str, field: str) -> Any:
    """A field of a functional group, of the frame or else of all frames; None where neither states it."""
    for group in (own, shared):
        items = group.get(sequence)
        if items and items[0].get(field) not in (None, ""):
            return items[0].get(field)
    return None
