"""Outlines in GeoJSON, as QuPath writes it: pixels of level 0, x before y. Source: RFC 7946.

The first ring of a polygon is its outside and the others are holes. The word for what it is stands in the properties:
`classification` (a name, or an object with one) of QuPath, or `class`, `label` or `group` of other writers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import first_bytes
from medshard.converters.slides.slide_outline import SlideOutline, points_of, require_area
from medshard.errors import CaseError

LARGEST_FILE = 512 << 20
# Outlines of a slide are objects with these words near their start; other JSON is not ours.
WORDS = (b'"Feature"', b'"FeatureCollection"')
START = 1 << 16
CLASS_KEYS = ("classification", "class", "label", "group")
DEEPEST = 8


def sniff(path: Path) -> bool:
    start = first_bytes(path, START).removeprefix(b"\xef\xbb\xbf").lstrip()
    return start[:1] in (b"{", b"[") and any(word in start for word in WORDS)


def read(path: Path, _others: Sequence[Path]) -> list[SlideOutline]:
    """Raises CaseError[read.unsupported | read.unreadable]."""
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise _refused(path, "the file is too large for outlines", found=size, most=LARGEST_FILE)
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise bad_file("read.unreadable", path, "the file is no JSON") from error
    features = list(_features(document, path))
    return [
        outline
        for region, (geometry, group) in enumerate(_parts(features, path))
        for outline in _outlines(geometry, group, region, path)
    ]


def _features(document: Any, path: Path) -> Iterator[dict[str, Any]]:
    if isinstance(document, dict) and document.get("type") == "FeatureCollection":
        document = document.get("features")
    for one in document if isinstance(document, list) else [document]:
        if not isinstance(one, dict) or one.get("type") != "Feature":
            raise bad_file("read.unreadable", path, "the file holds something else than features")
        yield one


def _parts(features: Sequence[dict[str, Any]], path: Path) -> Iterator[tuple[dict[str, Any], str | None]]:
    """(simple geometry, group): collections and multiple geometries taken apart. One without a place has none."""
    for feature in features:
        group = _word(feature.get("properties"))
        if feature.get("geometry") is not None:
            yield from ((part, group) for part in _simple(feature["geometry"], path))


def _simple(geometry: Any, path: Path, depth: int = 0) -> Iterator[dict[str, Any]]:
    if not isinstance(geometry, dict) or depth > DEEPEST:
        raise bad_file("read.unreadable", path, "a geometry is none")
    kind = str(geometry.get("type"))
    if kind == "GeometryCollection":
        for one in _list(geometry.get("geometries"), path):
            yield from _simple(one, path, depth + 1)
    elif kind in ("MultiPolygon", "MultiLineString"):
        for part in _list(geometry.get("coordinates"), path):
            yield {"type": kind.removeprefix("Multi"), "coordinates": part}
    else:
        yield geometry


def _outlines(geometry: dict[str, Any], group: str | None, region: int, path: Path) -> Iterator[SlideOutline]:
    kind, coordinates = geometry.get("type"), _list(geometry.get("coordinates"), path)
    if kind == "Polygon":
        for number, ring in enumerate(coordinates):
            points = require_area(points_of(_pairs(ring, path), path), path)
            yield SlideOutline(points=points, group=group, region=region, hole=number > 0)
    elif kind in ("Point", "MultiPoint", "LineString"):
        pairs = _pairs([coordinates] if kind == "Point" else coordinates, path)
        shape: Literal["line", "points"] = "line" if kind == "LineString" else "points"
        yield SlideOutline(points=points_of(pairs, path), kind=shape, group=group, region=region)
    else:
        raise _refused(path, "a geometry is of a type that is not read", region=region)


def _pairs(ring: Any, path: Path) -> list[tuple[float, float]]:
    """(x, y) of each position; further numbers of a position are a height, which slides lack."""
    pairs = []
    for position in _list(ring, path):
        numbers = _list(position, path)[:2]
        if len(numbers) != 2 or not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
            raise bad_file("read.unreadable", path, "a position of an outline is no pair of numbers")
        try:
            pairs.append((float(numbers[0]), float(numbers[1])))
        except OverflowError as error:
            raise bad_file("read.unreadable", path, "a position of an outline is out of bounds") from error
    return pairs


def _word(properties: Any) -> str | None:
    if not isinstance(properties, dict):
        return None
    for key in CLASS_KEYS:
        found = properties.get(key)
        if isinstance(found, dict):
            found = found.get("name") or ": ".join(str(name) for name in found.get("names") or [])
        if isinstance(found, str) and found.strip():
            return found.strip()
    return None


def _list(value: Any, path: Path) -> list[Any]:
    if not isinstance(value, list):
        raise bad_file("read.unreadable", path, "a geometry lacks its list of coordinates")
    return value


def _refused(path: Path, problem: str, **details: object) -> CaseError:
    return bad_file("read.unsupported", path, problem, details=details)
