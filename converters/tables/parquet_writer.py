"""Tables into Parquet files whose bytes depend on nothing but the rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from medshard.converters.table import Table

# A row group ends after so many rows, or before the batch that would make it larger than this.
ROWS_PER_GROUP = 131_072
GROUP_BYTES = 128 << 20
ZSTD_LEVEL = 6


@dataclass(frozen=True, kw_only=True)
class ParquetFacts:
    """columns: name -> Arrow's word for its type. nulls: name -> missing values. size: bytes of the file."""

    rows: int
    columns: dict[str, str]
    nulls: dict[str, int]
    row_groups: int
    size: int


def write_parquet(table: Table, path: Path) -> ParquetFacts:
    """Write all rows. A file that is not complete is removed. Raises what the table's batches raise."""
    rows = groups = 0
    nulls = dict.fromkeys(table.schema.names, 0)
    try:
        with pq.ParquetWriter(
            path, table.schema, version="2.6", compression="zstd", compression_level=ZSTD_LEVEL
        ) as out:
            for group in _groups(table):
                out.write_table(group, row_group_size=max(1, len(group)))
                rows, groups = rows + len(group), groups + 1
                for name, column in zip(group.schema.names, group.columns, strict=True):
                    nulls[name] += column.null_count
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return ParquetFacts(
        rows=rows,
        columns={field.name: str(field.type) for field in table.schema},
        nulls=nulls,
        row_groups=groups,
        size=path.stat().st_size,
    )


def _groups(table: Table) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in table.batches():
        start = 0
        while start < len(batch):
            part = batch.slice(start, ROWS_PER_GROUP - rows)
            if held and size + part.nbytes > GROUP_BYTES:
                yield _group(held, table.schema)
                held, rows, size = [], 0, 0
                continue
            held.append(part)
            rows, size, start = rows + len(part), size + part.nbytes, start + len(part)
            if rows == ROWS_PER_GROUP:
                yield _group(held, table.schema)
                held, rows, size = [], 0, 0
    if held:
        yield _group(held, table.schema)


def _group(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    """One chunk for each column: how the rows came in batches must not show in the pages."""
    return pa.Table.from_batches(batches, schema).unify_dictionaries().combine_chunks()
