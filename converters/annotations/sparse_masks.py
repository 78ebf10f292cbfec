"""Masks as a sparse matrix, as SciPy's `save_npz` writes it: a row for each class, a column for each voxel.

Source: SciPy, `scipy.sparse.save_npz`; compressed rows (`csr`). Voxels count in the order of the image in memory, x
fastest. The file states neither the shape nor the place of the image: it belongs to the image that it was drawn on.
Segments are numbered from 1 in the order of the rows, and may overlap.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medshard.converters.annotations.annotation_format import AnnotationFormat
from medshard.converters.annotations.segments import Segment, SegmentedImage
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import ANY, Files, Request, first_bytes, installed_versions
from medshard.converters.formats.numpy_files import ZIP_MAGIC, array_header, opened_archive, read_member
from medshard.converters.geometry import pixel_grid_affine
from medshard.converters.spooling import IN_MEMORY

MEMBERS = frozenset({"indices.npy", "indptr.npy", "format.npy", "shape.npy", "data.npy"})
MOST_ROWS = 4096
WORD_BYTES = 256


def sniff(files: Files) -> bool:
    if len(files) != 1 or first_bytes(files[0], len(ZIP_MAGIC)) != ZIP_MAGIC:
        return False
    try:
        with zipfile.ZipFile(files[0]) as archive:
            return set(archive.namelist()) == MEMBERS
    except (zipfile.BadZipFile, NotImplementedError, OSError):
        return False


def read(files: Files, request: Request = ANY) -> SegmentedImage:
    """(rows, z, y, x) on the grid of the image. Raises CaseError[read.unsupported | read.unreadable | read.too_large |
    read.truncated | annotation.no_image | geometry.mismatch]."""
    path = files[0]
    if request.grid is None:
        raise bad_file("annotation.no_image", path, "the masks state no shape, and there is no image to take it from")
    _require_rows(path)
    shape = request.grid[0]
    rows, columns = _size(path)
    if columns != math.prod(shape):
        raise bad_file(
            "geometry.mismatch",
            path,
            "the masks have another count of voxels than their image",
            details={"expected": math.prod(shape), "found": columns},
        )
    starts, places = _structure(path, rows, columns)
    masks = request.spool.empty((rows, columns), np.dtype(np.uint8))
    for row in range(rows):
        masks[row] = 0
        masks[row, places[starts[row] : starts[row + 1]]] = 1
    return SegmentedImage(
        array=masks.reshape(rows, *shape),
        affine=pixel_grid_affine(),
        segments=tuple(Segment(number=row + 1, name="", channel=row, value=1) for row in range(rows)),
        trusted_geometry=False,
    )


def _require_rows(path: Path) -> None:
    """Raises CaseError[read.unsupported] for another way to store the matrix."""
    with opened_archive(path) as archive, archive.open("format.npy") as stream:
        word = stream.read(WORD_BYTES)
    if not word.endswith((b"csr", "csr".encode("utf-32-le"))):
        raise bad_file(
            "read.unsupported", path, "the sparse matrix is not stored by rows", details={"expected": "the format csr"}
        )


def _size(path: Path) -> tuple[int, int]:
    _require_few(path, "shape", 2)
    sizes = _whole(path, "shape")
    if sizes.shape != (2,) or min(sizes) < 1:
        raise bad_file("read.unreadable", path, "the sparse matrix does not state rows and columns")
    rows, columns = (int(size) for size in sizes)
    if rows > MOST_ROWS:
        raise bad_file("read.too_large", path, "the masks have too many classes", details={"most": MOST_ROWS})
    return rows, columns


def _structure(path: Path, rows: int, columns: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each row starts among the places, and the places. Raises CaseError[read.unreadable]."""
    _require_few(path, "indptr", rows + 1)
    _require_few(path, "indices", rows * columns)
    _require_few(path, "data", rows * columns)
    starts, places, values = (_whole(path, name) for name in ("indptr", "indices", "data"))
    fits = starts.shape == (rows + 1,) and places.ndim == 1 and places.shape == values.shape
    fits = fits and starts[0] == 0 and starts[-1] == len(places) and bool((np.diff(starts) >= 0).all())
    if not fits or bool(((places < 0) | (places >= columns)).any()):
        raise bad_file("read.unreadable", path, "the parts of the sparse matrix do not fit each other")
    if bool((values != 1).any()):
        raise bad_file(
            "read.unsupported", path, "the masks hold other numbers than 1", details={"expected": "1 for each voxel"}
        )
    return starts, places


def _require_few(path: Path, name: str, most: int) -> None:
    """Raises CaseError[read.unreadable] for an array that is larger than the matrix allows; nothing is allocated."""
    if math.prod(array_header(path, name).shape) > most:
        raise bad_file("read.unreadable", path, "the parts of the sparse matrix do not fit each other")


def _whole(path: Path, name: str) -> NDArray[np.int64]:
    _, array = read_member(path, name, IN_MEMORY)
    if array.dtype.kind not in "iub":
        raise bad_file("read.unsupported", path, "the masks hold other numbers than whole ones")
    return np.asarray(array).astype(np.int64)


FORMAT = AnnotationFormat(
    name="sparse masks", suffixes=(".npz",), sniff=sniff, read=read, decoders=lambda: installed_versions("numpy")
)
