"""Texts, reports, questions and tables of a case: their beginnings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from medshard.converters.annotation_table import AnnotationTable
from medshard.converters.table import Table
from medshard.converters.volume import Volume
from medshard.pipelines.reporting.previews.shown import Passage, Rows, Shown

MOST_CHARACTERS, MOST_QUESTIONS, MOST_SECTIONS, MOST_TEXTS = 400, 3, 4, 3
MOST_ROWS, MOST_COLUMNS, MOST_CELL, MOST_LISTED = 5, 30, 60, 8
TEXT_COLUMN = "text"

Row = list[tuple[str, Any]]


def shown_texts(volume: Volume) -> Iterator[Shown]:
    """Texts, reports and questions of a case, beside what was shown before them."""
    passages: list[Passage] = []
    for name, table in sorted(volume.texts.items()):
        rows, more = _first_rows(table, MOST_TEXTS)
        passages.append(
            Passage(heading=f"{name}: text" + (f", the first {MOST_TEXTS} of more" if more else ""), text="")
        )
        passages += [passage for row in rows for passage in _of_row(row)]
    for name, annotation in sorted(volume.annotations.items()):
        if annotation.kind in ("report", "question-answers"):
            passages.append(Passage(heading=_title(name, annotation), text=""))
            passages += _said(annotation)
    if passages:
        yield Shown(caption=(f"{volume.case}   text",), passages=tuple(passages))


def shown_tables(volume: Volume) -> Iterator[Shown]:
    """Tables, as their first rows with the types of their columns."""
    for name, table in sorted(volume.tables.items()):
        rows, more = _first_rows(table, MOST_ROWS)
        kept = table.schema.names[:MOST_COLUMNS]
        header = tuple((column, str(table.schema.field(number).type)) for number, column in enumerate(kept))
        cells = tuple(tuple(_cell(value) for _, value in row[: len(kept)]) for row in rows)
        size = f"{len(table.schema.names)} columns, {'the first ' if more else ''}{len(rows)} rows"
        yield Shown(
            caption=(f"{volume.case} / {name}   table", size),
            rows=Rows(header=header, cells=cells, left_out=len(table.schema.names) - len(kept)),
            wide=True,
            first=True,
        )


def begun(text: str) -> str:
    """The first characters of a text, its white space evened out."""
    even = " ".join(text[: 4 * MOST_CHARACTERS].split())
    return even if len(even) <= MOST_CHARACTERS and len(text) <= 4 * MOST_CHARACTERS else even[:MOST_CHARACTERS] + "..."


def _title(name: str, annotation: AnnotationTable) -> str:
    place = f" of {annotation.image}" if annotation.image else ""
    return f"{name}: {annotation.kind}{place}, {annotation.table.num_rows} rows"


def _said(annotation: AnnotationTable) -> Iterator[Passage]:
    if annotation.kind == "report":
        for row in annotation.table.slice(0, MOST_SECTIONS).to_pylist():
            yield Passage(heading=row["section"] or "", text=begun(row["text"] or ""))
        return
    for row in annotation.table.slice(0, MOST_QUESTIONS).to_pylist():
        options = f"   [{' | '.join(row['options'])}]" if row["options"] else ""
        topic = f" ({row['topic']})" if row["topic"] else ""
        yield Passage(
            heading=begun(f"Q{topic}: {row['question'] or ''}"), text=begun(f"A: {row['answer'] or ''}{options}")
        )


def _of_row(row: Row) -> Iterator[Passage]:
    """One row of a text: what is not the text itself goes into the heading."""
    fields = dict(row)
    if TEXT_COLUMN not in fields:
        yield Passage(heading="", text=begun("; ".join(f"{name}: {value}" for name, value in row if value is not None)))
        return
    others = "; ".join(f"{name}: {_cell(value)}" for name, value in row if name != TEXT_COLUMN and value is not None)
    yield Passage(heading=others, text=begun(str(fields[TEXT_COLUMN] or "")))


def _first_rows(table: Table, most: int) -> tuple[list[Row], bool]:
    """Rows as lists of (column, value), and whether there are more. No more batches are read than needed."""
    rows: list[Row] = []
    for batch in table.batches():
        some = batch.slice(0, most + 1 - len(rows))
        columns = [some.column(number).to_pylist() for number in range(some.num_columns)]
        rows += [list(zip(some.schema.names, values, strict=True)) for values in zip(*columns, strict=True)]
        if len(rows) > most:
            return rows[:most], True
    return rows, False


def _cell(value: Any) -> str:
    if isinstance(value, list) and len(value) > MOST_LISTED:
        return f"{len(value)} values"
    text = "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= MOST_CELL else text[: MOST_CELL - 3] + "..."
