"""MATLAB files `.mat`: level 5 (MATLAB 5 to 7.2), and 7.3, which is HDF5; and plain HDF5 with `key`.

Only arrays of numbers and logicals are read; structures, cells, objects, function handles, sparse and complex arrays
are refused by name, and nothing in a file is run. `request.key` names the variable; of a file with one numeric array
the key may be left out.

MATLAB stores its first index fastest and calls it the row, so that `A(row, column, slice)` means (y, x, z) here: the
array that we give is (c, z, y, x) with `A(i, j, k) = array[0, k, i, j]`. HDF5 that MATLAB did not write (no
`MATLAB_class`) states no axes and is arranged as NumPy's arrays are. No geometry is stated by either.
"""

from __future__ import annotations

from pathlib import Path

from medshard.converters.formats import hdf5_arrays, hdf5_pages, matlab5
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import (
    ANY,
    Files,
    Format,
    Header,
    Request,
    installed_versions,
    narrowed,
)
from medshard.converters.formats.numpy_arrays import AXES_ASSUMED, CHANNELS_LAST, arranged, arrangement
from medshard.converters.geometry import pixel_grid_affine
from medshard.converters.volume import Array, Image

MATLAB_AXES = "MATLAB states no geometry: rows are taken as y, columns as x, pages as z"


def sniff(files: Files) -> bool:
    return len(files) == 1 and (matlab5.is_level5(files[0]) or hdf5_arrays.is_hdf5(files[0]))


def read_header(files: Files, request: Request = ANY) -> Header:
    """Header of one array; MissingExtraError[matlab.not_installed] for HDF5 without h5py."""
    path = files[0]
    if matlab5.is_level5(path):
        variable = matlab5.find(path, request.key)
        shape, dtype, by_matlab = variable.shape, variable.dtype, True
    else:
        found = hdf5_arrays.find(path, request.key)
        shape, dtype, by_matlab = found.shape, found.dtype, found.by_matlab
    channels_last = False
    if request.page is not None:
        space, channels, channels_last = _page_shape(path, request)
    elif by_matlab:
        space, channels = _matlab_shape(path, shape)
    else:
        space, channels, channels_last = arrangement(path, shape, dtype)
    axes = (MATLAB_AXES,) if by_matlab else (AXES_ASSUMED,)
    return Header(
        format=FORMAT.name,
        shape=space,
        channels=channels,
        affine=pixel_grid_affine(),
        dtype=dtype.name,
        trusted_geometry=False,
        warnings=(*axes, CHANNELS_LAST) if channels_last else axes,
    )


def read(files: Files, request: Request = ANY) -> Image:
    """The stored numbers, (c, z, y, x)."""
    path = files[0]
    if request.page is not None:
        _page_shape(path, request)
        return hdf5_pages.read_page(path, request, request.page)
    if matlab5.is_level5(path):
        variable = matlab5.find(path, request.key)
        _matlab_shape(path, variable.shape)
        array, dtype, by_matlab = matlab5.read(path, variable, request.spool), variable.dtype, True
    else:
        found = hdf5_arrays.find(path, request.key)
        dtype, by_matlab = found.dtype, found.by_matlab
        _ = _matlab_shape(path, found.shape) if by_matlab else arrangement(path, found.shape, found.dtype)
        array = hdf5_arrays.read(path, found, request.spool)
    array = narrowed(array, request.spool, reuse=True)
    placed = _by_rows_and_columns(path, array) if by_matlab else arranged(path, array, dtype)
    return Image(array=placed, affine=pixel_grid_affine(), trusted_geometry=False)


def _page_shape(path: Path, request: Request) -> tuple[tuple[int, int, int], int, bool]:
    """As `hdf5_pages.page_shape`. Raises CaseError[read.unsupported] for files of level 5."""
    if matlab5.is_level5(path):
        raise bad_file("read.unsupported", path, "single pictures of a MATLAB array of level 5 are not read")
    return hdf5_pages.page_shape(path, hdf5_arrays.find(path, request.key), request.page or 0)


def _matlab_shape(path: Path, stored: tuple[int, ...]) -> tuple[tuple[int, int, int], int]:
    """(z, y, x) and channels; `stored` is MATLAB's size the other way round, so that the array is C-ordered.

    Raises CaseError[read.unsupported] unless MATLAB has two to four indices.
    """
    if not 2 <= len(stored) <= 4 or min(stored) < 1:
        raise bad_file(
            "read.unsupported",
            path,
            "the array is no image of two to four axes",
            details={"size in MATLAB": stored[::-1]},
        )
    c, z, x, y = (1,) * (4 - len(stored)) + stored
    return (z, y, x), c


def _by_rows_and_columns(path: Path, stored: Array) -> Array:
    (z, y, x), c = _matlab_shape(path, stored.shape)
    return stored.reshape(c, z, x, y).swapaxes(2, 3)


def decoders() -> dict[str, str]:
    """h5py is named where it is installed; only HDF5 needs it."""
    return {**installed_versions("isal", "numpy"), **hdf5_arrays.decoders()}


FORMAT = Format(
    name="matlab",
    kind="image",
    suffixes=(".mat", ".h5", ".hdf5"),
    sniff=sniff,
    read_header=read_header,
    read=read,
    decoders=decoders,
)
