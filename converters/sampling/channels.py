"""The images that a plan stacks as channels, in physical units, and the grid that they go to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medshard.converters.geometry import describe_grid
from medshard.converters.grid_verdict import compare_grids
from medshard.converters.plan import Plan, Shape
from medshard.converters.resampling import Floats, resample_array, resample_onto, target_grid
from medshard.converters.volume import Affine, Image, Volume
from medshard.errors import CaseError

Grid = tuple[Shape, Affine]


def channels_of(volume: Volume, names: Sequence[str], plan: Plan, where: str) -> list[Image]:
    """The images of these names. Raises CaseError[plan.missing_channel], and [plan.time_axis] for moving ones."""
    missing = [name for name in names if name not in volume.images]
    if missing or not names:
        raise CaseError(
            "plan.missing_channel",
            where=where,
            problem=f"the case has no image {', '.join(missing)}" if missing else "the plan names no channel",
            details={"plan": ", ".join(plan.channels) or "-", "case": ", ".join(volume.images) or "-"},
            action=f"The case is excluded. Name other channels in plan {plan.name} if that is not meant.",
        )
    images = [volume.images[name] for name in names]
    for name, image in zip(names, images, strict=True):
        if image.array.ndim != 4:
            raise CaseError(
                "plan.time_axis",
                where=where,
                problem=f"image {name} has a time axis, and a sample of a plan of the kind {plan.kind} has none",
                details={"shape": image.array.shape},
                action="The case is excluded. A plan of the kind clips takes images with a time axis.",
            )
    return images


def grid_under(plan: Plan, reference: Image) -> Grid:
    """The grid that an image goes to: the plan's voxel size within its outer edges, or its own grid."""
    shape, affine = reference.shape, reference.affine
    if plan.spacing_mm is None or not reference.trusted_geometry:
        return shape, affine
    spacing = list(plan.spacing_mm)
    if plan.slice_axis is not None:
        spacing[plan.slice_axis] = reference.spacing_mm[plan.slice_axis]
    return target_grid(shape, affine, (spacing[0], spacing[1], spacing[2]))


def on_grid(image: Image, reference: Image, grid: Grid, plan: Plan, where: str) -> Floats:
    """Physical values `(c, z, y, x)` float32 of an image on the grid of a sample.

    Raises CaseError[plan.channel_grid] and what the resampling raises.
    """
    shape, affine = grid
    if same_grid(image, reference):
        values = image.array if image.rescale.is_identity else image.rescale.apply(image.array)
        return resample_array(values, shape, kernel=plan.kernel, antialias=plan.antialias, where=where)
    if not (image.trusted_geometry and reference.trusted_geometry):
        raise CaseError(
            "plan.channel_grid",
            where=where,
            problem="two channels have different grids and no position in space to match them by",
            details={
                "first": describe_grid(reference.shape, reference.affine),
                "other": describe_grid(image.shape, image.affine),
            },
        )
    return resample_onto(image, shape, affine, kernel=plan.kernel, antialias=plan.antialias, where=where)


def same_grid(image: Image, reference: Image) -> bool:
    verdict = compare_grids(image.shape, image.affine, reference.shape, reference.affine)
    return verdict.kind in ("same", "rounding")


def stacked(parts: Sequence[Floats]) -> Floats:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def units_warning(images: Sequence[Image]) -> list[str]:
    units = sorted({image.rescale.unit for image in images})
    return [f"the channels have different units: {', '.join(units)}"] if len(units) > 1 else []
