"""Outlines in the XML of Aperio ImageScope: layers (`Annotation`) of regions with vertices, in pixels of level 0.

What an outline is, is said in one of several places; the first that has a word counts: the region's attribute value,
the region's Text, the layer's Name, the name of the layer's first attribute. NegativeROA="1" cuts a hole into the
layer's other regions. Region types: 0 free form, 1 rectangle, 2 ellipse (by the corners of its box), 3 arrow, 4 ruler.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from medshard.converters.annotations.outline_xml import children, parse_xml, starts_as
from medshard.converters.formats.faults import bad_file
from medshard.converters.slides.pixel_size import number
from medshard.converters.slides.slide_outline import Points, SlideOutline, points_of, require_area

ROOT = re.compile(rb"<Annotations[\s>]")
FREE_FORM, RECTANGLE, ELLIPSE, ARROW, RULER = "0", "1", "2", "3", "4"
ELLIPSE_POINTS = 128


def sniff(path: Path) -> bool:
    """ASAP's root is another element, which holds one of this name."""
    return starts_as(path, ROOT) and not starts_as(path, re.compile(rb"<ASAP_Annotations[\s>]"))


def read(path: Path, _others: Sequence[Path]) -> list[SlideOutline]:
    """Raises CaseError[read.unsupported | read.unreadable]."""
    layers = children(parse_xml(path), "Annotation")
    return [outline for place, layer in enumerate(layers) for outline in _of_layer(layer, place, path)]


def _of_layer(layer: Element, place: int, path: Path) -> Iterator[SlideOutline]:
    for regions in children(layer, "Regions"):
        for region in children(regions, "Region"):
            yield _outline(region, layer, place, path)


def _outline(region: Element, layer: Element, place: int, path: Path) -> SlideOutline:
    kind = region.get("Type", FREE_FORM).strip()
    points = points_of(_vertices(region, path), path)
    if kind in (FREE_FORM, RECTANGLE):
        points = _rectangle(points) if kind == RECTANGLE and len(points) == 2 else points
        points = require_area(points, path)
    elif kind == ELLIPSE:
        points = _ellipse(points, path)
    elif kind not in (ARROW, RULER):
        raise bad_file("read.unsupported", path, "a region is of a type that is not read", details={"layer": place})
    return SlideOutline(
        points=points,
        kind="line" if kind in (ARROW, RULER) else "polygon",
        group=_word(region, layer),
        region=place,
        hole=region.get("NegativeROA", "0").strip() == "1",
    )


def _vertices(region: Element, path: Path) -> list[tuple[float, float]]:
    """(x, y)"""
    found = []
    for vertices in children(region, "Vertices"):
        for one in children(vertices, "Vertex"):
            x, y = number(one.get("X")), number(one.get("Y"))
            if x is None or y is None:
                raise bad_file("read.unreadable", path, "a vertex of an outline is no number")
            found.append((x, y))
    return found


def _word(region: Element, layer: Element) -> str | None:
    words = [_attribute(region, "Value"), region.get("Text", ""), layer.get("Name", ""), _attribute(layer, "Name")]
    return next((word.strip() for word in words if word.strip()), None)


def _attribute(element: Element, name: str) -> str:
    found = (one for group in children(element, "Attributes") for one in children(group, "Attribute"))
    return next((one.get(name, "") for one in found), "")


def _rectangle(corners: Points) -> Points:
    (top, left), (bottom, right) = corners
    return np.array([[top, left], [top, right], [bottom, right], [bottom, left]])


def _ellipse(corners: Points, path: Path) -> Points:
    """The ellipse in the box of the given points."""
    if len(corners) < 2:
        raise bad_file("read.unreadable", path, "an ellipse has less than two corners")
    low, high = corners.min(axis=0), corners.max(axis=0)
    turn = 2 * np.pi * np.arange(ELLIPSE_POINTS) / ELLIPSE_POINTS
    return (low + high) / 2 + (high - low) / 2 * np.stack([np.sin(turn), np.cos(turn)], axis=1)
