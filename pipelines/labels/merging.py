"""One file for each class or instance -> one array of values; what lies under what is counted and said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from medshard.converters.annotations.segments import OutlineSet, SegmentedImage
from medshard.converters.grid_verdict import Grid, PlacedLabel
from medshard.converters.label_values import grey, marked, slabs, value_counts, whole_values
from medshard.converters.spooling import release_pages
from medshard.converters.volume import Array, LabelLayer
from medshard.errors import CaseError
from medshard.pipelines.labels.named import any_segment
from medshard.pipelines.labels.parts import LabelPart
from medshard.pipelines.labels.placing import LabelTask, LabelValues, OwnGrid, place_label, stored_value
from medshard.pipelines.labels.reading import read_label
from medshard.registry.schema import LabelSpec


def values_of_files(task: LabelTask, spec: LabelSpec, parts: list[LabelPart]) -> LabelValues:
    """A file for each class, each instance or both, painted over one another in their order."""
    numbers, meant = _numbers(spec, parts)
    targets, image = task.images, ""
    grid: LabelLayer | None = None
    merged: Array = np.empty(0)
    covered: Counter[tuple[int, int]] = Counter()
    places: list[PlacedLabel] = []
    said: Counter[str] = Counter()
    for part, number in zip(parts, numbers, strict=True):
        image, placed = _foreground(task, spec, part, targets, said)
        if grid is None:
            grid = placed.layer
            merged = task.spool.empty(grid.array.shape, np.min_scalar_type(max(numbers)))
            merged[...] = 0
            targets = {image: task.images[image] if image else OwnGrid(shape=grid.shape, affine=grid.affine)}
        covered.update(_paint(merged, placed.layer.array, number))
        places.append(replace(placed, layer=replace(grid, array=merged)))
    repaired = [place for place in places if place.repair is not None]
    share = f" (in {len(repaired)} of {len(places)} files)"
    absent = [value for value in spec.classes if spec.per_class and value not in {part.value for part in parts}]
    warnings = _overlaps(covered, dict(zip(numbers, parts, strict=True)), spec)
    warnings += [f"{sentence} (in {count} of {len(parts)} files)" for sentence, count in sorted(said.items())]
    if absent:
        warnings.append(f"no file for: {', '.join(spec.classes[value] for value in absent)}")
    return LabelValues(
        array=merged,
        affine=places[0].layer.affine,
        placed=True,
        image=image or None,
        verdict=(repaired or places)[0].verdict,
        repair=f"{repaired[0].repair}{share}" if repaired else None,
        meant=meant,
        absent=frozenset(absent),
        warnings=tuple(warnings),
    )


def _numbers(spec: LabelSpec, parts: list[LabelPart]) -> tuple[list[int], Mapping[int, int] | None]:
    """The value that each part is painted with, and which of the entry's values each stands for (None: as stored).

    In a semantic layer that is the class's as stored; in an instance layer the parts are counted from 1.
    """
    only = next(iter(spec.classes))
    of_class = [part.value if part.value is not None else only for part in parts]
    if spec.kind == "semantic":
        return [stored_value(spec, value) for value in of_class], None
    counted = list(range(1, len(parts) + 1))
    if len(spec.classes) == 1:
        return counted, None
    return counted, dict(zip(counted, of_class, strict=True))


def _foreground(
    task: LabelTask, spec: LabelSpec, part: LabelPart, targets: Mapping[str, Grid], said: Counter[str]
) -> tuple[str, PlacedLabel]:
    """Where one file marks anything, (1, z, y, x) booleans, and on the grid of which of the targets.

    said: counts what there is to say of the files.
    """
    read = read_label(task, spec, part)
    found = read.found
    said.update(read.warnings)
    if isinstance(found, OutlineSet):
        raise CaseError(
            "annotation.not_a_mask",
            where=task.where,
            problem="a file of outlines stands where one mask per class or instance is expected",
            action="Give all regions by `names` in a path without `{class}` and `{instance}`.",
        )
    if isinstance(found, SegmentedImage):
        image, mask, affine = any_segment(found, targets, spec.threshold, where=task.where, spool=task.spool)
        return image, PlacedLabel(layer=LabelLayer(array=mask[None], affine=affine, classes={}, examined=()))
    array = whole_values(found, where=task.where, spool=task.spool)
    # Three channels of what has a place in space are no colours.
    array = array if found.trusted_geometry else grey(array, task.spool)
    if array.shape[0] != 1 or array.dtype.kind == "i":
        raise CaseError(
            "annotation.not_a_mask",
            where=task.where,
            problem="a mask of one class or instance has one channel and no negative values",
            details={"found": f"{array.dtype} {array.shape}"},
            action="The case is excluded. Repair the source.",
        )
    if spec.threshold is None:
        said.update(_doubts_about_values(task, spec, array))
    mask = marked(array, threshold=spec.threshold, background=spec.background, spool=task.spool).view(np.bool_)
    layer = LabelLayer(array=mask, affine=found.affine, classes={}, examined=())
    here = {name: grid for name, grid in targets.items() if name == read.image} or targets
    return place_label(task, layer, here, trusted_geometry=found.trusted_geometry)


def _doubts_about_values(task: LabelTask, spec: LabelSpec, array: Array) -> tuple[str, ...]:
    """Raises CaseError[annotation.not_a_mask] where a file of one thing has voxels that the entry ignores: painted over
    the others, they would have no value to say so."""
    values = value_counts(array, where=task.where).keys() - {spec.background}
    ignored = sorted(values & {*spec.ignore, *spec.unmapped})
    if ignored:
        raise CaseError(
            "annotation.not_a_mask",
            where=task.where,
            problem="a mask of one class or instance holds values that the entry ignores",
            details={"ignored values": ", ".join(map(str, ignored))},
            action="The case is excluded. Give `threshold`, or all classes in one file.",
        )
    if len(values) > 1:
        return ("a mask of one class or instance holds several values above 0; all of them count",)
    return ()


def _paint(merged: Array, marked: Array, number: int) -> Counter[tuple[int, int]]:
    """Paint one mask over what is there. Returns (value below, number) -> voxels that it covers."""
    covered: Counter[tuple[int, int]] = Counter()
    for channel, part in slabs(merged):
        mask, slab = np.asarray(marked[channel, part]), merged[channel, part]
        if not mask.any():
            continue
        below = slab[mask]
        values, counts = np.unique(below[(below != 0) & (below != number)], return_counts=True)
        covered.update({(value, number): n for value, n in zip(values.tolist(), counts.tolist(), strict=True)})
        slab[mask] = number
        release_pages(merged)
        release_pages(marked)
    return covered


def _overlaps(covered: Counter[tuple[int, int]], parts: Mapping[int, LabelPart], spec: LabelSpec) -> list[str]:
    """What lies under what, by concept."""
    only = next(iter(spec.classes))

    def concept(number: int) -> str:
        value = parts[number].value
        return spec.classes[only if value is None else value]

    voxels: Counter[tuple[str, str]] = Counter()
    for (below, above), count in covered.items():
        voxels[concept(below), concept(above)] += count
    return [f"{count} voxels of {below} lie under {above}" for (below, above), count in sorted(voxels.items())]
