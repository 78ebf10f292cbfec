"""DICOM RT Structure Set: named regions as closed planar contours in patient space.

Points and open lines outline no area and are left out, with their count. Source: DICOM PS3.3 C.8.8.5 and C.8.8.6.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement

from medshard.converters.annotations.annotation_format import AnnotationFormat
from medshard.converters.annotations.dicom_object import opened_object, sop_class
from medshard.converters.annotations.segments import Outline, OutlinedRegion, OutlineSet
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import ANY, Files, Request, installed_versions

STRUCTURE_SET_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
AREAS = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
FEWEST_POINTS = 3


def sniff(files: Files) -> bool:
    return len(files) == 1 and sop_class(files[0]) == STRUCTURE_SET_STORAGE


def read(files: Files, request: Request = ANY) -> OutlineSet:
    """All regions of the file, those without any area too; points (x, y, z) in RAS+ mm.

    Raises CaseError[read.truncated | read.unreadable].
    """
    path = files[0]
    with opened_object(path) as file:
        dataset = file.dataset
        left_out: Counter[str] = Counter()
        contours = _contours_by_number(dataset, path)
        regions = []
        for item in dataset.get("StructureSetROISequence") or []:
            number = int(item.ROINumber)
            found = contours.pop(number, None)
            regions.append(
                OutlinedRegion(
                    number=number,
                    name=str(item.get("ROIName") or "").strip(),
                    outlines=() if found is None else _outlines(found, path, left_out),
                    colour=None if found is None else _colour(found.get("ROIDisplayColor")),
                )
            )
        if not regions:
            raise bad_file("read.unreadable", path, "the structure set has no regions: Structure Set ROI Sequence")
        if len({region.number for region in regions}) < len(regions):
            raise bad_file("read.unreadable", path, "several regions have one number: ROI Number")
    if contours:
        left_out["contours of no described region"] += len(contours)
    warnings = tuple(f"{count} {what} are left out" for what, count in sorted(left_out.items()))
    return OutlineSet(regions=tuple(regions), space="ras-mm", warnings=warnings)


def decoders() -> dict[str, str]:
    return installed_versions("pydicom", "numpy")


def _contours_by_number(dataset: Any, path: Path) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for item in dataset.get("ROIContourSequence") or []:
        number = int(item.ReferencedROINumber)
        if number in found:
            raise bad_file("read.unreadable", path, "a region has two sets of contours: Referenced ROI Number")
        found[number] = item
    return found


def _outlines(item: Any, path: Path, left_out: Counter[str]) -> tuple[Outline, ...]:
    outlines = []
    for contour in item.get("ContourSequence") or []:
        kind = str(contour.get("ContourGeometricType") or "").upper()
        if kind not in AREAS:
            left_out[_left_out_kind(kind)] += 1
            continue
        points = _without_repeats(_points(contour, path))
        if len(points) < FEWEST_POINTS:
            left_out["contours of fewer than three points"] += 1
            continue
        outlines.append(Outline(points=points))
    return tuple(outlines)


def _left_out_kind(kind: str) -> str:
    if kind == "POINT":
        return "points"
    return "open contours" if kind.startswith("OPEN") else "contours of an unknown kind"


def _points(contour: Any, path: Path) -> NDArray[np.float64]:
    """Contour Data as (n, 3) in RAS+ mm."""
    numbers = _numbers(contour)
    stated = contour.get("NumberOfContourPoints")
    if len(numbers) % 3 or not np.isfinite(numbers).all() or (stated is not None and int(stated) * 3 != len(numbers)):
        raise bad_file(
            "read.unreadable",
            path,
            "a contour is not made of whole points",
            details={"Number of Contour Points": stated, "numbers in Contour Data": len(numbers)},
        )
    return numbers.reshape(-1, 3) * (-1.0, -1.0, 1.0)


def _numbers(contour: Any) -> NDArray[np.float64]:
    """Contour Data, from the text of the file where pydicom has not split it yet: that is ten times as fast."""
    element = contour.get_item("ContourData") if "ContourData" in contour else None
    if isinstance(element, RawDataElement) and isinstance(element.value, bytes):
        text = element.value.strip(b" \0")
        return np.array(text.split(b"\\") if text else [], np.float64)
    return np.array(contour.get("ContourData") or [], np.float64).reshape(-1)


def _without_repeats(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each point once in a row, and the first one not again at the end."""
    if not len(points):
        return points
    return points[(points != np.roll(points, -1, axis=0)).any(axis=1)]


def _colour(stored: Sequence[Any] | None) -> str | None:
    values = [] if stored is None or not hasattr(stored, "__len__") else [int(value) for value in stored]
    return "#" + bytes(values).hex() if len(values) == 3 and all(0 <= value <= 255 for value in values) else None


FORMAT = AnnotationFormat(name="rtstruct", suffixes=(".dcm",), sniff=sniff, read=read, decoders=decoders)
