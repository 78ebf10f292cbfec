"""One picture of many in a NumPy array, by its number along the first axis."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from medshard.converters.array_types import Array
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import Request, first_bytes, narrowed
from medshard.converters.formats.numpy_files import (
    MAGIC,
    ArrayHeader,
    array_header,
    in_memory_order,
    member_of,
    npy_header,
    opened_archive,
    read_member,
    stored_at,
)
from medshard.converters.formats.voxel_stream import read_voxels
from medshard.converters.geometry import pixel_grid_affine
from medshard.converters.spooling import Spool
from medshard.converters.volume import Image


def read_page(path: Path, request: Request, page: int) -> Image:
    """One picture along the first axis; of a plain or uncompressed array nothing else is read."""
    header, offset = array_header(path, request.key), None
    require_page(path, header, page)
    if first_bytes(path, len(MAGIC)) == MAGIC:
        offset = header.offset
    else:
        with opened_archive(path) as archive:
            offset = stored_at(path, member_of(path, archive, request.key), header)
    if offset is None or header.fortran:
        place = path.stat()
        stack = _whole(path, request.key, request.spool, (place.st_mtime_ns, place.st_size))
        stored: Array = np.array(stack[page])
    else:
        place_in_file = offset + page * (header.size // header.shape[0])
        stored = read_voxels(
            path,
            offset=place_in_file,
            encoding="raw",
            shape=header.shape[1:],
            dtype=header.dtype,
            spool=request.spool,
        )
    stored = narrowed(stored.view(np.uint8) if stored.dtype.kind == "b" else stored, request.spool, reuse=True)
    shape, channels, last = page_arrangement(path, header)
    array = np.moveaxis(stored.reshape(*shape, channels), -1, 0) if last else stored.reshape(channels, *shape)
    return Image(array=array, affine=pixel_grid_affine(), trusted_geometry=False)


@lru_cache(maxsize=2)  # the pictures, and their masks
def _whole(path: Path, key: str | None, spool: Spool, version: tuple[int, int]) -> Array:
    """The whole array as it is stored: a compressed one is inflated once, not once for each of its pictures.

    version: time and size of the file, so that a changed one is read again.
    """
    if first_bytes(path, len(MAGIC)) == MAGIC:
        header = npy_header(path)
        shape = in_memory_order(header)
        array = read_voxels(path, offset=header.offset, encoding="raw", shape=shape, dtype=header.dtype, spool=spool)
    else:
        header, array = read_member(path, key, spool)
    return array.transpose() if header.fortran else array


def require_page(path: Path, header: ArrayHeader, page: int) -> None:
    """Raises CaseError[read.no_such_page | read.unsupported]."""
    if len(header.shape) not in (3, 4) or min(header.shape) < 1:
        raise bad_file("read.unsupported", path, "the array is no series of pictures", details={"shape": header.shape})
    if not 0 <= page < header.shape[0]:
        raise bad_file(
            "read.no_such_page",
            path,
            "the array has no such picture",
            details={"expected": f"0 to {header.shape[0] - 1}", "found": page},
            action="Correct `page`; pictures count from 0 along the first axis.",
        )


def page_arrangement(path: Path, header: ArrayHeader) -> tuple[tuple[int, int, int], int, bool]:
    """As `arrangement`, of one picture along the first axis."""
    one = header.shape[1:]
    if len(one) == 3 and one[-1] in (1, 3, 4):
        return (1, one[0], one[1]), one[2], True
    return (1, *one)[-3:], 1, False  # type: ignore[return-value]
