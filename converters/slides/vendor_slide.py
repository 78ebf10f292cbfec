"""Slides of scanners whose files have a geometry of their own. Read by openslide.

Hamamatsu NDPI, VMS and VMU, MIRAX, Leica SCN, Philips TIFF, Ventana BIF, Trestle, Sakura, Zeiss CZI. Their tiles may
overlap or lie anywhere on the glass, and openslide knows how; what no tile covers is white.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.array_types import Array
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import first_bytes, installed_versions
from medshard.converters.formats.library_messages import without_values
from medshard.converters.slides.missing import slides_extra
from medshard.converters.slides.pixel_size import Pair, checked_microns, checked_power, number
from medshard.converters.slides.stored import Files, SlideFormat, SlideSource, StatedSlide, levels_of, require_sane
from medshard.converters.slides.tiff_pages import TIFF_MAGIC

# openslide's names of vendors whose files another module reads.
READ_ELSEWHERE = frozenset({"aperio", "generic-tiff", "dicom"})
SUFFIXES = frozenset({".mrxs", ".vms", ".vmu", ".svslide", ".czi"})
DEFAULT_TILE = 256
CACHED_BYTES = 64 << 20
# Pixels at a time: what openslide returns takes four bytes each, twice.
BAND_PIXELS = 8 << 20
WHOLE = 1e-9


def sniff(files: Files) -> bool:
    """Raises MissingExtraError[slides.not_installed] of a file with such a name without openslide."""
    return slide_file(files) is not None


def slide_file(files: Files) -> Path | None:
    """The file of the set that openslide opens; the others are its parts.

    openslide goes by content; files that can be none, which are most, are passed over by their first bytes or name.
    """
    for path in sorted(files):
        named = path.suffix.lower() in SUFFIXES
        if not named and (len(files) > 8 or first_bytes(path, 4) not in TIFF_MAGIC):
            continue
        library = _library(path) if named else _library_if_there()
        vendor = library.OpenSlide.detect_format(str(path)) if library is not None else None
        if vendor is not None and vendor not in READ_ELSEWHERE:
            return path
    return None


@contextmanager
def opened(files: Files) -> Iterator[SlideSource]:
    """Raises CaseError[read.unreadable | read.unsupported]."""
    path = slide_file(files)
    if path is None:
        raise bad_file("read.unreadable", files[0], "the file is no slide that openslide knows")
    library = _library(path)
    with _openslide_errors(library, path):
        slide = library.OpenSlide(str(path))
    with slide:
        slide.set_cache(library.OpenSlideCache(CACHED_BYTES))
        stated = _stated(slide, path)
        pixels = _Pixels(library=library, slide=slide, path=path)
        yield SlideSource(stated=stated, read=pixels.read)


def decoders() -> dict[str, str]:
    return installed_versions("openslide-python", "openslide-bin", "numpy")


@dataclass(frozen=True, kw_only=True)
class _Pixels:
    library: Any
    slide: Any
    path: Path

    def read(self, level: int, y: int, x: int, height: int, width: int) -> Array:
        """(3, height, width) of a box inside a level, on white."""
        region = np.empty((3, height, width), np.uint8)
        rows = max(1, BAND_PIXELS // width)
        for top in range(0, height, rows):
            region[:, top : top + rows] = self._band(level, y + top, x, min(rows, height - top), width)
        return region

    def _band(self, level: int, y: int, x: int, height: int, width: int) -> Array:
        downsample = self.slide.level_downsamples[level]
        corner = round(x * downsample), round(y * downsample)
        with _openslide_errors(self.library, self.path):
            rgba = np.asarray(self.slide.read_region(corner, level, (width, height)))
        colours, alpha = rgba[..., :3], rgba[..., 3:]
        if alpha.min() < 255:
            weight = alpha.astype(np.uint16)
            colours = ((colours * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)
        return np.moveaxis(colours, -1, 0)


def hamamatsu_offsets(files: Files) -> tuple[Pair, Pair, tuple[int, int]] | None:
    """What NDPA outlines need, each (y, x): centre of the picture from the slide's centre in nanometres, micrometres a
    pixel, pixels of level 0. None where no file is a Hamamatsu slide that states all of it."""
    path = slide_file([one for one in files if not one.name.lower().endswith(".ndpa")])
    if path is None:
        return None
    library = _library(path)
    with _openslide_errors(library, path):
        slide = library.OpenSlide(str(path))
    with slide:
        offsets = [number(slide.properties.get(f"hamamatsu.{side}OffsetFromSlideCentre")) for side in "YX"]
        microns = _microns(slide)
        x, y = slide.dimensions
    if offsets[0] is None or offsets[1] is None or checked_microns(microns)[0] is None or microns is None:
        return None
    return (offsets[0], offsets[1]), microns, (y, x)


def _stated(slide: Any, path: Path) -> StatedSlide:
    microns, doubts = checked_microns(_microns(slide))
    power, power_doubts = checked_power(number(slide.properties.get("openslide.objective-power")))
    between = [n for n, factor in enumerate(slide.level_downsamples) if abs(factor - round(factor)) > WHOLE]
    if between:
        doubts.append(f"levels {between} are no whole reduction of level 0: openslide interpolates their pixels")
    stated = StatedSlide(
        format=slide.properties["openslide.vendor"],
        levels=levels_of(
            [(y, x) for x, y in slide.level_dimensions], [_tile(slide, n) for n in range(slide.level_count)]
        ),
        microns_per_pixel=microns,
        magnification=power,
        labelled=bool({"label", "macro"} & set(slide.associated_images)),
        warnings=(*doubts, *power_doubts),
    )
    require_sane(path, stated)
    return stated


def _microns(slide: Any) -> Pair | None:
    y, x = (number(slide.properties.get(f"openslide.mpp-{side}")) for side in "yx")
    return None if y is None or x is None else (y, x)


def _tile(slide: Any, level: int) -> tuple[int, int]:
    """(y, x) of the stored tiles; a usual size where the vendor's tiles have none in common."""
    sides = [number(slide.properties.get(f"openslide.level[{level}].tile-{side}")) for side in ("height", "width")]
    y, x = (int(side) if side is not None and side >= 1 else DEFAULT_TILE for side in sides)
    return y, x


def _library(path: Path) -> Any:
    with slides_extra(path.name):
        import openslide  # noqa: PLC0415

        return openslide


def _library_if_there() -> Any:
    try:
        import openslide  # noqa: PLC0415
    except ImportError:
        return None
    return openslide


@contextmanager
def _openslide_errors(library: Any, path: Path) -> Iterator[None]:
    """openslide's errors as CaseError, without the words that it may quote from the header."""
    try:
        yield
    except library.OpenSlideError as error:
        said = without_values(str(error), kept=(path.name,))
        raise bad_file(
            "read.unreadable",
            path,
            "openslide cannot read the slide",
            details={"reason": said or type(error).__name__},
        ) from error


FORMAT = SlideFormat(name="vendor slide", sniff=sniff, opened=opened, decoders=decoders)
