"""Segmentations on another grid as nnU-Net's default makes them, voxel for voxel."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medshard.converters.axis_matrices import Shape, even_positions, nearest_samples

Integers = NDArray[np.integer[Any]]


def resize_like_nnunet(labels: Integers, shape_out: Shape, *, slices: int | None = None) -> Integers:
    """Integers `(z, y, x)` on a grid with the same outer edges, in the same type; values below 0 are values too.

    Each value's indicator is read with linear weights, and the largest wins; of equal ones the value of the nearest
    voxel if it is among them, else the smallest (`resize_segmentation` of batchgenerators 0.25.5, order 1, as nnU-Net
    2.8 calls it). With `slices` the slices across that axis are treated one by one and each output slice is the nearest
    of them. The weights are multiplied and added in scipy's order in float64, because ties are decided by equality.
    """
    out = labels
    if slices is not None:
        n_in, n_out = labels.shape[slices], shape_out[slices]
        out = np.take(out, nearest_samples(n_in, even_positions(n_in, n_out)), axis=slices)
    z, y, x = (_linear_axis(n_in, n_out) for n_in, n_out in zip(out.shape, shape_out, strict=True))
    target = np.empty(shape_out, labels.dtype)
    for number in range(shape_out[0]):
        _vote_slice(out, (z.at(number), y, x), target[number])
    return target


@dataclass(frozen=True)
class _LinearAxis:
    """Of each output voxel: the two samples beside it (2, n), their weights (2, n) and the nearest sample (n,)."""

    samples: NDArray[np.intp]
    weights: NDArray[np.float64]
    nearest: NDArray[np.intp]

    def at(self, number: int) -> _LinearAxis:
        part = slice(number, number + 1)
        return _LinearAxis(self.samples[:, part], self.weights[:, part], self.nearest[part])


def _linear_axis(n_in: int, n_out: int) -> _LinearAxis:
    positions = np.clip(even_positions(n_in, n_out), 0.0, n_in - 1.0)
    first = np.floor(positions)
    # scipy makes the last weight what is missing to 1.
    before = 1.0 - (positions - first)
    return _LinearAxis(
        samples=np.stack([first, np.minimum(first + 1.0, n_in - 1.0)]).astype(np.intp),
        weights=np.stack([before, 1.0 - before]),
        nearest=nearest_samples(n_in, positions),
    )


def _vote_slice(labels: Integers, axes: tuple[_LinearAxis, _LinearAxis, _LinearAxis], out: Integers) -> None:
    """One output slice `(y, x)`: only where the eight voxels around a point differ there is anything to vote on."""
    z, y, x = axes
    around = labels[np.unique(z.samples)]
    low, high = around.min(axis=0), around.max(axis=0)
    for samples, axis in ((y.samples, 0), (x.samples, 1)):
        low = np.minimum(np.take(low, samples[0], axis), np.take(low, samples[1], axis))
        high = np.maximum(np.take(high, samples[0], axis), np.take(high, samples[1], axis))
    out[...] = low
    rows, columns = np.nonzero(low != high)
    corners, weights = [], []
    for i, j, k in product((0, 1), repeat=3):
        corners.append(labels[z.samples[i, 0], y.samples[j][rows], x.samples[k][columns]])
        weights.append(z.weights[i, 0] * y.weights[j][rows] * x.weights[k][columns])
    nearest = labels[z.nearest[0], y.nearest[rows], x.nearest[columns]]
    out[rows, columns] = _winners(np.stack(corners), np.stack(weights), nearest)


def _winners(values: Integers, weights: NDArray[np.float64], nearest: Integers) -> Integers:
    """The value of largest weight in each column of `(8, n)`; `nearest` where it draws level, else the smallest."""
    scores = [_score(values, weights, value) for value in values]
    best = np.max(scores, axis=0)
    smallest = np.full(nearest.shape, np.iinfo(values.dtype).max, values.dtype)
    for value, score in zip(values, scores, strict=True):
        np.minimum(smallest, value, out=smallest, where=score == best)
    level = _score(values, weights, nearest) == best
    return np.where(level, nearest, smallest)


def _score(values: Integers, weights: NDArray[np.float64], value: Integers) -> NDArray[np.float64]:
    """Sums one after the other, in scipy's order."""
    score = np.zeros(value.shape)
    for other, weight in zip(values, weights, strict=True):
        score += np.where(other == value, weight, 0.0)
    return score
