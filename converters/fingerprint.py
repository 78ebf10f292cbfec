"""What one volume looks like in numbers, and what the volumes of an entry look like together.

Facts are plain JSON. Numbers are rounded to `DIGITS` significant digits: enough for every use made of them, and few
enough that the order of a sum on another processor does not show.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medshard.converters.grid_verdict import compare_grids
from medshard.converters.label_resampling import Box, Labels, class_boxes, resample_labels, voxel_counts
from medshard.converters.resampling import Shape
from medshard.converters.slide import Slide
from medshard.converters.volume import Affine, Array, Image, LabelLayer, Volume

Facts = dict[str, Any]
Values = NDArray[np.float32]

DIGITS = 6
HISTOGRAM_BINS = 64
# HU of every CT fall into the same 64 bins of 64 HU, so that histograms of cases can be added.
HU_EDGES = (-1024.0, 3072.0)
# Values kept of a foreground: enough that the 0.5th percentile of many cases is known to 0.1 % of rank.
QUANTILES = 512
# Air and lung lie below, the tissue of the body above; used for CT without labels only.
BODY_HU = -500.0


def fingerprint_volume(volume: Volume, *, quantiles: int = QUANTILES) -> Facts:
    """Facts of one volume: `{"image_order": [names], "images": {name: facts}, "labels": {layer: facts}}`,
    and what `content_facts` says.

    image: shape (z, y, x), channels, frames (time points, 1 without a time axis), spacing_mm (z, y, x),
        trusted_geometry, dtype, modality, sequence, unit, `intensity` and `foreground` (see below), voxel_digest
        (see `voxel_digest`).
    intensity, in physical units: minimum, maximum, mean, std, p0_5, p50, p99_5, not_finite (voxels left out), histogram
        {low, high, counts} of 64 equal bins: -1024..3072 for HU, minimum..maximum else; values outside go to the end
        bins. None when no voxel is finite.
    foreground: {source, n, mean, std, quantiles} of the labelled voxels on the image's grid ("labels"), without labels
        of those above -500 HU ("body") or other than 0 ("nonzero"); quantiles are at most so many values at equal steps
        of rank. None when there are none.
    label layer: kind, shape, examined, largest_to_smallest (voxels of the largest over those of the smallest class that
        is there; None without any), classes {concept: {voxels, volume_ml, components}}. Components are connected over
        faces, edges and corners; in an instance layer they are the instances. volume_ml is None without trusted
        geometry. Soft layers count by the class of largest probability.
    """
    where = f"{volume.entry}/{volume.case}"
    layers = {
        name: resample_labels(layer, layer.shape, layer.affine, where=f"{where} {name}")
        for name, layer in sorted(volume.labels.items())
    }
    return {
        "image_order": [*volume.images, *volume.slides, *volume.videos],
        "images": {
            name: _image_facts(image, layers.values(), quantiles) for name, image in sorted(volume.images.items())
        },
        "labels": {
            name: _label_facts(layer, volume.labels[name].kind, _is_trusted(layer, volume.images.values()))
            for name, layer in layers.items()
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


def _slide_facts(slide: Slide) -> Facts:
    return {
        "shape": list(slide.levels[0].shape),
        "levels": len(slide.levels),
        "microns_per_pixel": slide.microns_per_pixel,
        "tissue": rounded(float(slide.tissue.mean())),
        "format": slide.format,
    }


def voxel_digest(array: Array) -> str:
    """SHA-256 of an array's shape and values, the same for equal integers of any type and byte order.

    Integers are hashed as little-endian int64, floats as little-endian float64, in C order.
    """
    digest = hashlib.sha256(f"{array.dtype.kind in 'iub'} {array.shape}".encode())
    common = np.dtype("<i8" if array.dtype.kind in "iub" else "<f8")
    for block in array.reshape(-1, *array.shape[-2:]):
        digest.update(np.ascontiguousarray(block, common).data)
    return digest.hexdigest()


def merge_fingerprints(facts: Mapping[str, Facts]) -> Facts:
    """Facts of an entry from those of its cases (case -> facts of `fingerprint_volume`).

    cases; images {name: {cases, modalities, trusted, spacing_mm and shape {median, minimum, maximum} per axis}};
    modalities {name: images}; foreground {modality: see `merge_foregrounds`}; labels {layer: {cases, classes {concept:
    {cases, voxels, volume_ml, components}}}}; duplicates: groups of `case/image` with the same voxels, images of one
    value left out.
    """
    images = [
        (case, name, image)
        for case, document in sorted(facts.items())
        for name, image in sorted(document["images"].items())
    ]
    by_modality: dict[str, list[Facts]] = {}
    for _, _, image in images:
        by_modality.setdefault(image["modality"], []).append(image)
    names = sorted({name for _, name, _ in images})
    layers = sorted({name for document in facts.values() for name in document["labels"]})
    return {
        "cases": len(facts),
        "images": {name: _grid_summary([image for _, other, image in images if other == name]) for name in names},
        "modalities": {modality: len(group) for modality, group in sorted(by_modality.items())},
        "foreground": {
            modality: merge_foregrounds([image["foreground"] for image in group])
            for modality, group in sorted(by_modality.items())
        },
        "labels": {
            name: _class_totals([d["labels"][name] for d in facts.values() if name in d["labels"]]) for name in layers
        },
        "duplicates": _duplicates(images),
    }


def merge_foregrounds(foregrounds: Iterable[Facts | None]) -> Facts | None:
    """One foreground {source, cases, n, mean, std, p0_5, p50, p99_5} from those of many images.

    Labelled foreground counts alone where any image has it, because the two do not mean the same. Mean and standard
    deviation are exact (pooled moments); percentiles weigh each quantile with the voxels that it stands for.
    """
    known = [foreground for foreground in foregrounds if foreground is not None]
    if any(foreground["source"] == "labels" for foreground in known):
        known = [foreground for foreground in known if foreground["source"] == "labels"]
    if not known:
        return None
    n = np.array([foreground["n"] for foreground in known], np.float64)
    mean = np.array([foreground["mean"] for foreground in known])
    std = np.array([foreground["std"] for foreground in known])
    total_mean = float((n * mean).sum() / n.sum())
    total_std = float(np.sqrt((n * (std**2 + (mean - total_mean) ** 2)).sum() / n.sum()))
    values = np.concatenate([foreground["quantiles"] for foreground in known])
    weights = np.concatenate(
        [np.full(len(foreground["quantiles"]), foreground["n"] / len(foreground["quantiles"])) for foreground in known]
    )
    low, middle, high = weighted_percentiles(values, weights, (0.5, 50.0, 99.5))
    return {
        "source": known[0]["source"],
        "cases": len(known),
        "n": int(n.sum()),
        "mean": rounded(total_mean),
        "std": rounded(total_std),
        "p0_5": rounded(low),
        "p50": rounded(middle),
        "p99_5": rounded(high),
    }


def weighted_percentiles(
    values: NDArray[np.float64], weights: NDArray[np.float64], percentiles: Sequence[float]
) -> list[float]:
    """Percentiles of weighted values, each value lying in the middle of its weight, linear in between."""
    order = np.argsort(values, kind="stable")
    ranks = np.cumsum(weights[order]) - weights[order] / 2.0
    return [float(p) for p in np.interp(np.array(percentiles) / 100.0 * weights.sum(), ranks, values[order])]


def rounded(value: float) -> float:
    """A number to `DIGITS` significant digits."""
    return float(f"{value:.{DIGITS}g}")


def _image_facts(image: Image, layers: Iterable[LabelLayer], quantiles: int) -> Facts:
    values = image.rescale.apply(image.array)
    return {
        "shape": list(image.shape),
        "channels": image.array.shape[-4],
        "frames": image.array.shape[0] if image.array.ndim == 5 else 1,
        "spacing_mm": [rounded(step) for step in image.spacing_mm],
        "trusted_geometry": image.trusted_geometry,
        "dtype": image.array.dtype.name,
        "modality": image.modality,
        "sequence": image.sequence,
        "unit": image.rescale.unit,
        "intensity": _intensity_facts(values, image.rescale.unit),
        "foreground": _foreground_facts(values, image, layers, quantiles),
        "voxel_digest": voxel_digest(image.array),
    }


def _intensity_facts(values: Values, unit: str) -> Facts | None:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    low, middle, high = np.percentile(finite, (0.5, 50.0, 99.5))
    least, most = float(finite.min()), float(finite.max())
    edges = HU_EDGES if unit == "HU" else (least, most)
    counts, _ = np.histogram(np.clip(finite, *edges), bins=HISTOGRAM_BINS, range=edges)
    return {
        "minimum": rounded(least),
        "maximum": rounded(most),
        "mean": rounded(float(finite.mean(dtype=np.float64))),
        "std": rounded(float(finite.std(dtype=np.float64))),
        "p0_5": rounded(float(low)),
        "p50": rounded(float(middle)),
        "p99_5": rounded(float(high)),
        "not_finite": int(values.size - finite.size),
        "histogram": {"low": rounded(edges[0]), "high": rounded(edges[1]), "counts": counts.tolist()},
    }


def _foreground_facts(values: Values, image: Image, layers: Iterable[LabelLayer], quantiles: int) -> Facts | None:
    marked = np.zeros(image.shape, bool)
    for layer in layers:
        if _same_grid(layer.shape, layer.affine, image):
            marked |= layer.array[0] > 0
    if marked.any():
        source, chosen = "labels", values[..., marked]
    elif image.rescale.unit == "HU":
        source, chosen = "body", values[values > BODY_HU]
    else:
        source, chosen = "nonzero", values[values != 0]
    chosen = np.sort(chosen[np.isfinite(chosen)], axis=None)
    if not chosen.size:
        return None
    kept = min(quantiles, chosen.size)
    ranks = ((np.arange(kept) + 0.5) * (chosen.size / kept)).astype(np.intp)
    return {
        "source": source,
        "n": int(chosen.size),
        "mean": rounded(float(chosen.mean(dtype=np.float64))),
        "std": rounded(float(chosen.std(dtype=np.float64))),
        "quantiles": [rounded(float(value)) for value in chosen[ranks]],
    }


def _label_facts(layer: LabelLayer, kind: str, trusted: bool) -> Facts:
    labels = cast(Labels, layer.array[0])
    voxel_ml = abs(float(np.linalg.det(layer.affine[:3, :3]))) / 1000.0
    counts, boxes = voxel_counts(labels), class_boxes(labels)
    classes = {}
    for concept, values in concept_values(layer).items():
        present = [value for value in (counts if values is None else values) if value in counts]
        voxels = sum(counts[value] for value in present)
        classes[concept] = {
            "voxels": voxels,
            "volume_ml": rounded(voxels * voxel_ml) if trusted else None,
            "components": len(present) if layer.kind == "instance" else _components(labels, present, boxes),
        }
    sizes = [facts["voxels"] for facts in classes.values() if facts["voxels"]]
    return {
        "kind": kind,
        "shape": list(layer.shape),
        "examined": list(layer.examined),
        "classes": dict(sorted(classes.items())),
        "largest_to_smallest": rounded(max(sizes) / min(sizes)) if sizes else None,
    }


def concept_values(layer: LabelLayer) -> dict[str, list[int] | None]:
    """The stored values of each concept; None for all above 0, where one concept names every instance."""
    if layer.kind == "instance" and len(layer.classes) == 1:
        return dict.fromkeys(layer.classes.values())
    values: dict[str, list[int]] = {}
    for value, concept in sorted(layer.classes.items()):
        values.setdefault(concept, []).append(value)
    return dict(values)


def _components(labels: Labels, values: Sequence[int], boxes: Mapping[int, Box]) -> int:
    if not values:
        return 0
    parts = [boxes[value] for value in values]
    box = tuple(
        slice(min(part[axis].start for part in parts), max(part[axis].stop for part in parts)) for axis in range(3)
    )
    marked = np.isin(labels[box], values)
    return int(ndimage.label(marked, structure=np.ones((3, 3, 3)))[1])


def _same_grid(shape: Shape, affine: Affine, image: Image) -> bool:
    return compare_grids(shape, affine, image.shape, image.affine).kind in ("same", "rounding")


def _is_trusted(layer: LabelLayer, images: Iterable[Image]) -> bool:
    """Labels carry no flag of their own: their geometry is worth what that of the image on their grid is."""
    return not any(_same_grid(layer.shape, layer.affine, image) and not image.trusted_geometry for image in images)


def _grid_summary(images: Sequence[Facts]) -> Facts:
    trusted = [image for image in images if image["trusted_geometry"]]
    return {
        "cases": len(images),
        "trusted": len(trusted),
        "modalities": dict(sorted(Counter(image["modality"] for image in images).items())),
        "shape": _per_axis([image["shape"] for image in images]),
        "spacing_mm": _per_axis([image["spacing_mm"] for image in trusted]),
    }


def _per_axis(rows: Sequence[Sequence[float]]) -> Facts | None:
    if not rows:
        return None
    table = np.array(rows, np.float64)
    return {
        "median": [rounded(float(value)) for value in np.median(table, axis=0)],
        "minimum": [rounded(float(value)) for value in table.min(axis=0)],
        "maximum": [rounded(float(value)) for value in table.max(axis=0)],
    }


def _class_totals(layers: Sequence[Facts]) -> Facts:
    classes: dict[str, list[Facts]] = {}
    for layer in layers:
        for concept, facts in layer["classes"].items():
            classes.setdefault(concept, []).append(facts)
    return {
        "cases": len(layers),
        "classes": {
            concept: {
                "cases": sum(1 for facts in group if facts["voxels"]),
                "voxels": sum(facts["voxels"] for facts in group),
                "volume_ml": rounded(sum(facts["volume_ml"] or 0.0 for facts in group)),
                "components": sum(facts["components"] for facts in group),
            }
            for concept, group in sorted(classes.items())
        },
    }


def _duplicates(images: Iterable[tuple[str, str, Facts]]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for case, name, image in images:
        intensity = image["intensity"]
        if intensity is not None and intensity["minimum"] < intensity["maximum"]:
            groups.setdefault(image["voxel_digest"], []).append(f"{case}/{name}")
    return sorted(group for group in groups.values() if len(group) > 1)
