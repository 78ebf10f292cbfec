"""Parquet, and Arrow files (feather version 2), with their own columns and types."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import first_bytes, installed_versions
from medshard.converters.table import Table
from medshard.converters.tables.packed import LARGEST_RATIO
from medshard.converters.tables.table_format import (
    MOST_COLUMNS,
    Files,
    TableFormat,
    TableRequest,
    one_file,
    require_columns,
    too_many_columns,
)

BATCH_ROWS = 16_384
# Arrow unpacks a page at once, and a page may be all of its group of rows.
LARGE_GROUP = 512 << 20
PARQUET_MAGIC, ARROW_MAGIC = b"PAR1", b"ARROW1"

Batches = Callable[[Path], Iterator[pa.RecordBatch]]


def sniff_parquet(files: Files) -> bool:
    return first_bytes(files[0], 4) == PARQUET_MAGIC


def sniff_arrow(files: Files) -> bool:
    return first_bytes(files[0], 6) == ARROW_MAGIC


def read_parquet(files: Files, _request: TableRequest) -> Table:
    path = one_file(files)
    with _library_errors(path), pq.ParquetFile(path) as file:
        _refuse_bomb(path, file.metadata)
        schema, rows = file.schema_arrow, file.metadata.num_rows
    return _table(path, schema, rows, _parquet_batches, PARQUET)


def _refuse_bomb(path: Path, facts: pq.FileMetaData) -> None:
    """Raises CaseError[table.inflates_too_far] for a group of rows that is large and packed beyond what tables are."""
    for number in range(facts.num_row_groups):
        group = facts.row_group(number)
        packed = sum(group.column(place).total_compressed_size for place in range(group.num_columns))
        if group.total_byte_size > LARGE_GROUP and group.total_byte_size > LARGEST_RATIO * packed:
            raise bad_file(
                "table.inflates_too_far",
                path,
                "a group of rows grows far more on unpacking than tables do",
                details={
                    "expected": f"at most {LARGEST_RATIO} times the packed size",
                    "found": f"{group.total_byte_size >> 20} MB out of {packed} bytes",
                },
                action="The case is excluded. If the file is right, write it again with smaller groups of rows.",
            )


def read_arrow(files: Files, _request: TableRequest) -> Table:
    path = one_file(files)
    with _library_errors(path), pa.memory_map(str(path)) as source:
        file = pa.ipc.open_file(source)
        schema = file.schema
        rows = sum(file.get_batch(number).num_rows for number in range(file.num_record_batches))
    return _table(path, schema, rows, _arrow_batches, ARROW)


def _parquet_batches(path: Path) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=BATCH_ROWS, use_threads=False)


def _arrow_batches(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(path)) as source:
        file = pa.ipc.open_file(source)
        for number in range(file.num_record_batches):
            batch = file.get_batch(number)
            batch.validate(full=True)  # the file states where its values lie, and Arrow believes it
            yield batch


def _table(path: Path, schema: pa.Schema, rows: int, batches: Batches, read_by: TableFormat) -> Table:
    """The table without the writer's metadata, which may hold anything."""
    if len(schema) > MOST_COLUMNS:
        raise too_many_columns(path, len(schema))
    require_columns(path, schema.names, {})
    own = pa.schema([pa.field(field.name, field.type, field.nullable) for field in schema])
    return Table(schema=own, batches=partial(_own, path, batches, own), format=read_by.name, attributes={"rows": rows})


def _own(path: Path, batches: Batches, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    with _library_errors(path):
        for batch in batches(path):
            yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)


@contextmanager
def _library_errors(path: Path) -> Iterator[None]:
    """A broken file may state sizes that no memory has; that is the file's fault."""
    try:
        yield
    except pa.ArrowMemoryError as error:
        raise bad_file("read.unreadable", path, "the file states sizes that it cannot hold") from error


def _decoders() -> dict[str, str]:
    return installed_versions("pyarrow")


PARQUET = TableFormat(
    name="Parquet", suffixes=(".parquet",), sniff=sniff_parquet, read=read_parquet, decoders=_decoders
)
ARROW = TableFormat(
    name="Arrow", suffixes=(".arrow", ".feather"), sniff=sniff_arrow, read=read_arrow, decoders=_decoders
)
