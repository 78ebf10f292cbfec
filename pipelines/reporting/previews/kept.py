"""Slides and videos: thumbnails, tiles and frames. What the store keeps as a source is decoded where it lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medshard.converters.annotation_table import AnnotationTable
from medshard.converters.array_types import Array
from medshard.converters.kept_samples import located
from medshard.converters.slide import Slide
from medshard.converters.video import Video
from medshard.converters.volume import Volume
from medshard.errors import MedshardError
from medshard.pipelines.reporting.previews.marks import Window, judged_words, marked_frames, placed_on, strokes_on
from medshard.pipelines.reporting.previews.shown import Plane, Shown, Stroke

TILES_SHOWN, FRAMES_SHOWN, COLUMNS = 8, 8, 4
TILE_PIXELS, LEAST_TISSUE = 256, 0.5
# Steps of the golden ratio, taken modulo 1, are spread evenly however many there are.
GOLDEN = (5**0.5 - 1) / 2
TISSUE, TILE = "(tissue)", "(tile shown)"


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """Some tiles of a slide, their corners (y, x) in pixels of level 0, and how many there are, in words."""

    planes: tuple[Plane, ...] = ()
    corners: tuple[tuple[int, int], ...] = ()
    note: str


def shown_slides(volume: Volume, files: Mapping[str, Path]) -> Iterator[Shown]:
    """Every slide: its thumbnail with tissue, outlines and tiles; and some tiles as they are.

    files: path in the raw tree -> place on disk.
    """
    for number, (name, slide) in enumerate(volume.slides.items()):
        words = judged_words(volume.annotations, name, of_case=number == 0)
        where = f"{volume.entry}/{volume.case} slide {name}"
        title = volume.case if len(volume.slides) == 1 else f"{volume.case} / {name}"
        tiles = _tiles(slide, files, where)
        thumbnail = _thumbnail(slide, placed_on(volume.annotations, name), tiles.corners)
        size = f"{slide.levels[0].shape[0]} x {slide.levels[0].shape[1]} (y, x), {len(slide.levels)} levels"
        yield Shown(
            caption=(
                f"{title}   slide {slide.format}",
                size,
                _pixel_words(slide),
            ),
            words=words,
            planes=(thumbnail,),
            first=True,
        )
        yield Shown(caption=(f"{title}   tiles at full size", tiles.note), planes=tiles.planes, columns=COLUMNS)


def shown_videos(volume: Volume, files: Mapping[str, Path]) -> Iterator[Shown]:
    """Every video: frames with their times, annotated ones first, and their marks."""
    for number, (name, video) in enumerate(volume.videos.items()):
        words = judged_words(volume.annotations, name, of_case=number == 0)
        tables = placed_on(volume.annotations, name)
        title = volume.case if len(volume.videos) == 1 else f"{volume.case} / {name}"
        frames, note = _frames(video, tables, files, f"{volume.entry}/{volume.case} video {name}")
        rate = f"{video.rate_hz:g} frames/s" if video.rate_hz is not None else "rate unknown"
        length = f"{video.time_s[-1]:.3f} s" if video.frames and np.isfinite(video.time_s[-1]) else "length unknown"
        size = f"{video.frames} frames of {video.shape[1]} x {video.shape[2]} (y, x), {rate}, {length}"
        yield Shown(
            caption=(f"{title}   video {video.codec}", size, note),
            words=words,
            planes=tuple(frames),
            columns=COLUMNS,
            wide=True,
            first=True,
        )


def frames_to_show(video: Video, tables: Sequence[AnnotationTable]) -> list[int]:
    """At most `FRAMES_SHOWN`: of those with marks, else evenly spaced, each moved back to where decoding can start."""
    marked = [frame for frame in marked_frames(list(tables)) if 0 <= frame < video.frames]
    if marked:
        kept = min(len(marked), FRAMES_SHOWN)
        return [marked[number * len(marked) // kept] for number in range(kept)]
    kept = min(video.frames, FRAMES_SHOWN)
    wanted = [number * video.frames // kept for number in range(kept)]
    keys = np.flatnonzero(video.key_frames)
    if len(keys) < kept:
        return wanted
    moved = sorted({int(keys[np.searchsorted(keys, number, side="right") - 1]) for number in wanted})
    return moved if len(moved) == kept else wanted


def _frames(
    video: Video, tables: Sequence[AnnotationTable], files: Mapping[str, Path], where: str
) -> tuple[list[Plane], str]:
    from medshard.converters.videos.reading import read_frames  # noqa: PLC0415 - heavy, seldom needed

    numbers = frames_to_show(video, tables)
    try:
        frames = read_frames(located(video.files, files, where), video, numbers, where=where)
    except MedshardError as error:
        return [], f"no frames: {error.problem}"
    planes = []
    for number, frame in zip(numbers, frames, strict=True):
        size = (frame.shape[1], frame.shape[2])
        time = video.time_s[number]
        foot = f"frame {number}" + (f", {time:.3f} s" if np.isfinite(time) else "")
        strokes = strokes_on(list(tables), Window(size=size, frame=number))
        planes.append(replace(_plane(frame), strokes=strokes, foot=foot))
    return planes, f"{len(planes)} frames shown"


def _tiles(slide: Slide, files: Mapping[str, Path], where: str) -> Tiles:
    """Some tiles of level 0 that hold tissue, from all over it."""
    from medshard.converters.slides.reading import open_regions, tissue_tiles  # noqa: PLC0415 - heavy, seldom needed

    try:
        places = located(slide.files, files, where)
        grid = tissue_tiles(slide, microns_per_pixel=None, size=TILE_PIXELS, least_tissue=LEAST_TISSUE)
        count = len(grid.places)
        kept = min(count, TILES_SHOWN)
        chosen = scattered(count, kept)
        corners = tuple((int(top), int(left)) for top, left in grid.places[chosen].tolist())
        with open_regions(places, slide, where=where) as region:
            pictures = [region(0, top, left, TILE_PIXELS, TILE_PIXELS) for top, left in corners]
    except MedshardError as error:
        return Tiles(note=f"no tiles: {error.problem}")
    planes = tuple(
        replace(_plane(pixels), foot=f"y {top}, x {left}, tissue {grid.tissue[number]:.0%}")
        for pixels, (top, left), number in zip(pictures, corners, chosen, strict=True)
    )
    note = f"{kept} of {count} tiles with at least {LEAST_TISSUE:.0%} tissue, {TILE_PIXELS} pixels a side"
    return Tiles(planes=planes, corners=corners, note=note)


def scattered(count: int, kept: int) -> list[int]:
    """That many different numbers below `count`, in order. Even steps would walk down one column of a raster."""
    order = sorted(range(count), key=lambda number: (number * GOLDEN) % 1.0)
    return sorted(order[:kept])


def _thumbnail(slide: Slide, tables: list[AnnotationTable], corners: Sequence[tuple[int, int]]) -> Plane:
    rows, columns = slide.thumbnail.shape[:2]
    height, width = slide.levels[0].shape
    scale = (rows / height, columns / width)
    window = Window(size=(rows, columns), scale=scale)
    boxes = tuple(_tile_box(top, left, window) for top, left in corners)
    y, x = slide.microns_per_pixel or (1000.0, 1000.0)
    return Plane(
        pixels=slide.thumbnail,
        size_mm=(height * y / 1000, width * x / 1000),
        in_mm=slide.microns_per_pixel is not None,
        marked={TISSUE: _tissue_on(slide, (rows, columns))},
        strokes=(*strokes_on(tables, window), *boxes),
    )


def _tissue_on(slide: Slide, size: tuple[int, int]) -> Array:
    """The tissue mask, whose cells have `tissue_downsample` pixels of level 0, at the pixels of the thumbnail."""
    height, width = slide.levels[0].shape
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new / step).astype(int), cells - 1)
        for new, old, step, cells in zip(
            size, (height, width), slide.tissue_downsample, slide.tissue.shape, strict=True
        )
    )
    return np.asarray(slide.tissue[np.ix_(rows, columns)], bool)


def _tile_box(top: int, left: int, window: Window) -> Stroke:
    low, high = (top - 0.5, left - 0.5), (top + TILE_PIXELS - 0.5, left + TILE_PIXELS - 0.5)
    corners = np.array([(0, low[0], low[1]), (0, low[0], high[1]), (0, high[0], high[1]), (0, high[0], low[1])], float)
    return Stroke(kind="outline", concept=TILE, points=window.places(corners))


def _pixel_words(slide: Slide) -> str:
    if slide.microns_per_pixel is None:
        return f"pixel size unknown, tissue {slide.tissue.mean():.1%}"
    y, x = slide.microns_per_pixel
    return f"{y:.4g} x {x:.4g} um (y, x), tissue {slide.tissue.mean():.1%}"


def _plane(pixels: Array) -> Plane:
    """(c, y, x) of any type as a picture; of channels other than three the first, from its lowest to its highest."""
    if len(pixels) == 3 and pixels.dtype == np.uint8:
        shown = np.ascontiguousarray(np.moveaxis(pixels, 0, -1), np.uint8)
    else:
        grey = np.asarray(pixels[0], np.float64)
        span = max(float(np.ptp(grey)), 1e-12)
        shown = ((grey - grey.min()) / span * 255).astype(np.uint8)
    return Plane(pixels=shown, size_mm=(float(shown.shape[0]), float(shown.shape[1])))
