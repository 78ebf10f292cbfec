"""Rows of the index -> its two files: an Arrow file that readers map, and a Parquet table for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from medshard.converters.index_format import INDEX_SCHEMA, STORED_ARRAY, IndexRow
from medshard.converters.packed_rows import ARRAY_WORDS, WORDS, pack_row


def write_index(rows: Sequence[IndexRow]) -> tuple[bytes, bytes]:
    """(Arrow IPC file, Parquet file) of the rows, sorted by entry and case.

    The first is uncompressed and meant to be mapped by readers; the second has scalar columns for people. Equal rows
    give equal bytes.
    """
    ordered = sorted(rows, key=lambda row: (row["entry"], row["case"]))
    arrow = pa.BufferOutputStream()
    with pa.ipc.new_file(arrow, INDEX_SCHEMA, options=pa.ipc.IpcWriteOptions(compression=None)) as writer:
        writer.write_batch(index_batch(ordered))
    parquet = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([_scalar_row(row) for row in ordered], schema=_SCALARS), parquet)
    return arrow.getvalue().to_pybytes(), parquet.getvalue().to_pybytes()


def index_batch(rows: Sequence[IndexRow]) -> pa.RecordBatch:
    """The rows, in their order, as the one record batch of the index."""
    columns = {
        field.name: pa.array([row[field.name] for row in rows], field.type)
        for field in INDEX_SCHEMA
        if field.name not in ("arrays", "packed")
    }
    arrays = _stored_arrays([array for row in rows for array in row["arrays"]])
    columns["arrays"] = pa.ListArray.from_arrays(_offsets(row["arrays"] for row in rows), arrays)
    columns["packed"] = pa.array(_packed(rows, columns, arrays), pa.large_binary())
    return pa.RecordBatch.from_arrays([columns[name] for name in INDEX_SCHEMA.names], schema=INDEX_SCHEMA)


def _stored_arrays(arrays: Sequence[dict[str, Any]]) -> pa.StructArray:
    columns = [pa.array([array[field.name] for array in arrays], field.type) for field in STORED_ARRAY]
    return pa.StructArray.from_arrays(columns, fields=list(STORED_ARRAY))


def _packed(rows: Sequence[IndexRow], columns: Mapping[str, pa.Array], arrays: pa.StructArray) -> Iterator[bytes]:
    words = list(zip(*(_codes(columns[name]) for name in WORDS), strict=True))
    array_words = list(zip(*(_codes(arrays.field(name)) for name in ARRAY_WORDS), strict=True))
    done = 0
    for row, codes in zip(rows, words, strict=True):
        yield pack_row(row, codes, array_words[done : done + len(row["arrays"])])
        done += len(row["arrays"])


def _codes(column: pa.DictionaryArray) -> list[int]:
    return [-1 if code is None else code for code in column.indices.to_pylist()]


def _offsets(lists: Iterable[Sequence[Any]]) -> pa.Array:
    return pa.array(np.cumsum([0, *(len(each) for each in lists)]), pa.int32())


_SCALARS = pa.schema(
    [
        pa.field(field.name, pa.string() if pa.types.is_dictionary(field.type) else field.type)
        for field in INDEX_SCHEMA
        if not pa.types.is_nested(field.type) and not pa.types.is_large_binary(field.type)
    ]
    + [pa.field(name, pa.int64()) for name in ("size_z", "size_y", "size_x", "stored_bytes")]
    + [pa.field(name, pa.float64()) for name in ("spacing_z_mm", "spacing_y_mm", "spacing_x_mm")]
    + [pa.field(name, pa.float64()) for name in ("mean", "std", "minimum", "maximum")]
)


def _scalar_row(row: IndexRow) -> dict[str, Any]:
    affine = np.reshape(row["affine"], (4, 4))
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    return {
        **{name: value for name, value in row.items() if not isinstance(value, list | dict)},
        **dict(zip(("size_z", "size_y", "size_x"), row["shape"], strict=True)),
        **dict(zip(("spacing_z_mm", "spacing_y_mm", "spacing_x_mm"), spacing_mm.tolist(), strict=True)),
        **(row["statistics"] or {}),
        "stored_bytes": sum(array["nbytes"] for array in row["arrays"]),
    }
