"""What a person is shown, before it is drawn: planes of pixels with marks on them, strips, passages of text, rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medshard.converters.array_types import Array

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]
Drawing = Callable[[int, Mapping[str, Colour]], Pixels]
"""(width in pixels, colour of each concept) -> (rows, columns, 3): what is drawn for a width and not scaled."""


@dataclass(frozen=True, kw_only=True)
class Stroke:
    """A line or a cross over the pixels of a plane.

    points: (n, 2) rows and columns in pixels of the plane, continuous, the centre of the first pixel at (0, 0).
    kind: `point` is a cross at each point, `line` is open, `outline` returns to its beginning.
    word: written beside it where there is room.
    """

    kind: Literal["point", "line", "outline"]
    concept: str
    points: NDArray[np.float64]
    word: str = ""


@dataclass(frozen=True, kw_only=True)
class Plane:
    """One picture as it faces the viewer.

    pixels: (rows, columns) or (rows, columns, 3) uint8.
    marked: concept -> (rows, columns), where the concept is: bool, or integers, each value with its own outline.
    marks: how that is shown: as outlines over the pixels, as areas on black in place of them, or as their tint.
    strokes: what is drawn over the pixels and is no mask.
    size_mm: height and width, in pixels where nobody knows millimetres; in_mm: whether a bar of mm is drawn.
    left, right, top, bottom: where in the patient the edges lie ("R", "A", or "AR" for an oblique slice); empty when
        nobody knows.
    foot: a line under the picture.
    """

    pixels: Pixels
    size_mm: tuple[float, float]
    in_mm: bool = False
    marked: Mapping[str, Array] = field(default_factory=dict)
    marks: Literal["outlines", "areas", "tints"] = "outlines"
    strokes: tuple[Stroke, ...] = ()
    left: str = ""
    right: str = ""
    top: str = ""
    bottom: str = ""
    foot: str = ""


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A piece of text with what it is."""

    heading: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The first rows of a table, as text. header: a name and a type for each column; left_out: further columns."""

    header: tuple[tuple[str, str], ...]
    cells: tuple[tuple[str, ...], ...]
    left_out: int = 0


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One thing of a case, ready to be drawn.

    caption: lines of text. words: lines that say what was judged of it (classes, scores).
    planes: side by side at one scale; or in a grid of `columns`, each as large as its cell.
    drawing: in place of planes. others: concepts that a drawing shows.
    wide: takes the whole width of a sheet. first: begins a line of the sheet.
    """

    caption: tuple[str, ...]
    words: tuple[str, ...] = ()
    planes: tuple[Plane, ...] = ()
    columns: int | None = None
    drawing: Drawing | None = None
    passages: tuple[Passage, ...] = ()
    rows: Rows | None = None
    others: tuple[str, ...] = ()
    wide: bool = False
    first: bool = False

    @property
    def concepts(self) -> set[str]:
        marked = {concept for plane in self.planes for concept in plane.marked}
        return marked | {stroke.concept for plane in self.planes for stroke in plane.strokes} | set(self.others)
