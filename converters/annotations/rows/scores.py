"""Numbers of a case: grades, measurements, ratings."""

from __future__ import annotations

from collections.abc import Sequence

from medshard.converters.annotation_table import AnnotationTable, rows_table
from medshard.converters.annotations.rows.rows import Row, cell_of, has_column, number_of, text_of, word_of
from medshard.converters.annotations.rows.words import RowsRead, Words, column_for, no_column
from medshard.registry.schema.annotations import ScoreTable

NO_COLUMN = "the entry does not say which columns hold the scores, so none is read"


def read_scores(annotation: ScoreTable, rows: Sequence[Row], *, where: str) -> RowsRead:
    """A row for each number, named after its column or what `values` makes of it; empty cells have none.

    What is no number is an unknown word. With a column for `part` (the level of a spine, say) the name ends with it.
    Raises CaseError[annotation.no_column].
    """
    words = Words(annotation)
    single = (annotation.column,) if annotation.column else (*annotation.scores, *annotation.values)
    names = {column: annotation.values.get(column, column) for column in single}
    part = column_for(annotation, "part", rows, where=where)
    found: list[dict[str, object]] = []
    for column, name in names.items():
        if rows and not has_column(rows, column):
            raise no_column(where, "score", column, rows)
        for row in rows:
            cell = cell_of(row, column)
            about = f" {word_of(cell_of(row, part))}" if part else ""
            try:
                value = number_of(cell)
            except ValueError:
                words.note(text_of(cell))
                continue
            if value is not None:
                found.append({"name": f"{name}{about}", "value": value, "unit": annotation.unit})
    table = AnnotationTable(
        kind="scores",
        table=rows_table("scores", found),
        rater=annotation.rater,
        warnings=() if names else (NO_COLUMN,),
    )
    return RowsRead(table=table, unknown_words=tuple(words.unknown))
