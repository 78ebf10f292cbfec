"""Items of two axes: slices with their neighbours, tiles of slides, clips and frames of videos.

Where a plan stacks pictures, z counts tiles or frames: a tile and a frame are slices across z.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medshard.converters.plan import Shape
from medshard.converters.volume import Array
from medshard.errors import CatalogError
from medshard.loaders.needs import IMAGES, Need
from medshard.loaders.stream import pick, place_window
from medshard.loaders.views.view import (
    Box,
    Chosen,
    Item,
    Part,
    checked_count,
    checked_size,
    of_boxes,
    place,
    shifted,
)

Axis = Literal[0, 1, 2]
Plane = tuple[int, int]


@dataclass(frozen=True)
class SliceView:
    """A slice across one axis, with as many neighbours on each side as asked.

    axis: 0 (z, axial in canonical orientation), 1 (y, coronal) or 2 (x, sagittal). size: (rows, columns), the two other
    axes in their order; None for all of the slice. Beyond the ends of the volume neighbours show what is outside.

    image (c * (2 * neighbours + 1), rows, columns): all slices of the first channel, then of the next;
    label (1, rows, columns) of the middle one, slice_number, affine (4, 4): index (slice, row, column, 1) -> RAS+ mm,
    with the middle slice at 0.
    """

    axis: Axis = 0
    size: Plane | None = None
    neighbours: int = 0

    def __post_init__(self) -> None:
        checked_count(self.neighbours + 1, "neighbours + 1", "SliceView")
        checked_count(3 - self.axis, "3 - axis", "SliceView")
        if self.size is not None:
            object.__setattr__(self, "size", checked_size(self.size, 2, "SliceView"))

    @property
    def needs(self) -> tuple[Need, ...]:
        return IMAGES

    def boxes(self, chosen: Chosen, /) -> list[Box]:
        plane = self._slab(1, _others(chosen.row.shape, self.axis) if self.size is None else self.size)
        start = place(chosen, plane)
        if self.neighbours == 0:
            return [Box(start=start, size=plane)]
        first = _replaced(start, self.axis, start[self.axis] - self.neighbours)
        slab = _replaced(plane, self.axis, 2 * self.neighbours + 1)
        return [Box(start=first, size=slab, label=False), Box(start=start, size=plane, image=False)]

    def item(self, chosen: Chosen, parts: Sequence[Part], /) -> Item:
        middle = parts[-1].box.start
        label = parts[-1].label
        image = parts[0].image
        affine = shifted(chosen.row.affine, middle)
        order = [self.axis, *(axis for axis in range(3) if axis != self.axis)]
        return {
            **of_boxes(
                None if image is None else _flat(image, self.axis), None if label is None else _flat(label, self.axis)
            ),
            "slice_number": middle[self.axis],
            "affine": affine[:, [*order, 3]],
        }

    def items_in(self, shapes: NDArray[np.int64]) -> int:
        size = self._slab(1, self.size or (1, 1))
        tiles = -(-shapes // np.asarray(size))
        if self.size is None:
            return int(tiles[:, self.axis].sum())
        return int(np.prod(tiles, axis=1).sum())

    def _slab(self, thickness: int, plane: Plane) -> Shape:
        rows, columns = plane
        shapes: tuple[Shape, ...] = ((thickness, rows, columns), (rows, thickness, columns), (rows, columns, thickness))
        return shapes[self.axis]


@dataclass(frozen=True)
class TilesView:
    """A bag of `tiles` tiles of one slide (slices across z), no tile twice as long as the slide has enough.

    size: (rows, columns) of a crop at one place of all of them; None for whole tiles. With foreground, the first tile
    shows it.

    image (tiles, c, rows, columns), label (tiles, 1, rows, columns), tiles int64 (tiles,): their places along z, whose
    rows in `places` say where on the slide they lie.
    """

    tiles: int = 16
    size: Plane | None = None

    def __post_init__(self) -> None:
        checked_count(self.tiles, "tiles", "TilesView")
        if self.size is not None:
            object.__setattr__(self, "size", checked_size(self.size, 2, "TilesView"))

    @property
    def needs(self) -> tuple[Need, ...]:
        return IMAGES

    def boxes(self, chosen: Chosen, /) -> list[Box]:
        depth, height, width = chosen.row.shape
        rows, columns = self.size or (height, width)
        first, top, left = place(chosen, (1, rows, columns))
        others = chosen.drawn.fractions(self.tiles - 1).tolist()
        numbers = _without_repeats(first, depth, others)
        return [Box(start=(number, top, left), size=(1, rows, columns)) for number in numbers]

    def item(self, _chosen: Chosen, parts: Sequence[Part], /) -> Item:
        images = [part.image[:, 0] for part in parts if part.image is not None]
        labels = [part.label[:, 0] for part in parts if part.label is not None]
        return {
            **of_boxes(np.stack(images) if images else None, np.stack(labels) if labels else None),
            "tiles": np.array([part.box.start[0] for part in parts], np.int64),
        }

    def items_in(self, shapes: NDArray[np.int64]) -> int:
        return int((-(-shapes[:, 0] // self.tiles)).sum())


@dataclass(frozen=True)
class ClipView:
    """`frames` frames of a video, every `stride`-th, from a place that the draw chooses; never across two clips.

    size: (rows, columns) of a crop at one place of all frames; None for whole frames. A video that is too short lies in
    the middle, with what is outside before and behind it.

    image (c, frames, rows, columns), label (1, frames, rows, columns), frames int64 (frames,): their places along z;
    negative, or beyond the video's length, for those that are outside.
    """

    frames: int = 16
    stride: int = 1
    size: Plane | None = None

    def __post_init__(self) -> None:
        checked_count(self.frames, "frames", "ClipView")
        checked_count(self.stride, "stride", "ClipView")
        if self.size is not None:
            object.__setattr__(self, "size", checked_size(self.size, 2, "ClipView"))

    @property
    def needs(self) -> tuple[Need, ...]:
        return IMAGES

    def boxes(self, chosen: Chosen, /) -> list[Box]:
        _, height, width = chosen.row.shape
        rows, columns = self.size or (height, width)
        first, top, left = self._start(chosen, (rows, columns))
        if self.stride == 1:
            return [Box(start=(first, top, left), size=(self.frames, rows, columns))]
        return [
            Box(start=(first + number * self.stride, top, left), size=(1, rows, columns))
            for number in range(self.frames)
        ]

    def _start(self, chosen: Chosen, plane: Plane) -> Shape:
        depth, height, width = chosen.row.shape
        span = (self.frames - 1) * self.stride + 1
        clips = int(chosen.row.contents.get("places", {}).get("clips", 1))
        if clips == 1:
            return place(chosen, (span, *plane))
        length = depth // clips
        if span > length:
            raise CatalogError(
                "dataset.view",
                where=chosen.row.name,
                problem="the plan cut shorter clips than the view asks for",
                details={"frames of a clip": length, "frames asked for": span},
                action="Ask for fewer frames or a smaller stride, or build a plan of longer clips.",
            )
        voxel = chosen.voxel
        clip = pick(float(chosen.drawn.fractions(1)[0]), clips) if voxel is None else voxel[0] // length
        within = None if voxel is None else (voxel[0] - clip * length, *voxel[1:])
        first, top, left = place_window(chosen.drawn, (length, height, width), (span, *plane), within)
        return clip * length + first, top, left

    def item(self, _chosen: Chosen, parts: Sequence[Part], /) -> Item:
        first = parts[0].box.start[0]
        return {
            **of_boxes(_joined([part.image for part in parts]), _joined([part.label for part in parts])),
            "frames": np.arange(self.frames, dtype=np.int64) * self.stride + first,
        }

    def items_in(self, shapes: NDArray[np.int64]) -> int:
        return int((-(-shapes[:, 0] // (self.frames * self.stride))).sum())


def _flat(array: Array, axis: Axis) -> Array:
    """(c, z, y, x) -> (c * slices, rows, columns)."""
    moved = np.moveaxis(array, 1 + axis, 1)
    return np.ascontiguousarray(moved).reshape(-1, *moved.shape[2:])


def _joined(arrays: Sequence[Array | None]) -> Array | None:
    found = [array for array in arrays if array is not None]
    if not found:
        return None
    return found[0] if len(found) == 1 else np.concatenate(found, axis=1)


def _others(shape: Shape, axis: Axis) -> Plane:
    rows, columns = (extent for number, extent in enumerate(shape) if number != axis)
    return rows, columns


def _replaced(shape: Shape, axis: Axis, value: int) -> Shape:
    z, y, x = (value if number == axis else extent for number, extent in enumerate(shape))
    return z, y, x


def _without_repeats(first: int, depth: int, fractions: Sequence[float]) -> list[int]:
    """`first` and one number below `depth` for each fraction, none twice until all were taken."""
    chosen = [first]
    left: dict[int, int] = {}  # a shuffle of range(depth) that keeps only the places it has touched

    def take(place: int, last: int) -> int:
        number = left.get(place, place)
        left[place] = left.get(last, last)
        return number

    take(first, depth - 1)
    remaining = depth - 1
    for fraction in fractions:
        if remaining == 0:
            left.clear()
            remaining = depth
        chosen.append(take(pick(fraction, remaining), remaining - 1))
        remaining -= 1
    return chosen
