"""Smaller copies of an image or a label map: each level halves the axes of the level above that are fine enough.

An image's voxel becomes the mean of its block; integers are rounded to the nearest, halves up. A label's voxel becomes
the commonest value of its block; of equally common ones a foreground value before the background 0, then the smallest.
Thin structures may vanish or thicken: a level is for looking, never for measuring or training. An odd axis is rounded
up: its last block holds the voxels that there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medshard.converters.spooling import IN_MEMORY, Spool, release_pages
from medshard.converters.volume import Array

# An axis is halved while its voxels are at most this much longer than the shortest side that can still be halved: thin
# slices get thicker only once rows and columns have caught up.
LARGEST_ANISOTROPY = 1.5

# Source bytes that are reduced at once.
SLAB_BYTES = 16 << 20

Reduction = Literal["mean", "mode"]
Axes = tuple[bool, bool, bool]


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level below the full one. halved: which of z, y, x differ from the level above; factors: against level 0."""

    halved: Axes
    factors: tuple[int, int, int]


def pyramid_plan(
    shape: Sequence[int], spacing_mm: Sequence[float], levels: int, *, keep_z: bool = False
) -> tuple[Level, ...]:
    """At most `levels` levels for a grid (z, y, x); fewer when nothing is left to halve.

    keep_z: z stays as it is, because its slices have rescales of their own and no mean.
    """
    plan: list[Level] = []
    sizes, steps, factors = list(shape), list(spacing_mm), [1, 1, 1]
    while len(plan) < levels:
        able = [sizes[axis] >= 2 and not (keep_z and axis == 0) for axis in range(3)]
        finest = min((step for step, can in zip(steps, able, strict=True) if can), default=0.0)
        z, y, x = (can and step <= LARGEST_ANISOTROPY * finest for step, can in zip(steps, able, strict=True))
        if not (z or y or x):
            break
        for axis, halve in enumerate((z, y, x)):
            if halve:
                sizes[axis], steps[axis], factors[axis] = -(-sizes[axis] // 2), 2 * steps[axis], 2 * factors[axis]
        plan.append(Level(halved=(z, y, x), factors=(factors[0], factors[1], factors[2])))
    return tuple(plan)


def halved(array: Array, axes: Axes, how: Reduction, spool: Spool = IN_MEMORY) -> Array:
    """Reduce `(..., z, y, x)` by two along the given axes, slab by slab; the dtype stays."""
    shape = [*array.shape[:-3], *(-(-n // 2) if half else n for n, half in zip(array.shape[-3:], axes, strict=True))]
    result = spool.empty(shape, array.dtype)
    reduce = _means if how == "mean" else _modes
    for leading in np.ndindex(*array.shape[:-3]):
        source, target = array[leading], result[leading]
        for wanted, made in _slabs(source, axes):
            target[made] = reduce(_members(_padded(source[wanted], axes), axes))
            release_pages(array)
            release_pages(result)
    return result


def _slabs(source: Array, axes: Axes) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Boxes of (z, y, x) and what becomes of them, along the axis whose steps are longest in memory."""
    along = max(range(3), key=lambda axis: abs(source.strides[axis]))
    step = 2 if axes[along] else 1
    length = source.shape[along]
    thick = max(1, SLAB_BYTES * length // max(1, source.nbytes * step)) * step
    for begin in range(0, length, thick):
        wanted, made = [slice(None)] * 3, [slice(None)] * 3
        wanted[along] = slice(begin, begin + thick)
        made[along] = slice(begin // step, -(-min(begin + thick, length) // step))
        yield tuple(wanted), tuple(made)


def _padded(slab: Array, axes: Axes) -> Array:
    """With the last voxel of an odd axis twice: neither the mean nor the mode of its block changes by that."""
    odd = [(0, n % 2 if half else 0) for n, half in zip(slab.shape, axes, strict=True)]
    return np.pad(slab, odd, mode="edge") if any(after for _, after in odd) else slab


def _members(slab: Array, axes: Axes) -> list[NDArray[Any]]:
    """Views of the first voxel of every block, of the second, and so on."""
    choices = [(slice(0, None, 2), slice(1, None, 2)) if half else (slice(None),) for half in axes]
    return [slab[box] for box in product(*choices)]


def _means(members: list[NDArray[Any]]) -> Array:
    if members[0].dtype.kind == "f":
        total = np.zeros(members[0].shape, np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            for member in members:
                total += member
            return (total / len(members)).astype(members[0].dtype)
    if members[0].dtype.kind == "b":
        return _integer_means([member.astype(np.uint8) for member in members]).astype(bool)
    return _integer_means(members)


def _integer_means(members: list[NDArray[Any]]) -> Array:
    """floor(mean + 1/2), exactly: quotients and remainders by the number of members, a power of two, apart.

    Neither sum leaves the type: the remainders of eight int8 come to 56, doubled and with eight added to 120.
    """
    count = len(members)
    shift = count.bit_length() - 1
    whole: NDArray[Any] = np.zeros(members[0].shape, members[0].dtype)
    rest = whole.copy()
    for member in members:
        whole += member >> shift
        rest += member & (count - 1)
    rest *= 2
    rest += count
    rest >>= shift + 1
    whole += rest
    return whole


def _modes(members: list[NDArray[Any]]) -> Array:
    best = members[0].copy()
    most = np.zeros(best.shape, np.uint8)
    for candidate in members:
        count = np.zeros(best.shape, np.uint8)
        for other in members:
            count += candidate == other
        # As unsigned numbers minus one, the background comes last.
        before = _rank(candidate) < _rank(best)
        better = (count > most) | ((count == most) & before)
        np.copyto(best, candidate, where=better)
        np.copyto(most, count, where=better)
    return best


def _rank(values: NDArray[Any]) -> NDArray[Any]:
    unsigned = np.dtype(f"u{values.dtype.itemsize}")
    rank: NDArray[Any] = np.subtract(values.astype(unsigned), 1, dtype=unsigned)
    return rank
