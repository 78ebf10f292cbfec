"""Rows that are arrays: labels beside the images of a npz, mat or HDF5 file, and pickles of plain data."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medshard.converters.annotations.rows.json_rows import rows_of
from medshard.converters.annotations.rows.plain_pickle import load_plain
from medshard.converters.annotations.rows.rows import Row, Rows, RowShape, columns_of
from medshard.converters.formats import hdf5_arrays, matlab5
from medshard.converters.formats.faults import bad_file
from medshard.converters.spooling import IN_MEMORY

MOST_NUMBERS = 50_000_000


def read_npz(path: Path, shape: RowShape) -> Rows:
    """A column for each array that `rows` names, a row for each of its elements; of a matrix, a list for each row.

    Raises CaseError[annotation.no_rows | read.too_large | read.unsupported].
    """
    with zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}
        arrays = {name: _member(path, archive, members[name]) for name in _wanted(path, shape, list(members))}
    return _rows(path, arrays, "npz")


def read_npy(path: Path, _shape: RowShape) -> Rows:
    """One column, `value`."""
    with path.open("rb") as stream:
        return _rows(path, {"value": _array(path, stream, path.stat().st_size)}, "npy")


def read_matlab(path: Path, shape: RowShape) -> Rows:
    """As `read_npz`; a row vector counts as a column. Structures and cells are refused by name."""
    names = shape.rows.split(",") if shape.rows else [None]
    arrays: dict[str, NDArray[Any]] = {}
    for name in names:
        key = name.strip() if name else None
        if matlab5.is_level5(path):
            variable = matlab5.find(path, key)
            _refuse_large(path, variable.shape)
            array = np.asarray(matlab5.read(path, variable, IN_MEMORY)).transpose()
        else:
            found = hdf5_arrays.find(path, key)
            _refuse_large(path, found.shape)
            array = np.asarray(hdf5_arrays.read(path, found, IN_MEMORY))
            array = array.transpose() if found.by_matlab else array
        if array.ndim == 2 and array.shape[0] == 1:
            array = array[0]
        arrays[key or "value"] = array
    return _rows(path, arrays, "arrays")


def read_pickle(path: Path, shape: RowShape) -> Rows:
    """Records as in JSON, or arrays as in npz: `rows` names either. Errors of `load_plain` and [annotation.no_rows]."""
    data = load_plain(path)
    if isinstance(data, np.ndarray):
        return _rows(path, {"value": data}, "pickle")
    if isinstance(data, Mapping):
        held = {name: value for name, value in data.items() if isinstance(value, np.ndarray)}
        if held and (shape.rows is None or set(map(str.strip, shape.rows.split(","))) <= set(held)):
            return _rows(path, {name: held[name] for name in _wanted(path, shape, list(held))}, "pickle")
    rows = rows_of(data, shape.rows, path)
    return Rows(columns=columns_of(rows), rows=rows, format="pickle")


def _wanted(path: Path, shape: RowShape, there: list[str]) -> list[str]:
    wanted = [name.strip() for name in shape.rows.split(",")] if shape.rows else there
    missing = [name for name in wanted if name not in there]
    if missing or (shape.rows is None and len(there) != 1):
        raise bad_file(
            "annotation.no_rows",
            path,
            "the entry does not say which array holds the rows"
            if shape.rows is None
            else "the file has no array of that name",
            details={"arrays": ", ".join(there[:10]), **({"missing": ", ".join(missing)} if missing else {})},
            action="Name the arrays in `rows` of the entry's annotation.",
        )
    return wanted


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(name) as stream:
        return _array(path, stream, archive.getinfo(name).file_size)


def _array(path: Path, stream: Any, size: int) -> NDArray[Any]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(stream)
    if dtype.hasobject:
        raise bad_file("read.unsupported", path, "an array of Python objects, which are never loaded")
    _refuse_large(path, shape)
    bytes_there = math.prod(shape) * dtype.itemsize
    if bytes_there > size:
        raise bad_file("read.truncated", path, "an array is larger than its file", details={"shape": shape})
    raw = stream.read(bytes_there)
    if len(raw) < bytes_there:
        raise bad_file("read.truncated", path, "an array ends too early", details={"shape": shape})
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if by_columns else "C")


def _refuse_large(path: Path, shape: tuple[int, ...]) -> None:
    if math.prod(shape) > MOST_NUMBERS:
        raise bad_file(
            "read.too_large",
            path,
            f"an array of more than {MOST_NUMBERS} numbers as rows",
            details={"shape": shape},
            action="Name the array of the labels in `rows` of the entry's annotation.",
        )


def _rows(path: Path, arrays: Mapping[str, NDArray[Any]], format_name: str) -> Rows:
    flat = {name: _by_rows(array) for name, array in arrays.items()}
    lengths = {len(array) for array in flat.values()}
    if len(lengths) != 1:
        raise bad_file(
            "annotation.ragged_row",
            path,
            "the arrays have different lengths",
            details={name: array.shape for name, array in flat.items()},
        )
    columns = {name: array.tolist() for name, array in flat.items()}
    rows: list[Row] = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    return Rows(columns=tuple(columns), rows=rows, format=format_name)


def _by_rows(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim == 0:
        return array.reshape(1)
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
