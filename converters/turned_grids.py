"""Reading a volume along axes that are turned against its own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medshard.converters.axis_matrices import (
    AxisMatrices,
    Floats,
    Kernel,
    Shape,
    axis_matrix,
    outside_line,
    prefilter_matrix,
)
from medshard.converters.axis_products import Place, Product, contract, fill_slabs, product_of
from medshard.converters.volume import Affine

# Spline coefficients beyond the ends that a voxel at the outer edge still reads.
MARGIN = 3
# Steps that are this much larger than a voxel still need no low-pass: inverting affines leaves noise.
EQUAL_STEP = 1.0 + 1e-6


def read_turned(
    volume: NDArray[Any], index_map: Affine, shape_out: Shape, *, order: int, outside: float = 0.0
) -> NDArray[Any]:
    """A `(z, y, x)` array read along axes that are turned against its own, in the array's type.

    Voxels whose centre is not between the centres of the input get `outside`.
    """
    return ndimage.affine_transform(
        volume, index_map[:3, :3], index_map[:3, 3], shape_out, order=order, mode="constant", cval=outside
    )


def fill_turned_slabs(
    volume: NDArray[Any], index_map: Affine, shape_out: Shape, place: Place, *, kernel: Kernel, antialias: bool
) -> Iterator[tuple[int, int]]:
    """Write slab after slab of a `(z, y, x)` array on the grid `(z, y, x, 1)` that `index_map` lays into it.

    The input repeats its outermost voxels beyond its edges: `outside_field` says which output voxels those are. Where
    the grid is coarser than the input, points are read on a grid of the same axes that is as fine as the input, and the
    low-pass of `sampling_weights` takes it down axis by axis. Beside the slab at hand, a float32 array of the input's
    size is held, and up to 0.4 of that and the output together.
    """
    factors = _finer_by(index_map) if antialias and kernel != "nearest" else (1, 1, 1)
    fine_shape, fine_map = _finer_grid(shape_out, index_map, factors)
    coefficients, order, offset = _coefficients(volume, kernel)

    def planes(start: int, stop: int) -> NDArray[Any]:
        corner = fine_map[:3, :3] @ [start, 0.0, 0.0] + fine_map[:3, 3] + offset
        shape = (stop - start, *fine_shape[1:])
        return ndimage.affine_transform(
            coefficients, fine_map[:3, :3], corner, shape, order=order, mode="nearest", prefilter=False
        )

    z, y, x = (axis_matrix(n, m, kernel, True) for n, m in zip(fine_shape, shape_out, strict=True))
    yield from fill_slabs(Product(planes, fine_shape, (z, y, x)), place)


def outside_field(shape_in: Shape, index_map: Affine, shape_out: Shape, start: int, stop: int) -> NDArray[np.bool_]:
    """Which voxels of the output slices [start, stop) have their centre beyond the outer edges of the input."""
    z, y, x = np.ogrid[start:stop, : shape_out[1], : shape_out[2]]
    outside = np.zeros((stop - start, *shape_out[1:]), np.bool_)
    for n_in, row in zip(shape_in, index_map[:3], strict=True):
        outside |= outside_line(n_in, row[0] * z + row[1] * y + row[2] * x + row[3])
    return outside


def _finer_by(index_map: Affine) -> Shape:
    """How many points per output voxel along each axis are as dense as the input."""
    z, y, x = (max(1, math.ceil(step - EQUAL_STEP + 1.0)) for step in np.linalg.norm(index_map[:3, :3], axis=0))
    return z, y, x


def _finer_grid(shape: Shape, index_map: Affine, factors: Shape) -> tuple[Shape, Affine]:
    z, y, x = (n * factor for n, factor in zip(shape, factors, strict=True))
    scale = np.diag([*(1.0 / np.array(factors)), 1.0])
    scale[:3, 3] = (1.0 / np.array(factors) - 1.0) / 2.0
    return (z, y, x), index_map @ scale


def _coefficients(volume: NDArray[Any], kernel: Kernel) -> tuple[NDArray[Any], int, float]:
    """What `affine_transform` reads, at which spline order, and where the volume's first voxel lies in it."""
    if kernel == "nearest":
        return volume, 0, 0.0
    if kernel == "linear":
        return np.asarray(volume, np.float32), 1, 0.0
    z, y, x = (prefilter_matrix(n, MARGIN) for n in volume.shape)
    matrices: AxisMatrices = (z, y, x)
    out: Floats = np.empty(product_of(volume, matrices).shape_out, np.float32)
    contract(volume, matrices, out)
    return out, 3, float(MARGIN)
