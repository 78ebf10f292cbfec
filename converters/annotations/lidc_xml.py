"""Nodules of LIDC-IDRI: XML of each radiologist's reading, outlines in pixels of the slices.

An outline runs through the pixels just outside of what it outlines, so a nodule is what lies strictly inside: pixels on
the outline, and on the straight lines between its points, do not belong to it. An outline with `inclusion` FALSE takes
what lies strictly inside it away again. The slice is the one whose position is `imageZposition`, mm along the patient's
axis; `xCoord` and `yCoord` are column and row from 0. Each nodule of each reader is a region of its own. Small nodules
(one point) and marks on what is no nodule are left out, with their count.
Sources: the documentation of the files by the consortium; pylidc, `Annotation.boolean_mask`, which differs in that it
keeps pixels on the lines between the points where its polygon test happens to say so.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medshard.converters.annotations.outline_xml import child_text, children, local_name, parse_xml, starts_as
from medshard.converters.annotations.rasterise import fill_polygons
from medshard.converters.annotations.segments import Outline, OutlinedRegion, OutlineSet
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import Files
from medshard.converters.volume import Affine

ROOT = re.compile(rb"<(?:\w+:)?LidcReadMessage[\s>]")
FEWEST_POINTS = 3
LARGEST_COORDINATE = 1 << 14
# In slices: how far a stated position may lie from the slice that is taken for it.
SLICE_TOLERANCE = 0.1


@dataclass(frozen=True, kw_only=True)
class Roi:
    """One outline. z: mm. points: (n, 2) whole (row, column)."""

    z: float
    inclusion: bool
    points: NDArray[np.int64]


def sniff(files: Files) -> bool:
    return len(files) == 1 and starts_as(files[0], ROOT)


def outlines(files: Files, shape: tuple[int, int, int], affine: Affine) -> OutlineSet:
    """The nodules in index space of the image as it is stored, rows and columns as in its DICOM files.

    Raises CaseError[read.unreadable | read.unsupported | geometry.mismatch].
    """
    path = files[0]
    left_out: Counter[str] = Counter()
    regions: list[OutlinedRegion] = []
    for reader, session in enumerate(_sessions(path), start=1):
        left_out["marks on what is no nodule"] += sum(1 for _ in children(session, "nonNodule"))
        for nodule, element in enumerate(children(session, "unblindedReadNodule"), start=1):
            rois = [_roi(roi, path) for roi in children(element, "roi")]
            outlined = [roi for roi in rois if len(roi.points) >= FEWEST_POINTS]
            left_out["points and lines without an area"] += len(rois) - len(outlined)
            if not outlined:
                continue
            regions.append(
                OutlinedRegion(
                    number=len(regions) + 1,
                    name=f"reader {reader} nodule {nodule}",
                    outlines=tuple(_rectangles(outlined, shape, affine, path)),
                )
            )
    warnings = tuple(f"{count} {what} are left out" for what, count in sorted(left_out.items()) if count)
    return OutlineSet(regions=tuple(regions), space="index", warnings=warnings)


def _sessions(path: Path) -> list[Any]:
    return [element for element in parse_xml(path).iter() if local_name(element) == "readingSession"]


def _roi(element: Any, path: Path) -> Roi:
    points = [
        (_coordinate(child_text(point, "yCoord"), path), _coordinate(child_text(point, "xCoord"), path))
        for point in children(element, "edgeMap")
    ]
    try:
        z = float(child_text(element, "imageZposition"))
    except ValueError:
        z = math.nan
    inclusion = child_text(element, "inclusion").upper()
    if not math.isfinite(z) or inclusion not in ("TRUE", "FALSE"):
        raise bad_file(
            "read.unreadable",
            path,
            "an outline states no position or kind",
            details={"elements": "imageZposition, inclusion"},
        )
    unclosed = points[:-1] if len(points) > 1 and points[0] == points[-1] else points
    return Roi(z=z, inclusion=inclusion == "TRUE", points=np.array(unclosed, np.int64).reshape(-1, 2))


def _coordinate(text: str, path: Path) -> int:
    if text.isascii() and text.isdigit() and len(text) < 6 and int(text) < LARGEST_COORDINATE:
        return int(text)
    raise bad_file("read.unreadable", path, "a point of an outline is no pixel", details={"elements": "xCoord, yCoord"})


def _rectangles(rois: Iterable[Roi], shape: tuple[int, int, int], affine: Affine, path: Path) -> Iterable[Outline]:
    """A nodule as one rectangle for each run of its pixels in a row: outlines that hold exactly its pixels."""
    by_slice: dict[int, list[Roi]] = {}
    for roi in rois:
        by_slice.setdefault(_slice_of(roi, shape, affine, path), []).append(roi)
    for z, here in sorted(by_slice.items()):
        low = np.min([roi.points.min(axis=0) for roi in here], axis=0)
        high = np.max([roi.points.max(axis=0) for roi in here], axis=0)
        mask = np.zeros(high - low + 1, np.bool_)
        for roi in sorted(here, key=lambda roi: not roi.inclusion):
            inside = strictly_inside(roi.points - low, mask.shape)
            mask = mask | inside if roi.inclusion else mask & ~inside
        for row, start, stop in _runs(mask):
            top, left, right = row + low[0] - 0.5, start + low[1] - 0.5, stop + low[1] - 0.5
            corners = [(z, top, left), (z, top, right), (z, top + 1, right), (z, top + 1, left)]
            yield Outline(points=np.array(corners, np.float64))


def strictly_inside(points: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Pixels (rows, columns) inside a polygon through pixel centres, without those on its edge."""
    mask = np.zeros(shape, np.bool_)
    fill_polygons(mask, [points.astype(np.float64)])
    for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
        count = max(1, int(np.gcd(*np.abs(end - start))))
        on_edge = start + np.arange(count + 1)[:, None] * ((end - start) // count)
        mask[on_edge[:, 0], on_edge[:, 1]] = False
    return mask


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """(row, first column, column behind the last) of each run of pixels."""
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, stops = np.argwhere(edges == 1), np.argwhere(edges == -1)
    return [(int(row), int(start), int(stop)) for (row, start), (_, stop) in zip(starts, stops, strict=True)]


def _slice_of(roi: Roi, shape: tuple[int, int, int], affine: Affine, path: Path) -> int:
    """The slice at a position along the patient's axis. Raises CaseError[geometry.mismatch]."""
    rise = affine[2, :3]
    if abs(rise[0]) < 1e-6 or max(abs(rise[1]) * shape[1], abs(rise[2]) * shape[2]) > SLICE_TOLERANCE * abs(rise[0]):
        raise bad_file("geometry.mismatch", path, "outlines of axial slices, but the image is not axial")
    place = (roi.z - affine[2, 3]) / rise[0]
    number = round(min(max(place, -1.0), float(shape[0])))
    if not 0 <= number < shape[0] or abs(place - number) > SLICE_TOLERANCE:
        details: dict[str, object] = {
            "position": f"{roi.z:.3f} mm",
            "nearest slices": f"{place:.3f}",
            "slices": shape[0],
        }
        raise bad_file("geometry.mismatch", path, "an outline lies in no slice of the image", details=details)
    return number
