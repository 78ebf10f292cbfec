"""Label layers on another grid: classes vote, thin structures keep their volume, instances go by the nearest voxel."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import cast

import numpy as np

from medshard.converters.axis_matrices import Shape, aligned_matrices
from medshard.converters.axis_products import contract
from medshard.converters.label_votes import (
    WHOLE,
    Box,
    ClassMap,
    Labels,
    class_boxes,
    nearest_labels,
    vote,
    voted_labels,
    voxel_counts,
)
from medshard.converters.nnunet_labels import resize_like_nnunet
from medshard.converters.resampling import finite_range
from medshard.converters.thin_structures import thin_concepts
from medshard.converters.turned_grids import read_turned
from medshard.converters.volume import Affine, LabelLayer, Rescale
from medshard.errors import CaseError

# Corners of a grid are where they were when they moved by less than this, in voxels.
SAME_EDGES = 1e-3


def resample_labels(
    layer: LabelLayer,
    shape_out: Shape,
    affine_out: Affine,
    *,
    slices: int | None = None,
    like_nnunet: bool = False,
    thin: Collection[str] | None = None,
    where: str = "label",
) -> LabelLayer:
    """A label layer on another grid, as `(1, *shape_out)` of the smallest unsigned integer type that holds it.

    semantic: each class is read with linear weights inside its own box; the largest wins, the background being what is
        left of 1. Ties go to the structure, and among structures to the smaller value. Concepts of `thin` (those of the
        public vocabulary if None) keep their volume and stay connected instead, as `thin_voxels` says.
    instance: the nearest voxel; one that would vanish keeps a voxel, as `nearest_labels` says.
    soft: each map is read linearly; the class of the largest probability wins, the background being 1 minus their sum.
        The result is semantic, with the named channels numbered 1..k in channel order.

    With `like_nnunet` semantic and instance layers become what `resize_like_nnunet` says, `slices` being as there; soft
    ones are not concerned. `slices` means nothing otherwise.

    There is no low-pass where the grid gets coarser: with one, a majority vote eats convex structures (spheres of 3 mm
    radius from 1 to 2 mm voxels keep 71 % of their volume; read at points, 103 to 107 %).
    Voxels outside the layer's field of view are background. On the layer's own grid nothing but the type changes.
    Values that nobody judged (`ignore`) vote as a class does; of those below 0 the result has one above all others.
    Raises CaseError[label.not_integer], [label.negative], [label.not_probability], [label.no_such_channel], and
    [label.other_edges] where `like_nnunet` is asked for on a grid with other outer edges.
    """
    if layer.kind == "soft":
        classes = {number: layer.classes[channel] for number, channel in enumerate(sorted(layer.classes), start=1)}
        array = vote(_soft_maps(layer, shape_out, affine_out, where), shape_out, len(classes))
        return replace(layer, kind="semantic", classes=classes, rescale=Rescale()).with_grid(array[None], affine_out)
    layer = _with_ignored_above(layer)
    stored = stored_labels(layer, where)
    index_map = np.linalg.inv(layer.affine) @ affine_out
    if stored.shape == shape_out and np.allclose(layer.affine, affine_out, rtol=0.0, atol=1e-9):
        array = stored
    elif like_nnunet:
        _check_same_edges(layer.shape, index_map, shape_out, where)
        array = cast(Labels, resize_like_nnunet(stored, shape_out, slices=slices))
    elif layer.kind == "instance":
        array = nearest_labels(stored, index_map, shape_out)
    else:
        named = thin_concepts() if thin is None else thin
        values = {value for value, concept in layer.classes.items() if concept in named}
        array = voted_labels(stored, index_map, shape_out, thin=values)
    return layer.with_grid(array[None], affine_out)


def _check_same_edges(shape_in: Shape, index_map: Affine, shape_out: Shape, where: str) -> None:
    for corner in np.ndindex(2, 2, 2):
        place = index_map @ [*(np.array(corner) * shape_out - 0.5), 1.0]
        if np.any(np.abs(place[:3] - (np.array(corner) * shape_in - 0.5)) > SAME_EDGES):
            raise CaseError(
                "label.other_edges",
                where=where,
                problem="a layer is to be resampled as nnU-Net does it, and the new grid has other outer edges",
                details={"layer": f"(z, y, x) = {shape_in}", "grid": f"(z, y, x) = {shape_out}"},
                action="Bring the layer to the grid of the image first.",
            )


def _with_ignored_above(layer: LabelLayer) -> LabelLayer:
    """The layer with its ignored values below 0 as one value above all others: labels are stored without a sign."""
    below = [value for value in layer.ignore if value < 0]
    if not below:
        return layer
    above = max(int(layer.array.max(initial=0)), *layer.classes, *layer.ignore) + 1
    array = np.where(np.isin(layer.array, below), above, layer.array)
    return replace(layer, array=array, ignore=(*(value for value in layer.ignore if value >= 0), above))


def stored_labels(layer: LabelLayer, where: str) -> Labels:
    """The values `(z, y, x)` of a semantic or instance layer in the smallest unsigned integer type.

    Raises CaseError[label.not_integer] for fractions and CaseError[label.negative].
    """
    values = layer.array[0]
    if values.dtype.kind not in "iub":
        whole = np.rint(values.astype(np.float64))
        if not np.array_equal(whole, values):
            raise CaseError(
                "label.not_integer",
                where=where,
                problem=f"a layer of kind {layer.kind} has values that are no integers",
                action="Declare it as `soft` if these are probabilities.",
            )
        values = whole.astype(np.int64)
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0:
        raise CaseError("label.negative", where=where, problem=f"the label values go down to {lowest}")
    return cast(Labels, np.ascontiguousarray(values.astype(np.min_scalar_type(highest))))


def _soft_maps(layer: LabelLayer, shape_out: Shape, affine_out: Affine, where: str) -> Iterable[ClassMap]:
    missing = [channel for channel in layer.classes if not 0 <= channel < len(layer.array)]
    if missing:
        raise CaseError(
            "label.no_such_channel",
            where=where,
            problem=f"classes are named for channels {missing}, and the layer has channels 0 to {len(layer.array) - 1}",
        )
    index_map = np.linalg.inv(layer.affine) @ affine_out
    matrices = aligned_matrices(index_map, layer.shape, shape_out, kernel="linear", antialias=False)
    for number, channel in enumerate(sorted(layer.classes), start=1):
        probability = layer.rescale.apply(layer.array[channel])
        low, high = finite_range(probability, where)
        if low < -0.01 or high > 1.01:
            raise CaseError(
                "label.not_probability",
                where=where,
                problem=f"a soft label has values from {low:g} to {high:g} where probabilities are expected",
                details={"channel": channel, "concept": layer.classes[channel]},
                action="Declare the rescale of the layer, such as a slope of 1/255 for 8-bit maps.",
            )
        if matrices is None:
            yield number, WHOLE, read_turned(probability, index_map, shape_out, order=1)
        else:
            out = np.empty(shape_out, np.float32)
            contract(probability, matrices, out)
            yield number, WHOLE, out


__all__ = ["Box", "Labels", "class_boxes", "resample_labels", "stored_labels", "voxel_counts"]
