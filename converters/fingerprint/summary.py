"""A sketch, or the fingerprints of cases, in numbers for people and for plans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, Literal

from medshard.converters.fingerprint.numbers import Facts, rounded
from medshard.converters.fingerprint.sketch import POINT, Tree, foreground_sketch, merge_sketches, sketch_of_cases
from medshard.converters.fingerprint.tally import Tally

Weigh = Literal["voxels", "cases"]


def merge_fingerprints(facts: Mapping[str, Facts], entry: str = "") -> Facts:
    """Facts of an entry from those of its cases (case -> facts of `fingerprint_volume`): what `summary_of` says, and
    duplicates: groups of `case/image` with the same voxels, images of one value left out.
    """
    return {**summary_of(sketch_of_cases(facts, entry)), "duplicates": duplicates_in(facts)}


def summary_of(sketch: Tree) -> Facts:
    """Of a sketch:

    cases, entries {entry: cases}, modalities {modality: images}.
    images {name: grid} and grids {modality: grid}; a grid is {cases (images), trusted, modalities, shape, spacing_mm
        and size_mm {median, minimum, maximum} per axis}, the last two None where no geometry is trusted.
    foreground {modality: what `merge_foregrounds` says, and by_case: its numbers with every image counting alike}.
    labels {layer: {cases, marked and largest_to_smallest of the cases {median, minimum, maximum}, ratio, classes}};
        ratio: voxels of the largest over those of the smallest class that is there, over all cases.
    classes {concept: class} over all layers, each of which counts where several hold the concept; a class is {examined,
        cases, share_of_cases of those examined, voxels, share_of_voxels of all classes, volume_ml, components}, here
        with intensity {modality: {mean, std}} of its voxels.
    """
    grids: dict[str, list[Tree]] = {}
    for by_modality in sketch["grids"].values():
        for modality, grid in by_modality.items():
            grids.setdefault(modality, []).append({modality: grid})
    merged = {modality: merge_sketches(parts) for modality, parts in sorted(grids.items())}
    classes = _classes(merge_sketches([layer["classes"] for layer in sketch["labels"].values()], like={}))
    return {
        "cases": sketch["cases"],
        "entries": dict(sorted(sketch["entries"].items())),
        "images": {name: _grid_summary(grids) for name, grids in sorted(sketch["grids"].items())},
        "grids": {modality: _grid_summary(grid) for modality, grid in merged.items()},
        "modalities": {modality: grid[modality]["images"] for modality, grid in merged.items()},
        "foreground": {
            modality: _foreground_of_units(units) for modality, units in sorted(sketch["intensities"].items())
        },
        "labels": {name: _layer_summary(layer) for name, layer in sorted(sketch["labels"].items())},
        "classes": {
            concept: {**numbers, "intensity": _class_intensities(sketch["classes"].get(concept, {}))}
            for concept, numbers in classes.items()
        },
    }


def merge_foregrounds(foregrounds: Iterable[Facts | None], *, weigh: Weigh = "voxels") -> Facts | None:
    """One foreground {source, cases, n, mean, std, p0_5, p50, p99_5} from those of many images; None of none.

    weigh: `voxels` lets every voxel count alike, `cases` every image, as nnU-Net's fingerprint does by drawing equally
    many voxels of each. Labelled foreground counts alone where any image has it, because the two do not mean the same.
    Mean and standard deviation are exact up to the rounding of the facts; percentiles are the lowest value that enough
    of the quantiles reach.
    """
    known = (foreground_sketch(foreground) for foreground in foregrounds if foreground is not None)
    merged = merge_sketches(known, like={})
    return _foreground_summary(merged, weigh) if merged else None


def duplicates_in(facts: Mapping[str, Facts]) -> list[list[str]]:
    """Groups of `case/image` with the same voxels; images of one value are left out."""
    groups: dict[str, list[str]] = {}
    for case, document in sorted(facts.items()):
        for name, image in sorted(document["images"].items()):
            intensity = image["intensity"]
            if intensity is not None and intensity["minimum"] < intensity["maximum"]:
                groups.setdefault(image["voxel_digest"], []).append(f"{case}/{name}")
    return sorted(group for group in groups.values() if len(group) > 1)


def mean_and_std(moments: Mapping[str, Any]) -> tuple[float, float]:
    """Of exact moments {n, first, second}."""
    mean = Fraction(moments["first"], moments["n"] * POINT)
    variance = max(Fraction(moments["second"], moments["n"] * POINT) - mean**2, Fraction(0))
    return rounded(float(mean)), rounded(float(variance) ** 0.5)


def _foreground_of_units(units: Mapping[str, Tree]) -> Facts | None:
    """Of a modality's units only the one that most images have: values in others cannot be compared."""
    _, most = min(units.items(), key=lambda item: (-item[1]["images"], item[0]))
    if not most["foreground"]:
        return None
    by_case = _foreground_summary(most["foreground"], "cases")
    return {
        **_foreground_summary(most["foreground"], "voxels"),
        "by_case": {name: by_case[name] for name in ("mean", "std", "p0_5", "p50", "p99_5")},
    }


def _foreground_summary(sources: Mapping[str, Tree], weigh: Weigh) -> Facts:
    source = "labels" if "labels" in sources else min(sources, key=lambda name: (-sources[name]["images"], name))
    sketch, weight = sources[source], ("voxels", "cases").index(weigh)
    mean, std = mean_and_std(sketch[weigh])
    low, middle, high = (sketch["values"].quantile(share, weight=weight) for share in (0.005, 0.5, 0.995))
    return {
        "source": source,
        "cases": sketch["images"],
        "n": sketch["voxels"]["n"],
        "mean": mean,
        "std": std,
        "p0_5": rounded(low),
        "p50": rounded(middle),
        "p99_5": rounded(high),
    }


def _grid_summary(by_modality: Mapping[str, Tree]) -> Facts:
    grid = merge_sketches(by_modality.values())
    return {
        "cases": grid["images"],
        "trusted": grid["trusted"],
        "modalities": {modality: each["images"] for modality, each in sorted(by_modality.items())},
        **{name: _per_axis(grid.get(name)) for name in ("shape", "spacing_mm", "size_mm")},
    }


def _per_axis(tally: Tally | None) -> Facts | None:
    if tally is None:
        return None
    return {
        "median": [rounded(tally.median(axis=axis)) for axis in range(3)],
        "minimum": [rounded(float(value)) for value in tally.values.min(axis=0)],
        "maximum": [rounded(float(value)) for value in tally.values.max(axis=0)],
    }


def _layer_summary(layer: Tree) -> Facts:
    sizes = [each["voxels"] for each in layer["classes"].values() if each["voxels"]]
    return {
        "cases": layer["cases"],
        "marked": _range(layer.get("marked")),
        "largest_to_smallest": _range(layer.get("ratio")),
        "ratio": rounded(max(sizes) / min(sizes)) if sizes else None,
        "classes": _classes(layer["classes"]),
    }


def _classes(classes: Mapping[str, Tree]) -> Facts:
    voxels = max(1, sum(each["voxels"] for each in classes.values()))
    return {
        concept: {
            "examined": each["examined"],
            "cases": each["cases"],
            "share_of_cases": rounded(each["cases"] / max(each["examined"], each["cases"], 1)),
            "voxels": each["voxels"],
            "share_of_voxels": rounded(each["voxels"] / voxels),
            "volume_ml": rounded(each["volume_ml"] / POINT),
            "components": each["components"],
        }
        for concept, each in sorted(classes.items())
    }


def _class_intensities(by_modality: Mapping[str, Tree]) -> Facts:
    return {
        modality: dict(zip(("mean", "std"), mean_and_std(moments), strict=True))
        for modality, moments in sorted(by_modality.items())
    }


def _range(tally: Tally | None) -> Facts | None:
    if tally is None:
        return None
    values = tally.values[:, 0]
    numbers = {"median": tally.median(), "minimum": float(values.min()), "maximum": float(values.max())}
    return {name: rounded(number) for name, number in numbers.items()}
