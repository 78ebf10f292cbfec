"""The label layers of a case on the grid of a sample, and what resampling did to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from medshard.converters.fingerprint import concept_values
from medshard.converters.label_ratios import instance_warnings, label_ratios
from medshard.converters.label_resampling import Labels, resample_labels, voxel_counts
from medshard.converters.sampling.channels import Grid
from medshard.converters.sampling.sample import SampleLabel
from medshard.converters.volume import LabelLayer


def sample_labels(layers: Mapping[str, LabelLayer], grid: Grid, where: str) -> tuple[dict[str, SampleLabel], list[str]]:
    """(layer name -> label, warnings). Raises what `resample_labels` raises."""
    labels, warnings = {}, []
    for name, layer in sorted(layers.items()):
        after = resample_labels(layer, *grid, where=f"{where} {name}")
        labels[name], told = label_of(name, layer, after, where)
        warnings += told
    return labels, warnings


def label_of(name: str, layer: LabelLayer, after: LabelLayer, where: str) -> tuple[SampleLabel, list[str]]:
    """A layer before and after resampling -> the sample's label, and what is to be said of it."""
    before = resample_labels(layer, layer.shape, layer.affine, where=f"{where} {name}")
    ratios = label_ratios(before, after)
    label = SampleLabel(
        array=after.array,
        kind="instance" if layer.kind == "instance" else "semantic",
        classes=dict(after.classes),
        examined=layer.examined,
        also=dict(after.also),
        ignore=after.ignore,
        volume_ratio={concept: ratio.volume for concept, ratio in ratios.items()},
        component_ratio={concept: ratio.components for concept, ratio in ratios.items()},
    )
    vanished = [concept for concept, ratio in ratios.items() if ratio.volume == 0.0]
    warnings = [f"{concept} of layer {name} has no voxel on the plan's grid" for concept in vanished]
    warnings += instance_warnings(name, before, after)
    if None not in concept_values(layer).values():
        named = {*after.classes, *after.ignore}
        unnamed = [value for value in voxel_counts(cast(Labels, before.array[0])) if value not in named]
        warnings += [f"layer {name} has voxels of value {value}, which has no concept" for value in unnamed]
    return label, warnings
