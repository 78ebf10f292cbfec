"""Affines and the canonical orientation.

An affine is `(4, 4)` float64 and maps the array index `(z, y, x, 1)` to RAS+ millimetres (x to the patient's Right,
y to Anterior, z to Superior). Everything here permutes and flips axes; nothing interpolates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from medshard.converters.orientation import Orientation
from medshard.converters.placed_rows import reorient_places
from medshard.converters.volume import Affine, Array, Image, LabelLayer, Rescale, Volume, spacing_of
from medshard.errors import CaseError

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

# World axis that array axis z, y, x runs along in canonical orientation: Superior, Anterior, Right.
CANONICAL_WORLD_AXES = (2, 1, 0)

# Sums of cosines closer than this are a tie, and a tie leaves the axes in the order they have.
TIE = 1e-6


ALL_ORIENTATIONS = tuple(
    Orientation(axes=(axes[0], axes[1], axes[2]), flipped=(flips[0], flips[1], flips[2]))
    for axes in permutations(range(3))
    for flips in product((False, True), repeat=3)
)


def affine_from_itk(origin: Sequence[float], spacing: Sequence[float], direction: Sequence[float]) -> Affine:
    """Affine of an ITK image.

    origin: position of the first voxel's centre in mm, LPS; spacing: mm along the index axes i, j, k; direction:
    row-major matrix whose columns are the unit vectors of i, j, k in LPS. Two-dimensional images lie in the plane z = 0
    with a 1 mm step; of four dimensions the first three are space. Source: the ITK software guide, section 4.1.4,
    `point = origin + direction * diag(spacing) * index`.
    """
    dimension = len(origin)
    used = min(dimension, 3)
    matrix = np.eye(3)
    matrix[:used, :used] = np.asarray(direction, np.float64).reshape(dimension, dimension)[:used, :used]
    steps = np.ones(3)
    steps[:used] = spacing[:used]
    lps = np.eye(4)
    lps[:3, :3] = matrix * steps
    lps[:used, 3] = origin[:used]
    return _from_xyz(LPS_TO_RAS @ lps)


def affine_from_nifti(affine: NDArray[np.floating]) -> Affine:
    """Affine of a NIfTI image from the one that maps its index (x, y, z, 1) to RAS+ mm."""
    return _from_xyz(np.asarray(affine, np.float64))


def affine_from_dicom(
    orientation: Sequence[float],
    position: Sequence[float],
    step: Sequence[float],
    pixel_spacing: Sequence[float],
) -> Affine:
    """Affine of a DICOM stack.

    orientation: Image Orientation (Patient), the directions of a row and of a column in LPS; position: Image Position
    (Patient) of the first slice, mm LPS; step: vector from one slice to the next, mm LPS; pixel_spacing: mm between
    rows, then mm between columns. Source: DICOM PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1.
    """
    along_row, along_column = np.asarray(orientation, np.float64).reshape(2, 3)
    between_rows, between_columns = pixel_spacing
    lps = np.eye(4)
    lps[:3, 0] = step
    lps[:3, 1] = along_column * between_rows
    lps[:3, 2] = along_row * between_columns
    lps[:3, 3] = position
    return _without_negative_zero(LPS_TO_RAS @ lps)


def pixel_grid_affine() -> Affine:
    """The affine of an image without geometry: 1 mm steps, z to Superior, y to Anterior, x to Right.

    Canonical orientation leaves such an image as it is, so a picture keeps its first row on top. It says nothing about
    the patient; the image's `trusted_geometry` is False.
    """
    return _from_xyz(np.eye(4))


def canonical_orientation(affine: Affine) -> Orientation:
    """The permutation and flips that bring the array axes z, y, x closest to Superior, Anterior, Right.

    Closest means the assignment of array axes to world axes with the largest sum of absolute direction cosines, over
    all six, so that an oblique volume never gives two array axes to one world axis. A tie keeps the present order.
    """
    columns = affine[:3, :3]
    cosines = columns / np.linalg.norm(columns, axis=0)
    by_target = cosines[list(CANONICAL_WORLD_AXES)]
    best, best_score = (0, 1, 2), -1.0
    for axes in permutations(range(3)):
        score = float(sum(abs(by_target[target, axis]) for target, axis in enumerate(axes)))
        if score > best_score + TIE:
            best, best_score = (axes[0], axes[1], axes[2]), score
    z, y, x = (bool(by_target[target, axis] < 0) for target, axis in enumerate(best))
    return Orientation(axes=best, flipped=(z, y, x))


def reorient(array: Array, affine: Affine, orientation: Orientation) -> tuple[Array, Affine]:
    """Permute and flip the last three axes of `(..., z, y, x)`; every voxel keeps its world position.

    Returns a view of the array (itself when nothing changes), and its affine.
    """
    if orientation.is_identity:
        return array, affine.copy()
    leading = array.ndim - 3
    moved = array.transpose(*range(leading), *(leading + axis for axis in orientation.axes))
    backwards = tuple(leading + new for new, flip in enumerate(orientation.flipped) if flip)
    return np.flip(moved, axis=backwards), reorient_affine(affine, array.shape[-3:], orientation)


def reorient_affine(affine: Affine, shape: Sequence[int], orientation: Orientation) -> Affine:
    """The affine after `reorient`; `shape` is (z, y, x) before it."""
    result = affine.copy()
    result[:3, :3] = affine[:3, list(orientation.axes)]
    for new, (old, flip) in enumerate(zip(orientation.axes, orientation.flipped, strict=True)):
        if flip:
            result[:3, 3] += result[:3, new] * (shape[old] - 1)
            result[:3, new] = -result[:3, new]
    return _without_negative_zero(result)


def to_canonical(array: Array, affine: Affine) -> tuple[Array, Affine]:
    """Bring `(..., z, y, x)` to canonical orientation (Superior, Anterior, Right); returns the array and its affine."""
    return reorient(array, affine, canonical_orientation(affine))


def reorient_image(image: Image, orientation: Orientation, *, where: str) -> Image:
    """Reorient an image; a rescale per slice follows its z axis.

    Raises CaseError[geometry.per_slice_rescale] when slices with rescales of their own would no longer lie along z.
    """
    rescale = reorient_rescale(image.rescale, orientation, where=where)
    array, affine = reorient(image.array, image.affine, orientation)
    return replace(image, array=array, affine=affine, rescale=rescale)


def reorient_layer(layer: LabelLayer, orientation: Orientation, *, where: str) -> LabelLayer:
    """Reorient a label layer; errors as in `reorient_image`."""
    rescale = reorient_rescale(layer.rescale, orientation, where=where)
    array, affine = reorient(layer.array, layer.affine, orientation)
    return replace(layer, array=array, affine=affine, rescale=rescale)


def reorient_rescale(rescale: Rescale, orientation: Orientation, *, where: str) -> Rescale:
    """The rescale after reorienting. Raises CaseError[geometry.per_slice_rescale], see `reorient_image`."""
    if not rescale.per_slice:
        return rescale
    if orientation.axes[0] != 0:
        raise CaseError(
            "geometry.per_slice_rescale",
            where=where,
            problem="each slice has its own rescale, and the slices do not lie along the canonical z axis",
            details={"slice axis becomes": "zyx"[orientation.axes.index(0)], "slopes": len(rescale.slope)},
            action="The case is excluded. Convert the source to one rescale for the whole volume.",
        )
    if not orientation.flipped[0]:
        return rescale
    return replace(rescale, slope=rescale.slope[::-1], intercept=rescale.intercept[::-1])


def canonical_volume(volume: Volume) -> Volume:
    """The case with every image and label layer in canonical orientation, and rows with places on an image with it.

    Meshes are in world coordinates already, slides and videos stay as they lie.
    Raises CaseError[geometry.per_slice_rescale], see `reorient_image`.
    """
    where = f"{volume.entry}/{volume.case}"
    orientations = {name: canonical_orientation(image.affine) for name, image in volume.images.items()}
    images = {name: reorient_image(image, orientations[name], where=where) for name, image in volume.images.items()}
    labels = {
        name: reorient_layer(layer, canonical_orientation(layer.affine), where=where)
        for name, layer in volume.labels.items()
    }
    annotations = {
        name: reorient_places(rows, volume.images[rows.image].shape, orientations[rows.image])
        if rows.image in volume.images
        else rows
        for name, rows in volume.annotations.items()
    }
    return replace(volume, images=images, labels=labels, annotations=annotations)


def describe_grid(shape: Sequence[int], affine: Affine) -> str:
    """A grid in words, x first as headers print it: `512x512x104, spacing 0.78x0.78x3 mm, origin (..) RAS mm`."""
    spacing = "x".join(f"{step:.4g}" for step in reversed(spacing_of(affine)))
    origin = ", ".join(f"{value:.2f}" for value in affine[:3, 3])
    return f"{_by_x(shape)}, spacing {spacing} mm, axes {_axis_codes(affine)}, origin ({origin}) mm"


def check_affine(affine: Affine, *, where: str, file: str) -> None:
    """Raises CaseError[geometry.singular] unless the affine is finite and its three axes span space."""
    linear = affine[:3, :3]
    lengths = np.linalg.norm(linear, axis=0)
    if np.isfinite(affine).all() and (lengths > 0).all() and abs(np.linalg.det(linear / lengths)) > 1e-3:
        return
    raise CaseError(
        "geometry.singular",
        where=where,
        problem="the header places the voxels on no three-dimensional grid",
        details={"file": file, "affine": np.array2string(affine, precision=4, separator=", ").replace("\n", "")},
        action="The case is excluded. Repair the header at the source.",
    )


def _axis_codes(affine: Affine) -> str:
    """The directions that x, y and z run to, such as `LPS`."""
    orientation = canonical_orientation(affine)
    codes = [""] * 3
    for target, (axis, flip) in enumerate(zip(orientation.axes, orientation.flipped, strict=True)):
        codes[axis] = ("SI", "AP", "RL")[target][flip]
    return "".join(reversed(codes))


def _by_x(shape: Sequence[int]) -> str:
    return "x".join(str(n) for n in reversed(shape))


def _from_xyz(affine: Affine) -> Affine:
    """From index (x, y, z, 1) to index (z, y, x, 1)."""
    return _without_negative_zero(affine[:, [2, 1, 0, 3]])


def _without_negative_zero(affine: Affine) -> Affine:
    # Equal affines must have equal bytes: they end up in digests.
    return np.ascontiguousarray(affine + 0.0, np.float64)
