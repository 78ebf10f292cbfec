"""Voxel sizes that a plan takes from the volumes of an entry. Axis order is (z, y, x), lengths are mm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medshard.converters.fingerprint import rounded
from medshard.converters.plan import Shape, Triple

SPACING_DECIMALS = 4

# An axis is treated as slices when its voxels are this many times longer and fewer than those of the other axes
# (Isensee et al., "nnU-Net", Nature Methods 2021, supplementary note 2).
ANISOTROPY = 3.0
SLICE_PERCENTILE = 10.0
# What nnU-Net adds where the percentile would make slices thinner than the other axes (2.8.1, its default planner).
NNUNET_MARGIN_MM = 1e-5


def median_spacing(spacings: Sequence[Sequence[float]], shapes: Sequence[Sequence[int]]) -> Triple:
    """Median voxel size per axis (z, y, x), with nnU-Net's rule for thick slices.

    When the coarsest axis is more than 3 times the next coarsest and has fewer than a third of its voxels, it takes the
    10th percentile of its spacings instead, so that thin slices are not thrown away; but it never gets finer than the
    other axes (Isensee et al., Nature Methods 2021, supplementary note 2).
    """
    target, thick, next_coarsest = _median_and_thick_axis(spacings, shapes)
    if thick is not None:
        target[thick] = max(_thin_slices(spacings, thick), next_coarsest)
    z, y, x = (round(float(step), SPACING_DECIMALS) for step in target)
    return z, y, x


def nnunet_spacing(spacings: Sequence[Sequence[float]], shapes: Sequence[Sequence[int]]) -> Triple:
    """The target spacing of nnU-Net 2.8.1's default planner for `3d_fullres`, to 6 significant digits.

    It is `median_spacing` but for 1e-5 mm that are added where an axis would get finer than the others.
    shapes: after the crop to what is not zero.
    """
    target, thick, next_coarsest = _median_and_thick_axis(spacings, shapes)
    if thick is not None:
        thin = _thin_slices(spacings, thick)
        target[thick] = thin if thin >= next_coarsest else next_coarsest + NNUNET_MARGIN_MM
    z, y, x = (rounded(float(step)) for step in target)
    return z, y, x


def isotropic_spacing(spacings: Sequence[Sequence[float]]) -> Triple:
    """One voxel size for all axes: the median over the cases of the coarser of the two finest axes.

    That is the voxel size in the plane of slices, along whichever axis a case is sliced.
    """
    step = round(float(np.median(np.sort(np.array(spacings, np.float64), axis=1)[:, 1])), SPACING_DECIMALS)
    return step, step, step


def nnunet_shape(shape: Shape, spacing_mm: Triple, target_mm: Triple) -> Shape:
    """Voxels (z, y, x) after resampling, as nnU-Net counts them: halves go to the even number."""
    counts = [
        max(1, round(before / after * count)) for before, after, count in zip(spacing_mm, target_mm, shape, strict=True)
    ]
    return counts[0], counts[1], counts[2]


def _median_and_thick_axis(
    spacings: Sequence[Sequence[float]], shapes: Sequence[Sequence[int]]
) -> tuple[NDArray[np.float64], int | None, float]:
    """(median per axis, the axis of thick slices if there is one, the next coarsest of the median)."""
    target = np.median(np.array(spacings, np.float64), axis=0)
    voxels = np.median(np.array(shapes, np.float64), axis=0)
    worst = int(np.argmax(target))
    others = [axis for axis in range(3) if axis != worst]
    next_coarsest = float(target[others].max())
    is_thick = target[worst] > ANISOTROPY * next_coarsest and voxels[worst] * ANISOTROPY < voxels[others].min()
    return target, worst if is_thick else None, next_coarsest


def _thin_slices(spacings: Sequence[Sequence[float]], axis: int) -> float:
    return float(np.percentile(np.array(spacings, np.float64)[:, axis], SLICE_PERCENTILE))
