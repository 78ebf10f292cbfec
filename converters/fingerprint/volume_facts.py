"""What one volume looks like in numbers.

Facts are plain JSON. Numbers are rounded to `DIGITS` significant digits: enough for every use made of them, and few
enough that the order of a sum on another processor does not show.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from medshard.converters.fingerprint.class_map import ClassMap, class_map, label_facts
from medshard.converters.fingerprint.numbers import Facts, rounded
from medshard.converters.fingerprint.value_table import ValueTable, kept_values, tables_by_group, together
from medshard.converters.grid_verdict import compare_grids
from medshard.converters.slide import Slide
from medshard.converters.volume import Array, Image, Rescale, Volume

HISTOGRAM_BINS = 64
# HU of every CT fall into the same 64 bins of 64 HU, so that histograms of cases can be added.
HU_EDGES = (-1024.0, 3072.0)
# Values kept of a foreground; what they say of the percentiles 0.5 and 99.5 is within 0.03 % of rank.
QUANTILES = 512
# Air and lung lie below, the tissue of the body above; used for CT without labels only.
BODY_HU = -500.0


def fingerprint_volume(volume: Volume, *, quantiles: int = QUANTILES) -> Facts:
    """Facts of one volume: `{"image_order": [names], "images": {name: facts}, "labels": {layer: facts}}`,
    and what `content_facts` says.

    image: shape (z, y, x), channels, frames (time points, 1 without a time axis), spacing_mm (z, y, x), size_mm (None
        without trusted geometry), trusted_geometry, dtype, modality, sequence, unit, nonzero_box (see `nonzero_box`),
        `intensity`, `foreground` and `classes` (see below), voxel_digest (see `voxel_digest`).
    intensity, in physical units: minimum, maximum, mean, std, p0_5, p50, p99_5, not_finite (voxels left out), histogram
        {low, high, counts, inside} of 64 equal bins: -1024..3072 for HU, minimum..maximum else; values outside go to
        the end bins; inside counts the foreground alone. None when no voxel is finite.
    foreground: {source, n, mean, std, quantiles, counts or cells} of the labelled voxels on the image's grid
        ("labels"), without labels of those above -500 HU ("body") or other than 0 ("nonzero"). With `counts`, quantiles
        are all values that occur; with `cells`, as many as `value_table.cell_counts` says. None when there are none.
    classes: {layer: {concept: [mean, std, p0_5, p50, p99_5]}} inside each class that is there, of layers on the grid.
    label layer: kind, shape, examined, marked (share of the layer's voxels), largest_to_smallest (voxels of the largest
        over those of the smallest class that is there; None without any), classes {concept: {voxels, volume_ml,
        components}}. Components are connected over faces, edges and corners; in an instance layer they are the
        instances. volume_ml is None without trusted geometry. Soft layers count by the class of largest probability.
    """
    where = f"{volume.entry}/{volume.case}"
    maps = {name: class_map(layer, f"{where} {name}") for name, layer in sorted(volume.labels.items())}
    return {
        "image_order": [*volume.images, *volume.slides, *volume.videos],
        "images": {name: _image_facts(image, maps, quantiles) for name, image in sorted(volume.images.items())},
        "labels": {
            name: label_facts(classes, _is_trusted(classes, volume.images.values())) for name, classes in maps.items()
        },
        **content_facts(volume),
    }


def content_facts(volume: Volume) -> Facts:
    """Facts about what is no voxel, kind -> name -> facts; kinds that the case does not have are left out."""
    found: Facts = {
        "slides": {name: _slide_facts(slide) for name, slide in sorted(volume.slides.items())},
        "videos": {
            name: {
                "frames": video.frames,
                "shape": list(video.shape),
                "rate_hz": video.rate_hz,
                "duration_s": rounded(float(video.time_s[-1])) if np.isfinite(video.time_s).all() else None,
                "codec": video.codec,
            }
            for name, video in sorted(volume.videos.items())
        },
        "signals": {
            name: {
                "channels": list(signal.channels),
                "samples": signal.samples,
                "rate_hz": signal.rate_hz,
                "duration_s": signal.duration_s,
                "units": list(signal.units),
            }
            for name, signal in sorted(volume.signals.items())
        },
        "annotations": {
            name: {"kind": annotation.kind, "rows": annotation.table.num_rows}
            for name, annotation in sorted(volume.annotations.items())
        },
    }
    return {kind: facts for kind, facts in found.items() if facts}


def voxel_digest(array: Array) -> str:
    """SHA-256 of an array's shape and values, the same for equal integers of any type and byte order.

    Integers are hashed as little-endian int64, floats as little-endian float64, in C order.
    """
    digest = hashlib.sha256(f"{array.dtype.kind in 'iub'} {array.shape}".encode())
    common = np.dtype("<i8" if array.dtype.kind in "iub" else "<f8")
    for block in array.reshape(-1, *array.shape[-2:]):
        digest.update(np.ascontiguousarray(block, common).data)
    return digest.hexdigest()


def nonzero_box(image: Image) -> list[list[int]] | None:
    """[[z0, z1], [y0, y1], [x0, x1]], half open, of the voxels whose physical value is not 0 in any channel or frame;
    None when there is none. What is no number is not 0. nnU-Net crops to this box: the holes that it fills first do
    not change it.
    """
    marked = np.empty(image.shape, bool)
    for z, plane in enumerate(np.moveaxis(image.array, -3, 0)):
        values = plane if image.rescale.is_identity else _rescale_of_slice(image.rescale, z).apply(plane)
        marked[z] = (values != 0).reshape(-1, *plane.shape[-2:]).any(axis=0)
    box: list[list[int]] = []
    for axis in range(3):
        there = np.flatnonzero(marked.any(axis=tuple(other for other in range(3) if other != axis)))
        if not there.size:
            return None
        box.append([int(there[0]), int(there[-1]) + 1])
        marked = marked[(slice(None),) * axis + (slice(*box[-1]),)]
    return box


def _rescale_of_slice(rescale: Rescale, z: int) -> Rescale:
    if not rescale.per_slice:
        return rescale
    slope, intercept = (numbers[z % len(numbers)] for numbers in (rescale.slope, rescale.intercept))
    return Rescale(slope=(slope,), intercept=(intercept,), unit=rescale.unit)


def _slide_facts(slide: Slide) -> Facts:
    return {
        "shape": list(slide.levels[0].shape),
        "levels": len(slide.levels),
        "microns_per_pixel": slide.microns_per_pixel,
        "tissue": rounded(float(slide.tissue.mean())),
        "format": slide.format,
    }


def _image_facts(image: Image, maps: Mapping[str, ClassMap], quantiles: int) -> Facts:
    on_grid = {name: classes for name, classes in maps.items() if _same_grid(classes, image)}
    outside, inside, by_class = _value_tables(image, on_grid)
    whole = together([outside, inside])
    source, foreground = _foreground(inside, whole, image.rescale.unit)
    size_mm = [rounded(n * step) for n, step in zip(image.shape, image.spacing_mm, strict=True)]
    return {
        "shape": list(image.shape),
        "channels": image.array.shape[-4],
        "frames": image.array.shape[0] if image.array.ndim == 5 else 1,
        "spacing_mm": [rounded(step) for step in image.spacing_mm],
        "size_mm": size_mm if image.trusted_geometry else None,
        "trusted_geometry": image.trusted_geometry,
        "dtype": image.array.dtype.name,
        "modality": image.modality,
        "sequence": image.sequence,
        "unit": image.rescale.unit,
        "nonzero_box": nonzero_box(image),
        "intensity": _intensity_facts(whole, foreground, image.rescale.unit, image.array.size),
        "foreground": _foreground_facts(source, foreground, quantiles),
        "classes": {
            name: {concept: _class_facts(table) for concept, table in tables.items() if table.size}
            for name, tables in by_class.items()
        },
        "voxel_digest": voxel_digest(image.array),
    }


def _value_tables(
    image: Image, maps: Mapping[str, ClassMap]
) -> tuple[ValueTable, ValueTable, dict[str, dict[str, ValueTable]]]:
    """The values that no layer marks, those that some layer does, and those of each class of each layer."""
    tables = {
        name: tables_by_group(image.array, image.rescale, classes.numbers, classes.groups)
        for name, classes in maps.items()
    }
    by_class = {name: dict(zip(maps[name].concepts, found[1:-1], strict=True)) for name, found in tables.items()}
    if not maps:
        nowhere = ValueTable(values=np.empty(0, np.float32))
        return tables_by_group(image.array, image.rescale, None, 1)[0], nowhere, {}
    if len(tables) == 1:
        found = next(iter(tables.values()))
        return found[0], together(found[1:]), by_class
    marked: NDArray[np.bool_] = np.zeros(image.shape, bool)
    for classes in maps.values():
        marked |= classes.numbers > 0
    outside, inside = tables_by_group(image.array, image.rescale, marked, 2)
    return outside, inside, by_class


def _foreground(inside: ValueTable, whole: ValueTable, unit: str) -> tuple[str, ValueTable]:
    if inside.size:
        return "labels", inside
    if unit == "HU":
        return "body", whole.where(whole.values > BODY_HU)
    return "nonzero", whole.where(whole.values != 0)


def _intensity_facts(whole: ValueTable, foreground: ValueTable, unit: str, voxels: int) -> Facts | None:
    if not whole.size:
        return None
    low, middle, high = whole.percentiles()
    least, most = float(whole.values[0]), float(whole.values[-1])
    mean, std = whole.mean_and_std()
    edges = HU_EDGES if unit == "HU" else (least, most)
    return {
        "minimum": rounded(least),
        "maximum": rounded(most),
        "mean": rounded(mean),
        "std": rounded(std),
        "p0_5": rounded(low),
        "p50": rounded(middle),
        "p99_5": rounded(high),
        "not_finite": voxels - whole.size,
        "histogram": {
            "low": rounded(edges[0]),
            "high": rounded(edges[1]),
            "counts": whole.histogram(*edges, HISTOGRAM_BINS),
            "inside": foreground.histogram(*edges, HISTOGRAM_BINS),
        },
    }


def _foreground_facts(source: str, foreground: ValueTable, quantiles: int) -> Facts | None:
    if not foreground.size:
        return None
    mean, std = foreground.mean_and_std()
    return {
        "source": source,
        "n": foreground.size,
        "mean": rounded(mean),
        "std": rounded(std),
        **kept_values(foreground, quantiles),
    }


def _class_facts(table: ValueTable) -> list[float]:
    return [rounded(number) for number in (*table.mean_and_std(), *table.percentiles())]


def _same_grid(classes: ClassMap, image: Image) -> bool:
    return compare_grids(classes.shape, classes.affine, image.shape, image.affine).kind in ("same", "rounding")


def _is_trusted(classes: ClassMap, images: Iterable[Image]) -> bool:
    """Labels carry no flag of their own: their geometry is worth what that of the image on their grid is."""
    return not any(_same_grid(classes, image) and not image.trusted_geometry for image in images)
