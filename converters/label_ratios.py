"""What resampling did to each concept of a label layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from medshard.converters.fingerprint.class_map import concept_values
from medshard.converters.fingerprint.components import count_components, grouped
from medshard.converters.fingerprint.numbers import rounded
from medshard.converters.label_resampling import Labels, voxel_counts
from medshard.converters.volume import LabelLayer


@dataclass(frozen=True)
class LabelRatio:
    """Of one concept, after resampling over before: its volume, and its components (26-neighbours) or instances."""

    volume: float
    components: float


@dataclass(frozen=True)
class _Counts:
    voxels: int
    components: int


def label_ratios(before: LabelLayer, after: LabelLayer) -> Mapping[str, LabelRatio]:
    """concept -> ratios, of the concepts that have voxels before; both layers as `resample_labels` makes them."""
    ratio_mm3 = abs(float(np.linalg.det(after.affine[:3, :3]) / np.linalg.det(before.affine[:3, :3])))
    had, has = _concept_counts(before), _concept_counts(after)
    return {
        concept: LabelRatio(
            volume=rounded(has[concept].voxels / counts.voxels * ratio_mm3),
            components=rounded(has[concept].components / counts.components),
        )
        for concept, counts in had.items()
        if counts.voxels
    }


def instance_warnings(name: str, before: LabelLayer, after: LabelLayer) -> list[str]:
    """What is to be said of the instances of a layer that are too small for the new grid."""
    if before.kind != "instance":
        return []
    had, has = (voxel_counts(cast(Labels, layer.array[0])) for layer in (before, after))
    per_voxel = abs(float(np.linalg.det(after.affine[:3, :3]) / np.linalg.det(before.affine[:3, :3])))
    tiny = [value for value, count in had.items() if has.get(value) == 1 and count < per_voxel / 2]
    lost = had.keys() - has.keys()
    warnings = []
    if tiny:
        warnings.append(f"layer {name}: {len(tiny)} of {len(had)} instances are under half a voxel and stay as one")
    if lost:
        warnings.append(f"layer {name}: {len(lost)} of {len(had)} instances have no voxel on the new grid")
    return warnings


def _concept_counts(layer: LabelLayer) -> dict[str, _Counts]:
    labels = cast(Labels, layer.array[0])
    counts = voxel_counts(labels)
    values = {concept: list(counts) if own is None else own for concept, own in concept_values(layer).items()}
    if layer.kind == "instance":
        return {
            concept: _Counts(sum(counts.get(value, 0) for value in own), sum(value in counts for value in own))
            for concept, own in values.items()
        }
    return {
        concept: _Counts(sum(counts.get(value, 0) for value in own), _components(labels, own))
        for concept, own in values.items()
    }


def _components(labels: Labels, values: list[int]) -> int:
    return count_components(grouped(labels, dict.fromkeys(values, 1), other=0), 1)[0]
