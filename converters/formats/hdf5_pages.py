"""One picture of many in an HDF5 dataset, by its number along the first axis of the dataset.

In files of MATLAB that axis is MATLAB's last index, and what is left of a picture is turned, as in `matlab`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from medshard.converters.array_types import Array
from medshard.converters.formats import hdf5_arrays
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import Request, narrowed
from medshard.converters.formats.hdf5_arrays import Dataset
from medshard.converters.geometry import pixel_grid_affine
from medshard.converters.spooling import Spool
from medshard.converters.volume import Image


def page_shape(path: Path, dataset: Dataset, page: int) -> tuple[tuple[int, int, int], int, bool]:
    """(1, y, x), the channels, and whether they are the last axis, of one picture.

    Raises CaseError[read.no_such_page | read.unsupported].
    """
    one = dataset.shape[1:]
    colours = len(one) == 3 and one[-1] in (1, 3, 4) and not dataset.by_matlab
    if len(one) != 2 and not colours:
        problem = "the dataset is no series of pictures"
        raise bad_file("read.unsupported", path, problem, details={"shape": dataset.shape})
    if not 0 <= page < dataset.shape[0]:
        raise bad_file(
            "read.no_such_page",
            path,
            "the dataset has no such picture",
            details={"expected": f"0 to {dataset.shape[0] - 1}", "found": page},
            action="Correct `page`; pictures count from 0 along the first axis.",
        )
    y, x = one[:2][::-1] if dataset.by_matlab else one[:2]
    return (1, y, x), one[2] if colours else 1, colours


def read_page(path: Path, request: Request, page: int) -> Image:
    """The stored numbers of one picture, (c, 1, y, x)."""
    dataset = hdf5_arrays.find(path, request.key)
    shape, channels, last = page_shape(path, dataset, page)
    place = path.stat()
    stored = np.array(_whole(path, dataset, request.spool, (place.st_mtime_ns, place.st_size))[page])
    stored = stored.T if dataset.by_matlab else stored
    array = np.moveaxis(stored.reshape(*shape, channels), -1, 0) if last else stored.reshape(channels, *shape)
    return Image(array=narrowed(array, request.spool), affine=pixel_grid_affine(), trusted_geometry=False)


@lru_cache(maxsize=2)
def _whole(path: Path, dataset: Dataset, spool: Spool, version: tuple[int, int]) -> Array:
    """The whole dataset: its chunks are inflated once, not once for each picture in them. version: as of the file."""
    return hdf5_arrays.read(path, dataset, spool)
