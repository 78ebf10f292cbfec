"""What a slide format module provides: what the file states, and its stored pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medshard.converters.array_types import Array, AttributeValue
from medshard.converters.formats.faults import bad_file
from medshard.converters.slide import SlideLevel

Files = Sequence[Path]

# Decoded bytes of one stored tile. What states more is no tile, and would be allocated at once.
LARGEST_TILE = 128 << 20
LONGEST_SIDE = 1 << 24
MOST_CHANNELS = 256


@dataclass(frozen=True, kw_only=True)
class StatedSlide:
    """What the files of a slide state; no pixel is decoded for it.

    levels: the largest first. is_rgb: whether the channels are red, green and blue on a white ground.
    microns_per_pixel, magnification, labelled, attributes, warnings: as in `Slide`.
    """

    format: str
    levels: tuple[SlideLevel, ...]
    channels: int = 3
    dtype: str = "uint8"
    is_rgb: bool = True
    microns_per_pixel: tuple[float, float] | None = None
    magnification: float | None = None
    labelled: bool = False
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def fill(self) -> float:
        """What lies outside of the slide: white of colours, else zero."""
        if not self.is_rgb:
            return 0
        return int(np.iinfo(self.dtype).max) if np.dtype(self.dtype).kind in "iu" else 1.0


@dataclass(frozen=True, kw_only=True)
class SlideSource:
    """An open slide. read(level, y, x, height, width): (c, height, width) of a box inside the level, as stored."""

    stated: StatedSlide
    read: Callable[[int, int, int, int, int], Array]


@dataclass(frozen=True, kw_only=True)
class SlideFormat:
    """One family of slide files, as plain functions.

    sniff: whether the files are such a slide, by content; reads headers only, and raises nothing about a bad file.
    opened: context manager of the open slide; raises CaseError, or what the reading library raises.
    decoders: library -> version, of everything that has a say in the decoded numbers.
    """

    name: str
    sniff: Callable[[Files], bool]
    opened: Callable[[Files], AbstractContextManager[SlideSource]]
    decoders: Callable[[], dict[str, str]]


def region_of(source: SlideSource, level: int, corner: tuple[int, int], size: tuple[int, int]) -> Array:
    """(c, height, width) of any box, corner and size (y, x) in pixels of a level; `StatedSlide.fill` outside of it."""
    (y, x), (height, width) = corner, size
    rows, columns = source.stated.levels[level].shape
    top, left = max(y, 0), max(x, 0)
    bottom, right = min(y + height, rows), min(x + width, columns)
    if (top, left, bottom, right) == (y, x, y + height, x + width):
        return source.read(level, y, x, height, width)
    region = np.full((source.stated.channels, height, width), source.stated.fill, source.stated.dtype)
    if bottom > top and right > left:
        inside = source.read(level, top, left, bottom - top, right - left)
        region[:, top - y : bottom - y, left - x : right - x] = inside
    return region


def levels_of(shapes: Sequence[tuple[int, int]], tiles: Sequence[tuple[int, int]]) -> tuple[SlideLevel, ...]:
    """Levels from the shapes (y, x) and stored tiles of all levels, the largest first."""
    return tuple(
        SlideLevel(shape=shape, downsample=downsample_of(shapes[0], shape), tile=tile)
        for shape, tile in zip(shapes, tiles, strict=True)
    )


def downsample_of(largest: tuple[int, int], shape: tuple[int, int]) -> tuple[float, float]:
    """Pixels of level 0 per pixel of a level, (y, x).

    A level is a level 0 reduced by a whole number, whose last incomplete pixels were kept or dropped: a side of 1,023
    against 4,095 is a factor of 4, not of 4.0029. Where no whole number explains both sides, their ratios stand.
    """
    ratios = largest[0] / shape[0], largest[1] / shape[1]
    whole = round(math.sqrt(ratios[0] * ratios[1]))
    explained = (whole * (n - 1) < full < whole * (n + 1) for full, n in zip(largest, shape, strict=True))
    return (float(whole), float(whole)) if all(explained) else ratios


def is_reduced(largest: tuple[int, int], shape: tuple[int, int]) -> bool:
    """Whether a shape (y, x) is a smaller one of the same proportions, to a pixel and a half of its own."""
    if shape[0] >= largest[0] or shape[1] >= largest[1] or min(shape) < 1:
        return False
    ratios = largest[0] / shape[0], largest[1] / shape[1]
    return abs(ratios[0] - ratios[1]) / max(ratios) <= 1.5 / min(shape)


def require_sane(file: Path, stated: StatedSlide) -> None:
    """Raise CaseError[read.unsupported] for numbers that no slide has."""
    bytes_of_pixel = stated.channels * np.dtype(stated.dtype).itemsize
    for number, level in enumerate(stated.levels):
        largest = max(math.prod(level.tile), 1) * bytes_of_pixel
        if max(level.shape) > LONGEST_SIDE or min(level.shape) < 1 or stated.channels > MOST_CHANNELS:
            raise bad_file(
                "read.unsupported",
                file,
                "the slide states a size that no slide has",
                details={"level": number, "shape": level.shape, "channels": stated.channels},
            )
        if largest > LARGEST_TILE or min(level.tile) < 1:
            raise bad_file(
                "read.unsupported",
                file,
                "the slide states tiles that are too large to decode",
                details={"level": number, "tile": level.tile, "bytes": largest, "most": LARGEST_TILE},
            )
