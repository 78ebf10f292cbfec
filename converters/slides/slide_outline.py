"""One outline that somebody drew on a slide, and where its points lie.

The programs that draw them (ASAP, ImageScope, QuPath, NDP.view) count from the outer corner of the first pixel, so
that its centre lies at (0.5, 0.5): they place points on a continuous picture whose pixels are squares. Here the centre
of the first pixel is (0, 0), as everywhere in medshard, and half a pixel of level 0 is subtracted from every point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medshard.converters.formats.faults import bad_file

Points = NDArray[np.float64]

HALF_PIXEL = 0.5
# Pixels from a slide's corner that no slide reaches.
FARTHEST = 1e8


@dataclass(frozen=True, kw_only=True)
class SlideOutline:
    """One drawn shape.

    points: (n, 2) float64, (y, x) in pixels of level 0, the centre of the first one at (0, 0); not closed by a repeat.
    kind: `polygon` encloses an area; `line` and `points` do not.
    group: the word for what it is (group, layer or class), None where none is given. Free names are not kept.
    region: number of what it belongs to, in the file's order. hole: cuts the polygons of its region.
    curved: whether the drawing program smooths the outline between the points, which straight lines only approach.
    """

    points: Points
    kind: Literal["polygon", "line", "points"] = "polygon"
    group: str | None = None
    region: int
    hole: bool = False
    curved: bool = False


def points_of(pairs: Sequence[tuple[float, float]] | Points, path: Path) -> Points:
    """(x, y) from the outer corner of the slide -> (y, x) from the centre of its first pixel, without a closing repeat.

    Raises CaseError[read.unreadable] for what is no point of a slide.
    """
    points = np.asarray(pairs, np.float64).reshape(-1, 2)[:, ::-1] - HALF_PIXEL
    if not np.isfinite(points).all() or (np.abs(points) > FARTHEST).any():
        raise bad_file("read.unreadable", path, "a point of an outline lies nowhere near a slide")
    if len(points) > 1 and (points[0] == points[-1]).all():
        points = points[:-1]
    return np.ascontiguousarray(points)


def require_area(points: Points, path: Path) -> Points:
    """Raises CaseError[read.unreadable] for a polygon of less than three points."""
    if len(points) < 3:
        raise bad_file(
            "read.unreadable", path, "an outline of an area has less than three points", details={"points": len(points)}
        )
    return points
