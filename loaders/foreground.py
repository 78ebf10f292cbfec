"""A labelled voxel of a sample, drawn in constant time: which class, and which of its listed voxels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from medshard.loaders.sample_row import NO_CLASSES, SampleRow
from medshard.loaders.stream import pick
from medshard.loaders.window_reading import array_of, read_boxes

if TYPE_CHECKING:
    from medshard.loaders.shard_reader import SampleIndex

SETS_KEPT = 1024

LabelledVoxel = tuple[int, int, int, int]
"""(class value, z, y, x)"""


@dataclass(frozen=True, kw_only=True)
class VoxelDraw:
    """Which voxel is wanted.

    values: the stored class values that count; those of them that the sample has are equally likely.
    class_fraction, voxel_fraction: in [0, 1): which of these classes by ascending value, and which of its rows.
    """

    row: SampleRow
    layer: str
    values: Collection[int]
    class_fraction: float
    voxel_fraction: float


def draw_foreground(asked: Sequence[tuple[SampleIndex, VoxelDraw]]) -> list[LabelledVoxel | None]:
    """A voxel for each draw, None where the sample has none of the values; one round trip for all of a remote store.

    Of each table one chunk is read. Raises StoreError as `read_windows` does.
    """
    numbers = [_row_of(draw) for _, draw in asked]
    boxes = [
        index.box(draw.row, array_of(draw.row, f"foreground/{draw.layer}"), (number, 0), (number + 1, 4))
        for (index, draw), number in zip(asked, numbers, strict=True)
        if number is not None
    ]
    rows = iter(read_boxes(boxes))
    return [None if number is None else _voxel(next(rows)[0].tolist()) for number in numbers]


def _row_of(draw: VoxelDraw) -> int | None:
    """The row of the layer's foreground table that is meant."""
    label = draw.row.labels.get(draw.layer)
    rows = label.foreground if label is not None else NO_CLASSES
    positions = _positions(rows.class_values.tobytes(), tuple(draw.values))
    if not positions:
        return None
    first, count = rows.place_of(positions[pick(draw.class_fraction, len(positions))])
    return first + pick(draw.voxel_fraction, count)


@lru_cache(SETS_KEPT)
def _positions(class_values: bytes, wanted: tuple[int, ...]) -> list[int]:
    """Which of a table's classes are wanted. Cases have few different sets of classes, and draws ask for one again."""
    chosen = frozenset(wanted)
    return [
        position for position, value in enumerate(np.frombuffer(class_values, np.int64).tolist()) if value in chosen
    ]


def _voxel(numbers: list[int]) -> LabelledVoxel:
    value, z, y, x = numbers
    return value, z, y, x
