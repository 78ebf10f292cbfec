"""Label layers on another grid: classes vote with linear weights, instances go by the nearest voxel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medshard.converters.resampling import (
    AxisMatrices,
    AxisMatrix,
    Floats,
    Shape,
    aligned_matrices,
    contract,
    finite_range,
    read_turned,
)
from medshard.converters.volume import Affine, LabelLayer, Rescale
from medshard.errors import CaseError

Box = tuple[slice, slice, slice]
Labels = NDArray[np.unsignedinteger[Any]]

WHOLE: Box = (slice(None), slice(None), slice(None))

# Rounding of float32 weights must not decide a tie, such as the voxel halfway between structure and background.
TIE = 1e-5


def resample_labels(layer: LabelLayer, shape_out: Shape, affine_out: Affine, *, where: str = "label") -> LabelLayer:
    """A label layer on another grid, as `(1, *shape_out)` of the smallest unsigned integer type that holds it.

    semantic: each class is read with linear weights inside its own box; the largest wins, the background being what is
        left of 1. Ties go to the structure, and among structures to the smaller value.
    instance: the nearest voxel.
    soft: each map is read linearly; the class of the largest probability wins, the background being 1 minus their sum.
        The result is semantic, with the named channels numbered 1..k in channel order.

    There is no low-pass where the grid gets coarser: with one, a majority vote eats convex structures (spheres of 3 mm
    radius from 1 to 2 mm voxels keep 71 % of their volume; read at points, 103 to 107 %).
    Voxels outside the layer's field of view are background. On the layer's own grid nothing but the type changes.
    Values that nobody judged (`ignore`) vote as a class does; of those below 0 the result has one above all others.
    Raises CaseError[label.not_integer], [label.negative], [label.not_probability], [label.no_such_channel].
    """
    if layer.kind == "soft":
        classes = {number: layer.classes[channel] for number, channel in enumerate(sorted(layer.classes), start=1)}
        array = _vote(_soft_maps(layer, shape_out, affine_out, where), shape_out, len(classes))
        layer = replace(layer, kind="semantic", classes=classes, rescale=Rescale())
    else:
        layer = _with_ignored_above(layer)
        stored = stored_labels(layer, where)
        read = _nearest_labels if layer.kind == "instance" else _voted_labels
        index_map = np.linalg.inv(layer.affine) @ affine_out
        same = stored.shape == shape_out and np.allclose(layer.affine, affine_out, rtol=0.0, atol=1e-9)
        array = stored if same else read(stored, index_map, shape_out)
    return layer.with_grid(array[None], affine_out)


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


def voxel_counts(labels: Labels) -> dict[int, int]:
    """Value above 0 -> number of voxels, for those that occur, in ascending order."""
    if labels.dtype.itemsize <= 2:
        counts = np.bincount(labels.ravel())
        values = np.flatnonzero(counts)
        counts = counts[values]
    else:
        values, counts = np.unique(labels, return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True) if value > 0}


def class_boxes(labels: Labels) -> dict[int, Box]:
    """Value above 0 -> the smallest box that holds it, for those that occur, in ascending order."""
    if labels.dtype.itemsize <= 2:
        boxes = ndimage.find_objects(labels)
        return {value: box for value, box in enumerate(boxes, start=1) if box is not None}
    return {value: ndimage.find_objects((labels == value).astype(np.uint8))[0] for value in voxel_counts(labels)}


def _voted_labels(labels: Labels, index_map: Affine, shape_out: Shape) -> Labels:
    matrices = aligned_matrices(index_map, _shape(labels), shape_out, kernel="linear", antialias=False)
    maps = (
        (value, WHOLE, read_turned((labels == value).astype(np.float32), index_map, shape_out, order=1))
        if matrices is None
        else _class_map(labels, value, box, matrices)
        for value, box in class_boxes(labels).items()
    )
    return _vote(maps, shape_out, int(labels.max()))


def _nearest_labels(labels: Labels, index_map: Affine, shape_out: Shape) -> Labels:
    matrices = aligned_matrices(index_map, _shape(labels), shape_out, kernel="nearest", antialias=False)
    if matrices is None:
        return read_turned(labels, index_map, shape_out, order=0)
    out = labels
    for axis, matrix in enumerate(matrices):
        if matrix is not None:
            weights = matrix.toarray()
            inside = weights.any(axis=1)
            shape = [1, 1, 1]
            shape[axis] = len(inside)
            out = np.take(out, weights.argmax(axis=1), axis=axis) * inside.reshape(shape).astype(out.dtype)
    return out


def _soft_maps(
    layer: LabelLayer, shape_out: Shape, affine_out: Affine, where: str
) -> Iterable[tuple[int, Box, Floats]]:
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


def _vote(maps: Iterable[tuple[int, Box, Floats]], shape_out: Shape, highest: int) -> Labels:
    best = np.zeros(shape_out, np.float32)
    total = np.zeros(shape_out, np.float32)
    winner = np.zeros(shape_out, np.min_scalar_type(highest))
    for value, box, share in maps:
        better = share > best[box] + TIE
        best[box][better] = share[better]
        winner[box][better] = value
        total[box] += share
    winner[best < 1.0 - total - TIE] = 0
    return winner


def _class_map(labels: Labels, value: int, box: Box, matrices: AxisMatrices) -> tuple[int, Box, Floats]:
    """The share of one class in the output voxels that its box reaches."""
    parts = [_crop(matrix, part) for matrix, part in zip(matrices, box, strict=True)]
    rows = (parts[0][1], parts[1][1], parts[2][1])
    out = np.empty(tuple(part.stop - part.start for part in rows), np.float32)
    if out.size:
        contract(labels[box] == value, (parts[0][0], parts[1][0], parts[2][0]), out)
    return value, rows, out


def _crop(matrix: AxisMatrix, columns: slice) -> tuple[AxisMatrix, slice]:
    """The part of an axis matrix that some input samples have a share in, and its rows."""
    if matrix is None:
        return None, columns
    part = matrix[:, columns]
    used = np.flatnonzero(np.diff(part.indptr))
    if not len(used):
        return part[:0], slice(0, 0)
    rows = slice(int(used[0]), int(used[-1]) + 1)
    return part[rows], rows


def _shape(labels: Labels) -> Shape:
    z, y, x = labels.shape
    return z, y, x
