"""Where decoded voxels lie: in memory, or in a nameless file when they are too many for it.

A spooled array is a `numpy.memmap` and behaves like any other array. Pages of it that have been touched count as memory
of the process until `release_pages` gives them back, so whoever walks over a large array in slabs calls it once a slab.
"""

from __future__ import annotations

import math
import mmap
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from medshard.converters.volume import Array


@dataclass(frozen=True, kw_only=True)
class Spool:
    """Arrays of `limit_bytes` and more go into a file in `folder`; with no folder everything stays in memory."""

    folder: Path | None = None
    limit_bytes: int = 256 << 20

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> Array:
        """A C-ordered array to be filled. Its file has no name any more: it goes when the array does."""
        wanted = np.dtype(dtype)
        size = math.prod(shape) * wanted.itemsize
        if self.folder is None or size < max(1, self.limit_bytes):
            return np.empty(tuple(shape), wanted)
        with tempfile.TemporaryFile(dir=self.folder, prefix="spool-") as file:
            file.truncate(size)
            return np.memmap(file, wanted, mode="r+", shape=tuple(shape))


IN_MEMORY = Spool()


def release_pages(array: Array) -> None:
    """Give the pages of a spooled array back to the system, written or not; nothing happens to other arrays.

    The content stays: pages of a shared file mapping that are touched again come back from the file.
    """
    mapping = _mapping(array)
    if mapping is not None:
        mapping.madvise(mmap.MADV_DONTNEED)


def is_spooled(array: Array) -> bool:
    """Whether an array, or what it is a view of, lies in a file."""
    return _mapping(array) is not None


def _mapping(array: Array) -> mmap.mmap | None:
    owner: object = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    return owner if isinstance(owner, mmap.mmap) else None
