"""What a set of cases looks like, in a form that merges: the sketch of all cases is that of its parts, in any order.

A sketch is a tree of dictionaries whose leaves add up: whole numbers, lists of them and tallies. So an
entry's sketch is made of those of its cases, a selection's of those of its entries, and no case is read again.

    {"cases": n, "entries": {entry: cases},
     "grids": {image name: {modality: {images, trusted, shape, spacing_mm, size_mm}}},
     "intensities": {modality: {unit: {images, inside, outside, foreground: {source: ...}}}},
     "classes": {concept: {modality: {n, first, second}}},
     "labels": {layer: {cases, marked, ratio, classes: {concept: {examined, cases, voxels, volume_ml, components}}}}}

shape, spacing_mm and size_mm are tallies of (z, y, x), the latter two of images with trusted geometry.
inside, outside: of the foreground, `BINS` counts in parts of `WHOLE` for each image; of HU from -1024 to 3072, of all
else from a quarter of the range below the image's 0.5th percentile to a quarter above its 99.5th.
foreground: {images, voxels, cases, values}; values is a tally with two weights, the voxels, and parts of `WHOLE` so
that each image counts alike; voxels and cases are the moments {n, first, second} by the same two.
What is no whole number is counted in parts of `POINT`, so that sums are exact in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medshard.converters.fingerprint.numbers import Facts
from medshard.converters.fingerprint.tally import Tally, merge_tallies
from medshard.converters.fingerprint.value_table import cell_counts
from medshard.converters.fingerprint.volume_facts import HISTOGRAM_BINS

Tree = dict[str, Any]

POINT = 1 << 64
# What one image counts where images count alike.
WHOLE = 1 << 20
BINS = HISTOGRAM_BINS
MARGIN = 0.25

MOST_VALUES = 2048
MOST_GRIDS = 512
MOST_RATIOS = 256
# Cases that are merged at a time, so that a sketch of many needs little memory.
BATCH = 512


def sketch_of_cases(facts: Mapping[str, Facts], entry: str) -> Tree:
    """The sketch of cases (case -> facts of `fingerprint_volume`) of one entry."""
    return merge_sketches(_case_sketch(document, entry) for _, document in sorted(facts.items()))


def merge_sketches(sketches: Iterable[Tree], *, like: Tree | None = None) -> Tree:
    """One sketch of all that the sketches are of; no case may be in two of them. like: the sketch of no case, where
    they are parts of sketches.
    """
    merged: Tree = {}
    rest = iter(sketches)
    while batch := list(islice(rest, BATCH)):
        merged = _merged([part for part in (merged, *batch) if part])
    return merged or (_empty() if like is None else like)


def sketch_to_json(sketch: Any) -> Any:
    """As plain JSON."""
    if isinstance(sketch, dict):
        return {name: sketch_to_json(part) for name, part in sketch.items()}
    if isinstance(sketch, Tally):
        return {"$tally": sketch.to_json()}
    return list(sketch) if isinstance(sketch, tuple) else sketch


def sketch_from_json(document: Any) -> Any:
    if isinstance(document, dict):
        if set(document) == {"$tally"}:
            return Tally.from_json(document["$tally"])
        return {name: sketch_from_json(part) for name, part in document.items()}
    return tuple(document) if isinstance(document, list) else document


def foreground_sketch(foreground: Facts) -> Tree:
    """Of one image's foreground, by its source."""
    n, values, counts = foreground["n"], np.array(foreground["quantiles"], np.float64), foreground_counts(foreground)
    mean, square = _moments(foreground["mean"], foreground["std"])
    alike = _parts(counts)
    return {
        foreground["source"]: {
            "images": 1,
            "voxels": {"n": n, "first": n * mean, "second": n * square},
            "cases": {"n": 1, "first": mean, "second": square},
            "values": Tally.of(values, np.stack([counts, alike], axis=1), MOST_VALUES),
        }
    }


def foreground_counts(foreground: Facts) -> NDArray[np.int64]:
    """How many voxels each of the quantiles of a foreground stands for."""
    if "counts" in foreground:
        return np.array(foreground["counts"], np.int64)
    return cell_counts(foreground["n"], foreground["cells"])


def _empty() -> Tree:
    return {"cases": 0, "entries": {}, "grids": {}, "intensities": {}, "classes": {}, "labels": {}}


def _merged(parts: Sequence[Any]) -> Any:
    if not parts:
        return {}
    first = parts[0]
    if isinstance(first, dict):
        names = sorted({name for part in parts for name in part})
        return {name: _merged([part[name] for part in parts if name in part]) for name in names}
    if isinstance(first, Tally):
        return merge_tallies(parts)
    if isinstance(first, tuple):
        return tuple(sum(column) for column in zip(*parts, strict=True))
    return sum(parts[1:], first)


def _case_sketch(facts: Facts, entry: str) -> Tree:
    images = facts["images"]
    return {
        "cases": 1,
        "entries": {entry: 1},
        "grids": {name: {image["modality"]: _grid_sketch(image)} for name, image in images.items()},
        "intensities": _merged(
            [{image["modality"]: {image["unit"]: _intensity_sketch(image)}} for image in images.values()]
        ),
        "classes": _merged([_class_intensities(image, facts["labels"]) for image in images.values()]),
        "labels": {name: _label_sketch(layer) for name, layer in facts["labels"].items()},
    }


def _grid_sketch(image: Facts) -> Tree:
    sketch: Tree = {"images": 1, "trusted": int(image["trusted_geometry"])}
    sketch["shape"] = Tally.of([image["shape"]], [1], MOST_GRIDS)
    if image["trusted_geometry"]:
        sketch["spacing_mm"] = Tally.of([image["spacing_mm"]], [1], MOST_GRIDS)
        sketch["size_mm"] = Tally.of([image["size_mm"]], [1], MOST_GRIDS)
    return sketch


def _intensity_sketch(image: Facts) -> Tree:
    intensity, foreground = image["intensity"], image["foreground"]
    if intensity is None:
        return {"images": 1, "foreground": {}}
    histogram = intensity["histogram"]
    inside = np.array(histogram["inside"], np.int64)
    outside = np.array(histogram["counts"], np.int64) - inside
    place = np.arange(BINS) if image["unit"] == "HU" else _common_bins(intensity)
    sketch: Tree = {"images": 1, "foreground": foreground_sketch(foreground) if foreground else {}}
    for name, counts in (("inside", inside), ("outside", outside)):
        if counts.sum():
            common = np.bincount(place, _parts(counts), minlength=BINS)  # exact: below 2**53
            sketch[name] = tuple(int(count) for count in common)
    return sketch


def _parts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts in parts of `WHOLE`, all of which are given out."""
    reached = np.cumsum(counts) * WHOLE // counts.sum()
    return np.diff(reached, prepend=0)


def _moments(mean: float, std: float) -> tuple[int, int]:
    """A mean and a mean square in parts of `POINT`."""
    return int(mean * POINT), int((std * std + mean * mean) * POINT)


def _common_bins(intensity: Facts) -> NDArray[np.int64]:
    """In which bin of the common axis the middle of each bin of an image lies."""
    histogram = intensity["histogram"]
    step = (histogram["high"] - histogram["low"]) / BINS
    middles = histogram["low"] + step * (np.arange(BINS) + 0.5)
    spread = intensity["p99_5"] - intensity["p0_5"]
    shares = (middles - intensity["p0_5"]) / spread if spread > 0 else np.zeros(BINS)
    return np.clip(np.floor((shares + MARGIN) / (1 + 2 * MARGIN) * BINS), 0, BINS - 1).astype(np.int64)


def _class_intensities(image: Facts, labels: Mapping[str, Facts]) -> Tree:
    """Every voxel counts alike: each class by the voxels that it has."""
    found = []
    for layer, classes in image["classes"].items():
        for concept, numbers in classes.items():
            n = labels[layer]["classes"][concept]["voxels"]
            mean, square = _moments(numbers[0], numbers[1])
            moments = {"n": n, "first": n * mean, "second": n * square}
            found.append({concept: {image["modality"]: moments}})
    return dict(_merged(found))


def _label_sketch(layer: Facts) -> Tree:
    ratio = layer["largest_to_smallest"]
    return {
        "cases": 1,
        "marked": Tally.of([layer["marked"]], [1], MOST_RATIOS),
        **({"ratio": Tally.of([ratio], [1], MOST_RATIOS)} if ratio is not None else {}),
        "classes": {
            concept: {
                "examined": int(not layer["examined"] or concept in layer["examined"]),
                "cases": int(facts["voxels"] > 0),
                "voxels": facts["voxels"],
                "volume_ml": int((facts["volume_ml"] or 0) * POINT),
                "components": facts["components"],
            }
            for concept, facts in layer["classes"].items()
        },
    }
