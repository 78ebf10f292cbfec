"""Slides and videos -> stacks of tiles and frames: what was indexed when the case was converted is decoded here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import ndimage

from medshard.converters.plan import ClipRule, FrameRule, TileRule
from medshard.converters.slide import Slide
from medshard.converters.sources import SourceFile
from medshard.converters.spooling import IN_MEMORY, Spool
from medshard.converters.video import Video
from medshard.converters.volume import Affine, Array
from medshard.errors import CaseError

FRAMES_AT_ONCE = 32

# y, x: of the tile's corner in pixels of level 0. tissue: share of the tile.
TILE_COLUMNS = pa.schema([("y", pa.int64()), ("x", pa.int64()), ("tissue", pa.float32())])
FRAME_COLUMNS = pa.schema([("frame", pa.int64()), ("time_s", pa.float64())])
CLIP_COLUMNS = FRAME_COLUMNS.append(pa.field("clip", pa.int64()))


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Decoded pictures of one size.

    array: (c, n, y, x). affine: (4, 4), of one picture. places: one row for each, what it shows of the source.
    step: of the tiles of a slide, pixels of level 0 per pixel of a tile, (y, x).
    """

    array: Array
    affine: Affine
    places: pa.Table
    step: tuple[float, float] = (1.0, 1.0)


def slide_stack(
    slide: Slide, rule: TileRule, files: Mapping[str, Path], *, where: str, spool: Spool = IN_MEMORY
) -> Stack:
    """The tiles of a slide that hold tissue, in raster order, at the pixel size of the rule.

    files: path in the raw tree -> place on disk. The nearest level that is no coarser is read; where its pixels are
    smaller than wanted, tiles are made smaller with a low-pass. A slide that is coarser than wanted is taken as it is.
    Raises CaseError[slide.no_tissue], and what `open_regions` raises.
    """
    from medshard.converters.slides.reading import open_regions, tissue_tiles  # noqa: PLC0415 - heavy, seldom needed

    wanted = _pixel_size(slide, rule)
    grid = tissue_tiles(slide, microns_per_pixel=wanted, size=rule.size, least_tissue=rule.least_tissue)
    count = len(grid.places)
    if count == 0:
        raise CaseError(
            "slide.no_tissue",
            where=where,
            problem="no tile of the slide holds enough tissue",
            details={"least tissue": rule.least_tissue, "tissue found": f"{slide.tissue.mean():.3%} of the slide"},
            action="The case is excluded. Lower `least_tissue` of the plan, or look at the slide's preview.",
        )
    array = spool.empty((slide.channels, count, rule.size, rule.size), np.dtype(slide.dtype))
    with open_regions(located(slide.files, files, where), slide, where=where) as region:
        for number, (top, left) in enumerate(grid.places.tolist()):
            pixels = region(grid.level, top, left, *grid.read)
            array[:, number] = _brought_to(pixels, rule.size)
    places = pa.table([*grid.corners.T, grid.tissue], schema=TILE_COLUMNS)
    downsample = slide.levels[grid.level].downsample
    step = (downsample[0] * grid.factor[0], downsample[1] * grid.factor[1])
    return Stack(array=array, affine=_tile_affine(slide, wanted), places=places, step=step)


def _pixel_size(slide: Slide, rule: TileRule) -> float | None:
    """The pixel size to make tiles of; None for level 0 as it is, where it states none or is coarser than wanted."""
    if slide.microns_per_pixel is None or max(slide.microns_per_pixel) > rule.microns_per_pixel:
        return None
    return rule.microns_per_pixel


def video_stack(
    video: Video, rule: FrameRule, files: Mapping[str, Path], *, where: str, spool: Spool = IN_MEMORY
) -> Stack:
    """The frames of a video that the rule takes, in order; all, evenly thinned to `most`, where it has no times.

    Raises CaseError as `read_frames` does.
    """
    from medshard.converters.videos.reading import frame_numbers  # noqa: PLC0415 - heavy, seldom needed

    numbers = frame_numbers(video, rate_hz=rule.rate_hz if _is_timed(video) else None, most=rule.most)
    columns = {"frame": numbers, "time_s": _times(video, numbers)}
    return _decoded(video, numbers, pa.table(columns, schema=FRAME_COLUMNS), files, where=where, spool=spool)


def clip_stack(
    video: Video, rule: ClipRule, files: Mapping[str, Path], *, where: str, spool: Spool = IN_MEMORY
) -> Stack:
    """Clips of a video one after another: runs of frames at the rule's rate that follow each other without a gap.

    `places` says the clip of each frame, counted from 0. Frames at the end that fill no clip are left out; a video that
    is shorter than one clip is one clip. Raises CaseError as `read_frames` does.
    """
    from medshard.converters.videos.reading import frame_numbers  # noqa: PLC0415 - heavy, seldom needed

    running = frame_numbers(video, rate_hz=rule.rate_hz if _is_timed(video) else None)
    count = len(running) // rule.length
    if count == 0:
        numbers, clips = running, [0] * len(running)
    else:
        kept = min(count, rule.most)
        # The middle of each of `kept` equal parts.
        chosen = ((np.arange(kept) + 0.5) * count / kept).astype(np.int64)
        starts = chosen * rule.length
        numbers = [running[start + step] for start in starts.tolist() for step in range(rule.length)]
        clips = [clip for clip in range(kept) for _ in range(rule.length)]
    columns = {"frame": numbers, "time_s": _times(video, numbers), "clip": clips}
    return _decoded(video, numbers, pa.table(columns, schema=CLIP_COLUMNS), files, where=where, spool=spool)


def _is_timed(video: Video) -> bool:
    return bool(np.isfinite(video.time_s).all())


def _times(video: Video, numbers: Sequence[int]) -> list[float | None]:
    timed = _is_timed(video)
    return [float(video.time_s[number]) if timed else None for number in numbers]


def _decoded(
    video: Video, numbers: Sequence[int], places: pa.Table, files: Mapping[str, Path], *, where: str, spool: Spool
) -> Stack:
    from medshard.converters.videos.reading import read_frames  # noqa: PLC0415 - heavy, seldom needed

    c, y, x = video.shape
    array = spool.empty((c, len(numbers), y, x), np.dtype(video.dtype))
    paths = located(video.files, files, where)
    for start in range(0, len(numbers), FRAMES_AT_ONCE):
        some = numbers[start : start + FRAMES_AT_ONCE]
        array[:, start : start + len(some)] = np.moveaxis(read_frames(paths, video, some, where=where), 0, 1)
    return Stack(array=array, affine=np.eye(4)[:, [2, 1, 0, 3]], places=places)


def located(sources: Sequence[SourceFile], files: Mapping[str, Path], where: str) -> list[Path]:
    """Where the files of a kept source lie. Raises CaseError[source.gone] for one that is not in the store."""
    gone = [source.path for source in sources if source.path not in files or not files[source.path].exists()]
    if gone:
        raise CaseError(
            "source.gone",
            where=where,
            problem="a source that is decoded when it is sharded is not in the store any more",
            details={"files": ", ".join(gone[:3])},
            action="Build `raw` again; sources of slides and videos have to be kept.",
        )
    return [files[source.path] for source in sources]


def _brought_to(pixels: Array, size: int) -> Array:
    """(c, y, x) as (c, size, size): means of whole blocks where they fit, else low-passed and sampled linearly."""
    sides = pixels.shape[-2:]
    if sides == (size, size):
        return pixels
    if sides[0] % size == 0 and sides[1] % size == 0:
        blocks = pixels.reshape(len(pixels), size, sides[0] // size, size, sides[1] // size)
        finished = blocks.mean(axis=(2, 4), dtype=np.float64)
    else:
        finished = np.stack([_resampled(channel, size) for channel in pixels])
    return np.rint(finished).astype(pixels.dtype) if pixels.dtype.kind in "iu" else finished.astype(pixels.dtype)


def _resampled(channel: Array, size: int) -> NDArray[np.float64]:
    steps = [side / size for side in channel.shape]
    smooth = ndimage.gaussian_filter(
        channel.astype(np.float64), sigma=[max(0.0, step - 1.0) / 2.0 for step in steps], mode="nearest"
    )
    places = [(np.arange(size) + 0.5) * step - 0.5 for step in steps]
    grid = np.meshgrid(*places, indexing="ij")
    return np.asarray(ndimage.map_coordinates(smooth, grid, order=1, mode="nearest"), np.float64)


def _tile_affine(slide: Slide, microns_per_pixel: float | None) -> Affine:
    affine = slide.affine
    if microns_per_pixel is not None:
        affine[0, 2] = affine[1, 1] = microns_per_pixel / 1000.0
    return affine
