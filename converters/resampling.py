"""Images on other grids: one small banded matrix per axis, and their products in slabs.

Interpolation along one axis is linear in the samples, so spline prefilter, low-pass and sampling together are one
matrix `(n_out, n_in)` (`axis_matrices`), and a volume is resampled by three products (`axis_products`).

Grids are compared by their outer edges: sample `i` of `n_out` lies at `(i + 0.5) * n_in / n_out - 0.5` of `n_in`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medshard.converters.axis_matrices import (
    AxisMatrices,
    AxisMatrix,
    Floats,
    Kernel,
    Shape,
    aligned_matrices,
    axis_matrix,
    axis_weights,
    even_positions,
    nearest_samples,
    sampling_weights,
)
from medshard.converters.axis_products import Place, Product, contract, fill_slabs, product_of
from medshard.converters.spooling import release_pages
from medshard.converters.turned_grids import fill_turned_slabs, outside_field, read_turned
from medshard.converters.volume import Affine, Array, Image, spacing_of
from medshard.errors import CaseError

# nnU-Net treats slices one by one where voxels are this many times longer along one axis than along another.
SEPARATE_ABOVE = 3.0


@dataclass(frozen=True)
class Slab:
    """Slices from number `start` of a resampled image: (c, n, y, x) float32."""

    start: int
    values: Floats


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


def separate_axis(
    spacing_before_mm: tuple[float, float, float], spacing_after_mm: tuple[float, float, float]
) -> int | None:
    """The axis (0, 1, 2 of z, y, x) along which nnU-Net resamples slice by slice, None where it does not.

    It is the axis of the longest voxel edge, of the grid before where that is longer than three times its shortest,
    else of the grid after; none where two axes are equally coarse (`determine_do_sep_z_and_axis` of nnU-Net 2.8).
    """
    for spacing in (spacing_before_mm, spacing_after_mm):
        if max(spacing) / min(spacing) > SEPARATE_ABOVE:
            coarsest = [axis for axis, step in enumerate(spacing) if max(spacing) / step == 1.0]
            return coarsest[0] if len(coarsest) == 1 else None
    return None


def resample_array(
    array: Array,
    shape_out: Shape,
    *,
    kernel: Kernel = "cubic",
    antialias: bool = True,
    slices: int | None = None,
    where: str = "image",
) -> Floats:
    """Resample `(c, z, y, x)` to `(c, *shape_out)` float32 with the same outer edges, clipped to each channel's range.

    With `slices` (0, 1, 2 of z, y, x) the slices across that axis are resampled one by one, each clipped to its own
    range, and every output slice is the nearest of them. With `kernel="cubic"` and `antialias=False` this is what
    nnU-Net's default does to images, with and without separate z.

    The input is read in slabs and need not lie in memory. Beside input and output at most 0.4 of the two is held (the
    input counted as int16). Raises CaseError[image.not_finite] for NaN or infinite voxels.
    """
    out = np.empty((array.shape[0], *shape_out), np.float32)
    for channel, target in zip(array, out, strict=True):
        filled = _fill(
            channel, shape_out, _into(target), kernel=kernel, antialias=antialias, slices=slices, where=where
        )
        for _ in filled:
            pass
    return out


def resample_slabs(
    array: Array,
    shape_out: Shape,
    *,
    kernel: Kernel = "cubic",
    antialias: bool = True,
    slices: int | None = None,
    where: str = "image",
) -> Iterator[Slab]:
    """What `resample_array` makes, byte for byte, a few output slices at a time and never whole.

    With `slices` of 1 or 2 it comes as one slab.
    """
    if slices in (1, 2):
        whole = resample_array(array, shape_out, kernel=kernel, antialias=antialias, slices=slices, where=where)
        yield Slab(0, whole)
        return
    made: dict[int, Floats] = {}

    def placed(channel: int) -> Place:
        def place(start: int, stop: int) -> Floats:
            made[channel] = np.empty((stop - start, *shape_out[1:]), np.float32)
            return made[channel]

        return place

    channels = [
        _fill(values, shape_out, placed(number), kernel=kernel, antialias=antialias, slices=slices, where=where)
        for number, values in enumerate(array)
    ]
    for ranges in zip(*channels, strict=True):
        yield Slab(ranges[0][0], np.stack([made[number] for number in range(len(array))]))


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

    Grids whose axes are parallel go through one matrix per axis; axes that are turned against each other are read as
    `fill_turned_slabs` says, with the same spline and the same low-pass. Voxels whose centre is outside the image's
    field of view get the lowest value of their channel. Raises CaseError[image.not_finite].
    """
    per_slice = image.rescale.per_slice
    stored = image.rescale.apply(image.array) if per_slice else image.array
    index_map = np.linalg.inv(image.affine) @ reference_affine
    matrices = aligned_matrices(index_map, image.shape, reference_shape, kernel=kernel, antialias=antialias)
    out = np.empty((stored.shape[0], *reference_shape), np.float32)
    for channel, target in zip(stored, out, strict=True):
        low, high = finite_range(channel, where)
        # The slope comes last, so "the lowest value" is the highest stored one where it is negative.
        lowest = high if not per_slice and image.rescale.slope[0] < 0.0 else low
        if matrices is not None:
            contract(channel, matrices, target)
            _blank(target, matrices, lowest)
        else:
            for start, stop in fill_turned_slabs(
                channel, index_map, reference_shape, _into(target), kernel=kernel, antialias=antialias
            ):
                outside = outside_field(image.shape, index_map, reference_shape, start, stop)
                target[start:stop][outside] = lowest
        np.clip(target, low, high, out=target)
        if not per_slice:
            _rescale(target, image.rescale.slope[0], image.rescale.intercept[0])
        release_pages(image.array)
    return out


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


def _fill(
    channel: NDArray[Any],
    shape_out: Shape,
    place: Place,
    *,
    kernel: Kernel,
    antialias: bool,
    slices: int | None,
    where: str,
) -> Iterator[tuple[int, int]]:
    low, high = finite_range(channel, where)
    z, y, x = (axis_matrix(n, m, kernel, antialias) for n, m in zip(channel.shape, shape_out, strict=True))
    placed: dict[int, Floats] = {}

    def remembered(start: int, stop: int) -> Floats:
        placed[start] = place(start, stop)
        return placed[start]

    filled = (
        fill_slabs(product_of(channel, (z, y, x)), remembered)
        if slices is None
        else _fill_slice_by_slice(channel, shape_out, remembered, (z, y, x), slices)
    )
    for start, stop in filled:
        slab = placed.pop(start)
        np.clip(slab, low, high, out=slab)
        release_pages(channel)
        yield start, stop


def _fill_slice_by_slice(
    channel: NDArray[Any], shape_out: Shape, place: Place, matrices: AxisMatrices, axis: int
) -> Iterator[tuple[int, int]]:
    """Slices across `axis`, each resampled and clipped on its own; output slices are the nearest of them."""
    slabs = [slice(z, z + 1) for z in range(shape_out[0])] if axis == 0 else [slice(0, shape_out[0])]
    wanted = nearest_samples(channel.shape[axis], even_positions(channel.shape[axis], shape_out[axis]))
    in_plane: list[AxisMatrix | None] = [matrix for number, matrix in enumerate(matrices) if number != axis]
    across = np.moveaxis(channel, axis, 0)
    shape = tuple(n for number, n in enumerate(shape_out) if number != axis)
    made, plane = -1, np.empty((1, *shape), np.float32)
    for slab in slabs:
        target = place(slab.start, slab.stop)
        for number, out in enumerate(np.moveaxis(target, axis, 0), start=slab.start if axis == 0 else 0):
            if wanted[number] != made:
                made = int(wanted[number])
                values = across[made]
                contract(values[None], (None, in_plane[0], in_plane[1]), plane)
                np.clip(plane, values.min(), values.max(), out=plane)
            out[...] = plane[0]
        yield slab.start, slab.stop


def _into(target: Floats) -> Place:
    return lambda start, stop: target[start:stop]


def _blank(target: Floats, matrices: AxisMatrices, value: float) -> None:
    """Write a value where the output lies outside the input's field of view."""
    for axis, matrix in enumerate(matrices):
        if matrix is not None and matrix.outside.any():
            np.moveaxis(target, axis, 0)[matrix.outside] = value


def _rescale(values: Floats, slope: float, intercept: float) -> None:
    if slope != 1.0:
        np.multiply(values, np.float32(slope), out=values)
    if intercept != 0.0:
        np.add(values, np.float32(intercept), out=values)


__all__ = [
    "AxisMatrices",
    "AxisMatrix",
    "Floats",
    "Kernel",
    "Product",
    "Shape",
    "Slab",
    "aligned_matrices",
    "axis_weights",
    "contract",
    "finite_range",
    "read_turned",
    "resample_array",
    "resample_onto",
    "resample_slabs",
    "sampling_weights",
    "separate_axis",
    "target_grid",
]
