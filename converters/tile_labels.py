"""What was drawn on a slide, on its tiles: masks of the whole slide, and outlines in pixels of level 0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medshard.converters.annotation_table import AnnotationTable
from medshard.converters.annotations.rasterise import fill_polygons
from medshard.converters.kept_samples import Stack
from medshard.converters.label_resampling import Labels
from medshard.converters.slide import Slide
from medshard.converters.volume import LabelLayer

Points = NDArray[np.float64]

# From the centre of the first pixel, which has the index 0, to its outer corner.
HALF_PIXEL = 0.5


def tiles_of_mask(layer: LabelLayer, slide: Slide, stack: Stack) -> Labels | None:
    """(1, n, y, x): the mask's value at the centre of each pixel of each tile, 0 beyond the slide.

    None for a layer that does not lie on level 0 of the slide.
    """
    if layer.shape != (1, *slide.levels[0].shape):
        return None
    mask = layer.array[0, 0]
    n, size = stack.array.shape[1], stack.array.shape[-1]
    tiles = np.zeros((1, n, size, size), np.min_scalar_type(int(mask.max(initial=0))))
    for number, corner in enumerate(_corners(stack.places)):
        y, x = (np.floor(corner[axis] + (np.arange(size) + 0.5) * stack.step[axis]).astype(np.int64) for axis in (0, 1))
        inside_y, inside_x = y[y < mask.shape[0]], x[x < mask.shape[1]]
        tiles[0, number, : len(inside_y), : len(inside_x)] = mask[np.ix_(inside_y, inside_x)]
    return tiles


def tiles_of_outlines(annotation: AnnotationTable, classes: Mapping[str, int], stack: Stack) -> Labels:
    """(1, n, y, x): the number of the concept whose outline holds the centre of each pixel, 0 elsewhere.

    Outlines lie over one another in the order of their file, holes among them. What the catalog gives no concept is
    cut out of all: it is drawn to say that there is something else.
    """
    n, size = stack.array.shape[1], stack.array.shape[-1]
    tiles = np.zeros((1, n, size, size), np.min_scalar_type(max(classes.values(), default=1)))
    corners, step = _corners(stack.places), np.array(stack.step)
    for value, points in _in_order(annotation.table, classes):
        low, high = points.min(axis=0) + HALF_PIXEL, points.max(axis=0) + HALF_PIXEL
        touched = (corners < high).all(axis=1) & (corners + size * step > low).all(axis=1)
        for number in np.flatnonzero(touched):
            inside = np.zeros((size, size), np.bool_)
            fill_polygons(inside, [(points + HALF_PIXEL - corners[number]) / step - HALF_PIXEL])
            tiles[0, number][inside] = value
    return tiles


def _in_order(rows: pa.Table, classes: Mapping[str, int]) -> Iterator[tuple[int, Points]]:
    """(value, (y, x) of the corners) of each outline, those without a concept last."""
    numbers = rows["outline"].to_numpy()
    points = np.stack([rows["y"].to_numpy(), rows["x"].to_numpy()], axis=1)
    concepts, holes = rows["concept"].to_pylist(), rows["hole"].to_pylist()
    starts = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
    outlines = [
        (concepts[start], bool(holes[start]), points[start:stop])
        for start, stop in zip(starts, [*starts[1:], len(numbers)], strict=True)
    ]
    for concept, hole, corners in outlines:
        if concept is not None or hole:
            yield 0 if hole else classes[concept], corners
    yield from ((0, corners) for concept, hole, corners in outlines if concept is None and not hole)


def _corners(places: pa.Table) -> Points:
    """(n, 2): outer corner (y, x) of each tile, in pixels of level 0."""
    return np.stack([places["y"].to_numpy(), places["x"].to_numpy()], axis=1).astype(np.float64)
