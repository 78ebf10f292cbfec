"""Segmentations of 3D Slicer, `.seg.nrrd`: named segments in one NRRD file. Voxels and geometry by the NRRD module.

Segments that do not overlap share a layer; several layers are a list axis. Each segment states its layer and its value
there (`Segment0_Layer`, `Segment0_LabelValue`). Files of Slicer before 4.11 state neither: each segment then is a layer
of its own, of ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from medshard.converters.annotations.annotation_format import AnnotationFormat
from medshard.converters.annotations.segments import Segment, SegmentedImage
from medshard.converters.formats import nrrd
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import ANY, Files, Request
from medshard.converters.formats.nrrd_header import header_fields, is_nrrd
from medshard.converters.volume import Array
from medshard.errors import CaseError

KEY = re.compile(r"Segment(\d{1,6})_(ID|Name|Layer|LabelValue|Color)")
MOST_VALUE = 65_535


def sniff(files: Files) -> bool:
    header = _header_file(files)
    if header is None:
        return False
    try:
        return any(KEY.fullmatch(name) for name in header_fields(header))
    except CaseError:
        return False


def read(files: Files, request: Request = ANY) -> SegmentedImage:
    """The segments of one file; numbers count from 1 in the order of the file.

    Raises CaseError[read.unreadable | read.unsupported] and what the NRRD module raises.
    """
    path = _header_file(files) or files[0]
    fields = header_fields(path)
    _refuse_fractions(fields, path)
    told = _told(fields)
    image = nrrd.FORMAT.read(files, request)
    array: Array = getattr(image, "array", np.zeros(0))
    affine = getattr(image, "affine", np.eye(4))
    if array.ndim != 4:
        raise bad_file("read.unreadable", path, "the segments are not three-dimensional, or vary in time")
    whole = _whole_numbers(array, path)
    segments, warnings = _segments(told, whole.shape[0], path)
    return SegmentedImage(
        array=whole,
        affine=affine,
        segments=segments,
        trusted_geometry=bool(getattr(image, "trusted_geometry", True)),
        warnings=warnings,
    )


def _header_file(files: Files) -> Path | None:
    return next((path for path in files if is_nrrd(path)), None)


def _told(fields: Mapping[str, str]) -> list[dict[str, str]]:
    """What the header says of each segment, in the order of their indices."""
    found: dict[int, dict[str, str]] = {}
    for name, value in fields.items():
        match = KEY.fullmatch(name)
        if match:
            found.setdefault(int(match[1]), {})[match[2]] = value.strip()
    return [found[index] for index in sorted(found)]


def _refuse_fractions(fields: Mapping[str, str], path: Path) -> None:
    kinds = ("Segmentation_MasterRepresentation", "Segmentation_SourceRepresentation")
    if any("fractional" in fields.get(kind, "").lower() for kind in kinds):
        raise bad_file("read.unsupported", path, "the segments are fractions, whose scale the file does not state")


def _whole_numbers(array: Array, path: Path) -> Array:
    """The smallest unsigned type that holds the values."""
    if array.dtype.kind not in "iu" or (array.size and int(array.min()) < 0) or int(array.max(initial=0)) > MOST_VALUE:
        raise bad_file(
            "read.unreadable",
            path,
            "values of segments are whole numbers from 0 to 65535",
            details={"type": array.dtype},
        )
    return array.astype(np.uint8 if int(array.max(initial=0)) <= 255 else np.uint16, copy=False)


def _segments(told: list[dict[str, str]], layers: int, path: Path) -> tuple[tuple[Segment, ...], tuple[str, ...]]:
    """Channel and value of each segment.

    Raises CaseError[read.unreadable] when a layer is not there, or two segments claim the same voxels.
    """
    old = sum("LabelValue" not in segment and "Layer" not in segment for segment in told)
    if old not in (0, len(told)) or (old > 1 and layers != len(told)):
        details: dict[str, object] = {"segments": len(told), "of them without layer and value": old, "layers": layers}
        raise bad_file("read.unreadable", path, "some segments state no layer and no value", details=details)
    values = [_number(segment, "LabelValue", 1, path) for segment in told]
    # A mask's value is how everybody counts; where values repeat from layer to layer, only the order tells apart.
    numbers = values if len(set(values)) == len(values) else range(1, len(told) + 1)
    segments = [
        Segment(
            number=numbers[order],
            name=segment.get("Name", segment.get("ID", "")),
            channel=_number(segment, "Layer", order if old > 1 else 0, path),
            value=values[order],
            colour=_colour(segment.get("Color")),
        )
        for order, segment in enumerate(told)
    ]
    if any(segment.channel >= layers or not 0 < segment.value <= MOST_VALUE for segment in segments):
        raise bad_file(
            "read.unreadable", path, "a segment's layer or value is out of range", details={"layers": layers}
        )
    if len({(segment.channel, segment.value) for segment in segments}) < len(segments):
        raise bad_file("read.unreadable", path, "several segments state the same layer and value")
    notes = ["the segments state no layer and no value: each is taken as a layer of ones"] if old else []
    if not old and numbers is not values:
        notes.append("label values repeat from layer to layer: segments are numbered in the order of the file")
    return tuple(segments), tuple(notes)


def _number(segment: Mapping[str, str], field: str, otherwise: int, path: Path) -> int:
    text = segment.get(field)
    if text is None:
        return otherwise
    if not re.fullmatch(r"\d{1,6}", text):
        raise bad_file(
            "read.unreadable", path, "a segment's layer or value is no whole number", details={"field": field}
        )
    return int(text)


def _colour(text: str | None) -> str | None:
    """`0.5 0.2 1` -> `#8033ff`; None for what is no colour."""
    parts = (text or "").split()
    if len(parts) != 3 or not all(re.fullmatch(r"\d*\.?\d+(?:[eE][+-]?\d{1,3})?", part) for part in parts):
        return None
    return "#" + bytes(round(min(1.0, float(part)) * 255) for part in parts).hex()


FORMAT = AnnotationFormat(
    name="slicer-segments", suffixes=(".seg.nrrd",), sniff=sniff, read=read, decoders=nrrd.FORMAT.decoders
)
