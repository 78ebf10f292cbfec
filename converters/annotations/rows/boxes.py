"""Boxes: rectangles and cuboids by corners, by corner and size, by centre and size; circles and spheres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medshard.converters.annotation_table import AnnotationTable, rows_table
from medshard.converters.annotations.rows.box_shapes import DEEP, SHAPES, Ball, source_box
from medshard.converters.annotations.rows.places import PlaceGrid, Placing, is_outside, placing
from medshard.converters.annotations.rows.rows import Row, cell_of, has_column, is_blank, number_of, numbers_of
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
from medshard.registry.schema.annotations import Boxes, Role

Corners = tuple[NDArray[np.float64], NDArray[np.float64]]

BAD: Corners = (np.ones(3), np.zeros(3))
"""What a box without area is turned into, to be counted."""

SPANS = "the boxes name no slice, so they run through all slices of the volume"
INVALID = "{count} boxes have no area or are turned inside out, and are left out"
OUTSIDE = "{count} boxes reach beyond the image, and are kept as they are"
INCOMPLETE = "{count} boxes lack a number, and are left out"

OF_FORMATS: Mapping[str, Mapping[Role, str]] = {
    "yolo": {"word": "0", "x_centre": "1", "y_centre": "2", "width": "3", "height": "4"},
    "voc": {"word": "name", "x_min": "bndbox.xmin", "y_min": "bndbox.ymin", "x_max": "bndbox.xmax",
            "y_max": "bndbox.ymax"},
    "coco": {"word": "category.name", "box": "bbox"},
}  # fmt: skip
"""The columns of each format: Ultralytics' text files, the devkit of PASCAL VOC, the data format of COCO."""

USUAL: Mapping[Role, tuple[str, ...]] = {
    "x_min": ("x_min", "xmin", "x1", "left"),
    "y_min": ("y_min", "ymin", "y1", "top"),
    "x_max": ("x_max", "xmax", "x2", "right"),
    "y_max": ("y_max", "ymax", "y2", "bottom"),
    "x": ("x", "X"),
    "y": ("y", "Y"),
    "width": ("width", "w"),
    "height": ("height", "h"),
    "box": ("bbox", "box"),
}


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """columns: role -> column. shape: the roles that make the box. inclusive: the greater corner is a pixel inside."""

    columns: Mapping[Role, str]
    shape: tuple[Role, ...]
    inclusive: bool
    placing: Placing


def read_boxes(annotation: Boxes, rows: Sequence[Row], *, where: str, grid: PlaceGrid | None) -> RowsRead:
    """A row for each box, its borders as indices. A row without any number says that there is no box.

    Raises CaseError[annotation.no_column | annotation.not_a_number | annotation.no_image | annotation.no_geometry |
    annotation.ambiguous_column].
    """
    annotation = _with_columns(annotation)
    words = Words(annotation)
    found: list[dict[str, object]] = []
    outside = invalid = incomplete = 0
    named = words_of_rows(annotation, rows, where=where)
    plan = _plan(annotation, rows, where=where, grid=grid)
    for number, (row, word) in enumerate(zip(rows, named, strict=True), start=1):
        values = _values(plan, row, number, where)
        if not values:
            continue
        corners = _corners(plan, values)
        if corners is None:
            incomplete += 1
            continue
        lowest, highest = corners
        if not (highest > lowest).all():
            invalid += 1
            continue
        outside += is_outside(grid, lowest, highest)
        found += [
            {**meaning, **_columns(lowest, highest), **judged_columns(plan.columns, row)}
            for meaning in words.meanings(word)
        ]
    spans = bool(found) and not plan.placing.is_flat and not _has_depth(plan)
    told = ((invalid, INVALID), (outside, OUTSIDE), (incomplete, INCOMPLETE), (int(spans), SPANS))
    table = AnnotationTable(
        kind="boxes",
        table=rows_table("boxes", found),
        examined=annotation.examined_concepts,
        image=grid.name if grid else None,
        rater=annotation.rater,
        warnings=tuple(sentence.format(count=count) for count, sentence in told if count),
    )
    return RowsRead(table=table, unknown_words=tuple(words.unknown), out_of_image=outside, invalid=invalid + incomplete)


def _with_columns(annotation: Boxes) -> Boxes:
    """The annotation with the columns that its format has by itself."""
    return annotation.model_copy(update={"columns": {**OF_FORMATS.get(annotation.format, {}), **annotation.columns}})


def _plan(annotation: Boxes, rows: Sequence[Row], *, where: str, grid: PlaceGrid | None) -> _Plan:
    is_voc = annotation.format == "voc"
    place = placing(
        annotation,
        where=where,
        grid=grid,
        corner=True,
        space="fraction" if annotation.format == "yolo" else "pixel",
        first=1 if is_voc else 0,
    )
    columns = _columns_there(annotation, rows, where)
    shape = _shape_of(columns)
    if shape is None and rows:
        raise no_column(where, "box", " ".join(sorted(set(annotation.columns) or {"x_min", "y_min"})), rows)
    inclusive = annotation.inclusive if annotation.inclusive is not None else is_voc
    return _Plan(columns=columns, shape=shape or SHAPES[0], inclusive=inclusive, placing=place)


def _shape_of(columns: Mapping[Role, str]) -> tuple[Role, ...] | None:
    """The first way of stating a box that the columns allow."""
    for shape in SHAPES:
        if set(shape) <= set(columns):
            return shape
    return None


def _columns_there(annotation: Boxes, rows: Sequence[Row], where: str) -> dict[Role, str]:
    named = {role: column for role in annotation.columns if (column := column_for(annotation, role, rows, where=where))}
    if _shape_of(named):
        return named
    usual = {role: there for role, names in USUAL.items() if (there := _first_there(rows, names))}
    return {**usual, **named}


def _first_there(rows: Sequence[Row], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if has_column(rows, name)), None)


def _values(plan: _Plan, row: Row, number: int, where: str) -> dict[Role, list[float]]:
    """The numbers of each role of the box that has any. Raises CaseError[annotation.not_a_number]."""
    roles: tuple[Role, ...] = (*plan.shape, *DEEP)
    values: dict[Role, list[float]] = {}
    for role in roles:
        column = plan.columns.get(role)
        cell = cell_of(row, column) if column is not None else None
        if is_blank(cell):
            continue
        try:
            one = number_of(cell) if role not in ("corners", "box") else None
            values[role] = numbers_of(cell) if one is None else [one]
        except (ValueError, TypeError) as error:
            raise not_a_number(where, str(column), number) from error
        if role in ("corners", "box") and len(values[role]) not in (4, 6):
            raise CaseError(
                "annotation.not_a_number",
                where=where,
                problem="a box is a list of four numbers, or of six in a volume",
                details={"column": column, "row of the case": number, "numbers": len(values[role])},
                action="Correct the entry's `columns`.",
            )
    return values if any(role in values for role in plan.shape) else {}


def _corners(plan: _Plan, values: Mapping[Role, list[float]]) -> Corners | None:
    """(z, y, x) of both borders; None where a number is missing. The lowest is above the highest in a bad box."""
    if not set(plan.shape) <= set(values):
        return None
    box = source_box(plan.shape, values, inclusive=plan.inclusive)
    if isinstance(box, Ball):
        if box.radius <= 0:
            return BAD
        low, high = plan.placing.sphere((box.x, box.y, plan.placing.first if box.z is None else box.z), box.radius)
        is_deep = box.z is not None
    else:
        if not box.has_area(inclusive=plan.inclusive):
            return BAD
        deep = box.depth or (plan.placing.first, plan.placing.first)
        low, high = plan.placing.box(
            (*box.low, deep[0]), (*box.high, deep[1]), inclusive=plan.inclusive, on_slice=box.on_slice
        )
        is_deep = box.depth is not None
    if not is_deep and plan.placing.space in ("pixel", "fraction"):
        low[0], high[0] = plan.placing.through()
    return low, high


def _has_depth(plan: _Plan) -> bool:
    roles = set(plan.columns)
    deep = bool({"z"} & roles) or {"z_min", "z_max"} <= roles or {"z_centre", "depth"} <= roles
    return deep or plan.shape[0] in ("corners", "box")


def _columns(lowest: NDArray[np.float64], highest: NDArray[np.float64]) -> dict[str, float]:
    return {f"{axis}_{end}": float(at[place]) for end, at in (("min", lowest), ("max", highest))
            for place, axis in enumerate("zyx")}  # fmt: skip
