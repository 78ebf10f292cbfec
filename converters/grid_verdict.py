"""The verdict on two voxel grids, and a label brought onto its image's grid where that is provable.

Distances are in voxels of the first grid, along its axes. Only headers are compared: an array that was turned under an
unchanged header looks right here (docs/geometry.md says what cannot be seen).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from medshard.converters.geometry import (
    ALL_ORIENTATIONS,
    describe_grid,
    reorient_affine,
    reorient_layer,
)
from medshard.converters.grid_explanations import explain_header, explain_mismatch
from medshard.converters.orientation import Orientation
from medshard.converters.volume import Affine, LabelLayer, spacing_of
from medshard.errors import CaseError

# Largest distance between corresponding corners, in voxels: below SAME_VOXELS two grids are one. Below ROUNDING_VOXELS
# the difference is how a header was written: a spacing of 0.703125 mm with four decimals moves the far corner of 512
# columns by 0.018 voxel, while the smallest real fault, half a voxel of pixel-corner convention, is 25 times the limit.
SAME_VOXELS = 1e-4
ROUNDING_VOXELS = 0.02

# In a long volume the same rounding moves the far corner further: an error grows with the distance from the place where
# the headers agree. Three decimals of direction cosines and of millimetres explain this much per step; float32
# quaternions lose up to 3.5e-4 of a cosine near half a turn. From half a voxel on this is too little to go by, and from
# two on even all twelve numbers of a rounded copy are.
ROUNDED_COSINE = 6e-4
ROUNDED_STEP_MM = 6e-4
FURTHEST_ROUNDING_VOXELS = 0.5
FURTHEST_COPY_VOXELS = 2.0

VerdictKind = Literal["same", "rounding", "header_only", "flip", "shift", "mismatch"]
AS_THEY_ARE = Orientation()


class Grid(Protocol):
    """What a header knows of an image and the image itself both have: enough to compare grids."""

    @property
    def shape(self) -> tuple[int, int, int]: ...

    @property
    def affine(self) -> Affine: ...

    @property
    def trusted_geometry(self) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class GridVerdict:
    """How grid b lies relative to grid a.

    kind: `same`; `rounding`, a difference that the decimals of a header explain; `flip`, the same grid with its axes
        permuted or flipped; `shift`, equal shape, spacing and orientation with another origin; `header_only`, equal
        shape with affines that rounding does not explain; `mismatch`, anything else.
    evidence: one sentence.
    orientation: what turns b into a; of a crop, what turns it parallel to a; otherwise the identity.
    provable: whether the headers alone prove where each voxel of b lies in a.
    offset: the voxel (z, y, x) of a on which the first voxel of b, turned, lies: where b is a part of a's grid.
    """

    kind: VerdictKind
    evidence: str
    orientation: Orientation = field(default_factory=Orientation)
    provable: bool = False
    offset: tuple[int, int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class PlacedLabel:
    """A label layer on its image's grid. verdict: None where a side states no geometry. repair: what was mended."""

    layer: LabelLayer
    verdict: GridVerdict | None = None
    repair: str | None = None


def compare_grids(shape_a: Sequence[int], affine_a: Affine, shape_b: Sequence[int], affine_b: Affine) -> GridVerdict:
    """Compare two voxel grids, each a shape (z, y, x) and an affine."""
    equal_shapes = tuple(shape_a) == tuple(shape_b)
    if not (_spans_space(affine_a) and _spans_space(affine_b)):
        kind: VerdictKind = "header_only" if equal_shapes else "mismatch"
        return GridVerdict(kind=kind, evidence="one of the headers places its voxels on no three-dimensional grid")
    for orientation in ALL_ORIENTATIONS:
        if tuple(shape_b[axis] for axis in orientation.axes) != tuple(shape_a):
            continue
        agreement = _agreement(shape_a, affine_a, reorient_affine(affine_b, shape_b, orientation))
        if agreement is not None:
            return _same_place(orientation, *agreement)
    if not equal_shapes:
        return _other_shape(shape_a, affine_a, shape_b, affine_b)
    return _shifted(shape_a, affine_a, affine_b) or _other_header(shape_a, affine_a, affine_b)


def match_label_to_image(
    image: Grid,
    layer: LabelLayer,
    *,
    where: str,
    trusted_geometry: bool = True,
    repair_header: bool = False,
) -> PlacedLabel:
    """Bring a label layer onto its image's grid where that is provable, and say so.

    trusted_geometry: False when the label's file states no geometry (a PNG). Where either side states none, an equal
        shape is all that can be asked, and the label takes the image's affine.
    repair_header: True when the entry declares under `known_defects` that its labels carry a wrong header over the
        right array: an array of the image's shape then takes the image's affine as it lies, and a crop is filled up
        with background.
    Raises CaseError[geometry.mismatch | geometry.shift | geometry.header_only].
    """
    if image.trusted_geometry and trusted_geometry:
        verdict = compare_grids(image.shape, image.affine, layer.shape, layer.affine)
    elif image.shape == layer.shape:
        return PlacedLabel(layer=replace(layer, affine=image.affine.copy()))
    else:
        evidence = f"shape {_by_x(layer.shape)} is not {_by_x(image.shape)}, and one side states no geometry"
        verdict = GridVerdict(kind="mismatch", evidence=evidence)
    placed = _placed(image, layer, verdict, repair_header=repair_header, where=where)
    if placed is not None:
        return placed
    raise CaseError(
        f"geometry.{verdict.kind}",
        where=where,
        problem="image and mask lie on different grids",
        details={
            "image": describe_grid(image.shape, image.affine),
            "mask": describe_grid(layer.shape, layer.affine),
            "evidence": verdict.evidence,
        },
        action="The case is excluded. Repair the source, or list the case under `known_defects` in the catalog.",
    )


def _placed(
    image: Grid, layer: LabelLayer, verdict: GridVerdict, *, repair_header: bool, where: str
) -> PlacedLabel | None:
    if verdict.kind == "same":
        # To the last bit: near 45 degrees two affines that differ by less can be canonical in different axis orders.
        return PlacedLabel(layer=replace(layer, affine=image.affine.copy()), verdict=verdict)
    declared = repair_header and image.shape == layer.shape and verdict.kind != "rounding"
    if verdict.kind == "flip" and not declared:
        layer = reorient_layer(layer, verdict.orientation, where=where)
        done = "label reordered to the image's grid"
    elif declared:
        done = "label header replaced by the image's, a known defect of the entry"
    elif verdict.provable:
        done = "label header adopted from the image"
    elif repair_header and verdict.offset is not None:
        layer = _filled_up(reorient_layer(layer, verdict.orientation, where=where), image, verdict.offset)
        done = "label filled up with background, a known defect of the entry"
    else:
        return None
    adopted = replace(layer, affine=image.affine.copy())
    return PlacedLabel(layer=adopted, verdict=verdict, repair=f"{done}: {verdict.evidence}")


def _spans_space(affine: Affine) -> bool:
    linear = affine[:3, :3]
    lengths = np.linalg.norm(linear, axis=0)
    return bool(np.isfinite(affine).all() and (lengths > 0).all() and abs(np.linalg.det(linear / lengths)) > 1e-6)


def _same_place(orientation: Orientation, kind: VerdictKind, evidence: str) -> GridVerdict:
    if orientation.is_identity:
        return GridVerdict(kind=kind, evidence=evidence, provable=True)
    turned = f"equal after reordering the axes: {_describe(orientation)}"
    if kind == "rounding":
        turned = f"{turned}; then {evidence}"
    return GridVerdict(kind="flip", evidence=turned, orientation=orientation, provable=True)


def _agreement(shape: Sequence[int], affine_a: Affine, affine_b: Affine) -> tuple[VerdictKind, str] | None:
    """Whether two grids of one shape are the same or differ by rounding only; None where they differ by more."""
    distances = _distances(shape, affine_a, affine_b)
    furthest, nearest = float(distances.max()), float(distances.min())
    if furthest <= SAME_VOXELS:
        return "same", "the grids are equal"
    if furthest <= ROUNDING_VOXELS:
        return "rounding", f"the corners differ by at most {furthest:.4f} voxel"
    if nearest > ROUNDING_VOXELS:
        return None
    apart = f"the far corner differs by {furthest:.4f} voxel"
    if furthest < FURTHEST_ROUNDING_VOXELS and _few_decimals(affine_a, affine_b):
        return "rounding", f"{apart}, which comes of direction cosines and spacings with few decimals"
    if furthest < FURTHEST_COPY_VOXELS and (
        _is_rounded_copy(affine_a, affine_b) or _is_rounded_copy(affine_b, affine_a)
    ):
        return "rounding", f"{apart}, because one header is the other with three decimals"
    return None


def _few_decimals(affine_a: Affine, affine_b: Affine) -> bool:
    linear_a, linear_b = affine_a[:3, :3], affine_b[:3, :3]
    if np.abs(linear_b - linear_a).max() <= ROUNDED_STEP_MM:
        return True
    steps_a, steps_b = np.array(spacing_of(affine_a)), np.array(spacing_of(affine_b))
    cosines_apart = np.abs(linear_b / steps_b - linear_a / steps_a).max()
    return bool(cosines_apart <= ROUNDED_COSINE and np.abs(steps_b - steps_a).max() <= ROUNDED_STEP_MM)


def _is_rounded_copy(affine: Affine, copy: Affine) -> bool:
    """Whether all numbers of a header are those of another one with three decimals, up to float32."""
    return bool(np.allclose(np.round(affine, 3), copy, rtol=3e-7, atol=1e-7))


def _distances(shape: Sequence[int], affine_a: Affine, affine_b: Affine) -> NDArray[np.float64]:
    """Distance (9,) between the places of a voxel in a and in b, largest along any axis: of the corners, the centre.

    An axis with one voxel counts as if it had two, or a wrong step along it would go unseen.
    """
    ends = [max(n - 1.0, 1.0) for n in shape]
    places = np.array([(*corner, 1.0) for corner in product(*((0.0, end) for end in ends))])
    return _apart(np.vstack([places, places.mean(axis=0)]), affine_a, affine_b)


def _apart(places: NDArray[np.float64], affine_a: Affine, affine_b: Affine) -> NDArray[np.float64]:
    apart_mm = (places @ (affine_b - affine_a).T)[:, :3]
    distances: NDArray[np.float64] = np.abs(np.linalg.solve(affine_a[:3, :3], apart_mm.T)).max(axis=0)
    return distances


def _shifted(shape: Sequence[int], affine_a: Affine, affine_b: Affine) -> GridVerdict | None:
    moved_back = affine_b.copy()
    moved_back[:3, 3] = affine_a[:3, 3]
    if _agreement(shape, affine_a, moved_back) is None:
        return None
    shift_mm = affine_b[:3, 3] - affine_a[:3, 3]
    z, y, x = np.linalg.solve(affine_a[:3, :3], shift_mm)
    evidence = (
        f"the origin is {np.linalg.norm(shift_mm):.3f} mm away ({x:+.2f}, {y:+.2f}, {z:+.2f} voxels along x, y, z)"
    )
    return GridVerdict(kind="shift", evidence=evidence)


def _other_header(shape: Sequence[int], affine_a: Affine, affine_b: Affine) -> GridVerdict:
    corners = np.array([(*corner, 1.0) for corner in product(*((0.0, n - 1.0) for n in shape))])
    furthest = float(_apart(corners, affine_a, affine_b).max())
    if furthest <= ROUNDING_VOXELS:
        evidence = "all voxels coincide; the headers disagree only about the step along an axis with one voxel"
        return GridVerdict(kind="header_only", evidence=evidence, provable=True)

    def agrees(candidate: Affine) -> bool:
        return _agreement(shape, affine_a, candidate) is not None

    evidence = f"the shapes are equal, yet the corners are up to {furthest:.2f} voxels apart: "
    return GridVerdict(kind="header_only", evidence=evidence + explain_header(affine_a, affine_b, agrees))


def _other_shape(shape_a: Sequence[int], affine_a: Affine, shape_b: Sequence[int], affine_b: Affine) -> GridVerdict:
    evidence = f"shape {_by_x(shape_b)} is not {_by_x(shape_a)}, and no reordering of axes makes the grids equal"
    for orientation in ALL_ORIENTATIONS:
        turned_shape = [shape_b[axis] for axis in orientation.axes]
        turned = reorient_affine(affine_b, shape_b, orientation)
        parallel = affine_a.copy()
        parallel[:3, 3] = turned[:3, 3]
        if _agreement(turned_shape, parallel, turned) is None:
            continue
        first = np.asarray(np.linalg.solve(affine_a[:3, :3], turned[:3, 3] - affine_a[:3, 3]), np.float64)
        whole = np.rint(first)
        on_raster = bool((np.abs(first - whole) <= ROUNDING_VOXELS).all())
        inside = bool((whole >= 0).all() and (whole + turned_shape <= np.asarray(shape_a)).all())
        reason = explain_mismatch(shape_a, turned_shape, first, on_raster=on_raster, inside=inside)
        offset = (int(whole[0]), int(whole[1]), int(whole[2])) if on_raster and inside else None
        return GridVerdict(kind="mismatch", evidence=f"{evidence}; {reason}", orientation=orientation, offset=offset)
    if sorted(shape_a) == sorted(shape_b):
        reason = "the shape is the image's in another order of axes, which the header does not say"
    elif _same_box(shape_a, affine_a, shape_b, affine_b):
        reason = "both fill the same box in space: the mask was resampled"
    else:
        reason = "their voxels differ as well"
    return GridVerdict(kind="mismatch", evidence=f"{evidence}; {reason}")


def _same_box(shape_a: Sequence[int], affine_a: Affine, shape_b: Sequence[int], affine_b: Affine) -> bool:
    """Whether two grids fill one box, to half of the larger voxel, whatever the order of their axes."""
    tolerance_mm = max(*spacing_of(affine_a), *spacing_of(affine_b)) / 2 * np.sqrt(3.0) + 1e-3
    boxes = []
    for shape, affine in ((shape_a, affine_a), (shape_b, affine_b)):
        corners = np.array([(*corner, 1.0) for corner in product(*((-0.5, n - 0.5) for n in shape))])
        boxes.append((corners @ affine.T)[:, :3])
    apart = np.linalg.norm(boxes[0][:, None] - boxes[1][None], axis=2)
    return bool((apart.min(axis=0) <= tolerance_mm).all() and (apart.min(axis=1) <= tolerance_mm).all())


def _filled_up(layer: LabelLayer, image: Grid, offset: tuple[int, int, int]) -> LabelLayer:
    array = np.zeros((layer.array.shape[0], *image.shape), layer.array.dtype)
    part = tuple(slice(first, first + n) for first, n in zip(offset, layer.shape, strict=True))
    array[:, *part] = layer.array
    return replace(layer, array=array)


def _describe(orientation: Orientation) -> str:
    order = ", ".join("zyx"[axis] for axis in orientation.axes)
    flipped = ", ".join("zyx"[new] for new in range(3) if orientation.flipped[new])
    return f"(z, y, x) taken from ({order})" + (f", then {flipped} flipped" if flipped else "")


def _by_x(shape: Sequence[int]) -> str:
    return "x".join(str(n) for n in reversed(shape))
