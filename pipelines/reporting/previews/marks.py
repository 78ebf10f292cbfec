"""Annotations in rows -> strokes on the plane of a picture, and words that say what was judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medshard.converters.annotation_table import PLACED, AnnotationTable
from medshard.pipelines.reporting.previews.shown import Stroke

AXES = ("z", "y", "x")
# Voxels that a landmark may lie off the slice that shows it.
NEAR = 1.5
MOST_STROKES = 2000
MOST_NAMED = 12
# Rows looked at: a slide can have millions of corners.
MOST_ROWS = 200_000


@dataclass(frozen=True, kw_only=True)
class Window:
    """Which plane of an image is drawn, and where it lies.

    across: axis (0 for z) that the slice is taken across, of which it has the number `at`.
    size: (rows, columns) of the plane. turned: both axes run the other way round in it.
    frame: of a video or a time axis; None where there is none.
    scale: pixels of the plane for one of the image, (rows, columns).
    """

    size: tuple[int, int]
    across: int = 0
    at: float = 0.0
    turned: bool = False
    frame: int | None = None
    scale: tuple[float, float] = (1.0, 1.0)

    def places(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 3) indices z, y, x of the image -> (n, 2) rows and columns of the plane."""
        found = (np.delete(points, self.across, axis=1) + 0.5) * self.scale - 0.5
        return np.array(self.size, np.float64) - 1 - found if self.turned else found


def placed_on(annotations: Mapping[str, AnnotationTable], image: str) -> list[AnnotationTable]:
    """Boxes, landmarks and outlines on one image, by their names."""
    found = [table for _, table in sorted(annotations.items()) if table.kind in PLACED and table.image == image]
    return [replace(table, table=table.table.slice(0, MOST_ROWS)) for table in found]


def strokes_on(tables: list[AnnotationTable], window: Window) -> tuple[Stroke, ...]:
    """At most `MOST_STROKES` marks that lie in a plane."""
    found: list[Stroke] = []
    for table in tables:
        draw = {"boxes": _boxes, "landmarks": _landmarks, "outlines": _outlines}[table.kind]
        rows = [row for row in table.table.to_pylist() if window.frame is None or row["frame"] in (None, window.frame)]
        for stroke in draw(rows, window):
            if len(found) == MOST_STROKES:
                return tuple(found)
            found.append(stroke)
    return tuple(found)


def middle_of(tables: list[AnnotationTable], shape: tuple[int, int, int]) -> tuple[int, int, int] | None:
    """The voxel that slices go through so that they show some mark; None without marks."""
    places = [_centre(row, table.kind) for table in tables for row in table.table.to_pylist()]
    if not places:
        return None
    found = np.array(places)
    # The mark nearest to the median of all, and not the median itself, which may lie between two.
    nearest = found[np.abs(found - np.median(found, axis=0)).sum(axis=1).argmin()]
    z, y, x = (int(np.clip(round(value), 0, side - 1)) for value, side in zip(nearest, shape, strict=True))
    return z, y, x


def marked_frames(tables: list[AnnotationTable]) -> list[int]:
    return sorted({row for table in tables for row in table.table["frame"].to_pylist() if row is not None})


def judged_words(
    annotations: Mapping[str, AnnotationTable], image: str | None, *, of_case: bool = False
) -> tuple[str, ...]:
    """What classes and scores say of an image, a line for each annotation; of_case: and those that are on no image."""
    lines = []
    for name, table in sorted(annotations.items()):
        concerned = table.image == image or (of_case and table.image is None)
        if not concerned or table.kind not in ("classes", "scores"):
            continue
        rows = table.table.to_pylist()
        said = [_class_words(row) if table.kind == "classes" else _score_words(row) for row in rows]
        more = f" and {len(said) - MOST_NAMED} more" if len(said) > MOST_NAMED else ""
        rater = f" ({table.rater})" if table.rater else ""
        lines.append(f"{name}{rater}: {'; '.join(said[:MOST_NAMED]) or 'nothing'}{more}")
    return tuple(lines)


def name_of(row: Mapping[str, Any]) -> str:
    """The concept; of a word that stands for none, the word."""
    return str(row["concept"] or row["word"] or "unnamed")


def _class_words(row: Mapping[str, Any]) -> str:
    return name_of(row) if row["state"] == "present" else f"{name_of(row)} {row['state']}"


def _score_words(row: Mapping[str, Any]) -> str:
    unit = f" {row['unit']}" if row["unit"] else ""
    return f"{row['name']} {row['value']:g}{unit}" if row["value"] is not None else f"{row['name']} -"


def _word(row: Mapping[str, Any]) -> str:
    score = f" {row['score']:.2g}" if row["score"] is not None else ""
    return name_of(row) + score


def _boxes(rows: list[dict[str, Any]], window: Window) -> Iterator[Stroke]:
    axis = AXES[window.across]
    for row in rows:
        if not _number(row[f"{axis}_min"], 0.0) <= window.at <= _number(row[f"{axis}_max"], 0.0):
            continue
        low, high = ([_number(row[f"{name}_{end}"], 0.0) for name in AXES] for end in ("min", "max"))
        first, second = window.places(np.array([low, high]))
        top, bottom = sorted((first[0], second[0]))
        left, right = sorted((first[1], second[1]))
        corners = np.array([[top, left], [top, right], [bottom, right], [bottom, left]])
        yield Stroke(kind="outline", concept=name_of(row), points=corners, word=_word(row))


def _landmarks(rows: list[dict[str, Any]], window: Window) -> Iterator[Stroke]:
    for row in rows:
        place = np.array([[_number(row[name], 0.0) for name in AXES]])
        if abs(place[0, window.across] - window.at) <= NEAR:
            yield Stroke(kind="point", concept=name_of(row), points=window.places(place), word=_word(row))


def _outlines(rows: list[dict[str, Any]], window: Window) -> Iterator[Stroke]:
    """Polygons lie in slices across z; in the other planes they would be points."""
    if window.across != 0:
        return
    polygons: dict[tuple[Any, Any], list[dict[str, Any]]] = {}
    for row in rows:
        polygons.setdefault((row["outline"], row["frame"]), []).append(row)
    for corners in polygons.values():
        places = np.array([[_number(row[name], 0.0) for name in AXES] for row in corners])
        if abs(places[:, 0] - window.at).min() <= 0.5:
            yield Stroke(
                kind="outline", concept=name_of(corners[0]), points=window.places(places), word=_word(corners[0])
            )


def _centre(row: Mapping[str, Any], kind: str) -> list[float]:
    if kind == "boxes":
        return [(_number(row[f"{axis}_min"], 0.0) + _number(row[f"{axis}_max"], 0.0)) / 2 for axis in AXES]
    return [_number(row[axis], 0.0) for axis in AXES]


def _number(value: float | None, otherwise: float) -> float:
    return otherwise if value is None or not np.isfinite(value) else float(value)
