"""Polygons in JSON: labelme (one picture a file) and COCO (of one picture).

Both count from the corner of the first pixel, so a pixel's centre lies at a half. Each polygon is a region of its own,
named by its label: several of one label are meant together, not one as a hole in the other.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.annotations.segments import Outline, OutlinedRegion, OutlineSet
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import Files, first_bytes

LARGEST_FILE = 64 << 20
FEWEST_POINTS = 3

Labelled = tuple[str, list[tuple[float, float]]]


def sniff(files: Files) -> bool:
    if len(files) != 1 or not first_bytes(files[0], 64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return False
    if files[0].stat().st_size > LARGEST_FILE:
        return False
    text = files[0].read_bytes()
    return b'"shapes"' in text or (b'"annotations"' in text and b'"categories"' in text)


def outlines(files: Files) -> OutlineSet:
    """The polygons of one picture, index space, z = 0. Raises CaseError[read.unreadable | read.unsupported]."""
    path = files[0]
    if path.stat().st_size > LARGEST_FILE:
        raise bad_file("read.unsupported", path, "the file is too large for outlines")
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise bad_file("read.unreadable", path, "the file is no JSON") from None
    left_out: Counter[str] = Counter()
    try:
        polygons = list(_labelme(document, left_out) if "shapes" in document else _coco(document, left_out, path))
        regions = tuple(
            OutlinedRegion(number=number, name=name, outlines=(_outline(points),))
            for number, (name, points) in enumerate(polygons, start=1)
        )
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError):
        raise bad_file("read.unreadable", path, "the file is neither labelme's nor COCO's JSON") from None
    warnings = tuple(f"{count} {what} are left out" for what, count in sorted(left_out.items()))
    return OutlineSet(regions=regions, space="index", warnings=warnings)


def _labelme(document: Any, left_out: Counter[str]) -> Iterator[Labelled]:
    for shape in document["shapes"]:
        points = [(float(x), float(y)) for x, y in shape["points"]]
        kind = shape.get("shape_type") or "polygon"
        if kind == "rectangle" and len(points) == 2:
            (left, top), (right, bottom) = points
            points, kind = [(left, top), (right, top), (right, bottom), (left, bottom)], "polygon"
        if kind == "polygon" and len(points) >= FEWEST_POINTS:
            yield str(shape["label"]), points
        else:
            left_out["shapes that are no polygon"] += 1


def _coco(document: Any, left_out: Counter[str], path: Path) -> Iterator[Labelled]:
    if len(document.get("images") or []) > 1:
        raise bad_file("read.unsupported", path, "the file speaks of several pictures", action="Cut it up by picture.")
    names = {category["id"]: str(category["name"]) for category in document["categories"]}
    for annotation in document["annotations"]:
        parts = annotation.get("segmentation")
        if not isinstance(parts, list):
            left_out["annotations without polygons"] += 1
            continue
        for part in parts:
            points = [(float(x), float(y)) for x, y in zip(part[::2], part[1::2], strict=True)]
            if len(points) >= FEWEST_POINTS:
                yield names[annotation["category_id"]], points
            else:
                left_out["polygons of fewer than three points"] += 1


def _outline(points: list[tuple[float, float]]) -> Outline:
    if not all(math.isfinite(number) for point in points for number in point):
        raise ValueError("a point is not finite")
    return Outline(points=np.array([(0.0, y - 0.5, x - 0.5) for x, y in points], np.float64))
