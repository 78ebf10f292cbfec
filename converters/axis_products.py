"""A volume times one matrix per axis, in slabs of output slices.

Every output voxel is three nested sums in a fixed order, so the bytes do not depend on slabs, on threads, or on whether
the compiled kernel is there: it sums as scipy's CSR product does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from medshard.converters.axis_matrices import AxisMatrices, AxisMatrix, Floats, Shape

try:
    from medshard.converters import axis_kernel
except ImportError:  # built only where a C compiler is
    axis_kernel = None  # type: ignore[assignment]

# A slab of slices holds at most this, and at most this part of input and output together.
SLAB_BYTES = 16 << 20
SLAB_SHARE = 0.15
MOST_SLICES = 16
# Input that is brought to float32 at a time: small enough for the cache of one core.
PIECE_BYTES = 256 << 10
# Columns that scipy's product reads at a time: small enough for the cache of one core.
CSR_COLUMNS = 4096

# Input slices [start, stop) as (n, y, x) of any type.
Planes = Callable[[int, int], NDArray[Any]]
# Where output slices [start, stop) are to be written.
Place = Callable[[int, int], Floats]


@dataclass(frozen=True)
class Product:
    """What is multiplied with what. shape_in: of the slices that `planes` reads."""

    planes: Planes
    shape_in: Shape
    matrices: AxisMatrices

    @property
    def shape_out(self) -> Shape:
        z, y, x = (
            n if matrix is None else matrix.n_out for n, matrix in zip(self.shape_in, self.matrices, strict=True)
        )
        return z, y, x


def contract(volume: NDArray[Any], matrices: AxisMatrices, out: Floats) -> None:
    """Write the product of a `(z, y, x)` array with one matrix per axis into `out`."""
    for _ in fill_slabs(product_of(volume, matrices), lambda start, stop: out[start:stop]):
        pass


def product_of(volume: NDArray[Any], matrices: AxisMatrices) -> Product:
    z, y, x = volume.shape
    return Product(lambda start, stop: volume[start:stop], (z, y, x), matrices)


def fill_slabs(product: Product, place: Place) -> Iterator[tuple[int, int]]:
    """Write slab after slab where `place` says, and tell the slices of each as soon as they are written.

    Whichever of z and the plane makes the array smaller goes first. Slabs come in the order in which they read the
    input. Beside the slab at hand at most 0.4 of input and output together is held (the input counted as int16).
    """
    along_z = product.matrices[0]
    if along_z is None:
        yield from _planes_alone(product, place)
    elif _z_first(product, along_z):
        yield from _slices_then_planes(product, along_z, place)
    else:
        yield from _planes_then_slices(product, along_z, place)


def _z_first(product: Product, along_z: AxisMatrix) -> bool:
    (nz, ny, nx), (oz, oy, ox) = product.shape_in, product.shape_out
    plane_cost = float(ny * nx) + _plane_cost(product)
    slices_cost = oz * along_z.taps
    if nz * plane_cost + slices_cost * oy * ox > oz * plane_cost + slices_cost * ny * nx:
        return True
    return 4 * along_z.reach * oy * ox > 0.4 * (2 * nz * ny * nx + 4 * oz * oy * ox)


def _plane_cost(product: Product) -> float:
    """Multiplications that one plane takes."""
    return min(_y_then_x(product), _x_then_y(product))


def _y_then_x(product: Product) -> float:
    (_, _, nx), (_, oy, ox), (_, y, x) = product.shape_in, product.shape_out, product.matrices
    return (y.taps if y else 0.0) * oy * nx + (x.taps if x else 0.0) * oy * ox


def _x_then_y(product: Product) -> float:
    (_, ny, _), (_, oy, ox), (_, y, x) = product.shape_in, product.shape_out, product.matrices
    return (x.taps if x else 0.0) * ny * ox + (y.taps if y else 0.0) * oy * ox


def _slabs(product: Product, along_z: AxisMatrix) -> Iterator[tuple[int, int, AxisMatrix, slice]]:
    """Output slices [start, stop) of each slab, their rows of the matrix, and the input slices that those read."""
    (nz, ny, nx), (oz, oy, ox) = product.shape_in, product.shape_out
    most = min(SLAB_BYTES, SLAB_SHARE * (2 * nz * ny * nx + 4 * oz * oy * ox))
    count = max(1, min(MOST_SLICES, int(most) // (4 * max(ny * nx, oy * ox))))
    starts = range(0, oz, count)
    for start in reversed(starts) if along_z.descends else starts:
        stop = min(start + count, oz)
        yield (start, stop, *along_z.rows(start, stop))


def _planes_alone(product: Product, place: Place) -> Iterator[tuple[int, int]]:
    for z in range(product.shape_in[0]):
        _write_plane(product, product.planes(z, z + 1)[0], place(z, z + 1)[0])
        yield z, z + 1


def _slices_then_planes(product: Product, along_z: AxisMatrix, place: Place) -> Iterator[tuple[int, int]]:
    _, ny, nx = product.shape_in
    flat = product.matrices[1] is None and product.matrices[2] is None
    for start, stop, matrix, part in _slabs(product, along_z):
        target = place(start, stop)
        mixed = target if flat else np.empty((stop - start, ny, nx), np.float32)
        read = product.planes(part.start, part.stop)
        rows = max(1, PIECE_BYTES // (4 * max(1, len(read)) * nx))
        for y in range(0, ny, rows):
            piece = np.ascontiguousarray(read[:, y : y + rows], np.float32)
            width = piece[0].size if len(piece) else min(rows, ny - y) * nx
            mixed[:, y : y + rows] = _columns(matrix, piece.reshape(len(piece), width)).reshape(stop - start, -1, nx)
        if not flat:
            for plane, out in zip(mixed, target, strict=True):
                _write_plane(product, plane, out)
        yield start, stop


def _planes_then_slices(product: Product, along_z: AxisMatrix, place: Place) -> Iterator[tuple[int, int]]:
    _, oy, ox = product.shape_out
    capacity = max((part.stop - part.start for _, _, _, part in _slabs(product, along_z)), default=0)
    held = np.empty((capacity, oy, ox), np.float32)
    low = high = 0  # the input slices that are held
    for start, stop, matrix, part in _slabs(product, along_z):
        kept = max(0, min(high, part.stop) - part.start) if part.start >= low else 0
        for z in range(kept):
            held[z] = held[part.start - low + z]
        for z in range(part.start + kept, part.stop):
            _write_plane(product, product.planes(z, z + 1)[0], held[z - part.start])
        if part.stop > part.start:
            low, high = part.start, part.stop
        source = held[: part.stop - part.start].reshape(part.stop - part.start, oy * ox)
        target = place(start, stop)
        _columns(matrix, source, target.reshape(stop - start, oy * ox))
        yield start, stop


def _write_plane(product: Product, plane: NDArray[Any], out: Floats) -> None:
    _, along_y, along_x = product.matrices
    values = np.ascontiguousarray(plane, np.float32)
    if along_y is None and along_x is None:
        out[...] = values
    elif along_x is None or (along_y is not None and _x_then_y(product) < _y_then_x(product)):
        assert along_y is not None
        _columns(along_y, values if along_x is None else _rows(along_x, values), out)
    else:
        _rows(along_x, values if along_y is None else _columns(along_y, values), out)


def _columns(matrix: AxisMatrix, source: Floats, out: Floats | None = None) -> Floats:
    """`matrix @ source` of a contiguous `(n_in, m)`."""
    target = np.empty((matrix.n_out, source.shape[1]), np.float32) if out is None else out
    if len(source) == 0:
        target[...] = 0.0
    elif axis_kernel is not None and target.flags.c_contiguous:
        axis_kernel.product_columns(matrix.indptr, matrix.indices, matrix.weights, matrix.n_in, source, target)
    else:
        csr = _csr(matrix)
        for at in range(0, source.shape[1], CSR_COLUMNS):
            target[:, at : at + CSR_COLUMNS] = csr @ np.ascontiguousarray(source[:, at : at + CSR_COLUMNS])
    return target


def _rows(matrix: AxisMatrix, source: Floats, out: Floats | None = None) -> Floats:
    """The same along the last axis of a contiguous `(m, n_in)`."""
    target = np.empty((len(source), matrix.n_out), np.float32) if out is None else out
    if axis_kernel is not None and target.flags.c_contiguous:
        axis_kernel.product_rows(matrix.indptr, matrix.indices, matrix.weights, matrix.n_in, source, target)
    else:
        target[...] = (_csr(matrix) @ np.ascontiguousarray(source.T)).T
    return target


def _csr(matrix: AxisMatrix) -> Any:
    shape = (matrix.n_out, matrix.n_in)
    return sparse.csr_array((matrix.weights, matrix.indices, matrix.indptr), shape=shape)
