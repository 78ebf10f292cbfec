"""One case's label files -> label layers on the grid of the image that they belong to (docs/layout-language.md).

A label of the layout is one layer, or one for each rater where the path has `{rater}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from medshard.converters.annotations.segments import SegmentedImage
from medshard.converters.formats.format import Request
from medshard.converters.grid_verdict import Grid, PlacedLabel
from medshard.converters.label_values import (
    at_least,
    exchanged,
    grey,
    kept_from,
    smallest_type,
    value_counts,
    values_of_colours,
    whole_values,
)
from medshard.converters.reading import read_annotation
from medshard.converters.spooling import IN_MEMORY, Spool
from medshard.converters.volume import Image, LabelLayer
from medshard.errors import CaseError
from medshard.pipelines.labels.merging import values_of_files
from medshard.pipelines.labels.named import Wanted, values_of_outlines, values_of_segments
from medshard.pipelines.labels.parts import LabelPart, label_parts, label_paths, label_sources
from medshard.pipelines.labels.placing import (
    CaseLabel,
    LabelTask,
    LabelValues,
    first_grid,
    missing_label,
    place_label,
)
from medshard.pipelines.labels.reading import read_label
from medshard.pipelines.labels.soft import soft_label
from medshard.pipelines.stages.case_payload import CasePayload
from medshard.registry.schema import LabelSpec
from medshard.registry.schema.annotations import Contours

__all__ = ["CaseLabel", "label_paths", "label_sources", "read_case_labels"]


def read_case_labels(
    payload: CasePayload, layer: str, *, images: Mapping[str, Grid], spool: Spool = IN_MEMORY
) -> tuple[CaseLabel, ...]:
    """The layers of one label of the layout, one for each rater.

    layer: a key of `label_sources`. images: headers or images of the case; without any a mask keeps its own grid.
    Raises CaseError when a file cannot be read, is no mask, or lies on the grid of no image:
    [read.* | annotation.missing | annotation.not_a_mask | annotation.not_a_map | annotation.not_outlines |
    annotation.scaled | annotation.scales | annotation.unknown_colours | annotation.overlap | annotation.no_image |
    geometry.*].
    """
    task = LabelTask(payload=payload, source=layer, images=images, spool=spool)
    spec = payload.group.labels.get(layer)
    if spec is None:
        return (_outlined_label(task),)
    if spec.kind == "soft":
        return (soft_label(task, spec),)
    parts = label_parts(payload, layer)
    if not parts:
        raise missing_label(task)
    raters = tuple(dict.fromkeys(part.rater for part in parts))
    return tuple(_mask_label(task, spec, [part for part in parts if part.rater == rater]) for rater in raters)


def _outlined_label(task: LabelTask) -> CaseLabel:
    """An annotation of outlines as a semantic layer: its concepts are the values from 1, in the order of `values`."""
    annotation = task.payload.group.annotations[task.source]
    files = task.payload.case.others.get(f"annotation {task.source}", ())
    if not files or not isinstance(annotation, Contours):
        raise missing_label(task)
    found = read_annotation(
        task.payload.locate(files), where=task.where, request=Request(grid=first_grid(task), spool=task.spool)
    )
    if isinstance(found, Image):
        raise CaseError(
            "annotation.not_outlines",
            where=task.where,
            problem="the file holds a mask, the entry says outlines",
            action="Declare it under `labels`.",
        )
    numbers = {concept: number for number, concept in enumerate(dict.fromkeys(annotation.values.values()), start=1)}
    names: dict[int, tuple[str, ...]] = {}
    also: dict[int, tuple[str, ...]] = {}
    for word, concept in annotation.values.items():
        number = numbers[concept]
        names[number] = (*names.get(number, ()), word)
        also[number] = tuple(dict.fromkeys((*also.get(number, ()), *annotation.also.get(word, ()))))
    classes = {number: concept for concept, number in numbers.items()}
    wanted = Wanted(values=tuple(classes), names=names, concepts=classes, nested=True)
    if isinstance(found, SegmentedImage):
        named = values_of_segments(found, wanted, task.images, where=task.where, spool=task.spool)
    else:
        named = values_of_outlines(found, wanted, task.images, where=task.where, spool=task.spool)
    layer = LabelLayer(
        array=named.array,
        affine=named.affine,
        classes=classes,
        examined=annotation.examined_concepts,
        rater=annotation.rater,
        also={number: concepts for number, concepts in also.items() if concepts},
        colours=dict(named.colours),
    )
    values = LabelValues(
        array=named.array, affine=named.affine, placed=True, image=named.image, warnings=named.warnings
    )
    return _judged(task, values, layer, None, name=task.source)


def _mask_label(task: LabelTask, spec: LabelSpec, parts: list[LabelPart]) -> CaseLabel:
    """One layer of the parts of one rater."""
    rater = parts[0].rater
    alone = len(parts) == 1 and parts[0].value is None and parts[0].instance is None
    found = _values_of_file(task, spec, parts[0]) if alone else values_of_files(task, spec, parts)
    found = _with_zero_background(found, spec, task.spool)
    layer = _with_meaning(found, spec, rater if rater is not None else spec.rater)
    return _judged(task, found, layer, spec, name=task.source if rater is None else f"{task.source}-{_plain(rater)}")


def _plain(rater: str) -> str:
    """A rater's word as part of a name: other characters than letters, digits, `.`, `_` and `-` become `_`."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", rater)


def _judged(task: LabelTask, found: LabelValues, layer: LabelLayer, spec: LabelSpec | None, *, name: str) -> CaseLabel:
    image, placed = found.image, PlacedLabel(layer=layer)
    if not found.placed:
        target, placed = place_label(task, layer, task.images, trusted_geometry=found.trusted_geometry)
        image = target or None
    layer = placed.layer
    counts = value_counts(layer.array)
    warnings = list(found.warnings)
    repair = placed.repair or found.repair
    if repair is not None:
        warnings.append(repair)
    if layer.kind == "semantic" and spec is not None:
        strict = task.payload.entry.inclusion.label_values_must_be_known
        layer, said = _without_unknown(layer, counts, spec, strict=strict)
        warnings += said
    return CaseLabel(
        name=name,
        layer=layer,
        counts=counts,
        image=image,
        verdict=placed.verdict or found.verdict,
        repair=repair,
        warnings=tuple(warnings),
    )


def _values_of_file(task: LabelTask, spec: LabelSpec, part: LabelPart) -> LabelValues:
    """One file that holds all classes."""
    read = read_label(task, spec, part)
    found = read.found
    if isinstance(found, Image):
        values = _values_of_image(found, spec, where=task.where, spool=task.spool)
        return replace(values, warnings=read.warnings)
    wanted = Wanted(
        values=(*spec.classes, *spec.unmapped, *(value for value in spec.ignore if value in spec.names)),
        names={value: (name,) for value, name in spec.names.items()},
        concepts={**spec.classes, **{value: f"value {value}" for value in (*spec.unmapped, *spec.ignore)}},
        threshold=spec.threshold,
    )
    if isinstance(found, SegmentedImage):
        named = values_of_segments(found, wanted, task.images, where=task.where, spool=task.spool)
    else:
        named = values_of_outlines(found, wanted, task.images, where=task.where, spool=task.spool)
    absent = frozenset(named.absent) & set(spec.classes)
    missing = ", ".join(spec.classes[value] for value in spec.classes if value in absent)
    return LabelValues(
        array=named.array,
        affine=named.affine,
        placed=named.image is not None,
        image=named.image,
        absent=absent,
        colours=named.colours,
        warnings=(*named.warnings, *((f"the file has no region for: {missing}",) if absent else ())),
    )


def _values_of_image(mask: Image, spec: LabelSpec, *, where: str, spool: Spool) -> LabelValues:
    if spec.colours:
        array = values_of_colours(mask.array, spec.colours, background=spec.background, where=where, spool=spool)
        return LabelValues(array=array, affine=mask.affine, trusted_geometry=mask.trusted_geometry)
    array = whole_values(mask, where=where, spool=spool)
    if spec.threshold is not None:
        array = grey(array, spool)
        one_class = spec.kind == "semantic" and len(spec.classes) == 1
        array = (
            at_least(array, spec.threshold, next(iter(spec.classes)), spool)
            if one_class
            else kept_from(array, spec.threshold, spool)
        )
    if array.shape[0] != 1:
        raise CaseError(
            "annotation.not_a_mask",
            where=where,
            problem="the mask has several channels, and the entry says neither `colours` nor `threshold`",
            details={"found": f"{mask.array.dtype} {mask.array.shape}"},
            action="Declare the layer as `soft`, name its colours, or mend the layout.",
        )
    return LabelValues(array=array, affine=mask.affine, trusted_geometry=mask.trusted_geometry)


def _with_zero_background(found: LabelValues, spec: LabelSpec, spool: Spool) -> LabelValues:
    """Stored layers have the background 0: it and the entry's `background` change places, in voxels and meanings."""
    if spec.background == 0 or spec.per_class:
        return found
    return replace(found, array=smallest_type(exchanged(found.array, 0, spec.background, spool), spool))


def _with_meaning(found: LabelValues, spec: LabelSpec, rater: str | None) -> LabelLayer:
    def stored(value: int) -> int:
        return {0: spec.background, spec.background: 0}.get(value, value) if not spec.per_class else value

    classes = found.classes if found.classes is not None else spec.classes
    stated = dict(found.colours)
    for colour, value in spec.colours.items():
        stated.setdefault(value, colour)
    absent = {spec.classes[value] for value in found.absent}
    examined = spec.examined_concepts
    if spec.examined is None:
        present = {concept for value, concept in spec.classes.items() if value not in found.absent}
        examined = tuple(concept for concept in examined if concept not in absent - present)
    return LabelLayer(
        array=found.array,
        affine=found.affine,
        kind=spec.kind,
        classes={stored(value): concept for value, concept in classes.items()},
        examined=examined,
        rater=rater,
        also={stored(value): concepts for value, concepts in spec.also.items()} if classes is spec.classes else {},
        ignore=tuple(dict.fromkeys(stored(value) for value in (*spec.ignore, *spec.unmapped))),
        colours={stored(value): colour for value, colour in sorted(stated.items()) if value in classes},
    )


def _without_unknown(
    layer: LabelLayer, counts: Mapping[int, int], spec: LabelSpec, *, strict: bool
) -> tuple[LabelLayer, list[str]]:
    """Voxels whose value stands for no concept are nobody's background: they are ignored.

    strict: the entry wants its values known; then values that it does not list stay, and the inclusion criteria judge.
    """
    known = {0, *layer.classes, *layer.ignore}
    unknown = tuple(value for value in counts if value not in known and value > 0)
    warnings = []
    if unknown and not strict:
        voxels = sum(counts[value] for value in unknown)
        shown = ", ".join(str(value) for value in unknown[:8]) + (", ..." if len(unknown) > 8 else "")
        warnings.append(f"{voxels} voxels have values that the entry does not list ({shown}); they are ignored")
        layer = replace(layer, ignore=(*layer.ignore, *unknown))
    unmapped = sum(counts.get(value, 0) for value in spec.unmapped)
    if unmapped:
        warnings.append(f"{unmapped} voxels have values that stand for no concept; they are ignored")
    return layer, warnings
