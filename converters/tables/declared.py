"""Declared types over columns that have types of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from medshard.converters.table import Table
from medshard.converters.tables.column_types import Misfit, converted
from medshard.converters.tables.record_columns import bad_value
from medshard.converters.tables.table_format import ARROW_TYPES, require_columns


def with_declared(path: Path, table: Table, dtypes: Mapping[str, str]) -> Table:
    """The table with its declared columns converted, batch by batch.

    Raises CaseError[table.no_such_column | table.unknown_type], and the batches [table.bad_value].
    """
    require_columns(path, table.schema.names, dtypes)
    fields = [
        pa.field(field.name, ARROW_TYPES[dtypes[field.name]]) if field.name in dtypes else field
        for field in table.schema
    ]
    wanted = pa.schema(fields, metadata=table.schema.metadata)
    if wanted.types == table.schema.types:
        return table

    def batches() -> Iterator[pa.RecordBatch]:
        start = 0
        for batch in table.batches():
            columns = [
                _column(path, values, field, dtypes.get(field.name), start)
                for values, field in zip(batch.columns, wanted, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=wanted)
            start += len(batch)

    return replace(table, schema=wanted, batches=batches)


def _column(path: Path, values: pa.Array, field: pa.Field, kind: str | None, start: int) -> pa.Array:
    if kind is None or values.type == field.type:
        return values
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    try:
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            return converted(values.cast(pa.string()), kind)
        if kind in {"string", "category"}:
            return values.cast(pa.string()).cast(field.type)
        return values.cast(field.type)
    except Misfit as misfit:
        raise bad_value(path, field.name, kind, start + misfit.row + 1) from None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise bad_value(path, field.name, kind, start + 1) from None
