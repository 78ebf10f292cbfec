"""OME-Zarr 0.5 metadata of images and label layers. Source: the NGFF specification 0.5, sections 2.3 to 2.6.

OME-Zarr 0.5 has a scale and a translation per axis. A plain reader therefore sees voxel size and the position of the
first voxel along Superior, Anterior and Right, which is exact for an axis-aligned volume in canonical orientation.

It allows one axis beside time and space, which the channels take. So the leading axis is of type `time` whatever it
counts; it has a unit, `second`, only where it is time in even steps, and what it counts otherwise stands in our own
attributes.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medshard.converters.pyramid import Level, Reduction
from medshard.converters.volume import Affine, LabelLayer, LeadingAxis, spacing_of

OME_VERSION = "0.5"

# Steps of time that differ by less than this part are even: times in headers are rounded.
EVEN_STEPS = 1e-3


def multiscale(
    name: str,
    affine: Affine,
    *,
    dimensions: int,
    levels: Sequence[Level] = (),
    reduction: Reduction = "mean",
    leading: LeadingAxis | None = None,
) -> dict[str, Any]:
    """The `multiscales` entry of an array `0` with `dimensions` axes and of its smaller levels `1`, `2`, ..."""
    time = _even_times(leading) if dimensions == 5 else None
    first = {"name": "t", "type": "time", **({} if time is None else {"unit": "second"})}
    axes = [first] if dimensions == 5 else []
    axes += [{"name": "c", "type": "channel"}]
    axes += [{"name": axis, "type": "space", "unit": "millimeter"} for axis in "zyx"]
    start, step = time or (0.0, 1.0)
    before = ([step] if dimensions == 5 else [], [start] if dimensions == 5 else [])
    factors = [(1, 1, 1), *(level.factors for level in levels)]
    document: dict[str, Any] = {
        "name": name,
        "axes": axes,
        "datasets": [
            {"path": str(number), "coordinateTransformations": _transforms(affine, level, *before)}
            for number, level in enumerate(factors)
        ],
    }
    if levels:
        document["type"] = reduction
        document["metadata"] = {"method": f"medshard.converters.pyramid: {reduction} of blocks"}
    return document


def image_label(layer: LabelLayer, source: str | None) -> dict[str, Any]:
    """The `image-label` entry of a layer of integers; source: the image on the same grid, as a path from the layer."""
    values = sorted(layer.classes)
    document: dict[str, Any] = {}
    if values:
        document["colors"] = [{"label-value": value, "rgba": _colour(value, layer.colours)} for value in values]
        document["properties"] = [_properties(value, layer) for value in values]
    if source is not None:
        document["source"] = {"image": source}
    return document


def _transforms(
    affine: Affine, factors: tuple[int, int, int], scale_before: list[float], start_before: list[float]
) -> list[dict[str, Any]]:
    """Scale and translation of one level; the first voxel of a smaller level is the centre of its block."""
    index = np.array([*((factor - 1) / 2 for factor in factors), 1.0])
    right, anterior, superior, _ = (affine @ index).tolist()
    steps = [step * factor for step, factor in zip(spacing_of(affine), factors, strict=True)]
    return [
        {"type": "scale", "scale": [*scale_before, 1.0, *steps]},
        # World coordinates in the order Superior, Anterior, Right: what z, y and x are in canonical orientation.
        {"type": "translation", "translation": [*start_before, 0.0, superior, anterior, right]},
    ]


def _even_times(leading: LeadingAxis | None) -> tuple[float, float] | None:
    """(first, step) in seconds of a leading axis that is time in even steps."""
    if leading is None or leading.kind != "time" or leading.values is None or len(leading.values) < 2:
        return None
    steps = np.diff(leading.values)
    step = (leading.values[-1] - leading.values[0]) / len(steps)
    if not step > 0 or np.abs(steps - step).max() > EVEN_STEPS * step:
        return None
    return float(leading.values[0]), float(step)


def _properties(value: int, layer: LabelLayer) -> dict[str, Any]:
    further = layer.also.get(value, ())
    return {"label-value": value, "concept": layer.classes[value], **({"also": list(further)} if further else {})}


def _colour(value: int, stated: Mapping[int, str]) -> list[int]:
    """The stated colour of a label value, or one that differs from its neighbours': steps of the golden ratio spread
    hues evenly."""
    if value in stated:
        return [*bytes.fromhex(stated[value].removeprefix("#")), 255]
    red, green, blue = colorsys.hsv_to_rgb(value * 0.618033988749895 % 1.0, 0.75, 0.95)
    return [round(255 * red), round(255 * green), round(255 * blue), 255]
