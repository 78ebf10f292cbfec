"""The products of `resampling` on a device: the same matrices, float32, in slabs of a stated size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medshard.converters.axis_matrices import AxisMatrix, Floats, Kernel, Shape, axis_matrix
from medshard.converters.resampling import finite_range
from medshard.converters.volume import Array

if TYPE_CHECKING:
    import torch


def resample_on_device(
    array: Array,
    shape_out: Shape,
    *,
    kernel: Kernel = "cubic",
    antialias: bool = True,
    device: str = "cuda",
    budget_bytes: int = 1 << 30,
    where: str = "image",
) -> Floats:
    """What `resample_array` makes of `(c, z, y, x)`, up to the order in which a device adds: within 1e-3 of the range.

    The products are dense, so nothing that is to have the same bytes everywhere may be made with them. On the device a
    slab of output slices with the input that it reads takes no more than about `budget_bytes`, and at least one slice.
    Raises CaseError[image.not_finite].
    """
    import torch  # noqa: PLC0415 - the rest of this room does without

    z, y, x = (axis_matrix(n, m, kernel, antialias) for n, m in zip(array.shape[-3:], shape_out, strict=True))
    along_y, along_x = (None if matrix is None else _on(matrix.toarray(), device) for matrix in (y, x))
    out = np.empty((array.shape[0], *shape_out), np.float32)
    with torch.no_grad():
        for channel, target in zip(array, out, strict=True):
            low, high = finite_range(channel, where)
            for start, stop in _slabs(z, channel.shape, shape_out, budget_bytes):
                along_z, read = (None, slice(start, stop)) if z is None else z.rows(start, stop)
                values = _on(np.ascontiguousarray(channel[read], np.float32), device)
                if along_z is not None:
                    values = torch.tensordot(_on(along_z.toarray(), device), values, dims=1)
                if along_y is not None:
                    values = torch.matmul(along_y, values)
                if along_x is not None:
                    values = torch.matmul(values, along_x.T)
                target[start:stop] = values.clamp_(low, high).cpu().numpy()
    return out


def _on(values: NDArray[Any], device: str) -> torch.Tensor:
    import torch  # noqa: PLC0415

    return torch.from_numpy(values).to(device)


def _slabs(
    along_z: AxisMatrix | None, shape_in: tuple[int, ...], shape_out: Shape, budget_bytes: int
) -> list[tuple[int, int]]:
    """Output slices [start, stop): the input of each, what z and y leave of it, and the output fit the budget."""
    plane_in, plane_out = 4 * shape_in[1] * shape_in[2], 4 * shape_out[1] * shape_out[2]
    between = 4 * shape_out[1] * shape_in[2]
    step = 1.0 if along_z is None else shape_in[0] / shape_out[0]
    fixed = 0 if along_z is None else along_z.reach * plane_in
    count = int((budget_bytes - fixed) // (step * plane_in + plane_in + between + plane_out))
    count = max(1, min(count, shape_out[0]))
    return [(start, min(start + count, shape_out[0])) for start in range(0, shape_out[0], count)]
