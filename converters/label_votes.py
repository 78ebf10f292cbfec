"""Which class a voxel of another grid gets: a vote of linear weights, and rules for thin structures and instances."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medshard.converters.axis_matrices import AxisMatrices, AxisMatrix, Floats, Shape, aligned_matrices
from medshard.converters.axis_products import contract
from medshard.converters.thin_structures import TOUCHING, Marked, thin_voxels, touched_by, touched_by_turned
from medshard.converters.turned_grids import fill_turned_slabs, outside_field, read_turned
from medshard.converters.volume import Affine

Box = tuple[slice, slice, slice]
Labels = NDArray[np.unsignedinteger[Any]]
# A class, the box of output voxels that it reaches, and its share in each of them.
ClassMap = tuple[int, Box, Floats]

WHOLE: Box = (slice(None), slice(None), slice(None))

# Rounding of float32 weights must not decide a tie, such as the voxel halfway between structure and background.
TIE = 1e-5

# A vote of linear weights cuts corners: balls of 3 mm radius lose 5 % from 1 to 0.7 mm voxels and gain 7 % at 2 mm.
# Classes that are smaller than this on the new grid, in voxels, are corrected for it.
SMALL_VOXELS = 4096


def voted_labels(labels: Labels, index_map: Affine, shape_out: Shape, *, thin: Collection[int]) -> Labels:
    """Semantic labels `(z, y, x)` on the grid that `index_map` lays into theirs; thin: the values of thin structures.

    Thin structures do not stand for election: they get the voxels that `thin_voxels` gives them, of two of them the one
    with the larger share, and the others vote on the rest. Structures under SMALL_VOXELS are then brought to their
    volume (`_with_volume`), where the axes are parallel.
    """
    boxes = class_boxes(labels)
    matrices = aligned_matrices(index_map, _shape(labels), shape_out, kernel="linear", antialias=False)
    maps = (
        (value, WHOLE, read_turned((labels == value).astype(np.float32), index_map, shape_out, order=1))
        if matrices is None
        else _class_map(labels, value, box, matrices)
        for value, box in boxes.items()
    )
    voted = vote(maps, shape_out, int(labels.max(initial=0)), elected=boxes.keys() - {*thin})
    for value, box in boxes.items():
        if matrices is None or value in thin:
            continue
        voxels = round(_volume_in_sight(labels, value, box, index_map, shape_out))
        if 0 < voxels <= SMALL_VOXELS:
            _with_volume(voted, labels, value, box=_grown(box, labels.shape), matrices=matrices, volume=voxels)
    filtered = aligned_matrices(index_map, _shape(labels), shape_out, kernel="linear", antialias=True)
    largest = np.zeros(shape_out, np.float32) if boxes.keys() & {*thin} else None
    for value, box in boxes.items():
        if value in thin and largest is not None:
            if filtered is None:
                where, share, taken = _turned_thin(labels, value, box, index_map, shape_out)
            else:
                volume = _volume_in_sight(labels, value, box, index_map, shape_out)
                where, share, taken = _thin(labels[box] == value, box, filtered, volume)
            won = taken & (share > largest[where])
            voted[where][won] = value
            largest[where][won] = share[won]
    return voted


def nearest_labels(labels: Labels, index_map: Affine, shape_out: Shape) -> Labels:
    """Instances `(z, y, x)` on another grid by the nearest voxel.

    An instance that no output voxel is nearest to keeps the one that its middle voxel lies in, unless that voxel is
    outside the grid or all that another instance has.
    """
    out = _nearest(labels, index_map, shape_out)
    counts = voxel_counts(out)
    if counts.keys() == voxel_counts(labels).keys():
        return out
    to_grid = np.linalg.inv(index_map)
    for value, box in class_boxes(labels).items():
        if value in counts:
            continue
        place = np.floor(to_grid[:3, :3] @ _middle(labels, value, box) + to_grid[:3, 3] + 0.5).astype(int)
        if np.all((place >= 0) & (place < shape_out)):
            holder = int(out[tuple(place)])
            if counts.get(holder, 2) > 1:
                out[tuple(place)] = value
                counts[value] = 1
                if holder:
                    counts[holder] -= 1
    return out


def vote(maps: Iterable[ClassMap], shape_out: Shape, highest: int, *, elected: Collection[int] | None = None) -> Labels:
    """The class of the largest share, or 0 where what is left of 1 is larger; ties go to the structure, and among
    structures to the one that comes first. Of the classes that are not to be elected the share alone counts.
    """
    best = np.zeros(shape_out, np.float32)
    total = np.zeros(shape_out, np.float32)
    winner = np.zeros(shape_out, np.min_scalar_type(highest))
    for value, box, share in maps:
        if elected is None or value in elected:
            better = share > best[box] + TIE
            best[box][better] = share[better]
            winner[box][better] = value
        total[box] += share
    winner[best < 1.0 - total - TIE] = 0
    return winner


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
    values, numbers = np.unique(labels, return_inverse=True)
    boxes = ndimage.find_objects(numbers.reshape(labels.shape) + 1)
    return {int(value): box for value, box in zip(values, boxes, strict=True) if value > 0}


def _with_volume(voted: Labels, labels: Labels, value: int, *, box: Box, matrices: AxisMatrices, volume: int) -> None:
    """Give a class its volume in output voxels: where it won or lost most narrowly, the voxel changes hands.

    box: of the class, with all the input voxels that those of the output read in which it has a share.
    """
    cropped, rows = _cropped(matrices, box)
    own = _share(labels[box] == value, cropped, rows)
    rival, against = np.zeros(own.shape, voted.dtype), np.zeros(own.shape, np.float32)
    for other in np.unique(labels[box]):
        if other != value:
            share = _share(labels[box] == other, cropped, rows)
            rival[share > against] = other
            np.maximum(against, share, out=against)
    held = voted[rows]
    margin = own - against
    surplus = int(np.count_nonzero(held == value)) - volume
    if surplus > 0:
        lost = _lowest(margin, held == value, surplus)
        held[lost] = rival[lost]
    elif surplus < 0:
        held[_lowest(-margin, (held != value) & (own > 0.0), -surplus)] = value


def _lowest(values: Floats, among: Marked, count: int) -> Marked:
    places = np.flatnonzero(among)
    chosen = np.zeros(values.shape, np.bool_)
    chosen.ravel()[places[np.argsort(values.ravel()[places], kind="stable")[:count]]] = True
    return chosen


def _grown(box: Box, shape: tuple[int, ...]) -> Box:
    z, y, x = (slice(max(0, part.start - 2), min(n, part.stop + 2)) for part, n in zip(box, shape, strict=True))
    return z, y, x


def _class_map(labels: Labels, value: int, box: Box, matrices: AxisMatrices) -> ClassMap:
    """The share of one class in the output voxels that its box reaches."""
    cropped, rows = _cropped(matrices, box)
    return value, rows, _share(labels[box] == value, cropped, rows)


def _thin(marked: Marked, box: Box, matrices: AxisMatrices, volume: float) -> tuple[Box, Floats, Marked]:
    """The output voxels that a thin structure reaches, its share in them, and which of them it gets.

    marked: where it is in its box. volume: in output voxels.
    """
    cropped, rows = _cropped(matrices, box)
    share = _share(marked, cropped, rows)
    if volume == 0.0:
        return rows, share, np.zeros(share.shape, np.bool_)
    components = ndimage.label(marked, TOUCHING)[0]
    return rows, share, thin_voxels(share, touched_by(components, cropped), volume)


def _volume_in_sight(labels: Labels, value: int, box: Box, index_map: Affine, shape_out: Shape) -> float:
    """How many output voxels the part of a class fills that lies in the field of view of the new grid."""
    seen = np.ix_(*(_seen(part, axis, index_map, shape_out) for axis, part in enumerate(box)))
    return int(np.count_nonzero(labels[box][seen] == value)) / abs(float(np.linalg.det(index_map[:3, :3])))


def _seen(part: slice, axis: int, index_map: Affine, shape_out: Shape) -> NDArray[np.bool_]:
    """Which samples of a box lie in the field of view of the new grid, along one axis."""
    place = (np.arange(part.start, part.stop) - index_map[axis, 3]) / index_map[axis, axis]
    return (place >= -0.5) & (place <= shape_out[axis] - 0.5)


def _turned_thin(
    labels: Labels, value: int, box: Box, index_map: Affine, shape_out: Shape
) -> tuple[Box, Floats, Marked]:
    """The same where the axes are turned against each other."""
    marked = np.pad(labels[box] == value, 1)  # outermost voxels are repeated beyond the edges
    shifted = index_map.copy()
    shifted[:3, 3] -= [part.start - 1 for part in box]
    owner = touched_by_turned(ndimage.label(marked, TOUCHING)[0], shifted, shape_out)
    share = np.empty(shape_out, np.float32)
    for start, stop in fill_turned_slabs(
        marked, shifted, shape_out, lambda start, stop: share[start:stop], kernel="linear", antialias=True
    ):
        share[start:stop][outside_field(_shape(labels), index_map, shape_out, start, stop)] = 0.0
    volume = float(share.sum(dtype=np.float64))
    taken = thin_voxels(share, owner, volume) if volume > 0.0 else share > 0.0
    return WHOLE, share, taken


def _share(marked: Marked, matrices: AxisMatrices, rows: Box) -> Floats:
    out = np.empty([part.stop - part.start for part in rows], np.float32)
    if out.size:
        contract(marked, matrices, out)
    return out


def _cropped(matrices: AxisMatrices, box: Box) -> tuple[AxisMatrices, Box]:
    """The part of axis matrices that a box of input voxels has a share in, and the output voxels of it."""
    (z, in_z), (y, in_y), (x, in_x) = (_crop(matrix, part) for matrix, part in zip(matrices, box, strict=True))
    return (z, y, x), (in_z, in_y, in_x)


def _crop(matrix: AxisMatrix | None, columns: slice) -> tuple[AxisMatrix | None, slice]:
    return (None, columns) if matrix is None else matrix.columns(columns)


def _nearest(labels: Labels, index_map: Affine, shape_out: Shape) -> Labels:
    matrices = aligned_matrices(index_map, _shape(labels), shape_out, kernel="nearest", antialias=False)
    if matrices is None:
        return cast(Labels, read_turned(labels, index_map, shape_out, order=0))
    out = labels
    for axis, matrix in enumerate(matrices):
        if matrix is not None:
            weights = matrix.toarray()
            shape = [1, 1, 1]
            shape[axis] = len(weights)
            inside = ~matrix.outside.reshape(shape)
            out = np.take(out, weights.argmax(axis=1), axis=axis) * inside.astype(out.dtype)
    return out.copy() if out is labels else out


def _middle(labels: Labels, value: int, box: Box) -> NDArray[np.intp]:
    """The voxel of a value that is nearest to its centre of mass; of equal ones the first."""
    places = np.argwhere(labels[box] == value) + [part.start for part in box]
    distance = ((places - places.mean(axis=0)) ** 2).sum(axis=1)
    return cast("NDArray[np.intp]", places[int(np.argmin(np.round(distance, 6)))])


def _shape(labels: Labels) -> Shape:
    z, y, x = labels.shape
    return z, y, x
