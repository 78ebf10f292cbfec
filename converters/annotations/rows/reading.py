"""Reading annotations that are rows: the functions that the stages call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medshard.converters.annotations.rows.boxes import read_boxes
from medshard.converters.annotations.rows.classes import class_folder, read_classes
from medshard.converters.annotations.rows.landmarks import read_landmarks
from medshard.converters.annotations.rows.lists import (
    ListedSplit,
    TabledPatients,
    patients_of_table,
    split_of_lists,
    split_of_table,
)
from medshard.converters.annotations.rows.matching import IndexedRows, index_rows, is_own_file, key_of
from medshard.converters.annotations.rows.outlines import is_row_contours, outline_masks, read_outlines
from medshard.converters.annotations.rows.places import PlaceGrid
from medshard.converters.annotations.rows.plain_pickle import load_plain
from medshard.converters.annotations.rows.questions import read_questions
from medshard.converters.annotations.rows.reports import read_report
from medshard.converters.annotations.rows.row_files import read_rows, row_decoders
from medshard.converters.annotations.rows.rows import PLAIN, BatchRows, Row, Rows, RowShape, row_shape
from medshard.converters.annotations.rows.scores import read_scores
from medshard.converters.annotations.rows.words import RowsRead
from medshard.errors import CatalogError
from medshard.registry.schema.annotations import (
    Boxes,
    ClassTable,
    Contours,
    Landmarks,
    QuestionAnswers,
    ReportText,
    RowAnnotation,
    ScoreTable,
)

__all__ = [
    "PLAIN",
    "IndexedRows",
    "ListedSplit",
    "PlaceGrid",
    "Row",
    "RowShape",
    "Rows",
    "RowsRead",
    "TabledPatients",
    "class_folder",
    "index_rows",
    "is_own_file",
    "is_row_contours",
    "key_of",
    "load_plain",
    "outline_masks",
    "patients_of_table",
    "read_annotation_rows",
    "read_rows",
    "row_decoders",
    "row_shape",
    "split_of_lists",
    "split_of_table",
]


def read_annotation_rows(
    annotation: RowAnnotation,
    rows: Sequence[Row],
    *,
    where: str,
    fields: Mapping[str, str] | None = None,
    grid: PlaceGrid | None = None,
) -> RowsRead:
    """One annotation of a case from its rows.

    where: `entry/case`. fields: of its path. grid: the image, as stored, that places are on.

    Raises CaseError[annotation.*] as the readers of each kind do, and CatalogError[annotation.no_rows] for a kind that
    has no rows.
    """
    # Rows out of a larger table are made anew each time that they are asked for.
    rows = rows if isinstance(rows, BatchRows) else list(rows)
    if isinstance(annotation, Boxes):
        return read_boxes(annotation, rows, where=where, grid=grid)
    if isinstance(annotation, Landmarks):
        return read_landmarks(annotation, rows, where=where, grid=grid)
    if isinstance(annotation, Contours):
        return read_outlines(annotation, rows, where=where, grid=grid)
    return _read_words(annotation, rows, where=where)


def _read_words(annotation: RowAnnotation, rows: Sequence[Row], *, where: str) -> RowsRead:
    match annotation:
        case ClassTable():
            return read_classes(annotation, rows, where=where)
        case ScoreTable():
            return read_scores(annotation, rows, where=where)
        case ReportText():
            return read_report(annotation, rows, where=where)
        case QuestionAnswers():
            return read_questions(annotation, rows, where=where)
        case _:
            raise CatalogError(
                "annotation.no_rows",
                where=where,
                problem="annotations of this kind are no rows",
                details={"kind": type(annotation).__name__},
            )
