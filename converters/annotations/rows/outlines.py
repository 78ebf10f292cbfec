"""Outlines in rows: run lengths, a polygon a row, or a corner a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medshard.converters.annotation_table import AnnotationTable, rows_table
from medshard.converters.annotations.rows.landmarks import OUTSIDE, as_point, point_columns, point_of
from medshard.converters.annotations.rows.places import EDGE, PlaceGrid, is_outside, placing
from medshard.converters.annotations.rows.rows import Cell, Row, cell_of, is_blank, numbers_of, word_of
from medshard.converters.annotations.rows.run_lengths import Mask, mask_of_runs, outlines_of_mask
from medshard.converters.annotations.rows.words import (
    RowsRead,
    Words,
    column_for,
    judged_columns,
    not_a_number,
    words_of_rows,
)
from medshard.converters.annotations.segments import Outline, OutlinedRegion, OutlineSet, Segment, SegmentedImage
from medshard.converters.geometry import pixel_grid_affine
from medshard.errors import CaseError
from medshard.registry.schema.annotations import Contours, Role

INVALID = "{count} outlines have fewer than three corners, and are left out"


@dataclass(frozen=True)
class _Polygon:
    """points: (n, 3), indices (z, y, x)."""

    word: str
    points: NDArray[np.float64]
    row: Row
    hole: bool = False


def is_row_contours(annotation: Contours) -> bool:
    """Whether the outlines stand in rows; else in a file that `read_annotation` reads whole."""
    return annotation.format in ("csv", "txt") or annotation.runs is not None or bool(annotation.columns)


def read_outlines(annotation: Contours, rows: Sequence[Row], *, where: str, grid: PlaceGrid | None) -> RowsRead:
    """A row for each corner, as an index (z, y, x). Of run lengths, the borders of the mask's pixels.

    Raises CaseError[annotation.no_column | annotation.not_a_number | annotation.no_image | annotation.no_geometry |
    annotation.bad_runs].
    """
    words = Words(annotation)
    columns = _columns(annotation, rows, where)
    found: list[dict[str, object]] = []
    outside = invalid = number = 0
    for polygon in _polygons(annotation, rows, columns, where=where, grid=grid):
        if len(polygon.points) < 3:
            invalid += 1
            continue
        outside += is_outside(grid, polygon.points.min(axis=0), polygon.points.max(axis=0))
        further = judged_columns(columns, polygon.row)
        for meaning in words.meanings(polygon.word):
            found += [
                {**meaning, "outline": number, "hole": polygon.hole, "z": z, "y": y, "x": x, **further}
                for z, y, x in polygon.points.tolist()
            ]
            number += 1
    told = ((invalid, INVALID), (outside, OUTSIDE.replace("points lie", "outlines reach")))
    table = AnnotationTable(
        kind="outlines",
        table=rows_table("outlines", found),
        examined=annotation.examined_concepts,
        image=grid.name if grid else None,
        rater=annotation.rater,
        warnings=tuple(sentence.format(count=count) for count, sentence in told if count),
    )
    return RowsRead(table=table, unknown_words=tuple(words.unknown), out_of_image=outside, invalid=invalid)


def outline_masks(
    annotation: Contours, rows: Sequence[Row], *, where: str, grid: PlaceGrid
) -> SegmentedImage | OutlineSet:
    """What `reading.read_annotation` gives for a file of outlines: a segment for each word of run lengths, and regions
    in the image's index space for polygons. Errors as of `read_outlines`.
    """
    columns = _columns(annotation, rows, where)
    if "run_lengths" in columns:
        return _segments(annotation, rows, columns["run_lengths"], where=where, grid=grid)
    outlines: dict[str, list[Outline]] = {}
    for polygon in _polygons(annotation, rows, columns, where=where, grid=grid):
        if len(polygon.points) > 2:
            outlines.setdefault(polygon.word, []).append(Outline(points=polygon.points))
    regions = [
        OutlinedRegion(number=number, name=word, outlines=tuple(parts))
        for number, (word, parts) in enumerate(outlines.items(), start=1)
    ]
    return OutlineSet(regions=tuple(regions), space="index")


def _segments(annotation: Contours, rows: Sequence[Row], column: str, *, where: str, grid: PlaceGrid) -> SegmentedImage:
    masks: dict[str, Mask] = {}
    for number, (row, word) in enumerate(zip(rows, words_of_rows(annotation, rows, where=where), strict=True), start=1):
        mask = _mask(annotation, cell_of(row, column), number, where=where, grid=grid)
        if mask is not None:
            masks[word] = mask | masks[word] if word in masks else mask
    layers = [np.zeros(grid.shape[1:], bool)] if not masks else list(masks.values())
    segments = [Segment(number=number + 1, name=word, channel=number, value=1) for number, word in enumerate(masks)]
    return SegmentedImage(
        array=np.stack(layers)[:, None].astype(np.uint8),
        affine=pixel_grid_affine() if grid.affine is None else grid.affine,
        segments=tuple(segments),
        trusted_geometry=grid.affine is not None,
    )


def _columns(annotation: Contours, rows: Sequence[Row], where: str) -> dict[Role, str]:
    named = {role: column for role in annotation.columns if (column := column_for(annotation, role, rows, where=where))}
    if annotation.runs is None and "points" not in named:
        return {**point_columns(annotation, rows, where=where), **named}
    if annotation.runs is not None and "run_lengths" not in named:
        single = list(annotation.values)
        usual = {"run_lengths": single[0] if single else "EncodedPixels"}
        named["run_lengths"] = usual["run_lengths"]
        column_for(annotation.model_copy(update={"columns": usual}), "run_lengths", rows, where=where)
    return named


def _polygons(
    annotation: Contours, rows: Sequence[Row], columns: Mapping[Role, str], *, where: str, grid: PlaceGrid | None
) -> Iterator[_Polygon]:
    named = words_of_rows(annotation, rows, where=where)
    corners: dict[tuple[str, str, float], list[tuple[float, ...]]] = {}
    first: dict[tuple[str, str, float], Row] = {}
    place = placing(annotation, where=where, grid=grid, corner=False)
    for number, (row, word) in enumerate(zip(rows, named, strict=True), start=1):
        if "run_lengths" in columns:
            yield from _of_runs(annotation, row, word, columns["run_lengths"], number, where=where, grid=grid)
            continue
        lists = _lists(columns, row, number, where)
        for points in lists or ():
            yield _Polygon(word, _array([place.index(as_point(at, place.first)) for at in points]), row)
        if lists is None and (at := point_of(columns, row, number, where)):
            which = word_of(cell_of(row, columns["outline"])) if "outline" in columns else ""
            index = place.index(as_point(at, place.first))
            corners.setdefault((word, which, index[0]), []).append(index)
            first.setdefault((word, which, index[0]), row)
    for (word, which, z), points in corners.items():
        yield _Polygon(word, _array(points), first[(word, which, z)])


def _of_runs(
    annotation: Contours, row: Row, word: str, column: str, number: int, *, where: str, grid: PlaceGrid | None
) -> Iterator[_Polygon]:
    mask = _mask(annotation, cell_of(row, column), number, where=where, grid=grid)
    for hole, corners in outlines_of_mask(mask) if mask is not None else ():
        points = [(0.0, y - EDGE, x - EDGE) for y, x in corners]
        yield _Polygon(word, _array(points), row, hole)


def _mask(annotation: Contours, cell: Cell, number: int, *, where: str, grid: PlaceGrid | None) -> Mask | None:
    """The mask of a cell. Raises CaseError[annotation.no_image | annotation.bad_runs]."""
    if grid is None or grid.shape[0] != 1:
        raise CaseError(
            "annotation.no_image",
            where=where,
            problem="run lengths need the picture that they count, and the case has none of one slice",
            action="Give the case its picture in the entry's layout.",
        )
    try:
        return mask_of_runs(cell, grid.shape[1:], form=annotation.runs or "absolute")
    except (ValueError, OverflowError) as error:
        raise CaseError(
            "annotation.bad_runs",
            where=where,
            problem="a cell holds no run lengths of the picture",
            details={"row of the case": number, "picture": grid.shape[1:], "reason": _reason(error)},
            action="The annotation is left out. Correct `runs` of the entry's annotation.",
        ) from error


def _reason(error: Exception) -> str:
    """Our own sentence, or none: what Python says of a text repeats it."""
    return str(error) if "run" in str(error) else "not all of it are whole numbers"


def _lists(columns: Mapping[Role, str], row: Row, number: int, where: str) -> list[list[tuple[float, ...]]] | None:
    """The polygons of a row that holds whole ones; None where it holds one corner."""
    try:
        if "points" in columns:
            return _point_lists(cell_of(row, columns["points"]))
        if "x" not in columns or "y" not in columns:
            return None
        x, y = cell_of(row, columns["x"]), cell_of(row, columns["y"])
        if not (isinstance(x, list) or (isinstance(x, str) and "," in x)):
            return None
        return [list(zip(numbers_of(x), numbers_of(y), strict=True))]
    except (ValueError, TypeError) as error:
        raise not_a_number(where, columns.get("points", "x, y"), number) from error


def _point_lists(cell: Cell) -> list[list[tuple[float, ...]]]:
    """Polygons as lists of points, as flat lists x, y, x, y, or as several such lists."""
    if is_blank(cell):
        return []
    if isinstance(cell, Mapping):
        raise TypeError("a compressed mask")
    if not isinstance(cell, list) or not isinstance(cell[0], list):
        numbers = numbers_of(cell)
        return [list(zip(numbers[0::2], numbers[1::2], strict=True))]
    if all(isinstance(part, list) and len(part) in (2, 3) and not isinstance(part[0], list) for part in cell):
        return [[tuple(numbers_of(part)) for part in cell]]
    return [polygon for part in cell for polygon in _point_lists(part)]


def _array(points: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    return np.array(points, np.float64).reshape(-1, 3)
