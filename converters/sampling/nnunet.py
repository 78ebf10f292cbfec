"""The voxels and labels of a case as nnU-Net's preprocessor makes them: crop, normalise, then resample.

Source of the rules: nnU-Net 2.8.1, `DefaultPreprocessor.run_case_npy`. Its transposition of axes is left out: the rules
below treat all axes alike, so that it only reorders the same voxels (`Plan.transpose` has the order).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medshard.converters.label_resampling import resample_labels
from medshard.converters.plan import Plan, Shape
from medshard.converters.plan_spacing import nnunet_shape
from medshard.converters.quantisation import Quantised
from medshard.converters.resampling import Floats, resample_array, resample_onto, separate_axis
from medshard.converters.sampling.channels import Grid, same_grid, stacked
from medshard.converters.sampling.normalised import (
    array_channels,
    body_of,
    nonzero_voxels,
    normalise_channels,
    quantised_channels,
)
from medshard.converters.sampling.sample import Box, ChannelScale, SourceGrid
from medshard.converters.volume import Affine, Image, LabelLayer


@dataclass(frozen=True, kw_only=True)
class NnunetVoxels:
    """source: the reference's grid with the crop and the axis of slices. grid: (shape, affine) of the result."""

    stored: Quantised
    channels: tuple[ChannelScale, ...]
    source: SourceGrid
    grid: Grid


def nnunet_voxels(images: list[Image], plan: Plan, where: str) -> NnunetVoxels:
    """Images on other grids than the first are brought onto its own grid before anything else."""
    reference = images[0]
    values = stacked([_on_own_grid(image, reference, plan, where) for image in images])
    nonzero = nonzero_voxels(values)
    crop = _box_of(nonzero) if plan.crop_to_nonzero else None
    affine = reference.affine
    if crop is not None:
        values, affine = np.ascontiguousarray(values[(slice(None), *_slices(crop))]), cropped_affine(affine, crop)
        nonzero = nonzero[_slices(crop)]
    channels = array_channels(plan.channels, images, plan)
    chosen = body_of(nonzero) if plan.mask_zeros else np.ones(nonzero.shape, np.bool_)
    scales = normalise_channels(values, channels, chosen, masked=plan.mask_zeros)
    z, y, x = values.shape[-3:]
    grid, axis = _target((z, y, x), affine, reference, plan)
    resampled = grid[0] != (z, y, x)
    if resampled:
        values = resample_array(values, grid[0], kernel=plan.kernel, antialias=False, slices=axis, where=where)
    return NnunetVoxels(
        stored=quantised_channels(values, channels, scales, resampled=resampled),
        channels=scales,
        source=SourceGrid(shape=reference.shape, affine=reference.affine, crop=crop, slices=axis),
        grid=grid,
    )


def nnunet_layer(layer: LabelLayer, reference: Image, found: NnunetVoxels, where: str) -> LabelLayer:
    """A label layer on the grid of the sample: as nnU-Net's segmentations where it is on the grid of the images."""
    if not same_grid(replace(reference, array=layer.array, affine=layer.affine), reference):
        return resample_labels(layer, *found.grid, where=where)
    crop = found.source.crop
    if crop is not None:
        layer = layer.with_grid(layer.array[(slice(None), *_slices(crop))], cropped_affine(layer.affine, crop))
    return resample_labels(layer, *found.grid, slices=found.source.slices, like_nnunet=True, where=where)


def cropped_affine(affine: Affine, crop: Box) -> Affine:
    moved = affine.copy()
    moved[:, 3] = affine @ [crop[0][0], crop[1][0], crop[2][0], 1.0]
    return moved


def _on_own_grid(image: Image, reference: Image, plan: Plan, where: str) -> Floats:
    if same_grid(image, reference):
        return image.rescale.apply(image.array)
    return resample_onto(image, reference.shape, reference.affine, kernel=plan.kernel, antialias=False, where=where)


def _box_of(nonzero: NDArray[np.bool_]) -> Box | None:
    """None for an image of zeros, of which nothing would be left."""
    sides = []
    for axis in range(3):
        there = np.flatnonzero(nonzero.any(axis=tuple(other for other in range(3) if other != axis)))
        if not there.size:
            return None
        sides.append((int(there[0]), int(there[-1]) + 1))
    return sides[0], sides[1], sides[2]


def _slices(crop: Box) -> tuple[slice, slice, slice]:
    z, y, x = (slice(start, stop) for start, stop in crop)
    return z, y, x


def _target(shape: Shape, affine: Affine, reference: Image, plan: Plan) -> tuple[Grid, int | None]:
    """(the grid after resampling, the axis along which slices are treated one by one)."""
    if plan.spacing_mm is None or not reference.trusted_geometry:
        return (shape, affine), None
    counts = nnunet_shape(shape, reference.spacing_mm, plan.spacing_mm)
    ratios = np.array([before / after for before, after in zip(shape, counts, strict=True)])
    index_map = np.diag([*ratios, 1.0])
    index_map[:3, 3] = (ratios - 1.0) / 2.0
    return (counts, affine @ index_map), separate_axis(reference.spacing_mm, plan.spacing_mm)
