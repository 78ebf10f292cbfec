"""Outlines in the XML of ASAP, as CAMELYON has them.

`Annotation` elements with a `Type` and `Coordinate` elements (X, Y in pixels of level 0, numbered by Order). The word
for what an outline is stands in PartOfGroup. ASAP knows no holes: data sets have a group of their own for what is cut
out ("normal", "Exclusion", "_2"), which only their entries can say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from medshard.converters.annotations.outline_xml import children, parse_xml, starts_as
from medshard.converters.formats.faults import bad_file
from medshard.converters.slides.pixel_size import number
from medshard.converters.slides.slide_outline import SlideOutline, points_of, require_area

ROOT = re.compile(rb"<ASAP_Annotations[\s>]")
AREAS = frozenset({"polygon", "spline", "rectangle"})
POINTS = frozenset({"dot", "pointset"})
LINES = frozenset({"measurement"})
NO_GROUP = frozenset({"", "none"})


def sniff(path: Path) -> bool:
    return starts_as(path, ROOT)


def read(path: Path, _others: Sequence[Path]) -> list[SlideOutline]:
    """Raises CaseError[read.unsupported | read.unreadable]."""
    found = [one for group in children(parse_xml(path), "Annotations") for one in children(group, "Annotation")]
    return [_outline(element, number, path) for number, element in enumerate(found)]


def _outline(element: Element, region: int, path: Path) -> SlideOutline:
    kind = element.get("Type", "").strip().lower()
    if kind not in AREAS | POINTS | LINES:
        raise bad_file("read.unsupported", path, "an annotation is of a kind that is not read", details={"at": region})
    points = points_of(_coordinates(element, path), path)
    group = element.get("PartOfGroup", "").strip()
    return SlideOutline(
        points=require_area(points, path) if kind in AREAS else points,
        kind="polygon" if kind in AREAS else "points" if kind in POINTS else "line",
        group=None if group.lower() in NO_GROUP else group,
        region=region,
        curved=kind == "spline",
    )


def _coordinates(element: Element, path: Path) -> list[tuple[float, float]]:
    """(x, y) in the order that the coordinates state."""
    numbered = []
    for coordinates in children(element, "Coordinates"):
        for place, one in enumerate(children(coordinates, "Coordinate")):
            # Some exports write decimal commas.
            x, y = (number(one.get(axis, "").replace(",", ".")) for axis in "XY")
            order = number(one.get("Order", str(place)))
            if x is None or y is None or order is None:
                raise bad_file("read.unreadable", path, "a coordinate of an outline is no number")
            numbered.append((order, x, y))
    # Sorting is stable: of equal orders the one that comes first stays first.
    return [(x, y) for _, x, y in sorted(numbered, key=lambda one: one[0])]
