"""Arrays in HDF5 files, those of MATLAB 7.3 among them. Read by h5py, which is an optional part."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.formats.faults import bad_file, bad_file_errors
from medshard.converters.formats.format import first_bytes, installed_versions
from medshard.converters.formats.voxel_stream import LARGEST_DEFLATE_RATIO, short_voxels
from medshard.converters.spooling import Spool, release_pages
from medshard.converters.volume import Array
from medshard.errors import MissingExtraError

MAGIC = b"\x89HDF\r\n\x1a\n"
# MATLAB puts a block of its own of 512 bytes in front.
PLACES = (0, 512)
MOST_OBJECTS = 1 << 12
NAMED_ARRAYS = 20
LARGEST_CHUNK = 64 << 20
SLAB_BYTES = 16 << 20
NUMERIC = tuple(
    name.encode()
    for name in ("double", "single", "logical", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
)
# Registered numbers of deflate, shuffle, fletcher32 and lzf. Others pack without a known bound, or are not in HDF5.
FILTERS = frozenset((1, 2, 3, 32000))
PACKING = frozenset((1, 32000))


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """shape: as HDF5 has it, which is MATLAB's size the other way round. by_matlab: whether MATLAB wrote it."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    by_matlab: bool


def is_hdf5(path: Path) -> bool:
    start = first_bytes(path, PLACES[-1] + len(MAGIC))
    return any(start[place : place + len(MAGIC)] == MAGIC for place in PLACES)


def find(path: Path, key: str | None) -> Dataset:
    """The dataset of that name (with its groups, `a/b`), or the only one at the top that holds numbers.

    Raises CaseError[read.no_such_array | read.unsupported | read.truncated], MissingExtraError[matlab.not_installed].
    """
    with open_hdf5(path) as file:
        if key is None:
            arrays = [name for name, found in _top(file) if not _refusal(found)]
            if len(arrays) != 1:
                raise _no_such_array(path, file, None)
            key = arrays[0]
        found = _within(file, key)
        if found is None:
            raise _no_such_array(path, file, key)
        problem = _refusal(found)
        if problem:
            raise bad_file(
                "read.unsupported",
                path,
                "the dataset is not a plain array of numbers in this file",
                details={"dataset": key, "found": problem},
            )
        size = math.prod(found.shape) * found.dtype.itemsize
        held = min(found.id.get_storage_size(), path.stat().st_size)
        packed = bool(_filters(found) & PACKING)
        if size > held * (LARGEST_DEFLATE_RATIO if packed else 1):
            raise short_voxels(path, size, None if packed else held)
        return Dataset(
            name=key,
            shape=tuple(int(n) for n in found.shape),
            dtype=np.dtype("uint8") if found.dtype.kind == "b" else found.dtype.newbyteorder("="),
            by_matlab="MATLAB_class" in found.attrs,
        )


def read(path: Path, dataset: Dataset, spool: Spool) -> Array:
    """The numbers, C-ordered; `dataset` comes from `find`."""
    array = spool.empty(dataset.shape, dataset.dtype)
    with open_hdf5(path) as file:
        found = file[dataset.name]
        row = max(1, math.prod(dataset.shape[1:]) * dataset.dtype.itemsize)
        rows = max(1, SLAB_BYTES // row)
        if found.chunks is not None:
            rows = max(1, rows // found.chunks[0]) * found.chunks[0]
        for start in range(0, dataset.shape[0], rows):
            array[start : start + rows] = found[start : start + rows]
            release_pages(array)
    return array


def _refusal(found: Any) -> str:
    """Why an object of a file is not read; empty for a plain array of numbers that lies in this file."""
    import h5py  # noqa: PLC0415

    if not isinstance(found, h5py.Dataset):
        return "a group"
    matlab_class = found.attrs.get("MATLAB_class", b"double")
    numeric = matlab_class in NUMERIC and "MATLAB_sparse" not in found.attrs
    empty = "MATLAB_empty" in found.attrs or not found.shape or min(found.shape) < 1
    problems = {
        "no numbers in MATLAB": not numeric,
        "an array without numbers": empty,
        "references, text, or a structure": found.dtype.kind not in "biuf" or found.dtype.itemsize > 8,
        "data in other files": found.is_virtual or bool(found.external),
        "a compression that medshard does not read": not _filters(found) <= FILTERS,
        "chunks that are too large": math.prod(found.chunks or ()) * found.dtype.itemsize > LARGEST_CHUNK,
    }
    return next((problem for problem, there in problems.items() if there), "")


def _filters(found: Any) -> frozenset[int]:
    plan = found.id.get_create_plist()
    return frozenset(int(plan.get_filter(number)[0]) for number in range(plan.get_nfilters()))


def _within(file: Any, key: str) -> Any:
    """The object of that name, without following links to other files; None where there is none."""
    import h5py  # noqa: PLC0415

    found = file
    for name in key.strip("/").split("/"):
        link = found.get(name, getlink=True) if isinstance(found, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            return None
        found = found[name]
    return found


def _top(file: Any) -> Iterator[tuple[str, Any]]:
    for number, name in enumerate(file):
        if number == MOST_OBJECTS:
            return
        found = _within(file, name) if not name.startswith("#") else None
        if found is not None:
            yield name, found


def _no_such_array(path: Path, file: Any, key: str | None) -> Exception:
    listed: dict[str, object] = {}
    for name, found in _top(file):
        if len(listed) == NAMED_ARRAYS:
            break
        listed[f"array {name[:60]}"] = _refusal(found) or f"{found.shape} {found.dtype.name}"
    return bad_file(
        "read.no_such_array",
        path,
        "no array of the file is named, and not exactly one holds numbers"
        if key is None
        else "the file holds no such array",
        details={"wanted": key or "-", **listed},
        action="Name one of them as `key` in the entry's layout.",
    )


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """The file, to read; what h5py stumbles on inside the block is a bad file. Raises MissingExtraError."""
    try:
        import h5py  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError(
            "matlab.not_installed",
            where=path.name,
            problem="reading MATLAB 7.3 and HDF5 files needs h5py",
            action="pip install medshard[hdf5]",
        ) from error
    with bad_file_errors(path, "h5py"), h5py.File(path, "r", locking=False) as file:
        yield file


def decoders() -> dict[str, str]:
    try:
        return installed_versions("h5py")
    except PackageNotFoundError:
        return {}
