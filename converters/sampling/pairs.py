"""Images of a case that belong together and do not match voxel by voxel: a reference, and views beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from medshard.converters.grid_verdict import compare_grids
from medshard.converters.plan import Plan
from medshard.converters.quantisation import quantise
from medshard.converters.sampling.channels import channels_of, grid_under, on_grid
from medshard.converters.sampling.labels import sample_labels
from medshard.converters.sampling.sample import SampleView
from medshard.converters.sampling.statistics import image_statistics
from medshard.converters.sampling.voxels import Fields, voxel_fields
from medshard.converters.volume import Image, LabelLayer, Volume


def pair_fields(volume: Volume, plan: Plan, others: tuple[str, ...], where: str) -> Fields:
    """The reference as the sample's image, each of `others` as a view; a label layer goes with its image.

    Raises what `voxel_fields` raises.
    """
    names = (*plan.channels, *others)
    images = dict(zip(names, channels_of(volume, names, plan, where), strict=True))
    layers: dict[str, dict[str, LabelLayer]] = {name: {} for name in names}
    warnings: list[str] = []
    for layer_name, layer in sorted(volume.labels.items()):
        owner, is_sure = image_of_layer(layer_name, layer, images)
        layers[owner][layer_name] = layer
        if not is_sure:
            warnings.append(f"layer {layer_name} lies on the grids of several images and is taken to show {owner}")
    fields = voxel_fields(volume, plan, layers[plan.channels[0]], where)
    views = {}
    for name in others:
        views[name], told = _view(images[name], plan, layers[name], f"{where} {name}")
        warnings += [f"{name}: {warning}" for warning in told]
    return {**fields, "views": views, "warnings": (*fields["warnings"], *warnings)}


def image_of_layer(name: str, layer: LabelLayer, images: Mapping[str, Image]) -> tuple[str, bool]:
    """(the image that a layer shows, whether that is sure).

    The image whose name the layer's name begins with ("moving" of "moving_organs"), else the one whose grid it is on;
    the first of several, and the first image where it is on the grid of none.
    """
    named = [image for image in images if name == image or name.startswith(f"{image}_")]
    if named:
        return max(named, key=len), True
    fitting = [
        other
        for other, image in images.items()
        if compare_grids(layer.shape, layer.affine, image.shape, image.affine).kind in ("same", "rounding")
    ]
    return (fitting or list(images))[0], len(fitting) == 1


def _view(image: Image, plan: Plan, layers: Mapping[str, LabelLayer], where: str) -> tuple[SampleView, tuple[str, ...]]:
    alone = replace(plan, pairs=None)
    grid = grid_under(alone, image)
    stored = quantise(on_grid(image, image, grid, alone, where), sources=[image], resampled=grid[0] != image.shape)
    labels, warnings = sample_labels(layers, grid, where)
    view = SampleView(
        image=stored.array,
        modality=image.modality,
        unit=image.rescale.unit,
        slope=stored.slope,
        intercept=stored.intercept,
        quantisation_error=stored.error,
        affine=grid[1],
        labels=labels,
        statistics=image_statistics(stored),
        spacing_before_mm=image.spacing_mm if image.trusted_geometry else None,
    )
    return view, (*stored.warnings, *warnings)
