"""Images of a case on the grid of a plan, with its label layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medshard.converters.plan import Plan
from medshard.converters.quantisation import Quantised, quantise
from medshard.converters.sampling.channels import (
    Grid,
    channels_of,
    grid_under,
    on_grid,
    same_grid,
    stacked,
    units_warning,
)
from medshard.converters.sampling.foreground import foreground_rows
from medshard.converters.sampling.gaps import gap_masks, without_gaps
from medshard.converters.sampling.labels import label_of, sample_labels
from medshard.converters.sampling.nnunet import nnunet_layer, nnunet_voxels
from medshard.converters.sampling.normalised import array_channels, normalise_channels, quantised_channels
from medshard.converters.sampling.sample import ChannelScale, SampleLabel
from medshard.converters.sampling.slabs import stored_in_slabs
from medshard.converters.sampling.statistics import image_statistics
from medshard.converters.volume import Image, LabelLayer, Volume

NORMALISED = "normalised"

Fields = dict[str, Any]
"""Fields of a `Sample`."""


def voxel_fields(volume: Volume, plan: Plan, layers: Mapping[str, LabelLayer], where: str) -> Fields:
    """The plan's channels as one image, and the layers on its grid.

    Voxels without a number are filled and marked in the mask `not_finite`.
    Raises CaseError: plan.missing_channel, plan.time_axis, plan.channel_grid, image.nothing_finite, and those of
    `resample_labels`.
    """
    found = channels_of(volume, plan.channels, plan, where)
    images, gaps, told = without_gaps(plan.channels, found, where)
    make = _nnunet_fields if plan.kind == "nnunet" else _resampled_fields
    fields = make(images, plan, layers, where)
    grid = (fields["image"].shape[-3:], fields["affine"])
    return {**fields, "masks": gap_masks(gaps, images[0], grid), "warnings": (*told, *fields["warnings"])}


def _resampled_fields(images: list[Image], plan: Plan, layers: Mapping[str, LabelLayer], where: str) -> Fields:
    reference = images[0]
    grid = grid_under(plan, reference)
    stored, channels = _stored(images, plan, grid, where)
    labels, warnings = sample_labels(layers, grid, where)
    if not channels:
        warnings += units_warning(images)
    return {
        **_image_fields(reference, stored, channels, grid),
        **_label_fields(labels),
        "warnings": (*stored.warnings, *warnings),
    }


def _stored(images: list[Image], plan: Plan, grid: Grid, where: str) -> tuple[Quantised, tuple[ChannelScale, ...]]:
    reference = images[0]
    if len(images) == 1 and plan.stored == "physical":
        in_slabs = stored_in_slabs(reference, grid[0], plan, where)
        if in_slabs is not None:
            return in_slabs, ()
    resampled = grid[0] != reference.shape or not all(same_grid(image, reference) for image in images)
    values = stacked([on_grid(image, reference, grid, plan, where) for image in images])
    if plan.stored == "physical":
        return quantise(values, sources=images, resampled=resampled), ()
    channels = array_channels(plan.channels, images, plan)
    scales = normalise_channels(values, channels, None)
    return quantised_channels(values, channels, scales, resampled=resampled), scales


def _nnunet_fields(images: list[Image], plan: Plan, layers: Mapping[str, LabelLayer], where: str) -> Fields:
    found = nnunet_voxels(images, plan, where)
    labels: dict[str, SampleLabel] = {}
    warnings: list[str] = []
    for name, layer in sorted(layers.items()):
        after = nnunet_layer(layer, images[0], found, f"{where} {name}")
        labels[name], told = label_of(name, layer, after, where)
        warnings += told
    return {
        **_image_fields(images[0], found.stored, found.channels, found.grid),
        **_label_fields(labels),
        "grids": {plan.channels[0]: found.source},
        "warnings": (*found.stored.warnings, *warnings),
    }


def _image_fields(reference: Image, stored: Quantised, channels: tuple[ChannelScale, ...], grid: Grid) -> Fields:
    return {
        "modality": reference.modality,
        "unit": NORMALISED if channels else reference.rescale.unit,
        "image": stored.array,
        "slope": stored.slope,
        "intercept": stored.intercept,
        "quantisation_error": stored.error,
        "affine": grid[1],
        "channels": channels,
        "statistics": image_statistics(stored),
        "spacing_before_mm": reference.spacing_mm if reference.trusted_geometry else None,
    }


def _label_fields(labels: Mapping[str, SampleLabel]) -> Fields:
    return {"labels": labels, "foreground": {name: foreground_rows(label) for name, label in labels.items()}}
