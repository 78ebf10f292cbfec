"""What is looked at of an image, and its measures: emptiness, range, structure, what lies at its border, its layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medshard.converters.spooling import release_pages
from medshard.converters.suspicion.text_strokes import text_rows
from medshard.converters.volume import Array, Image, Rescale

Values = NDArray[np.float32]

MOST_VIEWS = 4
# Voxels of the thinned copy that percentiles, the body and the layout are taken from.
MOST_VOXELS = 1 << 20
# HU above which a voxel is body rather than air; what fingerprint.py takes for it too.
BODY_HU = -500.0
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
CELLS_3D, CELLS_2D = (5, 5, 5), (1, 8, 8)
NEIGHBOUR_PLANES = 8


@dataclass(frozen=True, kw_only=True)
class View:
    """One channel of an image, or the mean of red, green and blue, at one point in time.

    stored: (k, z, y, x) of the source's own numbers; k channels that are averaged.
    thinned: (z, y, x) float32, every n-th voxel along each axis, in physical units; NaN where not finite.
    body: bool of that shape. threshold: above which a voxel is body. box: (3, 2) of the body in shares of the image.
    """

    stored: Array
    rescale: Rescale
    thinned: Values
    threshold: float
    box: NDArray[np.float64]
    ranks: Values

    def read(self, z: slice, y: slice, x: slice) -> Values:
        """Physical values of a box of voxels; slices may have a step."""
        part = self.stored[:, z, y, x]
        rescale = self.rescale
        if rescale.per_slice:
            rescale = Rescale(
                slope=rescale.slope[z] if len(rescale.slope) > 1 else rescale.slope,
                intercept=rescale.intercept[z] if len(rescale.intercept) > 1 else rescale.intercept,
                unit=rescale.unit,
            )
        values = rescale.apply(part)
        return values[0] if len(values) == 1 else values.mean(axis=0, dtype=np.float32)

    def rank(self, value: float) -> float:
        """The share of the image's voxels below a value."""
        return float(np.searchsorted(self.ranks, np.float32(value))) / max(len(self.ranks), 1)


def views_of(image: Image) -> list[View]:
    """Red, green and blue as one view, else one for each channel, at most `MOST_VIEWS`; of a time axis its middle."""
    stored = image.array if image.array.ndim == 4 else image.array[image.array.shape[0] // 2]
    coloured = stored.shape[0] in (3, 4) and stored.dtype == np.uint8
    parts = [stored[:3]] if coloured else [stored[c : c + 1] for c in range(min(stored.shape[0], MOST_VIEWS))]
    return [_view(part, image) for part in parts]


def _view(stored: Array, image: Image) -> View:
    steps = _steps(image.shape)
    empty = View(
        stored=stored,
        rescale=image.rescale,
        thinned=np.empty(0, np.float32),
        threshold=0.0,
        box=np.zeros((3, 2)),
        ranks=np.empty(0, np.float32),
    )
    thinned = empty.read(*(slice(None, None, step) for step in steps))
    thinned = np.where(np.isfinite(thinned), thinned, np.float32(np.nan))
    ranks = np.sort(thinned[np.isfinite(thinned)], axis=None)
    threshold = BODY_HU if image.rescale.unit == "HU" else otsu_threshold(ranks)
    return View(
        stored=stored,
        rescale=image.rescale,
        thinned=thinned,
        threshold=threshold,
        box=_marked_box(thinned > threshold),
        ranks=ranks[:: max(1, len(ranks) >> 16)],
    )


def view_measures(view: View, image: Image) -> dict[str, Any]:
    """Measures of one view; lengths and places are shares of the image, values physical.

    low, high: of all voxels; percentiles 1, 5, 25, 50, 75, 95, 99. common: share of the commonest value, at_low and
    at_high: of the lowest and highest. not_finite: share. blank_planes: share of planes of one value.
    likeness: correlation of neighbours in a plane, 0 of noise. fineness: mean step between neighbours over the range.
    border: share of voxels below the median of the image's border. body: share above the threshold, body_box (3, 2).
    layout: mean ranks 0..99 of coarse cells, and its shape. text: glyphs of the longest row that looks like writing.
    """
    if not view.ranks.size:
        return {"not_finite": 1.0}
    whole = _whole_measures(view)
    finite = view.thinned[np.isfinite(view.thinned)]
    percentiles = np.percentile(finite, PERCENTILES)
    body = view.thinned > view.threshold
    likeness, fineness = _neighbours(view, float(percentiles[-1] - percentiles[0]))
    cells, layout = _layout(view)
    return {
        **whole,
        "percentiles": [float(value) for value in percentiles],
        "common": _common_share(finite),
        "at_low": float((finite <= finite.min()).mean()),
        "at_high": float((finite >= finite.max()).mean()),
        "likeness": likeness,
        "fineness": fineness,
        "border": _border_rank(view),
        "body": float(body.mean()),
        "body_box": view.box.tolist(),
        "cells": cells,
        "layout": layout,
        "text": text_rows(view.read, image.shape, float(percentiles[0]), float(percentiles[-1])),
    }


def otsu_threshold(values: Values) -> float:
    """The value that parts sorted values into two groups with the most variance between them (Otsu 1979)."""
    if not values.size or values[0] == values[-1]:
        return float(values[0]) if values.size else 0.0
    low, high = values[len(values) // 200], values[-1 - len(values) // 200]
    if low == high:
        low, high = values[0], values[-1]
    counts, edges = np.histogram(np.clip(values, low, high), bins=128, range=(float(low), float(high)))
    centres = (edges[1:] + edges[:-1]) / 2
    below = counts.cumsum()
    above = below[-1] - below
    sums = (counts * centres).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1 + int(np.nanargmax(between[:-1]))])


def _steps(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Every how many voxels are kept along each axis, so that at most `MOST_VOXELS` are; longest axes first."""
    steps = [1, 1, 1]
    while np.prod([-(-n // step) for n, step in zip(shape, steps, strict=True)], dtype=np.int64) > MOST_VOXELS:
        longest = max(range(3), key=lambda axis: shape[axis] / steps[axis])
        steps[longest] += 1
    return steps[0], steps[1], steps[2]


def _whole_measures(view: View) -> dict[str, float]:
    """What one voxel or one plane in a thousand can spoil: looked for in every plane."""
    planes = view.stored.shape[1]
    low, high, blank, wrong = np.inf, -np.inf, 0, 0
    for z in range(planes):
        plane = view.read(slice(z, z + 1), slice(None), slice(None))
        finite = np.isfinite(plane)
        if not finite.all():
            wrong += int(plane.size - finite.sum())
            plane = plane[finite]
        if plane.size:
            least, most = float(plane.min()), float(plane.max())
            low, high, blank = min(low, least), max(high, most), blank + (least == most)
        release_pages(view.stored)
    size = view.stored[0].size
    return {"low": low, "high": high, "not_finite": wrong / size, "blank_planes": blank / planes}


def _common_share(finite: Values) -> float:
    _, counts = np.unique(finite[:: max(1, finite.size >> 17)], return_counts=True)
    return float(counts.max() / counts.sum())


def _neighbours(view: View, spread: float) -> tuple[float, float]:
    planes = view.stored.shape[1]
    chosen = sorted({(2 * n + 1) * planes // (2 * NEIGHBOUR_PLANES) for n in range(NEIGHBOUR_PLANES)})
    first, second = [], []
    for z in chosen:
        plane = view.read(slice(z, z + 1), slice(None), slice(None))[0]
        thin = max(1, int(np.sqrt(plane.size / (1 << 18))))
        for one, other in ((plane[:-1], plane[1:]), (plane[:, :-1], plane[:, 1:])):
            first.append(one[::thin, ::thin].ravel())
            second.append(other[::thin, ::thin].ravel())
    a, b = np.concatenate(first).astype(np.float64), np.concatenate(second).astype(np.float64)
    known = np.isfinite(a) & np.isfinite(b)
    a, b = a[known], b[known]
    if a.size < 2 or a.std() == 0 or b.std() == 0:
        return 0.0, 0.0
    return float(np.corrcoef(a, b)[0, 1]), float(np.abs(a - b).mean() / spread) if spread > 0 else 0.0


def _border_rank(view: View) -> float:
    thinned = view.thinned
    rim = [thinned[:, 0], thinned[:, -1], thinned[:, :, 0], thinned[:, :, -1]]
    values = np.concatenate([side.ravel() for side in rim])
    values = values[np.isfinite(values)]
    middle = float(np.median(values)) if values.size else float("nan")
    low, high = np.searchsorted(view.ranks, middle), np.searchsorted(view.ranks, middle, side="right")
    return float((low + high) / 2 / len(view.ranks))


def _marked_box(marked: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(3, 2): between which shares of each axis all but 1 % at either end of what is marked lies."""
    box = np.tile([0.0, 1.0], (3, 1))
    if not marked.any():
        return box
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        amount = marked.sum(axis=others, dtype=np.int64).cumsum() / marked.sum()
        low, high = np.searchsorted(amount, (0.01, 0.99))
        box[axis] = low / len(amount), (high + 1) / len(amount)
    return box


def _layout(view: View) -> tuple[list[int], list[int]]:
    wanted = CELLS_3D if view.thinned.shape[0] >= CELLS_3D[0] else CELLS_2D
    cells = [min(n, most) for n, most in zip(view.thinned.shape, wanted, strict=True)]
    ranked = np.searchsorted(view.ranks, np.nan_to_num(view.thinned, nan=float(view.ranks[0])))
    means = ranked.astype(np.float32) / len(view.ranks)
    for axis, count in enumerate(cells):
        edges = [n * means.shape[axis] // count for n in range(count)]
        sizes = np.diff([*edges, means.shape[axis]])
        shape = [1, 1, 1]
        shape[axis] = count
        means = np.add.reduceat(means, edges, axis=axis) / sizes.reshape(shape)
    layout: list[int] = np.rint(99 * means).astype(int).ravel().tolist()
    return cells, layout
