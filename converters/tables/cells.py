"""AnnData files (h5ad): a row for each observation, with what is known of it and its non-zeros (`sparse_rows`).

The matrix is `X`, or what `request.key` names: `raw`, or a layer. Its numbers keep their type. Annotations of
observations become columns; of variables, the schema's metadata. Embeddings, graphs and free content (`obsm`, `varm`,
`obsp`, `varp`, `uns`) and other layers stay behind, which a warning counts.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from medshard.converters.formats import hdf5_arrays
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import installed_versions
from medshard.converters.table import Table
from medshard.converters.tables.hdf5_files import open_hdf5, require_plain
from medshard.converters.tables.sparse_rows import lists, sparse_schema
from medshard.converters.tables.table_format import Files, TableFormat, TableRequest, one_file, require_columns
from medshard.errors import CaseError, MissingExtraError

NONZEROS_PER_BATCH = 4 << 20
DENSE_PER_BATCH = 8 << 20
ROWS_PER_BATCH = 16_384
# A matrix that is stored by columns is turned in memory.
MOST_TURNED = 256 << 20
LEFT_BEHIND = ("obsm", "varm", "obsp", "varp", "uns", "layers", "raw")


def sniff(files: Files) -> bool:
    if len(files) != 1 or not hdf5_arrays.is_hdf5(files[0]):
        return False
    try:
        with open_hdf5(files[0]) as file:
            return "obs" in file and "var" in file and ("X" in file or "layers" in file)
    except (OSError, MissingExtraError):
        return False


def read(files: Files, request: TableRequest) -> Table:
    """Raises CaseError[table.* | read.*], MissingExtraError[omics.not_installed] without anndata."""
    path = one_file(files)
    with open_hdf5(path) as file:
        require_plain(path, file)
        place, variables_at = _places(path, file, request.key)
        shape, dtype = _shape(path, file[place])
        observations = _frame(path, file, "obs")
        variables = _frame(path, file, variables_at)
        left = sum(len(file[name]) for name in LEFT_BEHIND if name in file and name not in {place, request.key})
    if (len(observations), len(variables)) != shape:
        raise _broken(path, "the matrix has another size than the tables of its rows and columns")
    require_columns(path, observations.schema.names, {})
    schema = sparse_schema(path, list(observations.schema), dtype, _described(variables))
    columns = [column.combine_chunks() for column in observations.columns]
    return Table(
        schema=schema,
        batches=partial(_batches, path, place, columns, schema),
        format=FORMAT.name,
        attributes={"rows": shape[0], "variables": shape[1], "matrix": place if request.key is None else "key"},
        warnings=(f"{left} other parts of the file (layers, embeddings, graphs, free content) are left out",)
        if left
        else (),
    )


def _places(path: Path, file: Any, key: str | None) -> tuple[str, str]:
    """Where the matrix lies, and the table of its variables. Raises CaseError[table.no_such_key]."""
    place, variables = {None: ("X", "var"), "raw": ("raw/X", "raw/var")}.get(key, (f"layers/{key}", "var"))
    if place not in file:
        raise bad_file(
            "table.no_such_key",
            path,
            "the file holds no such matrix",
            details={"expected": key or "X", "layers": len(file["layers"]) if "layers" in file else 0},
            action="Name a layer, or `raw`, as `key` in the entry's layout.",
        )
    return place, variables


def _shape(path: Path, matrix: Any) -> tuple[tuple[int, int], np.dtype[Any]]:
    import h5py  # noqa: PLC0415

    if isinstance(matrix, h5py.Dataset):
        shape, dtype = matrix.shape, matrix.dtype
    elif _is_sparse(matrix):
        shape, dtype = tuple(matrix.attrs.get("shape", matrix.attrs.get("h5sparse_shape", ()))), matrix["data"].dtype
    else:
        raise _broken(path, "the matrix is stored in a way that medshard does not know")
    if len(shape) != 2 or dtype.kind not in "iufb":
        raise _broken(path, "the matrix is no matrix of numbers")
    return (int(shape[0]), int(shape[1])), np.dtype("uint8") if dtype.kind == "b" else dtype.newbyteorder("=")


def _is_sparse(matrix: Any) -> bool:
    return all(name in matrix for name in ("data", "indices", "indptr"))


def _is_by_columns(matrix: Any) -> bool:
    return matrix.attrs.get("encoding-type", matrix.attrs.get("h5sparse_format", "")) in {"csc_matrix", "csc"}


def _old_writing(path: Path) -> CaseError:
    """Of anndata before 0.7, which keeps the words of categories apart from their numbers."""
    return bad_file(
        "read.unsupported",
        path,
        "the tables of the file are written as anndata wrote them before version 0.7",
        action="The case is excluded. Read the file with anndata and write it again.",
    )


def _frame(path: Path, file: Any, place: str) -> pa.Table:
    """A table of the file, by anndata. The index comes first, as `name` unless it has a name."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pandas as pd  # noqa: PLC0415
            from anndata.io import read_elem  # noqa: PLC0415

            frame = read_elem(file[place])
            if not isinstance(frame, pd.DataFrame):
                raise _old_writing(path)
            frame.index.name = frame.index.name if frame.index.name not in {None, "_index", "index"} else "name"
            table = pa.Table.from_pandas(frame.reset_index(), preserve_index=False)
    except ImportError as error:
        raise _not_installed(path.name) from error
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise _broken(path, "a column holds values of several kinds") from error
    return table.replace_schema_metadata(None)


def _described(variables: pa.Table) -> dict[str, list[Any]]:
    """What is known of the variables, their names under `name`, in JSON's types."""
    columns = zip(variables.schema.names, variables.columns, strict=True)
    described = {name: column.to_pylist() for name, column in columns}
    first = variables.schema.names[0]
    named = {"name": described.pop(first), **described}
    return {name: [_plain(value) for value in values] for name, values in named.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _batches(path: Path, place: str, facts: list[pa.Array], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    import h5py  # noqa: PLC0415

    with open_hdf5(path) as file:
        matrix = file[place]
        parts = _dense(matrix) if isinstance(matrix, h5py.Dataset) else _sparse(path, matrix)
        dtype = schema.field("values").type.value_type.to_pandas_dtype()
        start = 0
        for offsets, indices, values in parts:
            count = len(offsets) - 1
            made = [lists(offsets, indices.astype(np.int32)), lists(offsets, values.astype(dtype))]
            yield pa.RecordBatch.from_arrays([*(fact.slice(start, count) for fact in facts), *made], schema=schema)
            start += count


def _dense(matrix: Any) -> Iterator[tuple[Any, Any, Any]]:
    step = max(1, min(ROWS_PER_BATCH, DENSE_PER_BATCH // max(1, matrix.shape[1])))
    for start in range(0, matrix.shape[0], step):
        part = matrix[start : start + step]
        rows, columns = np.nonzero(part)
        yield np.searchsorted(rows, np.arange(len(part) + 1)), columns, part[rows, columns]


def _sparse(path: Path, matrix: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Offsets, places and values of batches of rows; places ascend in each row."""
    (rows, columns), _ = _shape(path, matrix)
    by_columns = _is_by_columns(matrix)
    ends = matrix["indptr"][:].astype(np.int64)
    count = min(matrix["indices"].size, matrix["data"].size)
    if (
        len(ends) != (columns if by_columns else rows) + 1
        or ends[0] != 0
        or ends[-1] != count
        or (np.diff(ends) < 0).any()
    ):
        raise _broken(path, "the matrix does not say where its rows lie")
    indices, values = matrix["indices"], matrix["data"]
    if by_columns:
        ends, indices, values = _turned(path, (rows, columns), ends, indices, values)
    start = 0
    while start < rows:
        end = int(np.searchsorted(ends, ends[start] + NONZEROS_PER_BATCH, "right")) - 1
        end = min(max(end, start + 1), start + ROWS_PER_BATCH, rows)
        part = slice(int(ends[start]), int(ends[end]))
        places, numbers = np.asarray(indices[part]), np.asarray(values[part])
        if len(places) and (places.min() < 0 or places.max() >= columns):
            raise _broken(path, "the matrix names columns that are not there")
        order = np.lexsort((places, np.repeat(np.arange(end - start), np.diff(ends[start : end + 1]))))
        yield ends[start : end + 1] - ends[start], places[order], numbers[order]
        start = end


def _turned(path: Path, shape: tuple[int, int], ends: Any, indices: Any, values: Any) -> tuple[Any, Any, Any]:
    from scipy import sparse  # noqa: PLC0415

    if values.size > MOST_TURNED:
        raise bad_file(
            "read.unsupported",
            path,
            "the matrix is stored by columns and too large to be turned in memory",
            details={"expected": f"at most {MOST_TURNED} non-zeros", "found": values.size},
            action="Store the matrix by rows (CSR).",
        )
    places = indices[:]
    if len(places) and (places.min() < 0 or places.max() >= shape[0]):
        raise _broken(path, "the matrix names rows that are not there")
    turned = sparse.csc_matrix((values[:], places, ends), shape=shape).tocsr()
    return turned.indptr.astype(np.int64), turned.indices, turned.data


def _broken(path: Path, problem: str) -> CaseError:
    return bad_file("read.unreadable", path, problem)


def _not_installed(where: str) -> MissingExtraError:
    return MissingExtraError(
        "omics.not_installed",
        where=where,
        problem="reading h5ad files needs anndata",
        action="pip install medshard[omics]",
    )


def _decoders() -> dict[str, str]:
    try:
        return installed_versions("anndata", "h5py", "pyarrow")
    except PackageNotFoundError as error:
        raise _not_installed("h5ad") from error


FORMAT = TableFormat(name="h5ad", suffixes=(".h5ad",), sniff=sniff, read=read, decoders=_decoders)
