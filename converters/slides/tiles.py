"""Which tiles of a slide hold tissue, and which level to read them from. Pure functions of the index of a slide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medshard.converters.slide import Slide
from medshard.errors import CaseError

# A level this much coarser than wanted is taken as it is: pixel sizes are stated to two or three digits.
TOLERANCE = 0.05
MOST_TILES = 20_000_000


@dataclass(frozen=True, kw_only=True)
class TileGrid:
    """Tiles of a slide in raster order (rows downwards, each from left to right).

    level: to read from. factor: pixels of that level per finished pixel, (y, x); 1 where nothing is resampled.
    size: pixels a side of a finished tile. read: pixels of the level (y, x) to read for one.
    places: (n, 2) int64, corner (y, x) of what is read, in pixels of the level.
    corners: (n, 2) int64, the same in pixels of level 0. tissue: (n,) float32, share of each tile that is tissue.
    candidates: tiles of the whole slide, of which the n were kept.
    """

    level: int
    factor: tuple[float, float]
    size: int
    read: tuple[int, int]
    places: NDArray[np.int64]
    corners: NDArray[np.int64]
    tissue: NDArray[np.float32]
    candidates: int


def tissue_tiles(
    slide: Slide, *, microns_per_pixel: float | None, size: int, least_tissue: float, overlap: int = 0
) -> TileGrid:
    """Tiles of at least a share of tissue; the grid covers the slide, so its last tiles may reach beyond the edge.

    microns_per_pixel: of the finished tiles; None for level 0 as it is. size, overlap: pixels of the finished tiles.
    least_tissue: 0..1, of the tile's area, what lies beyond the slide counting as none.
    Raises CaseError[slide.no_pixel_size | slide.too_coarse], ValueError for a size or overlap that makes no grid.
    """
    if size < 1 or not 0 <= overlap < size:
        raise ValueError(f"tiles of {size} pixels with {overlap} of overlap make no grid")
    level, factor = _level(slide, microns_per_pixel)
    stored = slide.levels[level]
    places = [_starts(stored.shape[axis], (size - overlap) * factor[axis]) for axis in (0, 1)]
    if len(places[0]) * len(places[1]) > MOST_TILES:
        raise ValueError(f"tiles of {size} pixels with {overlap} of overlap make more than {MOST_TILES} of a slide")
    read = max(1, round(size * factor[0])), max(1, round(size * factor[1]))
    shares = _shares(slide, places, read, stored.downsample)
    rows, columns = np.nonzero((shares >= least_tissue) if least_tissue > 0 else np.ones_like(shares, np.bool_))
    kept = np.stack([places[0][rows], places[1][columns]], axis=1)
    return TileGrid(
        level=level,
        factor=factor,
        size=size,
        read=read,
        places=kept,
        corners=np.rint(kept * np.array(stored.downsample)).astype(np.int64),
        tissue=shares[rows, columns].astype(np.float32),
        candidates=shares.size,
    )


def _level(slide: Slide, wanted: float | None) -> tuple[int, tuple[float, float]]:
    """The smallest level that is not coarser than wanted, and its pixels per finished pixel (y, x)."""
    if wanted is None:
        return 0, (1.0, 1.0)
    if not wanted > 0:
        raise ValueError(f"{wanted} is no pixel size")
    if slide.microns_per_pixel is None:
        raise _refused("slide.no_pixel_size", "tiles of a pixel size are wanted, and the slide states none", wanted)
    stated = slide.microns_per_pixel
    microns = [(stated[0] * level.downsample[0], stated[1] * level.downsample[1]) for level in slide.levels]
    fine = [number for number, sides in enumerate(microns) if max(sides) <= wanted * (1 + TOLERANCE)]
    if not fine:
        raise _refused("slide.too_coarse", "the slide's pixels are coarser than the wanted ones", wanted, microns[0])
    level = fine[-1]
    return level, (wanted / microns[level][0], wanted / microns[level][1])


def _starts(length: int, step: float) -> NDArray[np.int64]:
    """Starts of the tiles along one axis, in pixels of the level: every one that begins on the slide."""
    starts = np.rint(np.arange(int(np.ceil(length / step))) * step).astype(np.int64)
    return starts[starts < length]


def _shares(
    slide: Slide, places: list[NDArray[np.int64]], read: tuple[int, int], downsample: tuple[float, float]
) -> NDArray[np.float64]:
    """(rows, columns): share of tissue of each tile, by area, partly covered pixels of the mask counting in part."""
    sums = np.pad(slide.tissue.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    scale = [downsample[axis] / slide.tissue_downsample[axis] for axis in (0, 1)]
    for axis in (0, 1):
        start: NDArray[np.float64] = places[axis].astype(np.float64) * scale[axis]
        sums = _between(sums, start, start + read[axis] * scale[axis], axis)
    shares: NDArray[np.float64] = sums / (read[0] * scale[0] * read[1] * scale[1])
    # Sums of areas in another order than the mask's are a little off.
    return np.clip(shares.round(9), 0, 1)


def _between(
    sums: NDArray[np.float64], start: NDArray[np.float64], stop: NDArray[np.float64], axis: int
) -> NDArray[np.float64]:
    """Differences of running sums along an axis at places between its entries."""
    return _at(sums, stop, axis) - _at(sums, start, axis)


def _at(sums: NDArray[np.float64], place: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    last = sums.shape[axis] - 1
    place = np.clip(place, 0, last)
    whole = np.minimum(place.astype(np.int64), last - 1)
    part = np.expand_dims(place - whole, 1 - axis)
    found: NDArray[np.float64] = sums.take(whole, axis) * (1 - part) + sums.take(whole + 1, axis) * part
    return found


def _refused(code: str, problem: str, wanted: float, found: tuple[float, float] | None = None) -> CaseError:
    details: dict[str, object] = {"wanted": f"{wanted:g} micrometres"}
    if found is not None:
        details["level 0"] = f"{found[0]:g} by {found[1]:g} micrometres"
    return CaseError(
        code,
        where="slide",
        problem=problem,
        details=details,
        action="The case is excluded from these tiles. Ask for larger pixels, or for the slide's own.",
    )
