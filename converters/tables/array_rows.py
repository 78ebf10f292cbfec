"""Arrays of numbers in MATLAB and HDF5 files as a table: a row for each index of the first axis.

`request.key` names one array, or several with commas between them; without it, all arrays that have as many rows as
the largest one are columns. The first axis is MATLAB's first index; of HDF5 that MATLAB did not write, the first axis
as it is. What a row holds is a list of fixed length in C order of the other axes, whose lengths are in the field's
metadata under `shape`; one number is a plain value.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from medshard.converters.array_types import Array
from medshard.converters.formats import hdf5_arrays, matlab5
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import installed_versions
from medshard.converters.spooling import Spool
from medshard.converters.table import Table
from medshard.converters.tables.hdf5_files import open_hdf5
from medshard.converters.tables.table_format import Files, TableFormat, TableRequest, one_file, require_columns
from medshard.errors import CaseError

BATCH_BYTES = 128 << 20
WIDEST_ROW = 16 << 20
MOST_ARRAYS = 256

Slices = Callable[[int, int], Array]


@dataclass(frozen=True, kw_only=True)
class ArrayColumn:
    """shape: of one row. rows_last: whether the file has the rows on its last axis, as MATLAB's files do."""

    name: str
    rows: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    rows_last: bool

    @property
    def field(self) -> pa.Field:
        value = pa.from_numpy_dtype(self.dtype)
        if math.prod(self.shape) == 1:
            return pa.field(self.name, value)
        lengths = ",".join(map(str, self.shape))
        return pa.field(self.name, pa.list_(value, math.prod(self.shape)), metadata={"shape": lengths})

    def values(self, stored: Array) -> pa.Array:
        """Rows of the array as it is stored, as a column."""
        rows = stored.transpose() if self.rows_last else stored
        flat = pa.array(np.ascontiguousarray(rows).reshape(-1))
        return flat if math.prod(self.shape) == 1 else pa.FixedSizeListArray.from_arrays(flat, math.prod(self.shape))


def sniff(files: Files) -> bool:
    return len(files) == 1 and (matlab5.is_level5(files[0]) or hdf5_arrays.is_hdf5(files[0]))


def read(files: Files, request: TableRequest) -> Table:
    """Raises CaseError[read.no_such_array | read.unsupported | table.several_tables], or MissingExtraError."""
    path = one_file(files)
    columns = _wanted(path, request.key)
    require_columns(path, [column.name for column in columns], {})
    schema = pa.schema([column.field for column in columns])
    return Table(
        schema=schema,
        batches=partial(_batches, path, columns, schema),
        format=FORMAT.name,
        attributes={"rows": columns[0].rows},
    )


def _wanted(path: Path, key: str | None) -> list[ArrayColumn]:
    names = [name.strip() for name in key.split(",")] if key else _names(path)
    found = [_column(path, name) for name in names]
    if key is None:
        most = max((math.prod(column.shape) * column.rows, column.rows) for column in found)[1]
        found = [column for column in found if column.rows == most]
    if len({column.rows for column in found}) > 1:
        raise bad_file(
            "table.several_tables",
            path,
            "the arrays have different numbers of rows",
            details={column.name[:60]: column.rows for column in found},
            action="Name arrays of one length as `key` in the entry's layout.",
        )
    if any(math.prod(column.shape) * column.dtype.itemsize > WIDEST_ROW for column in found):
        raise bad_file("read.unsupported", path, "a row of the array is too long for a row of a table")
    return found


def _names(path: Path) -> list[str]:
    """Arrays of numbers at the top of the file. Raises CaseError[read.no_such_array]."""
    if matlab5.is_level5(path):
        names = [variable.name for variable in matlab5.variables(path) if not variable.kind]
    else:
        names = [name for name in _hdf5_names(path) if _is_readable(path, name)]
    if not names:
        raise bad_file("read.no_such_array", path, "the file holds no array of numbers that could be a table")
    return names


def _hdf5_names(path: Path) -> list[str]:
    with open_hdf5(path) as file:
        return list(islice((name for name in file if not name.startswith("#")), MOST_ARRAYS))


def _is_readable(path: Path, name: str) -> bool:
    try:
        hdf5_arrays.find(path, name)
    except CaseError:
        return False
    return True


def _column(path: Path, name: str) -> ArrayColumn:
    level5 = matlab5.is_level5(path)
    found = matlab5.find(path, name) if level5 else hdf5_arrays.find(path, name)
    rows_last = level5 or getattr(found, "by_matlab", False)
    shape = found.shape[::-1] if rows_last else found.shape
    return ArrayColumn(name=name, rows=shape[0], shape=shape[1:], dtype=found.dtype, rows_last=rows_last)


def _batches(path: Path, columns: list[ArrayColumn], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    row = sum(math.prod(column.shape) * column.dtype.itemsize for column in columns)
    step = max(1, BATCH_BYTES // row)
    with ExitStack() as stack:
        slices = _slices(path, columns, stack)
        for start in range(0, columns[0].rows, step):
            end = min(columns[0].rows, start + step)
            made = [column.values(part(start, end)) for column, part in zip(columns, slices, strict=True)]
            yield pa.RecordBatch.from_arrays(made, schema=schema)


def _slices(path: Path, columns: list[ArrayColumn], stack: ExitStack) -> list[Slices]:
    """Of each column, what gives the stored numbers of some rows."""
    if matlab5.is_level5(path):
        spool = Spool(folder=Path(tempfile.gettempdir()))
        arrays: list[Any] = [matlab5.read(path, matlab5.find(path, column.name), spool) for column in columns]
    else:
        file = stack.enter_context(open_hdf5(path))
        arrays = [file[column.name] for column in columns]
    return [partial(_part, array, column) for array, column in zip(arrays, columns, strict=True)]


def _part(array: Any, column: ArrayColumn, start: int, end: int) -> Array:
    found = array[..., start:end] if column.rows_last else array[start:end]
    return np.asarray(found, column.dtype)


FORMAT = TableFormat(
    name="arrays",
    suffixes=(".mat", ".h5", ".hdf5"),
    sniff=sniff,
    read=read,
    decoders=lambda: {**installed_versions("numpy", "pyarrow"), **hdf5_arrays.decoders()},
)
