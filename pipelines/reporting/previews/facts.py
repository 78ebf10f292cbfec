"""Numbers of a case for people who look at its pictures: shapes, spacings, orientations, classes with their counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from medshard.converters.annotation_table import AnnotationTable
from medshard.converters.fingerprint import concept_values
from medshard.converters.volume import Image, LabelLayer, Mesh, MeshLabel, Volume
from medshard.pipelines.reporting.planes import direction_letters
from medshard.pipelines.reporting.previews.marks import name_of

Fact = tuple[str, str, str]
"""(kind, name, what is known)"""

MOST_COUNTED = 40


def facts_of(volume: Volume) -> list[Fact]:
    """One line for everything that a case has."""
    return [
        *(("image", name, _image(image)) for name, image in volume.images.items()),
        *(("labels", name, _layer(layer)) for name, layer in sorted(volume.labels.items())),
        *(("mesh", name, _mesh(mesh)) for name, mesh in volume.meshes.items()),
        *_kept(volume),
        *_signals(volume),
        *(("annotation", name, _annotation(table)) for name, table in sorted(volume.annotations.items())),
        *(("text", name, f"columns {', '.join(table.schema.names)}") for name, table in sorted(volume.texts.items())),
        *(("table", name, f"{len(table.schema.names)} columns") for name, table in sorted(volume.tables.items())),
    ]


def orientation(image: Image) -> str:
    """Where the axes z, y and x run to."""
    if not image.trusted_geometry:
        return "no geometry"
    directions = (direction_letters(image.affine[:3, axis]) for axis in range(3))
    return "z, y, x to " + ", ".join(directions)


def _image(image: Image) -> str:
    spacing = " x ".join(f"{step:.4g}" for step in image.spacing_mm) + " mm" if image.trusted_geometry else ""
    leading = f"t is {image.leading.kind}" if image.leading is not None and image.array.ndim == 5 else ""
    attributes = "; ".join(f"{name} {_short(value)}" for name, value in sorted(image.attributes.items()))
    shape = " x ".join(str(side) for side in image.array.shape)
    axes = "(t, c, z, y, x)" if image.array.ndim == 5 else "(c, z, y, x)"
    parts = (f"{shape} {axes}", str(image.array.dtype), spacing, orientation(image), image.rescale.unit, leading)
    return ", ".join(part for part in (*parts, image.modality, image.sequence or "", attributes) if part)


def _layer(layer: LabelLayer) -> str:
    found = dict(_counted(layer))
    counts = [f"{concept} {words}" for concept, words in found.items()]
    present = {concept for concept, words in found.items() if not words.startswith("0 ")}
    implied = {concept for concepts in layer.also.values() for concept in concepts}
    absent = [concept for concept in layer.examined if concept not in present | implied]
    more = f" and {len(counts) - MOST_COUNTED} more" if len(counts) > MOST_COUNTED else ""
    looked = f"; looked for and not there: {', '.join(absent[:MOST_COUNTED])}" if absent else ""
    rater = f"; by {layer.rater}" if layer.rater else ""
    ignored = f"; {_voxels(np.isin(layer.array, layer.ignore))} not judged" if layer.ignore else ""
    return f"{layer.kind}, {layer.array.dtype}: {'; '.join(counts[:MOST_COUNTED])}{more}{looked}{ignored}{rater}"


def _counted(layer: LabelLayer) -> Iterator[tuple[str, str]]:
    if layer.kind == "soft":
        for channel, concept in sorted(layer.classes.items()):
            part = layer.rescale.apply(layer.array[channel])
            yield concept, f"{_voxels(part > 0.5)} above a half"
        return
    for concept, values in concept_values(layer).items():
        mask = layer.array != 0 if values is None else np.isin(layer.array, values)
        instances = f" in {len(np.unique(layer.array[mask]))} instances" if layer.kind == "instance" else ""
        yield concept, f"{_voxels(mask)}{instances}"


def _voxels(mask: Any) -> str:
    return f"{np.count_nonzero(mask):,} voxels"


def _mesh(mesh: Mesh) -> str:
    low, high = (mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)) if len(mesh.vertices) else (np.zeros(3),) * 2
    extent = " x ".join(f"{side:.4g}" for side in high - low)
    labels = [f"{name}: {_mesh_label(label)}" for name, label in sorted(mesh.labels.items())]
    size = f"{len(mesh.vertices)} vertices, {len(mesh.faces)} triangles, {extent} {mesh.unit}, space {mesh.space}"
    return "; ".join((size, *labels))


def _mesh_label(label: MeshLabel) -> str:
    if label.kind == "scalar":
        return f"a number for each {label.per}"
    values, counts = np.unique(label.array, return_counts=True)
    named = [
        f"{label.classes.get(int(value), f'value {int(value)}')} {count}"
        for value, count in zip(values, counts, strict=True)
        if value != 0
    ]
    more = f" and {len(named) - MOST_COUNTED} more" if len(named) > MOST_COUNTED else ""
    return f"of {len(label.array)} {label.per} numbers {', '.join(named[:MOST_COUNTED]) or 'none'}{more}"


def _kept(volume: Volume) -> Iterator[Fact]:
    for name, slide in volume.slides.items():
        levels = ", ".join(f"{level.shape[0]} x {level.shape[1]}" for level in slide.levels)
        pixel = "unknown" if slide.microns_per_pixel is None else f"{slide.microns_per_pixel[0]:.4g} um"
        label = "; has a label picture, which is not kept" if slide.labelled else ""
        yield "slide", name, f"{slide.format}, levels {levels} (y, x), pixel size {pixel}{label}"
    for name, video in volume.videos.items():
        size = " x ".join(str(side) for side in video.shape)
        yield "video", name, f"{video.codec}, {video.frames} frames of {size} (c, y, x), {video.dtype}"


def _signals(volume: Volume) -> Iterator[Fact]:
    for name, signal in sorted(volume.signals.items()):
        shape = " x ".join(str(side) for side in signal.array.shape)
        rate = f"{signal.rate_hz:g} Hz" if signal.rate_hz is not None else "rate unknown"
        gaps = f", {len(signal.gaps)} gaps" if signal.gaps else ""
        units = ", ".join(sorted({unit or "no unit" for unit in signal.units}))
        yield "signal", name, f"{shape} (channels, samples last), {signal.array.dtype}, {rate}, {units}{gaps}"


def _annotation(table: AnnotationTable) -> str:
    place = f" on {table.image}" if table.image else ""
    counts: Mapping[str, int] = {}
    if "concept" in table.table.column_names:
        rows = (
            table.table.to_pylist() if table.kind == "classes" else table.table.select(["concept", "word"]).to_pylist()
        )
        counts = Counter(f"{name_of(row)} {row.get('state') or ''}".strip() for row in rows)
    named = ", ".join(f"{name} {count}" for name, count in sorted(counts.items())[:MOST_COUNTED])
    unit = "corners" if table.kind == "outlines" else "rows"
    examined = f"; looked for: {', '.join(table.examined[:MOST_COUNTED])}" if table.examined else ""
    return f"{table.kind}{place}, {table.table.num_rows} {unit}{': ' + named if named else ''}{examined}"


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(str(part) for part in value[:3]) + (f" ... ({len(value)})" if len(value) > 3 else "")
    return str(value)
