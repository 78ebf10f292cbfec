"""How many pictures a file holds, where a layout makes each of them a case; `Request.page` then names one."""

from __future__ import annotations

from pathlib import Path

from PIL import Image as Pillow

from medshard.converters.formats import hdf5_arrays, matlab, matlab5, numpy_arrays, raster
from medshard.converters.formats.faults import bad_file, errors_of_case
from medshard.converters.formats.format import Files, first_bytes
from medshard.converters.formats.numpy_files import array_header
from medshard.converters.formats.numpy_pages import require_page
from medshard.converters.formats.pictures import pillow_formats, tiff
from medshard.converters.formats.pictures.tiff_pages import directory_count
from medshard.converters.reading import identify


def count_pictures(files: Files, *, key: str | None, where: str) -> int:
    """Pages of a TIFF, frames of an animation, the first axis of an array; 1 of any other picture.

    key: name of the array. where: the entry, for messages. No pixel is decoded.
    Raises CaseError as `read_header` does, and [read.unsupported] for a format that holds no series of pictures.
    """
    found = identify(files, where)
    with errors_of_case(files, found.name, where):
        if found is numpy_arrays.FORMAT:
            header = array_header(files[0], key)
            require_page(files[0], header, 0)
            return int(header.shape[0])
        if found is matlab.FORMAT and not matlab5.is_level5(files[0]):
            return int(hdf5_arrays.find(files[0], key).shape[0])
        if found is raster.FORMAT:
            return _pages(files[0])
        raise bad_file(
            "read.unsupported",
            files[0],
            "a file of this format is no series of pictures",
            details={"format": found.name},
        )


def _pages(path: Path) -> int:
    start = first_bytes(path, raster.START)
    if tiff.sniff(start):
        return directory_count(path)
    kind = pillow_formats.kind_of(start)
    if kind is None:
        return 1
    with Pillow.open(path, formats=[kind]) as picture:
        return int(getattr(picture, "n_frames", 1))
