"""Soft layers: one map of probabilities for each concept, as channels."""

from __future__ import annotations

from collections import Counter

import numpy as np

from medshard.converters.grid_verdict import PlacedLabel
from medshard.converters.label_values import slabs
from medshard.converters.reading import read_image
from medshard.converters.spooling import Spool, release_pages
from medshard.converters.volume import Array, LabelLayer, Rescale
from medshard.errors import CaseError
from medshard.pipelines.labels.placing import (
    CaseLabel,
    LabelTask,
    OwnGrid,
    missing_label,
    place_label,
    request_of,
)
from medshard.registry.schema import LabelSpec


def soft_label(task: LabelTask, spec: LabelSpec) -> CaseLabel:
    """The maps of a soft layer as channels, in the entry's order."""
    groups = task.payload.case.labels[task.source]
    if not all(groups):
        raise missing_label(task)
    maps = [
        read_image(task.payload.locate(paths), where=task.where, request=request_of(task, spec)) for paths in groups
    ]
    shapes = {soft.concept: str(image.array.shape) for soft, image in zip(spec.maps, maps, strict=True)}
    if any(image.array.ndim != 4 or image.array.shape[0] != 1 for image in maps):
        raise CaseError(
            "annotation.not_a_map",
            where=task.where,
            problem="a map of a soft layer has one channel and no time axis",
            details=dict(shapes),
        )
    if len({soft.scale for soft in spec.maps}) > 1 or len({image.rescale for image in maps}) > 1:
        raise CaseError(
            "annotation.scales",
            where=task.where,
            problem="the maps of one layer have different scales",
            action="Give all the same `scale`; maps whose headers scale them differently cannot be one layer.",
        )
    if maps[0].rescale.per_slice:
        raise CaseError(
            "annotation.scales",
            where=task.where,
            problem="the slices of a map are scaled each by itself, and a layer has one scale",
            details={"slopes": len(maps[0].rescale.slope), "intercepts": len(maps[0].rescale.intercept)},
            action="The case is excluded. Convert the maps to one scale.",
        )
    targets, image = task.images, ""
    channels: list[PlacedLabel] = []
    for one in maps:
        layer = LabelLayer(array=one.array, affine=one.affine, classes={}, examined=())
        image, placed = place_label(task, layer, targets, trusted_geometry=one.trusted_geometry)
        grid = placed.layer
        targets = {image: task.images[image] if image else OwnGrid(shape=grid.shape, affine=grid.affine)}
        channels.append(placed)
    slope, intercept = (numbers[0] for numbers in (maps[0].rescale.slope, maps[0].rescale.intercept))
    scale = spec.maps[0].scale
    layer = LabelLayer(
        array=_together([channel.layer.array for channel in channels], task.spool),
        affine=channels[0].layer.affine,
        kind="soft",
        classes=spec.channels,
        examined=spec.examined_concepts,
        rater=spec.rater,
        rescale=Rescale(slope=(slope * scale,), intercept=(intercept * scale,), unit="probability"),
    )
    repairs = [channel for channel in channels if channel.repair is not None]
    repair = repairs[0].repair if repairs else None
    return CaseLabel(
        name=task.source,
        layer=layer,
        counts=_halves(layer),
        image=image or None,
        verdict=(repairs or channels)[0].verdict,
        repair=repair,
        warnings=(repair,) if repair is not None else (),
    )


def _together(maps: list[Array], spool: Spool) -> Array:
    """Maps (1, z, y, x) as channels, slab by slab."""
    whole = spool.empty((len(maps), *maps[0].shape[1:]), np.result_type(*maps))
    for channel, part in slabs(whole):
        whole[channel, part] = maps[channel][0, part]
        release_pages(maps[channel])
        release_pages(whole)
    return whole


def _halves(layer: LabelLayer) -> dict[int, int]:
    """Number of a channel from 1 -> voxels above a half."""
    slope, intercept = layer.rescale.slope[0], layer.rescale.intercept[0]
    counts: Counter[int] = Counter(dict.fromkeys(range(1, len(layer.array) + 1), 0))
    for channel, part in slabs(layer.array):
        values = np.asarray(layer.array[channel, part], np.float64) * slope + intercept
        counts[channel + 1] += int(np.count_nonzero(values > 0.5))
    return dict(counts)
