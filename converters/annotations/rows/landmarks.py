"""Landmarks: one point a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from medshard.converters.annotation_table import AnnotationTable, rows_table
from medshard.converters.annotations.rows.places import PlaceGrid, Placing, Point, Space, along, is_outside, placing
from medshard.converters.annotations.rows.rows import Row, cell_of, has_column, is_blank, number_of, numbers_of, text_of
from medshard.converters.annotations.rows.words import (
    RowsRead,
    Words,
    column_for,
    judged_columns,
    no_column,
    not_a_number,
    words_of_rows,
)
from medshard.errors import CaseError
from medshard.registry.schema.annotations import Landmarks, PlacedRows, Role

OUTSIDE = "{count} points lie outside the image, and are kept as they are"
FIRST_SLICE = "the points name no slice of the volume and are put on the first one"

USUAL: Mapping[Role, tuple[str, ...]] = {
    "x": ("x", "X"),
    "y": ("y", "Y"),
    "z": ("z", "Z"),
    "point": ("point", "position"),
}

SPACE = "space"
"""Column in which files of 3D Slicer state the frame of each point."""

DIRECTION = "direction"
"""Column of VerSe's centroids: the axes along which all points of the file count voxels."""

_FRAMES: Mapping[str, Space] = {"RAS": "ras-mm", "LPS": "lps-mm"}


def read_landmarks(annotation: Landmarks, rows: Sequence[Row], *, where: str, grid: PlaceGrid | None) -> RowsRead:
    """A row for each point, as an index (z, y, x). A row without coordinates is no point.

    Raises CaseError[annotation.no_column | annotation.not_a_number | annotation.no_image | annotation.no_geometry |
    annotation.orientation | annotation.unknown_space | annotation.ambiguous_column].
    """
    columns = point_columns(annotation, rows, where=where)
    orientation = _orientation(annotation, rows)
    points = [(row, at) for number, row in enumerate(rows, start=1) if (at := point_of(columns, row, number, where))]
    named = words_of_rows(annotation, [row for row, _ in points], where=where)
    words = Words(annotation)
    found: list[dict[str, object]] = []
    outside = 0
    flat = bool(points) and "z" not in columns and "point" not in columns
    for (row, at), word in zip(points, named, strict=True):
        place = placing(annotation, where=where, grid=grid, corner=False, space=_space(row, where))
        index = _index(place, at, orientation)
        outside += is_outside(grid, np.array(index), np.array(index))
        z, y, x = index
        found += [
            {**meaning, "z": z, "y": y, "x": x, **judged_columns(columns, row)} for meaning in words.meanings(word)
        ]
    is_volume = grid is not None and grid.shape[0] > 1
    warnings = [OUTSIDE.format(count=outside)] if outside else []
    warnings += [FIRST_SLICE] if flat and is_volume else []
    table = AnnotationTable(
        kind="landmarks",
        table=rows_table("landmarks", found),
        examined=annotation.examined_concepts,
        image=grid.name if grid else None,
        rater=annotation.rater,
        warnings=tuple(warnings),
    )
    return RowsRead(table=table, unknown_words=tuple(words.unknown), out_of_image=outside)


def point_columns(annotation: PlacedRows, rows: Sequence[Row], *, where: str) -> dict[Role, str]:
    """Role -> column of what makes a point. Raises CaseError[annotation.no_column]."""
    named = {role: column for role in annotation.columns if (column := column_for(annotation, role, rows, where=where))}
    usual = {
        role: there
        for role, names in USUAL.items()
        if role not in named and (there := next((name for name in names if has_column(rows, name)), None))
    }
    columns = {**({} if "x" in named or "point" in named else usual), **named}
    if "x" in named and "y" not in named and "y" in usual:
        columns["y"] = usual["y"]
    if rows and not {"x", "y"} <= set(columns) and "point" not in columns:
        raise no_column(where, "point", "x y", rows)
    return columns


def point_of(columns: Mapping[Role, str], row: Row, number: int, where: str) -> tuple[float, ...] | None:
    """x, y and z, the last of which may be missing. None where the row has none.

    Raises CaseError[annotation.not_a_number].
    """
    column = columns.get("point")
    try:
        if column is not None:
            cell = cell_of(row, column)
            at = [] if is_blank(cell) else numbers_of(cell)
        else:
            cells = [number_of(cell_of(row, columns[role])) for role in ("x", "y", "z") if role in columns]
            at = [value for value in cells if value is not None]
            if at and len(at) < len(cells):
                raise ValueError("a coordinate is missing")
    except (ValueError, TypeError) as error:
        raise not_a_number(where, column or "x, y, z", number) from error
    if at and len(at) not in (2, 3):
        raise not_a_number(where, column or "x, y, z", number)
    return tuple(at) or None


def as_point(at: Sequence[float], first: int) -> Point:
    """x, y, z; without a z, the first slice."""
    return at[0], at[1], at[2] if len(at) == 3 else float(first)


def _index(place: Placing, at: Sequence[float], orientation: str | None) -> tuple[float, float, float]:
    if orientation is None:
        return place.index(as_point(at, place.first))
    if place.grid is None:
        raise CaseError(
            "annotation.no_image",
            where=place.where,
            problem="the points count along named axes of an image, and the case has none",
            action="Give the case an image in the entry's layout.",
        )
    x, y, z = as_point(at, place.first)
    return along(orientation, (x - place.first, y - place.first, z - place.first), place.grid, place.where)


def _orientation(annotation: Landmarks, rows: Sequence[Row]) -> str | None:
    """The letters of the axes along which all points of the rows count, where a row states them."""
    column = annotation.columns.get("orientation", DIRECTION)
    stated = (cell for row in rows if not is_blank(cell := cell_of(row, column)))
    cell = next(stated, None)
    if cell is None or annotation.space is not None:
        return None
    return "".join(map(str, cell)) if isinstance(cell, list) else text_of(cell)


def _space(row: Row, where: str) -> Space:
    """Pixels, or the frame that the row states. Raises CaseError[annotation.unknown_space]."""
    stated = text_of(row.get(SPACE))
    if not stated:
        return "pixel"
    if stated not in _FRAMES:
        raise CaseError(
            "annotation.unknown_space",
            where=where,
            problem="the points are in a frame that is neither RAS nor LPS",
            action="Say the frame as `space` of the entry's annotation.",
        )
    return _FRAMES[stated]
