"""Contours of the carotid artery by the tool CASCADE (`.QVS`): XML, one `QVAS_Image` a slice, named contours.

Points count from 0 in a grid of 512 x 512 that is stretched over the image, whatever the image's size; (0, 0) is the
centre of the first pixel. `Outer Wall` becomes the ring between the outer wall and the lumen, because that is what is
wall; a slice whose lumen is not outlined therefore has no wall. Sources: the readers published for the challenges of
2021 and 2022 on vessel walls; of images that are not square they are at odds, hence a warning.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medshard.converters.annotations.outline_xml import child_text, children, local_name, parse_xml, starts_as
from medshard.converters.annotations.segments import Outline, OutlinedRegion, OutlineSet
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import Files

ROOT = re.compile(rb"<(?:\w+:)?QVAS_Series[\s>]")
GRID = 512
LUMEN, WALL = "Lumen", "Outer Wall"
FEWEST_POINTS = 3

Polygon = NDArray[np.float64]
# Of one slice: name -> polygons.
Contours = dict[str, list[Polygon]]


def sniff(files: Files) -> bool:
    """The file of each artery, all of one case."""
    return bool(files) and all(starts_as(path, ROOT) for path in files)


def outlines(files: Files, shape: tuple[int, int, int]) -> OutlineSet:
    """The contours of all files (one a side) by name, in index space of the image as it is stored.

    shape: (z, y, x) of the image; slices in the order of their position.
    Raises CaseError[read.unreadable | read.unsupported | geometry.mismatch].
    """
    _, height, width = shape
    found: dict[str, list[Outline]] = {LUMEN: [], WALL: []}
    doubts: Counter[str] = Counter()
    for path in sorted(files):
        for z, contours in _slices(path, shape, doubts):
            _add(found, z, contours, doubts)
    notes = [f"{count} {what}" for what, count in sorted(doubts.items())]
    if height != width:
        notes.append("the image is not square: contours are stretched over it from their grid of 512 x 512")
    regions = [
        OutlinedRegion(number=number, name=name, outlines=tuple(outlines))
        for number, (name, outlines) in enumerate(sorted(found.items()), start=1)
    ]
    return OutlineSet(regions=tuple(regions), space="index", warnings=tuple(notes))


def _slices(path: Path, shape: tuple[int, int, int], doubts: Counter[str]) -> list[tuple[int, Contours]]:
    """The contours of each outlined slice, as (row, column) of the image."""
    depth, height, width = shape
    root = parse_xml(path)
    images = list(children(root, "QVAS_Image")) or [one for one in root.iter() if local_name(one) == "QVAS_Image"]
    found = []
    for z, image in enumerate(images):
        contours: Contours = {}
        for contour in children(image, "QVAS_Contour"):
            polygon = _polygon(contour, path) * (height / GRID, width / GRID)
            if len(polygon) < FEWEST_POINTS:
                doubts["contours of fewer than three points are left out"] += 1
                continue
            contours.setdefault(child_text(contour, "ContourType"), []).append(polygon)
        if not contours:
            continue
        if max(len(polygons) for polygons in contours.values()) > 1:
            doubts["slices have several contours of one name; all are drawn"] += 1
        if z >= depth:
            details: dict[str, object] = {"slices of the image": depth, "slices of the file": len(images)}
            raise bad_file(
                "geometry.mismatch", path, "a contour lies in a slice that the image does not have", details=details
            )
        if _stated_number(image) not in (None, z + 1):
            doubts["outlined slices state another number than their place in the file; the place is taken"] += 1
        found.append((z, contours))
    return found


def _add(found: dict[str, list[Outline]], z: int, contours: Contours, doubts: Counter[str]) -> None:
    for name, polygons in contours.items():
        if name == WALL and LUMEN not in contours:
            doubts["slices have an outer wall and no lumen; they have no wall"] += 1
            continue
        if name not in (LUMEN, WALL):
            doubts["contours are neither lumen nor outer wall"] += len(polygons)
            continue
        # By the even-odd rule the lumen inside the outer wall is a hole.
        ring = polygons + contours[LUMEN] if name == WALL else polygons
        found[name] += [Outline(points=np.insert(polygon, 0, float(z), axis=1)) for polygon in ring]


def _polygon(contour: Any, path: Path) -> Polygon:
    """Points as (row, column) of the grid, each once in a row."""
    points = [point for group in children(contour, "Contour_Point") for point in children(group, "Point")]
    numbers = [(_number(point.get("y"), path), _number(point.get("x"), path)) for point in points]
    polygon = np.array(numbers, np.float64).reshape(-1, 2)
    return polygon[(polygon != np.roll(polygon, -1, axis=0)).any(axis=1)] if len(polygon) > 1 else polygon


def _number(text: str | None, path: Path) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise bad_file(
            "read.unreadable", path, "a point of a contour is no pair of numbers", details={"element": "Point"}
        )
    return value


def _stated_number(image: Any) -> int | None:
    """The slice number, counted from 1, at the end of a name such as `E100S101I57`."""
    match: Sequence[str] | None = re.findall(r"I(\d{1,6})(?:\.dcm)?$", str(image.get("ImageName") or ""))
    return int(match[0]) if match else None
