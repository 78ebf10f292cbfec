"""Voxels without a number: filled for the resampler, and remembered as a mask."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medshard.converters.axis_matrices import Shape, axis_matrix
from medshard.converters.axis_products import contract
from medshard.errors import CaseError

Mask = NDArray[np.bool_]


def fill_not_finite(channel: NDArray[Any], where: str = "image") -> tuple[NDArray[Any], Mask]:
    """A `(z, y, x)` array whose NaN and infinite voxels have the value of the nearest finite one, and where those were.

    The nearest value, unlike a constant, makes no edge that a kernel would ring at. Without such voxels the array comes
    back itself; else 20 bytes a voxel are held for a while. Raises CaseError[image.nothing_finite].
    """
    mask = np.zeros(channel.shape, np.bool_) if channel.dtype.kind in "biu" else ~np.isfinite(channel)
    if not mask.any():
        return channel, mask
    if mask.all():
        raise CaseError(
            "image.nothing_finite",
            where=where,
            problem="no voxel of the image is a number",
            action="The case is excluded. Repair the source.",
        )
    nearest = ndimage.distance_transform_edt(mask, return_distances=False, return_indices=True)
    return channel[tuple(cast("NDArray[np.int32]", nearest))], mask


def touched_mask(mask: Mask, shape_out: Shape) -> Mask:
    """Which voxels of a grid with the same outer edges are near a marked one.

    Near is what linear interpolation reads: less than one voxel away, of the coarser of the two grids along each axis.
    """
    z, y, x = (axis_matrix(n, m, "linear", True) for n, m in zip(mask.shape, shape_out, strict=True))
    share = np.empty(shape_out, np.float32)
    contract(mask, (z, y, x), share)
    return share > 0.0
