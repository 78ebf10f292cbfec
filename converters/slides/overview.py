"""The whole slide on at most 2,048 pixels a side: means of blocks of a stored level, read a part at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medshard.converters.array_types import Array
from medshard.converters.slides.stored import SlideSource, StatedSlide, region_of

LARGEST_SIDE = 2048
# Below this a level shows too little to be the one that is reduced.
LEAST_SIDE = 1024
MOST_VALUES = 3 * LARGEST_SIDE * LARGEST_SIDE
# Pixels a side of what is read at once.
PART = 2048
# Sums of so many bytes fit 16 bits.
BYTES_IN_16_BITS = 256


@dataclass(frozen=True, kw_only=True)
class Overview:
    """pixels: (c, y, x) float32. downsample: pixels of level 0 to one of its own, (y, x)."""

    pixels: NDArray[np.float32]
    downsample: tuple[float, float]


def overview_of(source: SlideSource) -> Overview:
    """Every pixel is the mean of a square of pixels of one level; the last ones of a row repeat the edge."""
    stated = source.stated
    number = _level(stated)
    level = stated.levels[number]
    factor = _factor(level.shape, stated.channels)
    shape = -(-level.shape[0] // factor), -(-level.shape[1] // factor)
    pixels = np.empty((stated.channels, *shape), np.float32)
    step_y, step_x = (max(1, _part(tile, factor) // factor) for tile in level.tile)
    for y in range(0, shape[0], step_y):
        for x in range(0, shape[1], step_x):
            place = pixels[:, y : y + step_y, x : x + step_x]
            height = min(place.shape[1] * factor, level.shape[0] - y * factor)
            width = min(place.shape[2] * factor, level.shape[1] - x * factor)
            part = region_of(source, number, (y * factor, x * factor), (height, width))
            place[...] = block_means(part, factor)
    return Overview(pixels=pixels, downsample=(level.downsample[0] * factor, level.downsample[1] * factor))


def block_means(array: Array, factor: int) -> NDArray[np.float32]:
    """(c, y, x) -> means of squares of `factor` pixels; incomplete squares are filled up from the edge."""
    if factor == 1:
        return array.astype(np.float32)
    height, width = array.shape[1:]
    missing = (-height % factor, -width % factor)
    if any(missing):
        array = np.pad(array, ((0, 0), (0, missing[0]), (0, missing[1])), mode="edge")
    rows, columns = array.shape[1] // factor, array.shape[2] // factor
    small = array.dtype == np.uint8 and factor <= BYTES_IN_16_BITS
    # Rows first: whole lines are added, and what is left for the columns is small.
    lines = array.reshape(-1, rows, factor, array.shape[2]).sum(axis=2, dtype=np.uint16 if small else np.float64)
    sums = lines.reshape(-1, rows, columns, factor).sum(axis=3, dtype=np.float64)
    return (sums / factor**2).astype(np.float32)


def _level(stated: StatedSlide) -> int:
    """The smallest level that still shows enough; level 0 of a small slide."""
    enough = [number for number, level in enumerate(stated.levels) if max(level.shape) >= LEAST_SIDE]
    return enough[-1] if enough else 0


def _factor(shape: tuple[int, int], channels: int) -> int:
    """The smallest power of two that makes a level small enough."""
    factor = 1
    while (
        max(shape) > LARGEST_SIDE * factor
        or channels * math.ceil(shape[0] / factor) * math.ceil(shape[1] / factor) > MOST_VALUES
    ):
        factor *= 2
    return factor


def _part(tile: int, factor: int) -> int:
    """Pixels along one side of what is read at once: whole tiles and whole blocks where that is not too large."""
    both = math.lcm(tile, factor)
    return PART // both * both if both <= PART else max(factor, PART // factor * factor)
