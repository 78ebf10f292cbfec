"""Count matrices as three files: Matrix Market (mtx) with the names of its rows and columns beside it.

10x Genomics writes features as rows and barcodes as columns; a row of the table is a barcode (`sparse_rows`). The
name of a file says what it lists: `barcodes`, and `features` or `genes`. Which axis is which follows from how many
names each file has; where they are as many, from 10x. Two passes: the first checks and counts the entries.
Source: "The Matrix Market Exchange Formats: Initial Design", NISTIR 5935; 10x Genomics' "Feature-Barcode Matrices".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import installed_versions
from medshard.converters.table import Table
from medshard.converters.tables.packed import Unpacked, unpacked_start
from medshard.converters.tables.sparse_rows import lists, sparse_schema
from medshard.converters.tables.table_format import Files, TableFormat, TableRequest, require_columns
from medshard.errors import CaseError

MAGIC = b"%%MatrixMarket"
LONGEST_HEADER = 1 << 20
MOST_NAMES = 16 << 20
# Entries that do not come observation by observation are sorted in memory.
MOST_SORTED = 128 << 20
FEATURE_FIELDS = ("id", "name", "feature_type")
OBSERVATION = "barcode"


@dataclass(frozen=True, kw_only=True)
class MatrixHeader:
    """shape: as the file has it. entries: how many it states. length: bytes before the first one."""

    shape: tuple[int, int]
    entries: int
    whole: bool
    length: int
    observations_last: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.int64 if self.whole else np.float64)


def sniff(files: Files) -> bool:
    return any(_is_matrix(path) for path in files)


def read(files: Files, _request: TableRequest) -> Table:
    """Raises CaseError[read.missing_part | read.unsupported | read.truncated | read.unreadable]."""
    path = next(path for path in files if _is_matrix(path))
    barcodes = _names(path, files, "barcodes")
    features = _names(path, files, "features", "genes")
    header = _header(path, len(barcodes), len(features))
    sorted_already = _check(path, header)
    names = pa.array([row[0] for row in barcodes], pa.string())
    schema = sparse_schema(path, [pa.field(OBSERVATION, pa.string())], header.dtype, _variables(features))
    require_columns(path, schema.names, {})
    return Table(
        schema=schema,
        batches=partial(_batches, path, header, names, schema, in_order=sorted_already),
        format=FORMAT.name,
        attributes={"rows": len(barcodes), "variables": len(features), "entries": header.entries},
    )


def _is_matrix(path: Path) -> bool:
    return unpacked_start(path, len(MAGIC)) == MAGIC


def _names(path: Path, files: Files, *words: str) -> list[list[str]]:
    found = [one for one in files if one != path and any(word in one.name.lower() for word in words)]
    if len(found) != 1:
        raise bad_file(
            "read.missing_part",
            path,
            "the names of the matrix's rows and columns are not both given",
            details={"expected": f"one file with {' or '.join(words)} in its name", "found": len(found)},
            action="Let the path of the entry's layout match the matrix, its barcodes and its features.",
        )
    with Unpacked(found[0]) as stream:
        text = stream.read(MOST_NAMES * 8).decode()
    return [line.split("\t") for line in text.splitlines() if line]


def _variables(features: list[list[str]]) -> dict[str, list[Any]]:
    width = min(len(row) for row in features) if features else 1
    if width == 1:
        return {"name": [row[0] for row in features]}
    fields = FEATURE_FIELDS[: min(width, len(FEATURE_FIELDS))]
    return {field: [row[place] for row in features] for place, field in enumerate(fields)}


def _header(path: Path, barcodes: int, features: int) -> MatrixHeader:
    lines = unpacked_start(path, LONGEST_HEADER).split(b"\n")
    words = lines[0].decode("ascii", "replace").lower().split()
    if words[1:3] != ["matrix", "coordinate"] or words[3:4] not in (["integer"], ["real"]) or words[4:5] != ["general"]:
        raise bad_file(
            "read.unsupported",
            path,
            "the matrix is of a kind that medshard does not read",
            details={"expected": "coordinate, integer or real, general"},
        )
    length = 0
    for line in lines:
        length += len(line) + 1
        if line.strip() and not line.startswith(b"%"):
            break
    sizes = line.split()
    if len(sizes) != 3 or not all(size.isdigit() and len(size) < 16 for size in sizes):
        raise _broken(path, "the matrix does not state its size")
    rows, columns, entries = map(int, sizes)
    if {(rows, columns)} - {(features, barcodes), (barcodes, features)}:
        raise bad_file(
            "read.unreadable",
            path,
            "the matrix has another size than its names",
            details={"matrix": f"{rows} x {columns}", "features": features, "barcodes": barcodes},
        )
    return MatrixHeader(
        shape=(rows, columns),
        entries=entries,
        whole=words[3] == "integer",
        length=length,
        observations_last=(rows, columns) == (features, barcodes),
    )


Entries = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]


def _entries(path: Path, header: MatrixHeader) -> Iterator[Entries]:
    """Observations, variables (both from 0) and values, in the order of the file."""
    number = pa.int64() if header.whole else pa.float64()
    read = arrow_csv.ReadOptions(column_names=["row", "column", "value"], block_size=16 << 20)
    parse = arrow_csv.ParseOptions(delimiter=" ", quote_char=False)
    convert = arrow_csv.ConvertOptions(column_types={"row": pa.int64(), "column": pa.int64(), "value": number})
    with Unpacked(path) as stream:
        stream.read(header.length)
        try:
            for batch in arrow_csv.open_csv(stream, read, parse, convert):
                if any(column.null_count for column in batch.columns):
                    raise _broken(path, "an entry of the matrix lacks a number")
                row, column, value = (one.to_numpy() for one in batch.columns)
                yield (column - 1, row - 1, value) if header.observations_last else (row - 1, column - 1, value)
        except pa.ArrowInvalid as error:
            if "Empty CSV file" not in str(error):
                raise _broken(path, "an entry is not three numbers with one space between them") from None


def _check(path: Path, header: MatrixHeader) -> bool:
    """Whether entries come observation by observation, variables ascending. Raises CaseError."""
    observations, variables = header.shape[::-1] if header.observations_last else header.shape
    seen, in_order, last = 0, True, -1
    for rows, columns, _ in _entries(path, header):
        if rows.min() < 0 or rows.max() >= observations or columns.min() < 0 or columns.max() >= variables:
            raise _broken(path, "an entry lies outside of the matrix")
        places = rows * variables + columns
        in_order = in_order and places[0] > last and bool((np.diff(places) > 0).all())
        last = int(places[-1])
        seen += len(rows)
    if seen != header.entries:
        raise bad_file(
            "read.truncated",
            path,
            "the matrix has another number of entries than it states",
            details={"expected": header.entries, "found": seen},
        )
    if not in_order and seen > MOST_SORTED:
        raise bad_file("read.unsupported", path, "the entries are in no order, and too many to be sorted in memory")
    return in_order


def _batches(
    path: Path, header: MatrixHeader, names: pa.Array, schema: pa.Schema, *, in_order: bool
) -> Iterator[pa.RecordBatch]:
    parts = _entries(path, header) if in_order else _sorted(path, header)
    done = 0
    held: Entries | None = None
    for part in parts:
        joined = part if held is None else tuple(map(np.concatenate, zip(held, part, strict=True)))
        # The last observation of a part may go on in the next one.
        whole = int(np.searchsorted(joined[0], joined[0][-1]))
        yield _batch(tuple(one[:whole] for one in joined), names, done, int(joined[0][-1]), schema)
        done = int(joined[0][-1])
        held = tuple(one[whole:] for one in joined)  # type: ignore[assignment]
    empty = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, header.dtype))
    yield _batch(held or empty, names, done, len(names), schema)


def _batch(entries: Any, names: pa.Array, start: int, end: int, schema: pa.Schema) -> pa.RecordBatch:
    """The observations from start up to end. Zeros that the file writes out are not kept."""
    rows, columns, values = (one[entries[2] != 0] for one in entries)
    offsets = np.searchsorted(rows, np.arange(start, end + 1))
    made = [lists(offsets, columns.astype(np.int32)), lists(offsets, values)]
    return pa.RecordBatch.from_arrays([names.slice(start, end - start), *made], schema=schema)


def _sorted(path: Path, header: MatrixHeader) -> Iterator[Entries]:
    """All entries, in memory. Raises CaseError[read.unreadable] where two are for one place."""
    parts = list(_entries(path, header))
    rows, columns, values = (np.concatenate(one) for one in zip(*parts, strict=True))
    order = np.lexsort((columns, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    if ((np.diff(rows) == 0) & (np.diff(columns) == 0)).any():
        raise _broken(path, "two entries are for one place of the matrix")
    yield rows, columns, values


def _broken(path: Path, problem: str) -> CaseError:
    return bad_file("read.unreadable", path, problem)


FORMAT = TableFormat(
    name="Matrix Market",
    suffixes=(".mtx",),
    sniff=sniff,
    read=read,
    decoders=lambda: installed_versions("pyarrow", "numpy", "isal"),
)
