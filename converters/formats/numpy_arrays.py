"""NumPy arrays: `.npy`, and `.npz` with one or several of them. Nothing is unpickled.

An array of Python objects is a pickle, and reading a pickle runs whatever code it names; such arrays are refused, and
no restricted reader is offered: images and masks are numbers.

The format states no axes. Ours, documented because it is a guess: the last axis is x, the one before it y, then z, and
a fourth in front the channels, so `(c, z, y, x)`; except that a last axis of one, of an array of four axes, or of three
or four in unsigned bytes, is the channels, `(z, y, x, c)` or `(y, x, c)`. Many pictures in one array, `(n, y, x)`, look
like a volume and are read as one; a layout that means single pictures has to say so, by `page`: the number along the
first axis of `(n, y, x)`, `(n, y, x, c)` with c of 1, 3 or 4, or `(n, z, y, x)`. No geometry is stated.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import (
    ANY,
    Files,
    Format,
    Header,
    Request,
    first_bytes,
    installed_versions,
    narrowed,
)
from medshard.converters.formats.numpy_files import (
    MAGIC,
    ZIP_MAGIC,
    array_header,
    in_memory_order,
    read_member,
)
from medshard.converters.formats.numpy_pages import page_arrangement, read_page, require_page
from medshard.converters.formats.voxel_stream import read_voxels
from medshard.converters.geometry import pixel_grid_affine
from medshard.converters.volume import Array, Image

AXES_ASSUMED = "the array states neither axes nor geometry: its last axis is taken as x"
CHANNELS_LAST = "the last axis of the array is taken as the channels"


def sniff(files: Files) -> bool:
    return len(files) == 1 and (first_bytes(files[0], len(MAGIC)) == MAGIC or _is_npz(files[0]))


def read_header(files: Files, request: Request = ANY) -> Header:
    """Header of a NumPy array; `request.key` picks one of several."""
    path = files[0]
    found = array_header(path, request.key)
    if request.page is not None:
        require_page(path, found, request.page)
        shape, channels, last = page_arrangement(path, found)
    else:
        shape, channels, last = arrangement(path, found.shape, found.dtype)
    return Header(
        format=FORMAT.name,
        shape=shape,
        channels=channels,
        affine=pixel_grid_affine(),
        dtype="uint8" if found.dtype.kind == "b" else found.dtype.name,
        trusted_geometry=False,
        warnings=(AXES_ASSUMED, CHANNELS_LAST) if last else (AXES_ASSUMED,),
    )


def read(files: Files, request: Request = ANY) -> Image:
    """The stored numbers, (c, z, y, x)."""
    path = files[0]
    if request.page is not None:
        return read_page(path, request, request.page)
    header = array_header(path, request.key)
    arrangement(path, header.shape, header.dtype)
    if first_bytes(path, len(MAGIC)) == MAGIC:
        stored = read_voxels(
            path,
            offset=header.offset,
            encoding="raw",
            shape=in_memory_order(header),
            dtype=header.dtype,
            spool=request.spool,
        )
    else:
        header, stored = read_member(path, request.key, request.spool)
    array = narrowed(stored.view(np.uint8) if stored.dtype.kind == "b" else stored, request.spool, reuse=True)
    array = array.transpose() if header.fortran else array
    return Image(array=arranged(path, array, header.dtype), affine=pixel_grid_affine(), trusted_geometry=False)


def arrangement(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[np.generic]
) -> tuple[tuple[int, int, int], int, bool]:
    """(z, y, x), the number of channels, and whether they are the last axis, of an array without stated axes.

    Raises CaseError[read.unsupported] unless it has two to four axes.
    """
    if not 2 <= len(shape) <= 4 or min(shape) < 1:
        raise bad_file(
            "read.unsupported",
            path,
            "the array is no image of two to four axes",
            details={"shape": shape},
        )
    colours = len(shape) > 2 and shape[-1] in (3, 4) and dtype == np.uint8
    last = colours or (len(shape) == 4 and shape[-1] == 1)
    space = shape[:-1] if last else shape[-3:]
    channels = shape[-1] if last else math.prod(shape[:-3])
    z, y, x = (1,) * (3 - len(space)) + space
    return (z, y, x), channels, last


def arranged(path: Path, array: Array, dtype: np.dtype[np.generic]) -> Array:
    """A view as (c, z, y, x) of an array that was stored as `dtype`; errors as `arrangement`."""
    shape, channels, last = arrangement(path, array.shape, dtype)
    if not last:
        return array.reshape(channels, *shape)
    return np.moveaxis(array.reshape(*shape, channels), -1, 0)


def _is_npz(path: Path) -> bool:
    """A zip whose first member is an array."""
    start = first_bytes(path, 30 + 256)
    name = start[30 : 30 + int.from_bytes(start[26:28], "little")]
    return start.startswith(ZIP_MAGIC) and name.endswith(b".npy")


def decoders() -> dict[str, str]:
    return installed_versions("numpy")


FORMAT = Format(
    name="numpy",
    kind="image",
    suffixes=(".npy", ".npz"),
    sniff=sniff,
    read_header=read_header,
    read=read,
    decoders=decoders,
)
