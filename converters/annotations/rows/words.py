"""What the words of a source stand for, as the entry says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from medshard.converters.annotation_table import AnnotationTable
from medshard.converters.annotations.rows.rows import (
    Cell,
    Row,
    cell_of,
    columns_of,
    has_column,
    nearest,
    number_of,
    word_of,
)
from medshard.errors import CaseError
from medshard.registry.schema.annotations import Annotation, Role, RowAnnotation

LONGEST_WORD = 40

USUAL_WORD_COLUMNS = ("class_name", "category_name", "category.name", "label", "class", "category", "word")
"""Where the class stands that the entry does not place; `name` is not among them, since it may be somebody's."""


@dataclass(frozen=True, kw_only=True)
class RowsRead:
    """The rows of one annotation of a case, and what speaks against them.

    unknown_words: words that the entry does not list; what could be free text about somebody is not repeated.
    out_of_image: how many places lie outside the image; they are kept. invalid: how many boxes or outlines have no
    area or are turned inside out; they are left out.
    """

    table: AnnotationTable
    unknown_words: tuple[str, ...] = ()
    out_of_image: int = 0
    invalid: int = 0


@dataclass
class Words:
    """The words of one annotation, and those that it did not expect."""

    annotation: Annotation
    unknown: dict[str, None] = field(default_factory=dict)

    @property
    def listed(self) -> bool:
        return bool(self.annotation.values or self.annotation.unmapped)

    def knows(self, word: str) -> bool:
        return word in self.annotation.values or word in self.annotation.unmapped

    def concepts(self, word: str) -> tuple[str, ...]:
        concept = self.annotation.values.get(word)
        return () if concept is None else (concept, *self.annotation.also.get(word, ()))

    def meanings(self, word: str) -> list[dict[str, str | None]]:
        """The columns `concept` and `word` of each row that the word makes; an unknown one is noted."""
        if concepts := self.concepts(word):
            return [{"concept": concept, "word": word} for concept in concepts]
        if word in self.annotation.unmapped or not self.listed:
            return [{"concept": None, "word": word or None}]
        self.note(word)
        return [{"concept": None, "word": None}]

    def note(self, word: str) -> None:
        if word:
            self.unknown[told(word)] = None


def told(word: str) -> str:
    """A word for a message; longer texts, dates and long numbers may be about somebody."""
    is_private = len(word) > LONGEST_WORD or re.search(r"\d{5,}|\d[-/.]\d+[-/.]\d", word)
    return "(not repeated)" if is_private else word


def words_of_rows(annotation: RowAnnotation, rows: Sequence[Row], *, where: str) -> list[str]:
    """The word of each row: of its column, or of the only class that there is; empty where the entry lists none.

    Raises CaseError[annotation.no_column | annotation.ambiguous_column].
    """
    column = column_for(annotation, "word", rows, where=where)
    if column is None and len(annotation.values) == 1:
        return [next(iter(annotation.values))] * len(rows)
    if column is None and (column := _usual_column(rows, where)) is None:
        if annotation.values and rows:
            raise no_column(where, "word", "word", rows)
        return [""] * len(rows)
    return [word_of(cell_of(row, column)) for row in rows]


def column_for(annotation: RowAnnotation, role: Role, rows: Sequence[Row], *, where: str) -> str | None:
    """The column that the entry names for a role; None where it names none. Raises CaseError[annotation.no_column]."""
    column = annotation.columns.get(role)
    if column is not None and rows and not has_column(rows, column):
        raise no_column(where, role, column, rows)
    return column


def no_column(where: str, role: str, column: str, rows: Sequence[Row]) -> CaseError:
    return CaseError(
        "annotation.no_column",
        where=where,
        problem="the rows have no such column",
        details={"for": role, "expected": column, **nearest(column, columns_of(rows))},
        action="Correct `columns` (or `column`, or the columns in `values`) of the entry's annotation.",
    )


def not_a_number(where: str, column: str, row: int) -> CaseError:
    return CaseError(
        "annotation.not_a_number",
        where=where,
        problem="a cell that should hold a number holds something else",
        details={"column": column, "row of the case": row},
        action="The annotation is left out. Correct the entry's `columns`, or repair the table at the source.",
    )


def integer(cell: Cell) -> int | None:
    """A frame number; None where the cell is empty or no whole number."""
    text = word_of(cell)
    return int(text) if re.fullmatch(r"-?\d{1,9}", text) else None


def judged_columns(columns: Mapping[Role, str], row: Row) -> dict[str, object]:
    """frame, rater and score of a row, where the entry names their columns."""
    found: dict[str, object] = {}
    if "frame" in columns:
        found["frame"] = integer(cell_of(row, columns["frame"]))
    if "rater" in columns:
        found["rater"] = str(cell_of(row, columns["rater"]) or "").strip() or None
    if "score" in columns:
        found["score"] = number_of(cell_of(row, columns["score"]))
    return found


def _usual_column(rows: Sequence[Row], where: str) -> str | None:
    there = [column for column in USUAL_WORD_COLUMNS if has_column(rows, column)] if rows else []
    if len(there) > 1:
        raise CaseError(
            "annotation.ambiguous_column",
            where=where,
            problem="several columns could hold the classes",
            details={"columns": ", ".join(there)},
            action="Name one of them as `word` in `columns` of the entry's annotation.",
        )
    return there[0] if there else None
