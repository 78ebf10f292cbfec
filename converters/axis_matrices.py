"""Interpolation along one axis as a small banded matrix: spline prefilter, low-pass and sampling in one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medshard.converters.volume import Affine

Kernel = Literal["cubic", "linear", "nearest"]
Shape = tuple[int, int, int]
Floats = NDArray[np.float32]
Positions = NDArray[np.floating[Any]]

# Rows lose weights below this and are normalised again. Of an image that spans 4096 HU it moves no voxel by more than
# 0.002 HU; products of what is left never become denormal numbers, which are slow.
NEGLIGIBLE_WEIGHT = 1e-7
# Lobes of the Lanczos window, and its pass band in units of the Nyquist frequency: see `sampling_weights`.
LANCZOS_LOBES = 6
PASS_BAND = 1.03
# Two grids are aligned when no voxel of one is further than this from its place, in voxels of the other.
ALIGNED_VOXELS = 0.01

# The cubic B-spline's prefilter answers a unit sample at distance d with sqrt(3) * POLE ** d (Unser, Aldroubi and Eden,
# "B-spline signal processing: part II", IEEE Trans. Signal Processing 41, 1993); beyond REACH that is below 1e-9.
_POLE = math.sqrt(3.0) - 2.0
_PREFILTER_REACH = 16


@dataclass(frozen=True, eq=False)
class AxisMatrix:
    """A sparse `(n_out, n_in)` matrix of float32 in CSR form: row i is `weights` at `indices`, `indptr[i]` onwards.

    Indices ascend within a row. A row without any is an output voxel outside the input's field of view.
    centres: (n_out,), where the output voxels lie among the samples.
    """

    indptr: NDArray[np.int32]
    indices: NDArray[np.int32]
    weights: Floats
    n_in: int
    centres: NDArray[np.float64]

    @property
    def n_out(self) -> int:
        return len(self.indptr) - 1

    @property
    def taps(self) -> float:
        """Weights per row, on average."""
        return len(self.weights) / max(1, self.n_out)

    @property
    def reach(self) -> int:
        """Samples from the first to the last that one row reads, in the widest row."""
        filled = np.flatnonzero(np.diff(self.indptr))
        ends = self.indices[self.indptr[filled + 1] - 1], self.indices[self.indptr[filled]]
        return int((ends[0] - ends[1]).max(initial=-1)) + 1

    @property
    def outside(self) -> NDArray[np.bool_]:
        """(n_out,): which rows are empty."""
        return np.diff(self.indptr) == 0

    @property
    def descends(self) -> bool:
        """Whether later rows read earlier samples: the two axes point in opposite directions."""
        return len(self.indices) > 0 and bool(self.indices[0] > self.indices[-1])

    def rows(self, start: int, stop: int) -> tuple[AxisMatrix, slice]:
        """The rows [start, stop), and the samples that they read; the columns are counted from the first of those."""
        first, last = int(self.indptr[start]), int(self.indptr[stop])
        if first == last:
            empty = AxisMatrix(
                np.zeros(stop - start + 1, np.int32), self.indices[:0], self.weights[:0], 0, self.centres[start:stop]
            )
            return empty, slice(0, 0)
        indices = self.indices[first:last]
        low, high = int(indices.min()), int(indices.max()) + 1
        part = AxisMatrix(
            self.indptr[start : stop + 1] - first,
            indices - low,
            self.weights[first:last],
            high - low,
            self.centres[start:stop] - low,
        )
        return part, slice(low, high)

    def columns(self, part: slice) -> tuple[AxisMatrix, slice]:
        """The share of the samples in `part`, in the rows that have one; and those rows."""
        kept = (self.indices >= part.start) & (self.indices < part.stop)
        before = np.concatenate([[0], np.cumsum(kept)]).astype(np.int32)
        indptr = before[self.indptr]
        used = np.flatnonzero(np.diff(indptr))
        rows = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 0)
        offsets = indptr[rows.start : rows.stop + 1] if len(used) else np.zeros(1, np.int32)
        matrix = AxisMatrix(
            np.ascontiguousarray(offsets),
            self.indices[kept] - part.start,
            self.weights[kept],
            part.stop - part.start,
            self.centres[rows] - part.start,
        )
        return matrix, rows

    def toarray(self) -> Floats:
        dense = np.zeros((self.n_out, self.n_in), np.float32)
        dense[np.repeat(np.arange(self.n_out), np.diff(self.indptr)), self.indices] = self.weights
        return dense


# None where an axis stays as it is.
AxisMatrices = tuple[AxisMatrix | None, AxisMatrix | None, AxisMatrix | None]


def axis_weights(n_in: int, n_out: int, *, kernel: Kernel, antialias: bool) -> Floats:
    """The `(n_out, n_in)` float32 matrix that resamples one axis between grids with the same outer edges.

    Without low-pass these are the weights of `scipy.ndimage.zoom(order=3 or 1, mode="nearest", grid_mode=True)`; with
    `antialias` an axis that gets coarser is filtered as `sampling_weights` says. Rows sum to 1.
    """
    matrix = axis_matrix(n_in, n_out, kernel, antialias)
    return np.eye(n_in, dtype=np.float32) if matrix is None else matrix.toarray()


@lru_cache(maxsize=64)
def axis_matrix(n_in: int, n_out: int, kernel: Kernel, antialias: bool) -> AxisMatrix | None:
    """`axis_weights` in sparse form; None where an axis keeps its length.

    Sample `i` of `n_out` lies at `(i + 0.5) * n_in / n_out - 0.5` of `n_in`.
    """
    if n_in == n_out:
        return None
    stretch = n_in / n_out if antialias else 1.0
    positions = even_positions(n_in, n_out)
    return _sparse(sampling_weights(n_in, positions, kernel=kernel, stretch=stretch), positions)


def even_positions(n_in: int, n_out: int) -> NDArray[np.float64]:
    """Where the `n_out` samples of a line with the same outer edges lie among `n_in`."""
    return np.asarray((n_in / n_out) * (np.arange(n_out) + 0.5) - 0.5, np.float64)


def sampling_weights(n_in: int, positions: Positions, *, kernel: Kernel, stretch: float = 1.0) -> NDArray[np.float64]:
    """Weights `(len(positions), n_in)` that read a line of `n_in` samples at fractional indices.

    Samples beyond the ends repeat the last one. "cubic" is the interpolating cubic B-spline.

    `stretch` above 1 is the output step in input samples and asks for a low-pass at the Nyquist frequency of the
    output: for "cubic" the sinc with a Lanczos window of six output samples a side, for "linear" the triangle of one
    output sample a side, rows normalised to 1 (Turkowski, "Filters for common resampling tasks", Graphics Gems, 1990).
    Six lobes, not the usual three, and 3 % more than the Nyquist frequency: that divides the error evenly between what
    is lost inside the new band and what folds into it (docs/resampling.md).
    """
    if n_in == 1:
        return np.ones((len(positions), 1))
    if kernel == "nearest":
        samples, taps = nearest_samples(n_in, positions)[:, None], np.ones((len(positions), 1))
    elif stretch > 1.0:
        samples, taps = _low_pass(positions, kernel, stretch)
    elif kernel == "linear":
        samples = np.floor(positions)[:, None] + np.arange(2)
        taps = 1.0 - np.abs(samples - positions[:, None])
    else:
        samples, taps = _cardinal_spline(positions)
    return _dense(n_in, samples, taps)


def nearest_samples(n_in: int, positions: Positions) -> NDArray[np.intp]:
    """The sample next to each position; halfway between two it is the later one."""
    return np.clip(np.floor(positions + 0.5), 0, n_in - 1).astype(np.intp)


def prefilter_matrix(n: int, margin: int) -> AxisMatrix:
    """`(n + 2 * margin, n)`: coefficients of the cubic B-spline through `n` samples that repeat the last one outside.

    The first `margin` and the last belong to samples beyond the ends.
    """
    places = np.arange(-margin, n + margin)[:, None] + np.arange(-_PREFILTER_REACH, _PREFILTER_REACH + 1)
    taps = math.sqrt(3.0) * _POLE ** np.abs(np.arange(-_PREFILTER_REACH, _PREFILTER_REACH + 1))
    return _sparse(_dense(n, places, np.broadcast_to(taps, places.shape)), np.arange(-float(margin), n + margin))


def aligned_matrices(
    index_map: Affine, shape_in: Shape, shape_out: Shape, *, kernel: Kernel, antialias: bool
) -> AxisMatrices | None:
    """One matrix per axis for an index map `(z, y, x, 1)` out -> in; None when the axes are not parallel.

    Rows of output voxels whose centre lies outside the input's field of view are empty.
    """
    steps = np.diag(index_map)[:3]
    skew = np.abs(index_map[:3, :3] - np.diag(steps)) @ (np.array(shape_out) - 1.0)
    if np.any(skew > ALIGNED_VOXELS) or np.any(steps == 0.0):
        return None
    z, y, x = (
        _matrix_at(n_in, steps[axis] * np.arange(n_out) + index_map[axis, 3], kernel, antialias)
        for axis, (n_in, n_out) in enumerate(zip(shape_in, shape_out, strict=True))
    )
    return z, y, x


def outside_line(n_in: int, positions: Positions) -> NDArray[np.bool_]:
    """Which positions lie beyond the outer edges of the first and last sample."""
    return (positions < -0.5 - ALIGNED_VOXELS) | (positions > n_in - 0.5 + ALIGNED_VOXELS)


def _matrix_at(n_in: int, positions: Positions, kernel: Kernel, antialias: bool) -> AxisMatrix | None:
    n_out = len(positions)
    if n_in == n_out and np.all(np.abs(positions - np.arange(n_out)) <= ALIGNED_VOXELS):
        return None
    step = float(abs(positions[1] - positions[0])) if n_out > 1 else 1.0
    # Inverting an affine leaves noise in the last digits; it must not turn an equal step into a coarser one.
    stretch = step if antialias and step > 1.0 + 1e-6 else 1.0
    weights = sampling_weights(n_in, positions, kernel=kernel, stretch=stretch)
    weights[outside_line(n_in, positions)] = 0.0
    return _sparse(weights, positions)


def _sparse(weights: NDArray[np.float64], centres: Positions) -> AxisMatrix:
    places = np.flatnonzero(weights)
    rows, columns = np.divmod(places, weights.shape[1])
    indptr = np.searchsorted(rows, np.arange(len(weights) + 1)).astype(np.int32)
    values = weights.ravel()[places].astype(np.float32)
    return AxisMatrix(indptr, columns.astype(np.int32), values, weights.shape[1], centres.astype(np.float64))


def _dense(n_in: int, samples: NDArray[Any], taps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of taps at samples as a matrix, those beyond the ends added to the last; rows sum to 1."""
    columns = np.clip(samples, 0, n_in - 1).astype(np.intp)
    places = columns + n_in * np.arange(len(samples))[:, None]
    weights = np.bincount(places.ravel(), taps.ravel(), len(samples) * n_in).reshape(len(samples), n_in)
    weights[np.abs(weights) < NEGLIGIBLE_WEIGHT] = 0.0
    return weights / weights.sum(axis=1, keepdims=True)


def _low_pass(positions: Positions, kernel: Kernel, stretch: float) -> tuple[NDArray[Any], NDArray[np.float64]]:
    lobes = LANCZOS_LOBES if kernel == "cubic" else 1
    reach = math.ceil(lobes * stretch)
    samples = np.floor(positions)[:, None] + np.arange(-reach, reach + 2)
    distance = np.abs(samples - positions[:, None]) / stretch
    taps = np.sinc(PASS_BAND * distance) * np.sinc(distance / lobes) if kernel == "cubic" else 1.0 - distance
    taps[distance >= lobes] = 0.0
    return samples, taps / taps.sum(axis=1, keepdims=True)


def _cardinal_spline(positions: Positions) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Samples around each position and their weights: B-spline values at the position times the prefilter."""
    first = np.floor(positions) - 1.0
    bumps = _cubic_bump(positions[:, None] - (first[:, None] + np.arange(4)))
    offsets = np.arange(-_PREFILTER_REACH, 4 + _PREFILTER_REACH)
    response = math.sqrt(3.0) * _POLE ** np.abs(offsets - np.arange(4)[:, None])
    taps = (bumps[:, :, None] * response).sum(axis=1)
    return first[:, None] + offsets, taps


def _cubic_bump(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cubic B-spline, whose support is 2 to each side."""
    d = np.abs(distance)
    near, far = 2.0 / 3.0 - d**2 + d**3 / 2.0, np.maximum(2.0 - d, 0.0) ** 3 / 6.0
    return np.where(d < 1.0, near, far)
