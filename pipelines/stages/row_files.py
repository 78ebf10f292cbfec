"""The rows of one annotation of one case, out of a table that serves many or out of a file of its own."""

from __future__ import annotations

from medshard.converters.annotations.rows.reading import read_rows, row_shape
from medshard.pipelines.stages.case_payload import CasePayload, CaseRows
from medshard.registry.schema.annotations import RowAnnotation


def rows_of(payload: CasePayload, name: str, annotation: RowAnnotation, where: str) -> CaseRows:
    """The rows of one annotation: those that were dealt to the case, or all of a file that is its own."""
    if name in payload.rows:
        return payload.rows[name]
    files = payload.case.others.get(f"annotation {name}", ())
    found = read_rows(payload.locate(files), where=where, shape=row_shape(annotation))
    return CaseRows(rows=tuple(found.rows), warnings=found.warnings)
