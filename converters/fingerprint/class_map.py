"""The classes of a label layer as small numbers, so that one pass over the voxels serves all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from medshard.converters.array_types import Affine, Array
from medshard.converters.fingerprint.components import Labels, count_components, grouped
from medshard.converters.fingerprint.numbers import Facts, rounded
from medshard.converters.label_resampling import resample_labels, voxel_counts
from medshard.converters.resampling import Shape
from medshard.converters.volume import LabelLayer

SLAB_VOXELS = 1 << 22


@dataclass(frozen=True, kw_only=True)
class ClassMap:
    """numbers: (z, y, x), 0 the background, n the class `concepts[n - 1]`, the next number what is marked and no class.

    instances: concept -> how many there are, of an instance layer; else None.
    """

    numbers: Labels
    affine: Affine
    concepts: tuple[str, ...]
    examined: tuple[str, ...]
    kind: str
    instances: Mapping[str, int] | None

    @property
    def shape(self) -> Shape:
        z, y, x = self.numbers.shape
        return z, y, x

    @property
    def groups(self) -> int:
        return len(self.concepts) + 2


def class_map(layer: LabelLayer, where: str) -> ClassMap:
    """Soft layers are mapped by the class of largest probability. Raises what `resample_labels` raises."""
    hard = resample_labels(layer, layer.shape, layer.affine, where=where)
    labels = cast(Labels, hard.array[0])
    values_of = concept_values(hard)
    concepts = tuple(sorted(values_of))
    if None in values_of.values():
        counts = voxel_counts(labels)
        numbers, instances = cast(Labels, (labels > 0).view(np.uint8)), {concepts[0]: len(counts)}
    else:
        number_of = {
            value: number for number, concept in enumerate(concepts, start=1) for value in values_of[concept] or ()
        }
        numbers, instances = grouped(labels, number_of, other=len(concepts) + 1), None
        if hard.kind == "instance":
            counts = voxel_counts(labels)
            instances = {concept: sum(value in counts for value in values_of[concept] or ()) for concept in concepts}
    return ClassMap(
        numbers=numbers,
        affine=layer.affine,
        concepts=concepts,
        examined=layer.examined,
        kind=layer.kind,
        instances=instances,
    )


def concept_values(layer: LabelLayer) -> dict[str, list[int] | None]:
    """The stored values of each concept; None for all above 0, where one concept names every instance."""
    if layer.kind == "instance" and len(layer.classes) == 1:
        return dict.fromkeys(layer.classes.values())
    values: dict[str, list[int]] = {}
    for value, concept in sorted(layer.classes.items()):
        values.setdefault(concept, []).append(value)
    return dict(values)


def label_facts(classes: ClassMap, trusted: bool) -> Facts:
    """What `fingerprint_volume` says of a label layer."""
    voxel_ml = abs(float(np.linalg.det(classes.affine[:3, :3]))) / 1000.0
    counts = _counts(classes.numbers, classes.groups)
    components: Mapping[str, int]
    if classes.instances is not None:
        components = classes.instances
    else:
        found = count_components(classes.numbers, len(classes.concepts))
        components = dict(zip(classes.concepts, found, strict=True))
    facts = {
        concept: {
            "voxels": counts[number],
            "volume_ml": rounded(counts[number] * voxel_ml) if trusted else None,
            "components": components[concept],
        }
        for number, concept in enumerate(classes.concepts, start=1)
    }
    sizes = [each["voxels"] for each in facts.values() if each["voxels"]]
    return {
        "kind": classes.kind,
        "shape": list(classes.shape),
        "examined": list(classes.examined),
        "marked": rounded(sum(counts[1:]) / max(1, classes.numbers.size)),
        "classes": facts,
        "largest_to_smallest": rounded(max(sizes) / min(sizes)) if sizes else None,
    }


def _counts(numbers: Array, groups: int) -> list[int]:
    totals = np.zeros(groups, np.int64)
    flat = np.ascontiguousarray(numbers).reshape(-1)
    for start in range(0, flat.size, SLAB_VOXELS):
        totals += np.bincount(flat[start : start + SLAB_VOXELS], minlength=groups)
    return [int(total) for total in totals]
