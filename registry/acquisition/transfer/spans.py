"""Sets of byte ranges: which bytes of a file are there, and which are missing."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from itertools import pairwise


@dataclass(frozen=True)
class Span:
    """Bytes from `start` up to, but not including, `end`."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


@dataclass
class Spans:
    """Disjoint ranges in ascending order; ranges that touch become one."""

    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def add(self, start: int, end: int) -> None:
        if start >= end:
            return
        first = bisect_left(self.ends, start)
        last = bisect_right(self.starts, end)
        if first < last:
            start, end = min(start, self.starts[first]), max(end, self.ends[last - 1])
        self.starts[first:last], self.ends[first:last] = [start], [end]

    @property
    def total(self) -> int:
        return sum(self.ends) - sum(self.starts)

    @property
    def prefix(self) -> int:
        """Number of bytes that are there from the beginning on, without a gap."""
        return self.ends[0] if self.starts and self.starts[0] == 0 else 0

    def gaps(self, size: int) -> list[Span]:
        """What is missing of a file of `size` bytes."""
        edges = [0, *(edge for pair in zip(self.starts, self.ends, strict=True) for edge in pair), size]
        pairs = zip(edges[::2], edges[1::2], strict=True)
        return [Span(start, min(end, size)) for start, end in pairs if start < min(end, size)]


def pieces(gaps: list[Span], piece_bytes: int) -> list[Span]:
    """The gaps cut at multiples of `piece_bytes`, in ascending order."""
    cut = []
    for gap in gaps:
        edges = [gap.start, *range((gap.start // piece_bytes + 1) * piece_bytes, gap.end, piece_bytes), gap.end]
        cut += [Span(start, end) for start, end in pairwise(edges)]
    return cut
