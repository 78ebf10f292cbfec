"""Slides in TIFF: Aperio SVS, OME-TIFF, QPTIFF, pyramids of any program, and large tiled pictures. Read by tifffile.

openslide reads some of these too, but places tiles of a level whose downsample is not whole between the pixels and
interpolates; here every pixel is a stored one. It also makes 8-bit RGB of everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from medshard.converters.formats.faults import BAD_FILE, bad_file
from medshard.converters.formats.format import first_bytes, installed_versions
from medshard.converters.slides.missing import slides_extra
from medshard.converters.slides.pixel_size import (
    Pair,
    aperio_number,
    attribute,
    checked_microns,
    checked_power,
    number,
    ome_microns,
    ome_power,
    resolution_microns,
)
from medshard.converters.slides.stored import (
    Files,
    SlideFormat,
    SlideSource,
    StatedSlide,
    is_reduced,
    levels_of,
    require_sane,
)
from medshard.converters.slides.tiff_pages import (
    TIFF_MAGIC,
    TiffPages,
    begins_tiled,
    is_chain_complete,
    pages_of,
    shape_of,
    silent_tifffile,
)
from medshard.converters.slides.tiff_tiles import TiffTiles, require_stored, require_within, tile_of
from medshard.errors import CaseError

GREY, RGB, YCBCR = 1, 2, 6
ORIENTATION = 274
DTYPES = {
    "bool": "uint8",
    "uint8": "uint8",
    "int8": "int8",
    "uint16": "uint16",
    "int16": "int16",
    "uint32": "uint32",
    "int32": "int32",
    "float32": "float32",
}
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296


def sniff(files: Files) -> bool:
    """One TIFF file whose first directory has tiles, and which is a pyramid, a scanner's, or a very large picture.

    Raises MissingExtraError[slides.not_installed] of a tiled file without tifffile.
    """
    if len(files) != 1 or first_bytes(files[0], 4) not in TIFF_MAGIC or not begins_tiled(files[0]):
        return False
    try:
        with _tiff(files[0]) as (_, pages):
            return pages.is_slide
    except (*BAD_FILE, CaseError):
        return False


@contextmanager
def opened(files: Files) -> Iterator[SlideSource]:
    """Raises CaseError[read.unsupported | read.truncated | read.unreadable], and what tifffile raises."""
    path = files[0]
    with _tiff(path) as (file, pages):
        stated = _stated(pages, path)
        tiles = TiffTiles(file=file, path=path, levels=pages.levels, stated=stated)
        yield SlideSource(stated=stated, read=tiles.read)


def decoders() -> dict[str, str]:
    return installed_versions("tifffile", "imagecodecs", "numpy")


@contextmanager
def _tiff(path: Path) -> Iterator[tuple[Any, TiffPages]]:
    with slides_extra(path.name):
        import imagecodecs  # noqa: F401, PLC0415
        import tifffile  # noqa: PLC0415
    with silent_tifffile(), tifffile.TiffFile(path, _multifile=False) as file:
        yield file, pages_of(file, path)


def _stated(pages: TiffPages, path: Path) -> StatedSlide:
    if not pages.levels:
        raise bad_file("read.unsupported", path, "the file has no tiled picture")
    if not is_chain_complete(path):
        raise bad_file("read.truncated", path, "the file ends too early: it leads to directories that are not there")
    base = pages.levels[0][0]
    channels, is_rgb, warnings = _channels(pages, path)
    size = path.stat().st_size
    for page in pages.others:
        require_within(page, path, size)
    microns, doubts = checked_microns(_microns(pages))
    power, power_doubts = checked_power(_power(pages))
    stated = StatedSlide(
        format={"aperio": "aperio-svs", "ome": "ome-tiff", "qptiff": "qptiff"}.get(pages.kind, "tiled-tiff"),
        levels=levels_of([shape_of(level[0]) for level in pages.levels], [tile_of(level[0]) for level in pages.levels]),
        channels=channels,
        dtype=DTYPES[str(base.dtype)],
        is_rgb=is_rgb,
        microns_per_pixel=microns,
        magnification=power,
        labelled=_has_label(pages),
        warnings=(*warnings, *_orientation_doubt(pages.levels[0][0]), *doubts, *power_doubts),
    )
    require_sane(path, stated)
    left_out = sum(require_stored(page, path, size) for level in pages.levels for page in level)
    if left_out:
        warning = f"{left_out} tiles are not stored and read as empty glass"
        return replace(stated, warnings=(*stated.warnings, warning))
    return stated


def _orientation_doubt(base: Any) -> list[str]:
    """Viewers of slides pass the tag over, and outlines are drawn on what they show; others turn the picture."""
    stated = base.tags.valueof(ORIENTATION, 1)
    if stated in (0, 1):
        return []
    return [f"the file states orientation {stated}: not applied, rows and columns are as they are stored"]


def _channels(pages: TiffPages, path: Path) -> tuple[int, bool, list[str]]:
    """(channels, whether they are RGB, warnings). Raises CaseError[read.unsupported]."""
    base, planes = pages.levels[0][0], len(pages.levels[0])
    samples, meaning = int(base.samplesperpixel), int(base.photometric)
    if str(base.dtype) not in DTYPES:
        raise _unsupported(path, "the pixels are of a type that is not read", dtype=str(base.dtype))
    if meaning not in (GREY, RGB, YCBCR):
        raise _unsupported(path, "the colours are neither grey nor RGB", photometric=meaning)
    if planes > 1 and samples > 1:
        raise _unsupported(path, "several pictures of one size, each in colour", pictures=planes)
    if planes > 1:
        _require_channels(pages, path)
    if meaning == GREY:
        return max(planes, samples), False, []
    if samples not in (3, 4):
        raise _unsupported(path, "colours of another number of samples than 3", samples=samples)
    return 3, True, ["alpha channel dropped"] if samples == 4 else []


def _require_channels(pages: TiffPages, path: Path) -> None:
    """Raises CaseError where several planes may be something else than channels, in the order of the pages."""
    planes = len(pages.levels[0])
    if pages.kind == "qptiff":
        return
    document = pages.description
    start = _pixels(document)
    sizes = {axis: number(attribute(start, f"Size{axis}")) or 1 for axis in "CZT"}
    if pages.kind != "ome" or sizes["Z"] * sizes["T"] != 1 or sizes["C"] != planes:
        raise _unsupported(
            path, "several planes of one size that are not channels of one picture", planes=planes, **sizes
        )
    for data in re.findall(r"<(?:\w+:)?TiffData\b[^>]*>", document)[:planes]:
        channel, page = number(attribute(data, "FirstC")), number(attribute(data, "IFD"))
        if channel is not None and page is not None and channel != page:
            raise _unsupported(path, "the channels are stored in another order than they are counted")


def _microns(pages: TiffPages) -> Pair | None:
    """(y, x) as the description states it, or TIFF's resolution where it has no word of its own."""
    base = pages.levels[0][0]
    if pages.kind == "aperio":
        stated = aperio_number(pages.description, "MPP")
        return None if stated is None else (stated, stated)
    if pages.kind == "ome":
        return ome_microns(_pixels(pages.description))
    unit = int(base.tags.valueof(RESOLUTION_UNIT, 2))
    return resolution_microns(base.tags.valueof(X_RESOLUTION), base.tags.valueof(Y_RESOLUTION), unit)


def _power(pages: TiffPages) -> float | None:
    if pages.kind == "aperio":
        return aperio_number(pages.description, "AppMag")
    if pages.kind == "ome":
        return ome_power(pages.description)
    if pages.kind == "qptiff":
        found = re.search(r"<Objective>\s*([0-9.]{1,8})\s*x?\s*</Objective>", pages.description, re.IGNORECASE)
        return None if found is None else number(found.group(1))
    return None


def _pixels(document: str) -> str:
    """Start tag of the first `Pixels` element of an OME document."""
    found = re.search(r"<(?:\w+:)?Pixels\b[^>]*>", document)
    return "" if found is None else found.group(0)


def _has_label(pages: TiffPages) -> bool:
    """Whether a page that is no level has other proportions than the slide, as a picture of its label or glass has."""
    base = shape_of(pages.levels[0][0])
    return any(not _is_thumbnail(page, base) for page in pages.others)


def _is_thumbnail(page: Any, base: tuple[int, int]) -> bool:
    words = str(page.description)[:1024].lower()
    return is_reduced(base, shape_of(page)) and "label" not in words and "macro" not in words


def _unsupported(path: Path, problem: str, **details: object) -> CaseError:
    return bad_file("read.unsupported", path, problem, details=details)


FORMAT = SlideFormat(name="tiff slide", sniff=sniff, opened=opened, decoders=decoders)
