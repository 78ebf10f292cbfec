"""Boxes, landmarks and outlines of a case on the grid of an item.

Rows name places as indices of the image of the volume that they are on. The index of a sample has the affine of that
grid (`contents`, `grids`), so a place goes to RAS+ millimetres and from there to the item's own index. On a stack of
frames, `places` says which frame each z shows, and of which slice where the image moves in three dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medshard.converters.volume import Affine
from medshard.errors import StoreError
from medshard.loaders.sample_row import SampleRow

Points = NDArray[np.float64]
_DECIMALS = 6
_CORNERS = np.array(list(product((0, 1), repeat=3)), np.bool_)


def placed_rows(
    row: SampleRow, name: str, rows: pa.Table, frames: pa.Table | None, affine: Affine
) -> tuple[NDArray[np.int64], Points]:
    """(numbers of the rows that the item's grid can show, where they lie on it).

    name: of the annotation. frames: the sample's `places`, where it is a stack of frames. affine: of the item.
    Boxes become (n, 6) float64, z, y, x of the low and then of the high edge; points (n, 3). Both may lie outside of
    the item. Rows on a frame or a slice that the sample does not have are left out. The slices of a moving image lie
    apart in the stack, so a box through several of them is one box in each: its number comes as often.
    Raises StoreError[sample.grid] when the sample does not say what grid the places count on.
    """
    numbers, to_index = np.arange(rows.num_rows), np.linalg.inv(affine)
    is_boxes = "z_min" in rows.column_names
    columns = [f"{axis}_{end}" for end in ("min", "max") for axis in "zyx"] if is_boxes else list("zyx")
    places = np.column_stack([np.asarray(rows[column].to_numpy(), np.float64) for column in columns])
    move = _moved_boxes if is_boxes else _moved
    if frames is None or "frame" not in frames.column_names:
        return numbers, move(places, to_index @ _grid_of(row, name))
    if "slice" in frames.column_names:
        places = move(places, np.linalg.inv(row.affine) @ _grid_of(row, name))
        numbers, places = _on_slices(rows, places, frames)
    else:
        numbers, shifts = _on_frames(rows, frames)
        places = places[numbers]
        places[:, 0::3] += shifts[:, None]
    return numbers, move(places, to_index @ row.affine)


def _grid_of(row: SampleRow, name: str) -> Affine:
    """The affine of the grid that an annotation's places are indices of."""
    image = _facts(row, name).get("image")
    grids: Mapping[str, Any] = row.contents.get("grids", {})
    if image is None and len(grids) == 1:
        (image,) = grids
    if image is None or image not in grids:
        raise StoreError(
            "sample.grid",
            where=row.name,
            problem=f"nothing says which grid the places of {name!r} count on",
            details={"image": image, "grids": ", ".join(grids) or "none"},
            action="Build the shards stage again with this medshard. Tiles of slides have no such grid: read the rows "
            "and the places of the tiles with `read_rows`.",
        )
    affine: Affine = np.asarray(grids[image]["affine"], np.float64).reshape(4, 4)
    return affine


def _facts(row: SampleRow, name: str) -> Mapping[str, Any]:
    facts: Mapping[str, Any] = row.contents.get("annotations", {}).get(name, {})
    return facts


def _on_frames(rows: pa.Table, frames: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(rows on frames that are there, z of their frame): the first, where a frame occurs in several clips."""
    z_of: dict[int, int] = {}
    for z, frame in enumerate(frames["frame"].to_pylist()):
        z_of.setdefault(frame, z)
    found = [
        (number, z_of[frame or 0]) for number, frame in enumerate(rows["frame"].to_pylist()) if (frame or 0) in z_of
    ]
    table = np.array(found, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1].astype(np.float64)


def _on_slices(rows: pa.Table, places: Points, frames: pa.Table) -> tuple[NDArray[np.int64], Points]:
    """(numbers of rows, their places in the stack). places: (slice, y, x), on the sample's own pixels."""
    shown = zip(frames["slice"].to_pylist(), frames["frame"].to_pylist(), strict=True)
    z_of = {key: z for z, key in enumerate(shown)}
    numbers: list[int] = []
    moved: list[Points] = []
    for number, frame in enumerate(rows["frame"].to_pylist()):
        place = places[number]
        for level in _slices_between(float(place[0]), float(place[-3])):
            z = z_of.get((level, frame or 0))
            if z is not None:
                there = place.copy()
                there[0::3] = np.clip(place[0::3], level - 0.5, level + 0.5) + (z - level)
                numbers.append(number)
                moved.append(there)
    return np.array(numbers, np.int64), np.array(moved, np.float64).reshape(-1, places.shape[1])


def _slices_between(low: float, high: float) -> range:
    """The slices that [low, high] has a share in; their edges lie half a slice before and behind their number."""
    # Edges went through millimetres, and one that is a hair off is no share.
    first = math.floor(round(low + 0.5, _DECIMALS))
    return range(first, max(first, math.ceil(round(high - 0.5, _DECIMALS))) + 1)


def _moved(points: Points, matrix: Affine) -> Points:
    # Written out, since BLAS may round differently from machine to machine.
    moved = [points[:, 0] * row[0] + points[:, 1] * row[1] + points[:, 2] * row[2] + row[3] for row in matrix[:3]]
    return np.column_stack(moved)


def _moved_boxes(boxes: Points, matrix: Affine) -> Points:
    """The boxes around the eight corners of each, where they come to lie."""
    low, high = boxes[:, :3], boxes[:, 3:]
    corners = np.stack([_moved(np.where(corner, high, low), matrix) for corner in _CORNERS])
    return np.hstack([corners.min(axis=0), corners.max(axis=0)])
