"""What is asked of a shard reader: a box of one array of one sample, and how its numbers are scaled on the way."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import DTypeLike

from medshard.converters.plan import Shape
from medshard.loaders.sample_row import SampleRow


@dataclass(frozen=True, kw_only=True)
class Scale:
    """`(min(max(slope * stored + intercept, low), high) - mean) / std`, each step in float32, in this order.

    low, high: None without a limit. Steps that change nothing (slope 1 and intercept 0; mean 0 and std 1) are left out.
    """

    slope: float = 1.0
    intercept: float = 0.0
    low: float | None = None
    high: float | None = None
    mean: float = 0.0
    std: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Window:
    """A box of one array.

    name: `image` or `labels/<layer>`, or any other array that has the axes (c, z, y, x).
    start, size: (z, y, x) in voxels; the box may reach beyond the array.
    pad_value: of voxels outside of the array, as it stands in the result (after scaling).
    dtype: of the result; by default as stored, and float32 where there is a scale.
    """

    row: SampleRow
    name: str
    start: Shape
    size: Shape
    pad_value: float = 0.0
    dtype: DTypeLike | None = None
    scale: Scale | None = None
