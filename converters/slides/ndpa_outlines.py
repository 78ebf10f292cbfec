"""Outlines in Hamamatsu's NDPA: nanometres from the centre of the slide, x to the right and y down.

Only the slide itself says where its picture lies: XOffsetFromSlideCentre and YOffsetFromSlideCentre are the place of
the picture's centre (openslide, hamamatsu.*), so a point x lies (x - offset) / nanometres a pixel + width / 2 pixels
from its left edge. The title of an annotation is the only word for what it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from medshard.converters.annotations.outline_xml import child_text, children, parse_xml, starts_as
from medshard.converters.formats.faults import bad_file
from medshard.converters.slides.pixel_size import Pair, number
from medshard.converters.slides.slide_outline import Points, SlideOutline, points_of, require_area
from medshard.converters.slides.vendor_slide import hamamatsu_offsets

ROOT = re.compile(rb"<annotations[\s>]")
VIEW = re.compile(rb"<ndpviewstate[\s>]")
CIRCLE_POINTS = 128
NANOMETRES = 1000.0


def sniff(path: Path) -> bool:
    return starts_as(path, VIEW) and starts_as(path, ROOT)


def read(path: Path, others: Sequence[Path]) -> list[SlideOutline]:
    """others: the slide among them. Raises CaseError[annotation.no_image | read.unsupported | read.unreadable]."""
    root = parse_xml(path)
    place = hamamatsu_offsets(others) if others else None
    if place is None:
        raise bad_file(
            "annotation.no_image",
            path,
            "the outlines are measured from the centre of the slide, and no slide states where that is",
            details={"expected": "the NDPI or VMS file with its offsets and pixel size, among the files"},
            action="The case is excluded. Give the outlines together with their slide in the entry's layout.",
        )
    views = children(root, "ndpviewstate")
    outlines = (_outline(view, shape, n, place, path) for n, view in enumerate(views) for shape in _shapes(view))
    return list(outlines)


def _shapes(view: Element) -> list[Element]:
    return list(children(view, "annotation"))


def _outline(
    view: Element, shape: Element, region: int, place: tuple[Pair, Pair, tuple[int, int]], path: Path
) -> SlideOutline:
    kind = shape.get("type", "").lower()
    group = child_text(view, "title") or None
    if kind == "circle":
        points = points_of(_pixels(_circle(shape, path), place), path)
        return SlideOutline(points=points, group=group, region=region)
    if kind in ("freehand", "linearmeasure", "pointer", "pin"):
        points = points_of(_pixels(_points(shape, kind, path), place), path)
        closed = kind == "freehand" and child_text(shape, "closed") != "0"
        if closed:
            require_area(points, path)
        return SlideOutline(
            points=points,
            kind="polygon" if closed else "points" if kind in ("pin", "pointer") else "line",
            group=group,
            region=region,
        )
    raise bad_file("read.unsupported", path, "an annotation is of a type that is not read", details={"at": region})


def _pixels(points: Points, place: tuple[Pair, Pair, tuple[int, int]]) -> Points:
    """(x, y) nanometres from the slide's centre -> pixels from the picture's corner."""
    offsets, microns, shape = (np.array(pair, np.float64)[::-1] for pair in place)
    return (points - offsets) / (NANOMETRES * microns) + shape / 2


def _points(shape: Element, kind: str, path: Path) -> Points:
    """(n, 2) x, y in nanometres. Lines and pins write them as x1, y1, x2, y2 or x, y of the annotation itself."""
    listed = [one for group in children(shape, "pointlist") for one in children(group, "point")]
    if listed:
        return np.array([[_number(one, axis, path) for axis in ("x", "y")] for one in listed])
    if kind == "linearmeasure":
        return np.array([[_number(shape, f"{axis}{end}", path) for axis in ("x", "y")] for end in (1, 2)])
    return np.array([[_number(shape, axis, path) for axis in ("x", "y")]])


def _circle(shape: Element, path: Path) -> Points:
    centre = np.array([_number(shape, axis, path) for axis in ("x", "y")])
    turn = 2 * np.pi * np.arange(CIRCLE_POINTS) / CIRCLE_POINTS
    return centre + _number(shape, "radius", path) * np.stack([np.cos(turn), np.sin(turn)], axis=1)


def _number(element: Element, name: str, path: Path) -> float:
    found = number(child_text(element, name))
    if found is None:
        raise bad_file("read.unreadable", path, "a coordinate of an outline is no number", details={"field": name})
    return found
