"""Texts about a case: whole, by columns, or cut at the headings within them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from medshard.converters.annotation_table import AnnotationTable, rows_table
from medshard.converters.annotations.rows.rows import Row, cell_of, columns_of, has_column, text_of
from medshard.converters.annotations.rows.words import RowsRead, no_column
from medshard.registry.schema.annotations import ReportText

WHOLE = "text"
"""Column of a file that is one text."""

NO_SECTIONS = "none of the headings that the entry names stands in the text, so it is kept whole"


def read_report(annotation: ReportText, rows: Sequence[Row], *, where: str) -> RowsRead:
    """A row for each text that is not empty; sections in the order of the entry. A text before the first heading has
    the section "". Raises CaseError[annotation.no_column].
    """
    found: list[tuple[str, str]] = []
    warnings: list[str] = []
    if annotation.sections and (columns := _section_columns(annotation, rows)):
        found = [
            (section, text_of_cell(row, column))
            for row in rows
            for section, column in zip(annotation.sections, columns, strict=True)
            if column is not None
        ]
    elif rows:
        column = annotation.column or _text_column(rows, where)
        if not has_column(rows, column):
            raise no_column(where, "column", column, rows)
        for row in rows:
            parts = sections_of(text_of_cell(row, column), annotation.sections)
            warnings += [NO_SECTIONS] if annotation.sections and len(parts) == 1 and parts[0][1] else []
            found += parts
    texts = [{"section": section, "text": text} for section, text in found if text]
    table = AnnotationTable(
        kind="report",
        table=rows_table("report", texts),
        rater=annotation.rater,
        warnings=tuple(dict.fromkeys(warnings)),
    )
    return RowsRead(table=table)


def sections_of(text: str, headings: Sequence[str]) -> list[tuple[str, str]]:
    """(heading, text below it); a heading is a line that begins with its word and a colon, letter case ignored."""
    if not headings:
        return [("", text.strip())]
    named = {heading.lower(): heading for heading in headings}
    pattern = re.compile(rf"^[ \t]*({'|'.join(map(re.escape, headings))})[ \t]*:", re.IGNORECASE | re.MULTILINE)
    found = list(pattern.finditer(text))
    ends = [*(match.start() for match in found[1:]), len(text)]
    before = text[: found[0].start()] if found else text
    parts = [("", before.strip())]
    parts += [
        (named[match[1].lower()], text[match.end() : end].strip()) for match, end in zip(found, ends, strict=False)
    ]
    return [part for part in parts if part[1]] or [("", "")]


def text_of_cell(row: Row, column: str) -> str:
    """The text of a cell; of a list, one paragraph each."""
    cell = cell_of(row, column)
    if isinstance(cell, list):
        return "\n".join(text for part in cell if (text := text_of(part)))
    return text_of(cell)


def _section_columns(annotation: ReportText, rows: Sequence[Row]) -> list[str | None]:
    """The column of each section, letter case ignored; none at all where the sections are headings in a text."""
    there = {column.lower(): column for column in columns_of(rows)}
    columns = [there.get(section.lower()) for section in annotation.sections]
    return columns if any(columns) else []


def _text_column(rows: Sequence[Row], where: str) -> str:
    columns = columns_of(rows)
    if WHOLE in columns:
        return WHOLE
    if len(columns) == 1:
        return columns[0]
    raise no_column(where, "column", WHOLE, rows)
