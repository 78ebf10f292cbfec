"""Matrices as rows: what is known of an observation, and the places and values of its non-zeros.

A count table of 20,000 genes becomes a table with a row for each cell: its own columns (barcode, cluster), then
`indices`, list<int32>, and `values`, list<int32 | int64 | float>. The variables stand in the order of their columns in
the schema's metadata under `medshard.columns`: JSON, an object with `name` and what else is known of each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medshard.converters.formats.faults import bad_file
from medshard.converters.table import Table
from medshard.converters.tables.table_format import MOST_COLUMNS, too_many_columns

COLUMNS_KEY = b"medshard.columns"
INDICES, VALUES = "indices", "values"
MOST_FACTS = 64
MOST_VARIABLES_BYTES = 64 << 20
NUMBERS = frozenset({pa.int64(), pa.float64()})


def sparse_schema(
    path: Path, facts: Sequence[pa.Field], dtype: np.dtype[Any], variables: Mapping[str, Sequence[Any]]
) -> pa.Schema:
    """Raises CaseError[table.too_many_columns | table.duplicate_column]."""
    described = json.dumps(variables, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    if len(described) > MOST_VARIABLES_BYTES:
        raise too_many_columns(path, len(variables["name"]))
    if taken := {INDICES, VALUES} & {field.name for field in facts}:
        raise bad_file(
            "table.duplicate_column",
            path,
            "a column of the observations has a name that the matrix needs",
            details={"columns": ", ".join(sorted(taken))},
        )
    matrix = [pa.field(INDICES, pa.list_(pa.int32())), pa.field(VALUES, pa.list_(pa.from_numpy_dtype(dtype)))]
    return pa.schema([*facts, *matrix], metadata={COLUMNS_KEY: described})


def variables_of(schema: pa.Schema) -> dict[str, list[Any]]:
    """What is known of the matrix's columns: `name` and others. Raises KeyError for a table that is no matrix."""
    return dict(json.loads(schema.metadata[COLUMNS_KEY]))


def is_matrix(schema: pa.Schema) -> bool:
    return schema.metadata is not None and COLUMNS_KEY in schema.metadata


def lists(offsets: NDArray[np.generic], values: NDArray[np.generic]) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(values))


def sparse_table(path: Path, wide: Table) -> Table:
    """A table of very many columns of numbers. Raises CaseError[table.too_many_columns] where they are something else.

    The columns that are not numbers are the facts of a row.
    """
    facts = [field for field in wide.schema if field.type not in NUMBERS]
    numbers = [number for number, field in enumerate(wide.schema) if field.type in NUMBERS]
    if len(facts) > MOST_FACTS or len(numbers) <= MOST_COLUMNS - MOST_FACTS:
        raise too_many_columns(path, len(wide.schema))
    whole = all(field.type != pa.float64() for field in wide.schema)
    dtype = np.dtype(np.int64 if whole else np.float64)
    names = wide.schema.names
    schema = sparse_schema(path, facts, dtype, {"name": [names[number] for number in numbers]})

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in wide.batches():
            yield _sparse(path, batch, schema, numbers, dtype)

    attributes = {**wide.attributes, "variables": len(numbers)}
    return Table(
        schema=schema, batches=batches, format=wide.format, attributes=attributes, warnings=(*wide.warnings, SPARSE)
    )


SPARSE = "the table is a matrix: it is kept as a row for each observation with the places and values of its non-zeros"


def _sparse(
    path: Path, batch: pa.RecordBatch, schema: pa.Schema, numbers: list[int], dtype: np.dtype[Any]
) -> pa.RecordBatch:
    if any(batch.column(number).null_count for number in numbers):
        raise bad_file(
            "table.missing_numbers",
            path,
            "numbers of the matrix are missing, which its non-zeros cannot say",
            action="The case is excluded. Write the missing numbers at the source.",
        )
    dense = np.empty((len(batch), len(numbers)), dtype)
    for place, number in enumerate(numbers):
        dense[:, place] = batch.column(number).to_numpy(zero_copy_only=False)
    rows, columns = np.nonzero(dense)
    offsets = np.searchsorted(rows, np.arange(len(dense) + 1))
    facts = [batch.column(name) for name in schema.names[:-2]]
    return pa.RecordBatch.from_arrays(
        [*facts, lists(offsets, columns.astype(np.int32)), lists(offsets, dense[rows, columns])], schema=schema
    )
