"""How often each value occurs: exact statistics without sorting a volume of integers, and quantiles worth keeping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medshard.converters.array_types import Array
from medshard.converters.fingerprint.numbers import Facts, rounded
from medshard.converters.volume import Rescale

Values = NDArray[np.float32]
Counts = NDArray[np.int64]

PERCENTILES = (0.5, 50.0, 99.5)
# Voxels that are counted at once, and the largest table of counts.
SLAB_VOXELS = 1 << 22
MOST_COUNTERS = 1 << 25


@dataclass(frozen=True, kw_only=True)
class ValueTable:
    """values: ascending, finite, physical. counts: how often each occurs, more than 0; None where each does once."""

    values: Values
    counts: Counts | None = None

    @property
    def size(self) -> int:
        return int(self.counts.sum()) if self.counts is not None else int(self.values.size)

    @cached_property
    def below(self) -> Counts:
        """How many voxels lie at or before each value."""
        return np.cumsum(_counts(self), dtype=np.int64)

    def at(self, ranks: NDArray[np.int64]) -> Values:
        """The values at ranks 0..size - 1."""
        if self.counts is None:
            return self.values[ranks]
        return self.values[np.searchsorted(self.below, ranks, side="right")]

    def percentiles(self, percentiles: Sequence[float] = PERCENTILES) -> list[float]:
        """Linear between the two nearest ranks, as numpy has it."""
        places = np.asarray(percentiles, np.float64) / 100.0 * (self.size - 1)
        low = np.floor(places).astype(np.int64)
        first = self.at(low).astype(np.float64)
        second = self.at(np.minimum(low + 1, self.size - 1)).astype(np.float64)
        return [float(value) for value in first + (places - low) * (second - first)]

    def mean_and_std(self) -> tuple[float, float]:
        if self.counts is None:
            return float(self.values.mean(dtype=np.float64)), float(self.values.std(dtype=np.float64))
        values = self.values.astype(np.float64)
        mean = float((values * self.counts).sum() / self.size)
        return mean, float(np.sqrt((np.square(values - mean) * self.counts).sum() / self.size))

    def histogram(self, low: float, high: float, bins: int) -> list[int]:
        """Counts in equal bins from low to high; what lies outside goes to the end bins."""
        edges = np.linspace(low, high, bins + 1)[1:-1]
        places = np.searchsorted(self.values, edges, side="left")
        if self.counts is not None:
            places = np.concatenate([[0], self.below])[places]
        return [int(count) for count in np.diff(np.concatenate([[0], places, [self.size]]))]

    def where(self, chosen: NDArray[np.bool_]) -> ValueTable:
        return ValueTable(values=self.values[chosen], counts=None if self.counts is None else self.counts[chosen])


def tables_by_group(array: Array, rescale: Rescale, groups: Array | None, count: int) -> list[ValueTable]:
    """The finite physical values of `(..., z, y, x)` in each of the groups 0..count - 1 that `groups` (z, y, x) says;
    without groups all of them, in one.

    Small integers are counted in one pass, whatever the number of groups; others are sorted group by group.
    """
    if array.size and array.dtype.kind in "iub" and array.dtype.itemsize <= 2 and not rescale.per_slice:
        low, high = int(array.min()), int(array.max())
        if count * (high - low + 1) <= MOST_COUNTERS:
            stored = np.arange(low, high + 1)
            return _counted(array, rescale, groups, count, stored)
    values = rescale.apply(array)
    if groups is None:
        return [ValueTable(values=_sorted(values))]
    return [ValueTable(values=_sorted(values[..., groups == group])) for group in range(count)]


def together(tables: Sequence[ValueTable]) -> ValueTable:
    """One table of what lies in several of one image."""
    filled = [table for table in tables if table.values.size]
    if len(filled) == 1:
        return filled[0]
    if not filled:
        return ValueTable(values=np.empty(0, np.float32))
    values = np.concatenate([table.values for table in filled])
    if all(table.counts is None for table in filled):
        return ValueTable(values=np.sort(values))
    distinct, inverse = np.unique(values, return_inverse=True)
    counts = np.zeros(len(distinct), np.int64)
    np.add.at(counts, inverse, np.concatenate([_counts(table) for table in filled]))
    return ValueTable(values=distinct, counts=counts)


def kept_values(table: ValueTable, most: int) -> Facts:
    """What is kept of a distribution: `quantiles`, with `counts` (exact, where there are no more than `most` values) or
    with `cells`, of which `cell_counts` says how many voxels each quantile stands for.
    """
    if table.counts is not None:
        distinct, counts = table.values, table.counts
    else:
        starts = np.flatnonzero(np.append(True, table.values[1:] != table.values[:-1]))
        distinct, counts = table.values[starts], np.diff(np.append(starts, table.values.size))
    if len(distinct) <= most:
        return {"quantiles": [rounded(float(value)) for value in distinct], "counts": counts.tolist()}
    stands_for = cell_counts(table.size, most)
    middles = np.cumsum(stands_for) - stands_for + (stands_for - 1) // 2
    return {"quantiles": [rounded(float(value)) for value in table.at(middles)], "cells": most}


def cell_counts(size: int, cells: int) -> Counts:
    """How many of `size` sorted values fall into each of `cells` cells that get smaller towards both ends; empty cells
    are left out.

    Cell i begins at the share `u * u * (3 - 2 * u)` of rank with u = i / cells: with 512 cells it holds 0.29 % of the
    values in the middle, 0.05 % at the percentiles 0.5 and 99.5. In integers, so that every machine cuts alike.
    """
    i = np.arange(cells + 1, dtype=np.int64)
    counts = np.diff(i * i * (3 * cells - 2 * i) * size // cells**3)
    return counts[counts > 0]


def _counted(array: Array, rescale: Rescale, groups: Array | None, count: int, stored: Counts) -> list[ValueTable]:
    """stored: the integers that may occur, ascending, one by one."""
    width = len(stored)
    totals = np.zeros(count * width, np.int64)
    planes = max(1, SLAB_VOXELS // max(1, array.shape[-1] * array.shape[-2]))
    for frame in array.reshape(-1, *array.shape[-3:]):
        for z in range(0, len(frame), planes):
            index = frame[z : z + planes].astype(np.int64)
            index -= stored[0]
            if groups is not None:
                index += groups[z : z + planes].astype(np.int64) * width
            totals += np.bincount(index.ravel(), minlength=len(totals))
    values = rescale.apply(stored.astype(array.dtype))
    order = np.argsort(values, kind="stable")
    tables = []
    for row in totals.reshape(count, width):
        there = order[row[order] > 0]
        tables.append(ValueTable(values=values[there], counts=row[there]))
    return tables


def _sorted(values: NDArray[Any]) -> Values:
    finite = np.isfinite(values)
    return np.sort(values if finite.all() else values[finite], axis=None).astype(np.float32, copy=False)


def _counts(table: ValueTable) -> Counts:
    return table.counts if table.counts is not None else np.ones(table.values.size, np.int64)
