"""Which byte ranges of an object are asked for, so that a window costs few requests and few bytes too many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Of the bytes that are needed. What chunks hold beyond a window of 128^3 is 1.7 times the window already.
MOST_OVERREAD = 1.25
# A request costs about as much time as these bytes on a connection of its own.
LARGEST_GAP = 1 << 20
LARGEST_REQUEST = 4 << 20


@dataclass(frozen=True)
class Ranges:
    """Ranges [starts, ends) of one object, ascending, not overlapping. uint64."""

    starts: NDArray[np.uint64]
    ends: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def nbytes(self) -> int:
        return int((self.ends - self.starts).sum())

    def positions(self, offsets: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Where bytes of the object lie in the ranges, one after the other; each offset has to lie in one of them."""
        sizes = self.ends - self.starts
        places = np.cumsum(sizes) - sizes
        holding = np.searchsorted(self.starts, offsets, side="right") - 1
        found: NDArray[np.uint64] = places[holding] + (offsets - self.starts[holding])
        return found


def coalesce(offsets: NDArray[np.uint64], nbytes: NDArray[np.uint64]) -> Ranges:
    """Ranges that hold all the pieces, which may come in any order, more than once, or touch each other.

    The smallest gaps are closed first, as long as all ranges together stay within `MOST_OVERREAD` of what is needed and
    a range within `LARGEST_REQUEST`. A piece is never divided.
    """
    starts, ends = _union(offsets, offsets + nbytes)
    gaps = starts[1:] - ends[:-1]
    order = np.argsort(gaps, kind="stable")
    budget = (MOST_OVERREAD - 1.0) * float((ends - starts).sum())
    closed = np.zeros(len(gaps), np.bool_)
    closed[order] = (np.cumsum(gaps[order]) <= budget) & (gaps[order] <= LARGEST_GAP)
    first: list[int] = []
    last: list[int] = []
    for start, end, joins in zip(starts.tolist(), ends.tolist(), [False, *closed.tolist()], strict=True):
        if joins and end - first[-1] <= LARGEST_REQUEST:
            last[-1] = end
        else:
            first.append(start)
            last.append(end)
    return Ranges(np.array(first, np.uint64), np.array(last, np.uint64))


def _union(starts: NDArray[np.uint64], ends: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The pieces by ascending start; where pieces overlap, one for all of them."""
    order = np.argsort(starts, kind="stable")
    starts, reach = starts[order], np.maximum.accumulate(ends[order])
    begins = np.flatnonzero(np.r_[True, starts[1:] >= reach[:-1]])
    return starts[begins], reach[np.r_[begins[1:] - 1, len(reach) - 1]]


def whole_blocks(pieces: Ranges, block: int, size: int) -> Ranges:
    """The blocks of an object of `size` bytes that hold the pieces, each as a range of its own."""
    first, behind = pieces.starts // np.uint64(block), (pieces.ends + np.uint64(block - 1)) // np.uint64(block)
    numbers = np.unique(np.concatenate([np.arange(a, b, dtype=np.uint64) for a, b in zip(first, behind, strict=True)]))
    starts = numbers * np.uint64(block)
    return Ranges(starts, np.minimum(starts + np.uint64(block), np.uint64(size)))
