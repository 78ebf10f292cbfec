"""Voxels of images that have no number: filled before anything is resampled, and marked on the sample's grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medshard.converters.missing_voxels import fill_not_finite, touched_mask
from medshard.converters.resampling import resample_onto
from medshard.converters.sampling.channels import Grid, same_grid
from medshard.converters.volume import Array, Image, Rescale

NOT_FINITE = "not_finite"


@dataclass(frozen=True)
class Gap:
    """The voxels `(z, y, x)` of an image that were filled, in any of its channels."""

    image: Image
    mask: NDArray[np.bool_]


def without_gaps(names: Sequence[str], images: Sequence[Image], where: str) -> tuple[list[Image], list[Gap], list[str]]:
    """(images that are finite everywhere, what was filled, warnings).

    Raises CaseError[image.nothing_finite] for a channel without any number.
    """
    finite: list[Image] = []
    gaps: list[Gap] = []
    warnings: list[str] = []
    for name, image in zip(names, images, strict=True):
        if image.array.dtype.kind in "biu":
            finite.append(image)
            continue
        filled = [fill_not_finite(channel, f"{where} {name}") for channel in image.array]
        mask = np.logical_or.reduce([mask for _, mask in filled])
        if not mask.any():
            finite.append(image)
            continue
        whole = replace(image, array=np.stack([channel for channel, _ in filled]))
        finite.append(whole)
        gaps.append(Gap(whole, mask))
        warnings.append(
            f"image {name} has {int(mask.sum())} of {mask.size} voxels without a number: they are filled from their "
            "neighbours and marked in the mask not_finite"
        )
    return finite, gaps, warnings


def gap_masks(gaps: Sequence[Gap], reference: Image, grid: Grid) -> Mapping[str, Array]:
    """{"not_finite": (1, z, y, x) uint8} on the grid of a sample, where a filled voxel had a share; or nothing.

    grid: of the reference within its outer edges, or of a part of it.
    """
    if not gaps:
        return {}
    marked = np.zeros(grid[0], np.bool_)
    for gap in gaps:
        marked |= _on_grid(gap, reference, grid)
    return {NOT_FINITE: marked[None].astype(np.uint8)}


def _on_grid(gap: Gap, reference: Image, grid: Grid) -> NDArray[np.bool_]:
    part = _part_of(reference, grid)
    if part is not None and same_grid(gap.image, reference):
        return touched_mask(gap.mask[part], grid[0])
    mask = replace(gap.image, array=gap.mask[None].astype(np.uint8), rescale=Rescale())
    return np.asarray(resample_onto(mask, *grid, kernel="linear")[0] > 0.0)


def _part_of(reference: Image, grid: Grid) -> tuple[slice, slice, slice] | None:
    """The whole voxels of the reference that lie within the outer edges of a grid; None where the edges cut voxels."""
    corners = np.column_stack([[-0.5, -0.5, -0.5, 1.0], [*(length - 0.5 for length in grid[0]), 1.0]])
    edges = (np.linalg.inv(reference.affine) @ grid[1] @ corners)[:3] + 0.5
    whole = np.rint(edges)
    low, high = whole.T.astype(int).tolist()
    inside = all(0 <= a < b <= n for a, b, n in zip(low, high, reference.shape, strict=True))
    if not inside or not np.allclose(edges, whole, rtol=0.0, atol=1e-6):
        return None
    z, y, x = (slice(a, b) for a, b in zip(low, high, strict=True))
    return z, y, x
