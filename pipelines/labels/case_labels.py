"""One case's label files -> label layers on the grid of the image that they belong to (docs/layout-language.md).

A label of the layout is one layer, or one for each rater where the path has `{rater}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from medshard.converters.annotations.rows.reading import PlaceGrid, is_row_contours, outline_masks
from medshard.converters.annotations.segments import OutlineSet, SegmentedImage
from medshard.converters.formats.format import Request
from medshard.converters.grid_verdict import Grid, PlacedLabel
from medshard.converters.label_values import (
    exchanged,
    grey,
    kept_from,
    marked,
    smallest_type,
    value_counts,
    values_of_colours,
    whole_values,
)
from medshard.converters.reading import read_annotation
from medshard.converters.spooling import IN_MEMORY, Spool
from medshard.converters.volume import Array, Image, LabelLayer
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
    stored_value,
)
from medshard.pipelines.labels.reading import read_label
from medshard.pipelines.labels.soft import soft_label
from medshard.pipelines.stages.case_payload import CasePayload
from medshard.pipelines.stages.row_files import rows_of
from medshard.registry.schema import LabelSpec
from medshard.registry.schema.annotations import Contours

__all__ = ["CaseLabel", "label_paths", "label_readers", "label_sources", "read_case_labels"]


def read_case_labels(
    payload: CasePayload, layer: str, *, images: Mapping[str, Grid], spool: Spool = IN_MEMORY
) -> tuple[CaseLabel, ...]:
    """The layers of one label of the layout, one for each rater; arguments and errors as of `label_readers`."""
    return tuple(read() for read in label_readers(payload, layer, images=images, spool=spool).values())


def label_readers(
    payload: CasePayload, layer: str, *, images: Mapping[str, Grid], spool: Spool = IN_MEMORY
) -> dict[str, Callable[[], CaseLabel]]:
    """Name of each layer of one label of the layout -> what reads it: one that fails spoils no other.

    layer: a key of `label_sources`. images: headers or images of the case; without any a mask keeps its own grid.
    Raises CaseError[annotation.missing | annotation.raters]; a reader raises it when a file cannot be read, is no mask,
    or lies on the grid of no image:
    [read.* | annotation.missing | annotation.not_a_mask | annotation.not_a_map | annotation.not_outlines |
    annotation.scaled | annotation.scales | annotation.unknown_colours | annotation.overlap | annotation.no_image |
    geometry.*].
    """
    task = LabelTask(payload=payload, source=layer, images=images, spool=spool)
    spec = payload.group.labels.get(layer)
    if spec is None:
        return {layer: partial(_outlined_label, task)}
    if spec.kind == "soft":
        return {layer: partial(soft_label, task, spec)}
    parts = label_parts(payload, layer)
    if not parts:
        raise missing_label(task)
    of_raters: dict[str | None, list[LabelPart]] = {}
    for part in parts:
        of_raters.setdefault(part.rater, []).append(part)
    readers = {layer_name(layer, rater): partial(_mask_label, task, spec, own) for rater, own in of_raters.items()}
    if len(readers) < len(of_raters):
        raise CaseError(
            "annotation.raters",
            where=task.where,
            problem="the words of two raters make the same name of a layer",
            details={"raters": len(of_raters), "names": len(readers)},
            action="Rename the files: letters, digits, '.', '_' and '-' tell raters apart.",
        )
    return dict(readers)


def _outlined_label(task: LabelTask) -> CaseLabel:
    """An annotation of outlines as a semantic layer: its concepts are the values from 1, in the order of `values`."""
    annotation = task.payload.group.annotations[task.source]
    files = task.payload.case.others.get(f"annotation {task.source}", ())
    if not files or not isinstance(annotation, Contours):
        raise missing_label(task)
    found = _outlines(task, annotation, files)
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
    absent = [classes[number] for number in classes if number in named.absent]
    unexamined = absent if annotation.examined is None else []
    layer = LabelLayer(
        array=named.array,
        affine=named.affine,
        classes=classes,
        examined=tuple(concept for concept in annotation.examined_concepts if concept not in unexamined),
        rater=annotation.rater,
        also={number: concepts for number, concepts in also.items() if concepts},
        colours=dict(named.colours),
    )
    values = LabelValues(
        array=named.array,
        affine=named.affine,
        placed=True,
        image=named.image,
        warnings=(*named.warnings, *_no_region(absent)),
    )
    return _judged(task, values, layer, None, name=task.source)


def _outlines(task: LabelTask, annotation: Contours, files: tuple[str, ...]) -> Image | SegmentedImage | OutlineSet:
    """What the file of an annotation of outlines holds; of a table that serves many cases, the rows of this one."""
    if is_row_contours(annotation):
        given = rows_of(task.payload, task.source, annotation, task.where)
        if given.error is not None:
            raise given.error
        if annotation.runs is not None and not given.rows:
            raise _no_row(task)
        name, image = next(iter(task.images.items()))
        grid = PlaceGrid(shape=image.shape, affine=image.affine if image.trusted_geometry else None, name=name)
        return outline_masks(annotation, [dict(row) for row in given.rows], where=task.where, grid=grid)
    located = task.payload.locate(files)
    return read_annotation(located, where=task.where, request=Request(grid=first_grid(task), spool=task.spool))


def _no_row(task: LabelTask) -> CaseError:
    """Run lengths say with a row of their own that there is nothing; without any row nobody has said anything."""
    return CaseError(
        "annotation.no_row",
        where=task.where,
        problem="the table of run lengths has no row of this case, not even one that nothing was found",
        action="The layer is left out. Correct `key`, or complete the table at the source.",
    )


def _mask_label(task: LabelTask, spec: LabelSpec, parts: list[LabelPart]) -> CaseLabel:
    """One layer of the parts of one rater."""
    rater = parts[0].rater
    alone = len(parts) == 1 and parts[0].value is None and parts[0].instance is None
    found = _values_of_file(task, spec, parts[0]) if alone else values_of_files(task, spec, parts)
    layer = _with_meaning(found, spec, rater if rater is not None else spec.rater)
    return _judged(task, found, layer, spec, name=layer_name(task.source, rater))


def layer_name(source: str, rater: str | None) -> str:
    """Of a rater's layer, with other characters than letters, digits, `.`, `_` and `-` as `_`."""
    return source if rater is None else f"{source}-{re.sub(r'[^A-Za-z0-9._-]', '_', rater)}"


def layer_files(payload: CasePayload, source: str) -> dict[str, list[tuple[str, ...]]]:
    """Name of each layer of one label of the layout -> the files of its masks: those of one are read together."""
    spec = payload.group.labels.get(source)
    if spec is None or spec.kind == "soft":
        return {source: [files for files in label_sources(payload)[source] if files]}
    found: dict[str, list[tuple[str, ...]]] = {}
    for part in label_parts(payload, source):
        found.setdefault(layer_name(source, part.rater), []).append(part.files)
    return found


def _judged(task: LabelTask, found: LabelValues, layer: LabelLayer, spec: LabelSpec | None, *, name: str) -> CaseLabel:
    image, placed = found.image, PlacedLabel(layer=layer)
    if not found.placed:
        targets = {found.image: task.images[found.image]} if found.image is not None else task.images
        target, placed = place_label(task, layer, targets, trusted_geometry=found.trusted_geometry)
        image = target or None
    layer = placed.layer
    counts = value_counts(layer.array, where=task.where)
    warnings = list(found.warnings)
    rivals = [] if found.placed else _rivals(task, layer, image, trusted_geometry=found.trusted_geometry)
    if rivals:
        warnings.append(f"no geometry tells whether the mask belongs to {image} or to {', '.join(rivals)}")
    repair = placed.repair or found.repair
    if repair is not None:
        warnings.append(repair)
    if spec is not None:
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


def _rivals(task: LabelTask, layer: LabelLayer, image: str | None, *, trusted_geometry: bool) -> list[str]:
    """Images of the mask's shape on other grids than its image's, where nothing but the shape was to be compared."""
    if image is None or (trusted_geometry and task.images[image].trusted_geometry):
        return []
    same_shape = (name for name, grid in task.images.items() if grid.shape == layer.shape and name != image)
    return [name for name in same_shape if not np.allclose(task.images[name].affine, task.images[image].affine)]


def _values_of_file(task: LabelTask, spec: LabelSpec, part: LabelPart) -> LabelValues:
    """One file that holds all classes."""
    read = read_label(task, spec, part)
    found = read.found
    if isinstance(found, Image):
        values = _values_of_image(found, spec, where=task.where, spool=task.spool)
        return replace(values, image=read.image, warnings=read.warnings)
    _refuse_zero(task, spec)
    wanted = Wanted(
        values=(*spec.classes, *spec.unmapped, *(v for v in spec.ignore if not spec.names or v in spec.names)),
        names={value: (name,) for value, name in spec.names.items()},
        concepts={**spec.classes, **{value: f"value {value}" for value in (*spec.unmapped, *spec.ignore)}},
        threshold=spec.threshold,
    )
    if isinstance(found, SegmentedImage):
        named = values_of_segments(found, wanted, task.images, where=task.where, spool=task.spool)
    else:
        named = values_of_outlines(found, wanted, task.images, where=task.where, spool=task.spool)
    absent = frozenset(named.absent) & set(spec.classes)
    missing = [spec.classes[value] for value in spec.classes if value in absent]
    return LabelValues(
        array=named.array,
        affine=named.affine,
        placed=named.image is not None,
        image=named.image,
        absent=absent,
        colours=named.colours,
        warnings=(*named.warnings, *_no_region(missing)),
    )


def _no_region(concepts: list[str]) -> tuple[str, ...]:
    return (f"the file has no region for: {', '.join(concepts)}",) if concepts else ()


def _refuse_zero(task: LabelTask, spec: LabelSpec) -> None:
    """Raises CaseError[annotation.background]: in files of named regions 0 is what no region covers."""
    if 0 in {*spec.classes, *spec.unmapped, *spec.ignore}:
        raise CaseError(
            "annotation.background",
            where=task.where,
            problem="the entry gives the value 0 a meaning, and in a file of named regions 0 is the background",
            action="Leave `background` out and number the regions from 1.",
        )


def _values_of_image(mask: Image, spec: LabelSpec, *, where: str, spool: Spool) -> LabelValues:
    if spec.colours:
        array = values_of_colours(mask.array, spec.colours, background=spec.background, where=where, spool=spool)
        array = _with_zero_background(array, spec, spool)
        return LabelValues(array=array, affine=mask.affine, trusted_geometry=mask.trusted_geometry)
    array = whole_values(mask, where=where, spool=spool)
    if spec.threshold is not None and not mask.trusted_geometry:
        array = grey(array, spool)
    if spec.threshold is not None and spec.kind == "semantic" and len(spec.classes) == 1:
        value = stored_value(spec, next(iter(spec.classes)))
        array = marked(array, threshold=spec.threshold, background=spec.background, value=value, spool=spool)
    else:
        array = array if spec.threshold is None else kept_from(array, spec.threshold, spec.background, spool)
        array = _with_zero_background(array, spec, spool)
    if array.shape[0] != 1:
        raise CaseError(
            "annotation.not_a_mask",
            where=where,
            problem="the mask has several channels, and the entry says neither `colours` nor `threshold`",
            details={"found": f"{mask.array.dtype} {mask.array.shape}"},
            action="Declare the layer as `soft`, name its colours, or mend the layout.",
        )
    return LabelValues(array=array, affine=mask.affine, trusted_geometry=mask.trusted_geometry)


def _with_zero_background(array: Array, spec: LabelSpec, spool: Spool) -> Array:
    """Stored layers have the background 0: it and the entry's `background` change places, in voxels and meanings."""
    if spec.background == 0:
        return array
    return smallest_type(exchanged(array, 0, spec.background, spool), spool)


def _with_meaning(found: LabelValues, spec: LabelSpec, rater: str | None) -> LabelLayer:
    stored = partial(stored_value, spec)
    meant = found.meant if found.meant is not None else {stored(value): value for value in spec.classes}
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
        classes={number: spec.classes[value] for number, value in meant.items()},
        examined=examined,
        rater=rater,
        also={number: spec.also[value] for number, value in meant.items() if value in spec.also},
        ignore=tuple(dict.fromkeys(stored(value) for value in (*spec.ignore, *spec.unmapped))),
        colours={number: stated[value] for number, value in sorted(meant.items()) if value in stated},
    )


def _without_unknown(
    layer: LabelLayer, counts: Mapping[int, int], spec: LabelSpec, *, strict: bool
) -> tuple[LabelLayer, list[str]]:
    """Voxels whose value stands for no concept are nobody's background: they are ignored.

    strict: the entry wants its values known; then values that it does not list stay, and the inclusion criteria judge.
    """
    known = {0, *layer.classes, *layer.ignore}
    # The values of an instance layer are numbers of instances, not of classes; a negative number is nobody's.
    unknown = tuple(value for value in counts if value not in known and (layer.kind == "semantic" or value < 0))
    warnings = []
    if unknown and not strict:
        voxels = sum(counts[value] for value in unknown)
        shown = ", ".join(str(value) for value in unknown[:8]) + (", ..." if len(unknown) > 8 else "")
        warnings.append(f"{voxels} voxels have values that the entry does not list ({shown}); they are ignored")
        layer = replace(layer, ignore=(*layer.ignore, *unknown))
    unmapped = sum(counts.get(stored_value(spec, value), 0) for value in spec.unmapped)
    if unmapped:
        warnings.append(f"{unmapped} voxels have values that stand for no concept; they are ignored")
    return layer, warnings
