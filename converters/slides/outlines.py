"""Reading outlines on slides, and drawing them on a box of any level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medshard.converters.annotations.rasterise import fill_polygons
from medshard.converters.formats.faults import bad_file, errors_of_case, refuse_no_files
from medshard.converters.slides import aperio_outlines, asap_outlines, ndpa_outlines, qupath_outlines
from medshard.converters.slides.slide_outline import HALF_PIXEL, Points, SlideOutline

Sniff = Callable[[Path], bool]
Read = Callable[[Path, Sequence[Path]], list[SlideOutline]]

READERS: tuple[tuple[Sniff, Read], ...] = (
    (asap_outlines.sniff, asap_outlines.read),
    (aperio_outlines.sniff, aperio_outlines.read),
    (ndpa_outlines.sniff, ndpa_outlines.read),
    (qupath_outlines.sniff, qupath_outlines.read),
)


def read_slide_outlines(files: Sequence[Path], *, where: str) -> list[SlideOutline]:
    """Outlines of one file. Of NDPA the slide must be among the files too, since it says where its centre is.

    Raises CaseError[read.no_files | read.unknown_format | read.several_images | read.unsupported | read.unreadable |
    annotation.no_image (NDPA without the slide's offsets)].
    """
    refuse_no_files(files, where)
    with errors_of_case(files, "slide outlines", where):
        found = [(path, read) for path in sorted(files) for sniff, read in READERS if sniff(path)]
        if not found:
            raise bad_file(
                "read.unknown_format",
                files[0],
                "the file holds no outlines that medshard reads",
                details={"read": "ASAP XML, Aperio XML, NDPA, GeoJSON"},
                action="The case is excluded. Correct the entry's layout, or convert the file.",
            )
        if len(found) > 1:
            raise bad_file("read.several_images", found[1][0], "several files of outlines are given for one slide")
        path, read = found[0]
        return read(path, [file for file in files if file != path])


def rasterise_outlines(
    outlines: Sequence[SlideOutline],
    slide_shape: tuple[int, int],
    level_downsample: tuple[float, float],
    box: tuple[int, int, int, int],
) -> NDArray[np.bool_]:
    """The area inside the polygons, on a box (y, x, height, width) in pixels of a level -> (height, width).

    A pixel belongs to a polygon when its centre lies inside by the even-odd rule. Polygons are joined; a hole takes
    away from those of its own region only. Nothing lies outside of the slide. slide_shape: (y, x) of level 0.
    level_downsample: pixels of level 0 per pixel of the level, (y, x).
    """
    y, x, height, width = box
    scale = np.array(level_downsample, np.float64)
    corner = np.array([y, x], np.float64)
    mask = np.zeros((height, width), np.bool_)
    near: dict[int, tuple[list[Points], list[Points]]] = {}
    for outline in outlines:
        if outline.kind != "polygon":
            continue
        points = (outline.points + HALF_PIXEL) / scale - HALF_PIXEL - corner
        low, high = points.min(axis=0), points.max(axis=0)
        if (high >= 0).all() and low[0] <= height - 1 and low[1] <= width - 1:
            near.setdefault(outline.region, ([], []))[outline.hole].append(points)
    for polygons, holes in near.values():
        inside = _joined(polygons, mask.shape)
        inside &= ~_joined(holes, mask.shape)
        mask |= inside
    rows = (np.arange(y, y + height) + HALF_PIXEL) * scale[0]
    columns = (np.arange(x, x + width) + HALF_PIXEL) * scale[1]
    mask &= ((rows > 0) & (rows < slide_shape[0]))[:, None]
    mask &= (columns > 0) & (columns < slide_shape[1])
    return mask


def _joined(polygons: Sequence[Points], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    joined = np.zeros(shape, np.bool_)
    for polygon in polygons:
        one = np.zeros(shape, np.bool_)
        fill_polygons(one, [polygon])
        joined |= one
    return joined
