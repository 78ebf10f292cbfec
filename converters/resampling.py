"""Resampling as one small banded matrix per axis.

Interpolation along one axis is linear in the samples, so spline prefilter, low-pass and sampling together are one
matrix `(n_out, n_in)`, and a volume is resampled by three matrix products. The matrices are sparse and the products are
scipy's CSR loops: one thread, one fixed order of summation, hence the same bytes whatever the number of BLAS threads
or the size of the slabs.

Grids are compared by their outer edges: sample `i` of `n_out` lies at `(i + 0.5) * n_in / n_out - 0.5` of `n_in`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from medshard.converters.volume import Affine, Array, Image, spacing_of
from medshard.errors import CaseError

Kernel = Literal["cubic", "linear", "nearest"]
Shape = tuple[int, int, int]
Floats = NDArray[np.float32]
# scipy has no types: these are `scipy.sparse.csr_array` of float32, or None where an axis stays as it is.
AxisMatrix = Any
AxisMatrices = tuple[AxisMatrix, AxisMatrix, AxisMatrix]

# Below this a weight changes nothing, and its products become denormal numbers, which are slow.
NEGLIGIBLE_WEIGHT = 1e-9
# Lobes of the Lanczos window. Six keep the pass band: see `sampling_weights`.
LANCZOS_LOBES = 6
# Two grids are aligned when no voxel of one is further than this from its place, in voxels of the other.
ALIGNED_VOXELS = 0.01
# Values that one product reads at a time along z: small enough for the cache of one core.
SLAB_VALUES = 4096

_SPLINE_ORDER = {"cubic": 3, "linear": 1, "nearest": 0}


def axis_weights(n_in: int, n_out: int, *, kernel: Kernel, antialias: bool) -> Floats:
    """The `(n_out, n_in)` float32 matrix that resamples one axis between grids with the same outer edges.

    Without low-pass these are the weights of `scipy.ndimage.zoom(order=3 or 1, mode="nearest", grid_mode=True)`; with
    `antialias` an axis that gets coarser is filtered as `sampling_weights` says. Rows sum to 1.
    """
    matrix = _axis_matrix(n_in, n_out, kernel, antialias)
    return np.eye(n_in, dtype=np.float32) if matrix is None else matrix.toarray()


def sampling_weights(
    n_in: int, positions: NDArray[np.floating[Any]], *, kernel: Kernel, stretch: float = 1.0
) -> NDArray[np.float64]:
    """Weights `(len(positions), n_in)` that read a line of `n_in` samples at fractional indices.

    Samples beyond the ends repeat the last one. `stretch` above 1 is the output step in input samples and asks for a
    low-pass at the Nyquist frequency of the output: the sinc with a Lanczos window of six output samples a side
    ("cubic"), or the triangle of one output sample a side ("linear"), with rows normalised to 1 (Turkowski, "Filters
    for common resampling tasks", Graphics Gems, 1990). Three lobes, the usual choice, lose 9 % of a 1-D zone plate
    inside the new band; six lose 5 %.
    """
    if n_in == 1:
        return np.ones((len(positions), 1))
    if kernel == "nearest":
        weights = np.zeros((len(positions), n_in))
        weights[np.arange(len(positions)), _nearest(n_in, positions)] = 1.0
        return weights
    if stretch > 1.0:
        return _low_pass_weights(n_in, positions, kernel, stretch)
    order = _SPLINE_ORDER[kernel]
    # The response to a unit sample is the column of that sample: the prefilter is scipy's own.
    columns = [ndimage.map_coordinates(unit, positions[None], order=order, mode="nearest") for unit in np.eye(n_in)]
    return np.stack(columns, axis=1)


def target_grid(shape: Shape, affine: Affine, spacing_mm: tuple[float, float, float]) -> tuple[Shape, Affine]:
    """The grid with about `spacing_mm` (z, y, x) whose outer edges are those of `shape` and `affine`.

    The number of voxels is `round(shape * spacing / spacing_mm)`, at least 1, so the new voxel size differs a little
    from the one asked for; the affine is exact. An axis with one voxel stays as it is: nothing is known beside it.
    """
    have = spacing_of(affine)
    counts = [
        n if n == 1 else max(1, math.floor(n * step / wanted + 0.5))
        for n, step, wanted in zip(shape, have, spacing_mm, strict=True)
    ]
    ratios = np.array([n / m for n, m in zip(shape, counts, strict=True)])
    index_map = np.diag([*ratios, 1.0])
    index_map[:3, 3] = (ratios - 1.0) / 2.0
    return (counts[0], counts[1], counts[2]), affine @ index_map


def resample_array(
    array: Array, shape_out: Shape, *, kernel: Kernel = "cubic", antialias: bool = True, where: str = "image"
) -> Floats:
    """Resample `(c, z, y, x)` to `(c, *shape_out)` float32 with the same outer edges, clipped to each channel's range.

    Raises CaseError[image.not_finite] for NaN or infinite voxels. Beside input and output at most one array is held
    whose size is no more than half of the two together (counted in float32).
    """
    nz, ny, nx = array.shape[-3:]
    matrices = (
        _axis_matrix(nz, shape_out[0], kernel, antialias),
        _axis_matrix(ny, shape_out[1], kernel, antialias),
        _axis_matrix(nx, shape_out[2], kernel, antialias),
    )
    out = np.empty((array.shape[0], *shape_out), np.float32)
    for channel, target in zip(array, out, strict=True):
        low, high = finite_range(channel, where)
        contract(channel, matrices, target)
        np.clip(target, low, high, out=target)
    return out


def resample_onto(
    image: Image,
    reference_shape: Shape,
    reference_affine: Affine,
    *,
    kernel: Kernel = "cubic",
    antialias: bool = True,
    where: str = "image",
) -> Floats:
    """Physical values of an image `(c, z, y, x)` on another grid, `(c, *reference_shape)` float32.

    Grids whose axes are parallel go through one matrix per axis. For axes that are turned against each other
    `scipy.ndimage.affine_transform` interpolates; where the reference is coarser a Gaussian of `(step - 1) / 2` voxels
    goes before it. Voxels outside the image's field of view get the lowest value of their channel.
    Raises CaseError[image.not_finite].
    """
    values = image.rescale.apply(image.array)
    index_map = np.linalg.inv(image.affine) @ reference_affine
    matrices = aligned_matrices(index_map, image.shape, reference_shape, kernel=kernel, antialias=antialias)
    out = np.empty((values.shape[0], *reference_shape), np.float32)
    for channel, target in zip(values, out, strict=True):
        low, high = finite_range(channel, where)
        if matrices is not None:
            # Rows outside the field of view are zero, so the lowest value goes in and out as an offset.
            contract(channel - np.float32(low), matrices, target)
            np.add(target, np.float32(low), out=target)
        else:
            smooth = _smooth_for(channel, index_map) if antialias else channel
            order = _SPLINE_ORDER[kernel]
            target[...] = read_turned(smooth, index_map, reference_shape, order=order, outside=low)
        np.clip(target, low, high, out=target)
    return out


def aligned_matrices(
    index_map: Affine, shape_in: Shape, shape_out: Shape, *, kernel: Kernel, antialias: bool
) -> AxisMatrices | None:
    """One matrix per axis for an index map `(z, y, x, 1)` out -> in; None when the axes are not parallel.

    Rows of output voxels whose centre lies outside the input's field of view are zero.
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


def contract(volume: NDArray[Any], matrices: AxisMatrices, out: Floats) -> None:
    """Write the product of a `(z, y, x)` array with one matrix per axis into `out`.

    The order that keeps the array in between small is taken: it then holds at most the geometric mean of input and
    output, and so never more than half of the two together.
    """
    along_z, along_y, along_x = matrices
    if along_z is None:
        _contract_planes(volume, along_y, along_x, out)
    elif along_y is None and along_x is None:
        _contract_slices(volume, along_z, out)
    elif len(volume) * out[0].size <= len(out) * volume[0].size:
        between = np.empty((len(volume), *out.shape[1:]), np.float32)
        _contract_planes(volume, along_y, along_x, between)
        _contract_slices(between, along_z, out)
    else:
        between = np.empty((len(out), *volume.shape[1:]), np.float32)
        _contract_slices(volume, along_z, between)
        _contract_planes(between, along_y, along_x, out)


def read_turned(
    volume: NDArray[Any], index_map: Affine, shape_out: Shape, *, order: int, outside: float = 0.0
) -> NDArray[Any]:
    """A `(z, y, x)` array read along axes that are turned against its own, in the array's type.

    Voxels whose centre is not between the centres of the input get `outside`.
    """
    return ndimage.affine_transform(
        volume, index_map[:3, :3], index_map[:3, 3], shape_out, order=order, mode="constant", cval=outside
    )


def finite_range(channel: NDArray[Any], where: str) -> tuple[float, float]:
    """Lowest and highest value of an array. Raises CaseError[image.not_finite] for NaN or infinite values."""
    low, high = float(channel.min()), float(channel.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = ~np.isfinite(channel)
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise CaseError(
            "image.not_finite",
            where=where,
            problem="the image has voxels without a number, which resampling would spread over their neighbours",
            details={"voxels": f"{int(bad.sum())} of {bad.size}", "first": f"(z, y, x) = {first}"},
            action="The case is excluded. Repair the source.",
        )
    return low, high


def _contract_planes(volume: NDArray[Any], along_y: AxisMatrix, along_x: AxisMatrix, out: Floats) -> None:
    for z in range(len(volume)):
        plane = np.ascontiguousarray(volume[z], np.float32)
        if along_y is not None:
            plane = along_y @ plane
        if along_x is not None:
            plane = (along_x @ np.ascontiguousarray(plane.T)).T
        out[z] = plane


def _contract_slices(volume: NDArray[Any], along_z: AxisMatrix, out: Floats) -> None:
    _, ny, nx = volume.shape
    rows = max(1, SLAB_VALUES // nx)
    for y in range(0, ny, rows):
        slab = np.ascontiguousarray(volume[:, y : y + rows], np.float32)
        out[:, y : y + rows] = (along_z @ slab.reshape(len(slab), -1)).reshape(-1, *slab.shape[1:])


@lru_cache(maxsize=64)
def _axis_matrix(n_in: int, n_out: int, kernel: Kernel, antialias: bool) -> AxisMatrix:
    if n_in == n_out:
        return None
    positions = (np.arange(n_out) + 0.5) * (n_in / n_out) - 0.5
    stretch = n_in / n_out if antialias else 1.0
    return _to_matrix(sampling_weights(n_in, positions, kernel=kernel, stretch=stretch))


def _matrix_at(n_in: int, positions: NDArray[np.floating[Any]], kernel: Kernel, antialias: bool) -> AxisMatrix:
    n_out = len(positions)
    if n_in == n_out and np.all(np.abs(positions - np.arange(n_out)) <= ALIGNED_VOXELS):
        return None
    step = float(abs(positions[1] - positions[0])) if n_out > 1 else 1.0
    # Inverting an affine leaves noise in the last digits; it must not turn an equal step into a coarser one.
    stretch = step if antialias and step > 1.0 + 1e-6 else 1.0
    weights = sampling_weights(n_in, positions, kernel=kernel, stretch=stretch)
    weights[(positions < -0.5 - ALIGNED_VOXELS) | (positions > n_in - 0.5 + ALIGNED_VOXELS)] = 0.0
    return _to_matrix(weights)


def _to_matrix(weights: NDArray[np.float64]) -> AxisMatrix:
    weights[np.abs(weights) < NEGLIGIBLE_WEIGHT] = 0.0
    return sparse.csr_array(weights.astype(np.float32))


def _low_pass_weights(
    n_in: int, positions: NDArray[np.floating[Any]], kernel: Kernel, stretch: float
) -> NDArray[np.float64]:
    lobes = LANCZOS_LOBES if kernel == "cubic" else 1
    reach = math.ceil(lobes * stretch)
    samples = np.floor(positions)[:, None] + np.arange(-reach, reach + 2)
    distance = np.abs(samples - positions[:, None]) / stretch
    taps = np.sinc(distance) * np.sinc(distance / lobes) if kernel == "cubic" else 1.0 - distance
    taps[distance >= lobes] = 0.0
    taps /= taps.sum(axis=1, keepdims=True)
    weights = np.zeros((len(positions), n_in))
    rows = np.broadcast_to(np.arange(len(positions))[:, None], samples.shape)
    np.add.at(weights, (rows, np.clip(samples, 0, n_in - 1).astype(np.intp)), taps)
    return weights


def _nearest(n_in: int, positions: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
    return np.clip(np.floor(positions + 0.5), 0, n_in - 1).astype(np.intp)


def _smooth_for(channel: Floats, index_map: Affine) -> Floats:
    steps = np.abs(index_map[:3, :3]).max(axis=1)
    return ndimage.gaussian_filter(channel, np.maximum(0.0, (steps - 1.0) / 2.0), mode="nearest")
