"""HDF5 files from strangers, opened so that nothing outside them is read and nothing larger than they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.voxel_stream import LARGEST_DEFLATE_RATIO
from medshard.errors import MissingExtraError

MOST_OBJECTS = 1 << 14
SMALL = 1 << 20


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """The file, to read. Raises MissingExtraError[omics.not_installed] without h5py."""
    try:
        import h5py  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError(
            "omics.not_installed",
            where=path.name,
            problem="reading HDF5 files needs h5py",
            action="pip install medshard[hdf5]",
        ) from error
    with h5py.File(path, "r", locking=False) as file:
        yield file


def require_plain(path: Path, file: Any) -> None:
    """Every object lies in this file, and no data set states more values than its bytes can hold.

    Raises CaseError[read.unsupported | read.truncated].
    """
    import h5py  # noqa: PLC0415

    waiting: list[Any] = [file]
    seen = 0
    while waiting:
        group = waiting.pop()
        for name in group:
            seen += 1
            link = group.get(name, getlink=True)
            if seen > MOST_OBJECTS or not isinstance(link, h5py.HardLink):
                raise bad_file("read.unsupported", path, "the file has links to elsewhere, or too many objects")
            found = group[name]
            if isinstance(found, h5py.Dataset):
                _require_held(path, found)
            else:
                waiting.append(found)


def _require_held(path: Path, found: Any) -> None:
    if found.is_virtual or found.external:
        raise bad_file("read.unsupported", path, "a data set of the file lies in other files")
    size = found.size * found.dtype.itemsize if found.size else 0
    held = min(found.id.get_storage_size(), path.stat().st_size)
    packed = found.id.get_create_plist().get_nfilters() > 0
    if size > max(SMALL, held * (LARGEST_DEFLATE_RATIO if packed else 1)):
        raise bad_file(
            "read.truncated",
            path,
            "a data set states more values than the file holds",
            details={"expected": f"{size} bytes", "found": f"{held} bytes"},
        )
