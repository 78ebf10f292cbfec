"""The lowest and highest value within a window along one axis, by whole-array steps that double the window."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=NDArray[Any])


def lowest_in_window(values: T, width: int, axis: int) -> T:
    """Of `width` (odd) values around each, fewer at the ends: what a grey erosion by a line gives."""
    return _by_doubling(values, width, axis, np.minimum)


def highest_in_window(values: T, width: int, axis: int) -> T:
    """The same for the highest; of bool it is a dilation by a line."""
    return _by_doubling(values, width, axis, np.maximum)


def _by_doubling(values: T, width: int, axis: int, pick: Any) -> T:
    n, reach = values.shape[axis], width // 2
    # Repeating the end values adds nothing to a window that is cut off at the end: they lie in it already.
    padding = [(0, 0)] * values.ndim
    padding[axis] = (reach, reach)
    found = np.pad(values, padding, mode="edge")
    reached = 1
    while reached < width:
        step = min(reached, width - reached)
        size = found.shape[axis] - step
        found = pick(_part(found, axis, 0, size), _part(found, axis, step, size))
        reached += step
    return _part(found, axis, 0, n)


def _part(values: Any, axis: int, start: int, size: int) -> Any:
    return values[(slice(None),) * axis + (slice(start, start + size),)]
