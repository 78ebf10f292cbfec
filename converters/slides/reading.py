"""Reading whole slides: what they state, where their tissue lies, and any region of any level as it is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from medshard.converters.array_types import Array
from medshard.converters.formats.faults import errors_of_case, refuse_no_files
from medshard.converters.formats.format import installed_versions
from medshard.converters.slide import Slide
from medshard.converters.slides import dicom_slide, tiff_slide, vendor_slide
from medshard.converters.slides.outlines import rasterise_outlines, read_slide_outlines
from medshard.converters.slides.overview import Overview, block_means, overview_of
from medshard.converters.slides.slide_outline import SlideOutline
from medshard.converters.slides.stored import SlideFormat, SlideSource, StatedSlide, region_of
from medshard.converters.slides.tiles import TileGrid, tissue_tiles
from medshard.converters.slides.tissue import (
    Mask,
    mask_factor,
    thumbnail_of,
    tissue_of_channels,
    tissue_of_colours,
)
from medshard.errors import CaseError

__all__ = [
    "Region",
    "SlideOutline",
    "TileGrid",
    "is_slide",
    "open_regions",
    "rasterise_outlines",
    "read_slide",
    "read_slide_outlines",
    "slide_decoders",
    "tissue_tiles",
]

Region = Callable[[int, int, int, int, int], Array]
"""region(level, y, x, height, width) -> (c, height, width), in pixels of that level; see `open_regions`."""

FORMATS: tuple[SlideFormat, ...] = (dicom_slide.FORMAT, vendor_slide.FORMAT, tiff_slide.FORMAT)


def is_slide(files: Sequence[Path]) -> bool:
    """Whether the files are a whole slide, by content; reads headers only.

    Raises MissingExtraError[slides.not_installed] where only a library that is missing could tell.
    """
    return _format_of(files) is not None


def read_slide(files: Sequence[Path], *, where: str) -> Slide:
    """The index of a slide, with its tissue and a thumbnail; `files` of the result stays empty.

    Raises CaseError[read.no_files | read.truncated | read.unreadable | read.unsupported | read.missing_part |
    read.several_images | read.unknown_format], MissingExtraError[slides.not_installed].
    """
    found = _required_format(files, where)
    with errors_of_case(files, found.name, where), found.opened(files) as source:
        stated = source.stated
        overview = overview_of(source)
        tissue, downsample = _tissue(stated, overview)
        thumbnail = thumbnail_of(overview.pixels, stated.is_rgb, stated.fill)
    return Slide(
        levels=stated.levels,
        channels=stated.channels,
        dtype=stated.dtype,
        microns_per_pixel=stated.microns_per_pixel,
        magnification=stated.magnification,
        tissue=tissue,
        tissue_downsample=downsample,
        thumbnail=thumbnail,
        labelled=stated.labelled,
        format=stated.format,
        attributes={"colour": "RGB" if stated.is_rgb else "grey" if stated.channels == 1 else "channels"},
        warnings=(*stated.warnings, *([] if tissue.any() else ["no tissue is found on the slide"])),
    )


@contextmanager
def open_regions(files: Sequence[Path], slide: Slide, *, where: str) -> Iterator[Region]:
    """A function that reads boxes of an indexed slide: region(level, y, x, height, width) -> (c, height, width).

    y, x: of the box's corner in pixels of that level, anywhere. Outside of the slide it is white of RGB, else 0.
    Raises CaseError as `read_slide` does, also from the function, and [slide.changed].
    """
    found = _required_format(files, where)
    with _opened(files, found, where) as source:
        if [level.shape for level in source.stated.levels] != [level.shape for level in slide.levels]:
            raise CaseError(
                "slide.changed",
                where=where,
                problem="the slide is not the one that was indexed: its levels differ",
                details={"file": files[0].name},
                action="Index the slide again.",
            )

        def region(level: int, y: int, x: int, height: int, width: int) -> Array:
            _require_box(source, level, height, width)
            with errors_of_case(files, found.name, where):
                return region_of(source, level, (y, x), (height, width))

        yield region


def slide_decoders(files: Sequence[Path]) -> dict[str, str]:
    """Library -> version, of everything that has a say in the index and the pixels. Raises CaseError as above."""
    found = _required_format(files, "slide")
    return {**found.decoders(), **installed_versions("scipy")}


def _format_of(files: Sequence[Path]) -> SlideFormat | None:
    if not files or any(path.stat().st_size == 0 for path in files):
        return None
    return next((candidate for candidate in FORMATS if candidate.sniff(files)), None)


def _required_format(files: Sequence[Path], where: str) -> SlideFormat:
    refuse_no_files(files, where)
    found = _format_of(files)
    if found is None:
        raise CaseError(
            "read.unknown_format",
            where=where,
            problem="the files are no whole slide that medshard reads",
            details={"file": files[0].name, "files": len(files)},
            action="The case is excluded. Fetch the file again if it is damaged, or correct the entry's layout.",
        )
    return found


@contextmanager
def _opened(files: Sequence[Path], found: SlideFormat, where: str) -> Iterator[SlideSource]:
    """An open slide. Errors of whoever uses it are its own, so only opening and closing are said of the case."""
    with ExitStack() as stack:
        with errors_of_case(files, found.name, where):
            source = stack.enter_context(found.opened(files))
        yield source


def _require_box(source: SlideSource, level: int, height: int, width: int) -> None:
    """The caller's mistakes are IndexError and ValueError, not faults of the file."""
    if not 0 <= level < len(source.stated.levels):
        raise IndexError(f"the slide has {len(source.stated.levels)} levels, and no level {level}")
    if height < 1 or width < 1:
        raise ValueError(f"a box of {height} by {width} pixels holds none")


def _tissue(stated: StatedSlide, overview: Overview) -> tuple[Mask, tuple[float, float]]:
    """The mask and its downsample (y, x)."""
    microns = stated.microns_per_pixel
    own = None if microns is None else max(microns[0] * overview.downsample[0], microns[1] * overview.downsample[1])
    factor = mask_factor(overview.pixels.shape[1:], own)
    pixels = block_means(overview.pixels, factor)
    mask = tissue_of_colours(pixels, stated.fill) if stated.is_rgb else tissue_of_channels(pixels)
    return mask, (overview.downsample[0] * factor, overview.downsample[1] * factor)
