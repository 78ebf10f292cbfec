"""Files of arrays: npy and npz, HDF5 and MATLAB 7.3, tables of numbers. Each gives its arrays with their paths."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from medshard.converters.array_types import Array
from medshard.converters.formats import hdf5_arrays
from medshard.converters.formats.faults import bad_file, bad_file_errors
from medshard.converters.formats.format import first_bytes
from medshard.converters.formats.voxel_stream import LARGEST_DEFLATE_RATIO
from medshard.converters.signals.stored_arrays import DEEPEST, StoredArray
from medshard.converters.spooling import Spool
from medshard.errors import CaseError

NPY_MAGIC, ZIP_MAGIC, PARQUET_MAGIC = b"\x93NUMPY", b"PK\x03\x04", b"PAR1"
LARGEST_HEADER = 1 << 16
MOST_MEMBERS = 1 << 14
LARGEST_TABLE = 4 << 30
LARGEST_BLOCK = 1 << 30
DELIMITERS = (",", ";", "\t", " ")


def is_npy(path: Path) -> bool:
    return first_bytes(path, len(NPY_MAGIC)) == NPY_MAGIC


def is_npz(path: Path) -> bool:
    """A zip whose first member is an array."""
    start = first_bytes(path, 30 + 256)
    name = start[30 : 30 + int.from_bytes(start[26:28], "little")]
    return start.startswith(ZIP_MAGIC) and name.endswith(b".npy")


def is_parquet(path: Path) -> bool:
    return first_bytes(path, len(PARQUET_MAGIC)) == PARQUET_MAGIC


def npy(path: Path) -> Iterator[StoredArray]:
    with path.open("rb") as stream:
        shape, fortran, dtype = _npy_header(path, stream)
        offset = stream.tell()
    _require(path, shape, dtype, path.stat().st_size - offset)

    def load(_: Spool) -> Array:
        order = "F" if fortran else "C"
        mapped: Array = np.memmap(path, dtype, mode="r", offset=offset, shape=shape, order=order)  # type: ignore[call-overload]
        return mapped.astype(dtype.newbyteorder("="), copy=False)

    # np.memmap has no arrays without axes.
    if shape:
        yield StoredArray(place=(), shape=shape, dtype=dtype.newbyteorder("="), load=load)


def npz(path: Path) -> Iterator[StoredArray]:
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist()[:MOST_MEMBERS]:
                if member.filename.endswith(".npy"):
                    found = _member(path, archive, member)
                    yield from () if found is None else (found,)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        code = "read.truncated" if "not a zip file" in str(error) else "read.unreadable"
        raise bad_file(code, path, "the archive of arrays is broken, or ends too early") from error


def _member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> StoredArray | None:
    """None for an array of objects or text, which is passed over."""
    with archive.open(member) as stream:
        shape, fortran, dtype = _npy_header(path, stream, strict=False)
        offset = stream.tell()
    if dtype.kind not in "biuf":
        return None
    held = min(member.file_size - offset, member.compress_size * LARGEST_DEFLATE_RATIO, path.stat().st_size << 10)
    _require(path, shape, dtype, held)

    def load(spool: Spool) -> Array:
        array = spool.empty((math.prod(shape),), dtype)
        target = array.view(np.uint8)
        with archive.open(member) as stream:
            stream.read(offset)
            done = 0
            while part := stream.read(min(1 << 20, target.size - done) or 1):
                target[done : done + len(part)] = np.frombuffer(part, np.uint8)[: target.size - done]
                done += len(part)
        if done < target.size:
            raise _short(path, target.size, done)
        return array.reshape(shape, order="F" if fortran else "C").astype(dtype.newbyteorder("="), copy=False)

    name = member.filename.removesuffix(".npy")
    return StoredArray(place=(name,), shape=shape, dtype=dtype.newbyteorder("="), load=load)


def _npy_header(
    path: Path, stream: IO[bytes], *, strict: bool = True
) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Shape, whether in Fortran's order, and type. Source: NumPy, "NPY format"."""
    with bad_file_errors(path, "numpy"):
        major, _ = np.lib.format.read_magic(stream)
        reader = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = reader(stream, max_header_size=LARGEST_HEADER)
    if strict and dtype.kind not in "biuf":
        raise bad_file(
            "read.unsupported",
            path,
            "the array does not hold plain numbers",
            action="The case is excluded. Objects are pickles, which run code when they are read; save plain numbers.",
        )
    return tuple(shape), fortran, dtype


def _require(path: Path, shape: tuple[int, ...], dtype: np.dtype[np.generic], held: int) -> None:
    needed = math.prod(shape) * dtype.itemsize
    if min(shape, default=1) < 0 or needed > held:
        raise _short(path, needed, held)


def _short(path: Path, needed: int, held: int) -> CaseError:
    return bad_file(
        "read.truncated",
        path,
        "the file holds less than its header states",
        details={"expected": needed, "found": max(0, held)},
    )


def hdf5(path: Path) -> Iterator[StoredArray]:
    """Datasets of numbers, through hard links within the file. What MATLAB wrote has MATLAB's order of axes again."""
    for name in _names(path):
        try:
            found = hdf5_arrays.find(path, name)
        except CaseError as error:
            if error.code == "read.unsupported":
                continue
            raise
        shape = found.shape[::-1] if found.by_matlab else found.shape
        yield StoredArray(
            place=tuple(name.split("/")), shape=shape, dtype=found.dtype, load=partial(_dataset, path, found)
        )


def _dataset(path: Path, found: hdf5_arrays.Dataset, spool: Spool) -> Array:
    array = hdf5_arrays.read(path, found, spool)
    return array.T if found.by_matlab else array


def _names(path: Path) -> list[str]:
    """Of all datasets, in the order of the file's own index; `#refs#`, where MATLAB keeps cells, is left out."""
    names: list[str] = []
    with hdf5_arrays.open_hdf5(path) as file:
        import h5py  # noqa: PLC0415 (after `open_hdf5`, which says what to install)

        waiting: list[tuple[str, Any]] = [("", file)]
        while waiting and len(names) < MOST_MEMBERS:
            prefix, group = waiting.pop()
            below = []
            for number, name in enumerate(group):
                if number == MOST_MEMBERS or (not prefix and name.startswith("#")):
                    continue
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    continue
                found = group[name]
                whole = f"{prefix}{name}"
                if isinstance(found, h5py.Dataset):
                    names.append(whole)
                elif isinstance(found, h5py.Group) and whole.count("/") < DEEPEST and len(waiting) < MOST_MEMBERS:
                    below.append((f"{whole}/", found))
            waiting += reversed(below)
    return names


def parquet(path: Path) -> Iterator[StoredArray]:
    with bad_file_errors(path, "pyarrow"):
        table = pyarrow.parquet.read_table(path)
    yield from _columns(table)


def csv(path: Path) -> Iterator[StoredArray]:
    """Columns of numbers. A first row of words names them; without one they are called 0, 1, 2."""
    if path.stat().st_size > LARGEST_TABLE:
        raise bad_file("read.unsupported", path, "the table is too large to be read as a recording")
    start = first_bytes(path, 1 << 16).decode("utf-8-sig", "replace")
    first = next(iter(start.splitlines()), "")
    delimiter = max(DELIMITERS, key=lambda mark: (first.count(mark), -DELIMITERS.index(mark)))
    cells = [cell.strip().strip('"') for cell in first.split(delimiter)]
    named = not all(_is_number(cell) for cell in cells)
    with bad_file_errors(path, "pyarrow"):
        table = pyarrow.csv.read_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(
                column_names=None if named else [str(number) for number in range(len(cells))],
                use_threads=False,
                # The types of the columns are taken from the first block.
                block_size=min(LARGEST_BLOCK, max(1 << 20, path.stat().st_size)),
            ),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
        )
    yield from _columns(table)


def looks_like_text(path: Path) -> bool:
    """At least two lines of text, the second with a number in it."""
    start = first_bytes(path, 1 << 12)
    if b"\0" in start:
        return False
    lines = start.decode("utf-8-sig", "replace").splitlines()
    return len(lines) > 1 and any(
        _is_number(cell.strip().strip('"')) for mark in DELIMITERS for cell in lines[1].split(mark)
    )


def _columns(table: pa.Table) -> Iterator[StoredArray]:
    """Columns that hold no numbers have the type of objects, so that whoever reads can say so."""
    for place, name in enumerate(table.column_names):
        kind = table.schema.field(place).type
        column = table.column(place)
        plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
        # With an empty cell among truth values it is an array of objects.
        values = column.to_numpy() if plain else np.empty(len(column), np.object_)
        yield StoredArray(place=(name.strip(),), shape=values.shape, dtype=values.dtype, load=_given(values))


def _given(values: Array) -> Callable[[Spool], Array]:
    return lambda _: values


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell == ""
    return True
