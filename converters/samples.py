"""One case under one plan: resampled to the plan's grid and quantised, ready to be packed into a shard."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medshard.converters.annotation_table import AnnotationTable
from medshard.converters.fingerprint import concept_values, rounded
from medshard.converters.geometry import describe_grid
from medshard.converters.grid_verdict import compare_grids
from medshard.converters.kept_samples import Stack, slide_stack, video_stack
from medshard.converters.label_resampling import Labels, class_boxes, resample_labels, voxel_counts
from medshard.converters.plan import FrameRule, Plan, Shape, TileRule
from medshard.converters.quantisation import Quantised, quantise
from medshard.converters.resampling import Floats, resample_array, resample_onto, target_grid
from medshard.converters.signal import Signal
from medshard.converters.spooling import IN_MEMORY, Spool
from medshard.converters.table import Table
from medshard.converters.tile_labels import tiles_of_mask, tiles_of_outlines
from medshard.converters.volume import Affine, Array, Image, LabelLayer, Mesh, Volume
from medshard.errors import CaseError

FOREGROUND_PER_CLASS = 1024


@dataclass(frozen=True, kw_only=True)
class IntensityStatistics:
    """Of the resampled image in physical units, over the voxels that are not exactly zero (all, if none is)."""

    mean: float
    std: float
    minimum: float
    maximum: float


@dataclass(frozen=True, kw_only=True)
class SampleLabel:
    """One label layer on the sample's grid.

    array: (1, z, y, x) unsigned integers; soft layers have become the class of largest probability.
    classes: stored value -> concept, without the background 0.
    examined: the concepts that somebody looked for in this case.
    also: stored value -> further concepts that its voxels belong to. ignore: values of voxels that nobody judged.
    volume_ratio: concept -> foreground volume after resampling over before; 0.0 where a class vanished.
    """

    array: Array
    kind: Literal["semantic", "instance"]
    classes: Mapping[int, str]
    examined: tuple[str, ...]
    also: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    ignore: tuple[int, ...] = ()
    volume_ratio: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one case becomes under one plan.

    image: (c, z, y, x) stored numbers, int16 or uint8 where the quantisation step allows it, else float32; physical
        value = slope * stored + intercept. None for a case without an image (a mesh alone).
    affine: (4, 4) float64, index (z, y, x, 1) of image and labels -> RAS+ mm.
    quantisation_error: largest possible difference to the resampled value, in physical units.
    foreground: layer -> (n, 4) int32 rows (class value, z, y, x), at most FOREGROUND_PER_CLASS a class, sorted.
    places: where z counts tiles of a slide or frames of a video, one row for each: what it shows of the source.
    signals, tables, texts, annotations: as they are in the volume. Places of annotations are indices of the volume's
        image, not of the sample's grid.
    spacing_before_mm: (z, y, x) of the reference image as it was; None where its geometry is not trusted.
    """

    entry: str
    case: str
    patient: str
    modality: str
    unit: str
    image: Array | None
    slope: float = 1.0
    intercept: float = 0.0
    quantisation_error: float = 0.0
    affine: Affine
    labels: Mapping[str, SampleLabel] = field(default_factory=dict)
    foreground: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    meshes: Mapping[str, Mesh] = field(default_factory=dict)
    places: pa.Table | None = None
    signals: Mapping[str, Signal] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    texts: Mapping[str, Table] = field(default_factory=dict)
    annotations: Mapping[str, AnnotationTable] = field(default_factory=dict)
    statistics: IntensityStatistics | None = None
    spacing_before_mm: tuple[float, float, float] | None = None
    warnings: tuple[str, ...] = ()


def make_sample(
    volume: Volume, plan: Plan, *, files: Mapping[str, Path] | None = None, spool: Spool = IN_MEMORY
) -> Sample:
    """What a volume becomes under a plan.

    files: path in the raw tree -> place on disk, of the slides and videos that are decoded now. spool: for their tiles
    and frames.

    The plan's channels are brought to physical units and to the plan's grid, laid over the first channel with the same
    outer edges (its own grid where the plan names no spacing or the geometry is not trusted), stacked, and quantised as
    `quantise` says. Label layers go to the same grid as `resample_labels` says. Meshes stay as they are, in RAS mm. The
    result depends on nothing but volume and plan: not on threads, slabs or the order of dictionaries.

    Raises CaseError: plan.missing_channel, plan.time_axis, plan.channel_grid, image.not_finite, and those of
    `resample_labels`.
    """
    where = f"{volume.entry}/{volume.case}"
    if plan.channels and plan.channels[0] in {**volume.slides, **volume.videos}:
        return _stacked_sample(volume, plan, files or {}, spool, where)
    pictured = volume.images or volume.slides or volume.videos
    if not pictured and (volume.meshes or any(_contents(volume).values())):
        return _bare_sample(volume)
    images = _channels(volume, plan, where)
    reference = images[0]
    shape, affine = reference.shape, reference.affine
    if plan.spacing_mm is not None and reference.trusted_geometry:
        shape, affine = target_grid(shape, affine, plan.spacing_mm)
    grid = (shape, affine)
    stored = quantise(
        _stacked([_on_grid(image, reference, grid, plan, where) for image in images]),
        sources=images,
        resampled=shape != reference.shape or not all(_same_grid(image, reference) for image in images),
    )
    labels, warnings = _sample_labels(volume, grid, where)
    units = sorted({image.rescale.unit for image in images})
    if len(units) > 1:
        warnings.append(f"the channels have different units: {', '.join(units)}")
    return Sample(
        entry=volume.entry,
        case=volume.case,
        patient=volume.patient,
        modality=reference.modality,
        unit=reference.rescale.unit,
        image=stored.array,
        slope=stored.slope,
        quantisation_error=stored.error,
        affine=affine,
        labels=labels,
        foreground={name: foreground_rows(label) for name, label in labels.items()},
        meshes=dict(volume.meshes),
        **_contents(volume),
        statistics=_statistics(stored),
        spacing_before_mm=reference.spacing_mm if reference.trusted_geometry else None,
        warnings=(*stored.warnings, *warnings),
    )


def foreground_rows(label: SampleLabel) -> NDArray[np.int32]:
    """Rows `(class value, z, y, x)` of at most `FOREGROUND_PER_CLASS` voxels of each class, sorted.

    They are evenly spaced in raster order. Where one concept names every instance its value stands for all of them;
    values without a concept are left out.
    """
    labels = cast(Labels, label.array[0])
    values = list(label.classes)
    if label.kind == "instance" and len(values) == 1:
        labels = np.where(labels > 0, values[0], 0).astype(np.min_scalar_type(values[0]))
    rows = [
        _spread(labels[box] == value, value, box)
        for value, box in class_boxes(labels).items()
        if value in label.classes
    ]
    return np.concatenate(rows) if rows else np.empty((0, 4), np.int32)


def _spread(marked: NDArray[np.bool_], value: int, box: tuple[slice, slice, slice]) -> NDArray[np.int32]:
    places = np.flatnonzero(marked)
    kept = min(len(places), FOREGROUND_PER_CLASS)
    chosen = places[np.arange(kept) * len(places) // kept]
    offsets = [part.start for part in box]
    rows = np.empty((kept, 4), np.int32)
    rows[:, 0] = value
    rows[:, 1:] = np.stack(np.unravel_index(chosen, marked.shape), axis=1) + offsets
    return rows


def _stacked_sample(volume: Volume, plan: Plan, files: Mapping[str, Path], spool: Spool, where: str) -> Sample:
    """Tiles of a slide with what was drawn on it, or frames of a video; only the plan's first channel is taken."""
    name = plan.channels[0]
    labels: dict[str, SampleLabel] = {}
    if name in volume.slides:
        stack = slide_stack(volume.slides[name], plan.tiles or TileRule(), files, where=where, spool=spool)
        labels = _tile_labels(volume, name, stack)
    else:
        stack = video_stack(volume.videos[name], plan.frames or FrameRule(), files, where=where, spool=spool)
    warnings = [f"{other} is not in the sample: it has the channel {name} alone" for other in plan.channels[1:]]
    warnings += [f"layer {layer} lies on no tile of {name} and is left out" for layer in volume.labels.keys() - labels]
    return replace(
        _bare_sample(volume),
        image=stack.array,
        affine=stack.affine,
        places=stack.places,
        labels=labels,
        foreground={layer: foreground_rows(label) for layer, label in labels.items()},
        statistics=_statistics(Quantised(array=stack.array, slope=1.0, error=0.0, warnings=())),
        warnings=tuple(sorted(warnings)),
    )


def _tile_labels(volume: Volume, name: str, stack: Stack) -> dict[str, SampleLabel]:
    """The masks of a slide and the outlines on it, tile by tile; outlines are numbered in the order of the alphabet."""
    found: dict[str, SampleLabel] = {}
    for layer_name, layer in sorted(volume.labels.items()):
        tiles = tiles_of_mask(layer, volume.slides[name], stack)
        if tiles is not None:
            found[layer_name] = SampleLabel(
                array=tiles,
                kind="instance" if layer.kind == "instance" else "semantic",
                classes=dict(layer.classes),
                examined=layer.examined,
                also=dict(layer.also),
                ignore=layer.ignore,
            )
    for annotation_name, annotation in sorted(volume.annotations.items()):
        if annotation.kind == "outlines" and annotation.image == name:
            drawn = {concept for concept in annotation.table["concept"].to_pylist() if concept is not None}
            classes = {
                concept: number for number, concept in enumerate(sorted(drawn | {*annotation.examined}), start=1)
            }
            found[annotation_name] = SampleLabel(
                array=tiles_of_outlines(annotation, classes, stack),
                kind="semantic",
                classes={number: concept for concept, number in classes.items()},
                examined=annotation.examined,
            )
    return found


def _bare_sample(volume: Volume) -> Sample:
    """Everything of a case but voxels."""
    return Sample(
        entry=volume.entry,
        case=volume.case,
        patient=volume.patient,
        modality="",
        unit="",
        image=None,
        affine=np.eye(4),
        meshes=dict(volume.meshes),
        **_contents(volume),
    )


def _contents(volume: Volume) -> dict[str, Any]:
    """What a sample takes over from its volume as it is."""
    return {kind: dict(getattr(volume, kind)) for kind in ("signals", "tables", "texts", "annotations")}


def _channels(volume: Volume, plan: Plan, where: str) -> list[Image]:
    missing = [name for name in plan.channels if name not in volume.images]
    if missing or not plan.channels:
        raise CaseError(
            "plan.missing_channel",
            where=where,
            problem=f"the case has no image {', '.join(missing)}" if missing else "the plan names no channel",
            details={"plan": ", ".join(plan.channels) or "-", "case": ", ".join(volume.images) or "-"},
            action=f"The case is excluded. Name other channels in plan {plan.name} if that is not meant.",
        )
    images = [volume.images[name] for name in plan.channels]
    for name, image in zip(plan.channels, images, strict=True):
        if image.array.ndim != 4:
            raise CaseError(
                "plan.time_axis",
                where=where,
                problem=f"image {name} has a time axis, and a sample has none",
                details={"shape": image.array.shape},
            )
    return images


def _on_grid(image: Image, reference: Image, grid: tuple[Shape, Affine], plan: Plan, where: str) -> Floats:
    shape, affine = grid
    if _same_grid(image, reference):
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


def _same_grid(image: Image, reference: Image) -> bool:
    verdict = compare_grids(image.shape, image.affine, reference.shape, reference.affine)
    return verdict.kind in ("same", "rounding")


def _stacked(parts: list[Floats]) -> Floats:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _sample_labels(volume: Volume, grid: tuple[Shape, Affine], where: str) -> tuple[dict[str, SampleLabel], list[str]]:
    labels, warnings = {}, []
    for name, layer in sorted(volume.labels.items()):
        before = resample_labels(layer, layer.shape, layer.affine, where=f"{where} {name}")
        after = resample_labels(layer, *grid, where=f"{where} {name}")
        ratios = _volume_ratios(before, after)
        labels[name] = SampleLabel(
            array=after.array,
            kind="instance" if layer.kind == "instance" else "semantic",
            classes=dict(after.classes),
            examined=layer.examined,
            also=dict(after.also),
            ignore=after.ignore,
            volume_ratio=ratios,
        )
        vanished = [concept for concept, ratio in ratios.items() if ratio == 0.0]
        warnings += [f"{concept} of layer {name} has no voxel on the plan's grid" for concept in vanished]
        if None not in concept_values(layer).values():
            named = {*after.classes, *after.ignore}
            unnamed = [value for value in voxel_counts(cast(Labels, before.array[0])) if value not in named]
            warnings += [f"layer {name} has voxels of value {value}, which has no concept" for value in unnamed]
    return labels, warnings


def _volume_ratios(before: LabelLayer, after: LabelLayer) -> dict[str, float]:
    volumes_before, volumes_after = _concept_volumes(before), _concept_volumes(after)
    return {
        concept: rounded(volumes_after[concept] / volume) for concept, volume in volumes_before.items() if volume > 0.0
    }


def _concept_volumes(layer: LabelLayer) -> dict[str, float]:
    counts = voxel_counts(cast(Labels, layer.array[0]))
    voxel_mm3 = abs(float(np.linalg.det(layer.affine[:3, :3])))
    return {
        concept: voxel_mm3 * sum(counts.get(value, 0) for value in (counts if values is None else values))
        for concept, values in concept_values(layer).items()
    }


def _statistics(stored: Quantised) -> IntensityStatistics:
    if stored.array.dtype == np.float32:
        values = stored.array[stored.array != 0]
        values = values if values.size else stored.array
        return IntensityStatistics(
            mean=rounded(float(values.mean(dtype=np.float64))),
            std=rounded(float(values.std(dtype=np.float64))),
            minimum=float(values.min()),
            maximum=float(values.max()),
        )
    # Sums of integers are exact, so these figures do not depend on the order of a sum.
    low, high = int(stored.array.min()), int(stored.array.max())
    counts = np.zeros(high - low + 1, np.int64)
    for plane in stored.array.reshape(-1, *stored.array.shape[-2:]):
        counts += np.bincount((plane.astype(np.int64) - low).ravel(), minlength=len(counts))
    values = np.arange(low, high + 1)
    kept = (counts > 0) & ((values != 0) | (counts.sum() == counts[values == 0].sum()))
    values, counts = values[kept], counts[kept]
    n, total, squares = int(counts.sum()), int((counts * values).sum()), int((counts * values**2).sum())
    return IntensityStatistics(
        mean=stored.slope * total / n,
        std=stored.slope * math.sqrt(n * squares - total**2) / n,
        minimum=stored.slope * int(values[0]),
        maximum=stored.slope * int(values[-1]),
    )
