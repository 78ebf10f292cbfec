"""A bounded count of values that merges exactly: in whatever order, the result is the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.float32]
Weights = NDArray[np.int64]

# Bits after the leading one that a float32 holds.
EXACT = 23


@dataclass(frozen=True, kw_only=True, eq=False)
class Tally:
    """How often each value, or each tuple of values, was seen.

    keys: (n, d) float32, distinct, in lexicographic order. weights: (n, w) int64, w counts kept side by side.
    bits: of each number, so many bits after the leading one are kept, all of them in an exact tally. It is the largest
        number with which there are at most `limit` keys. A value of a tally that is not exact stands for those up to
        2**-bits of itself above it in magnitude.

    What is lost when bits are dropped from numbers that dropped some before is what is lost when all are dropped at
    once, and no part of a whole needs fewer bits than the whole: so merging is associative and commutative.
    """

    keys: Keys
    weights: Weights
    bits: int
    limit: int

    @classmethod
    def of(cls, keys: Any, weights: Any, limit: int) -> Tally:
        """keys: (n,) or (n, d) finite numbers. weights: (n,) or (n, w) integers."""
        table = np.asarray(keys, np.float32)
        counts = np.asarray(weights, np.int64)
        table = table.reshape(len(table), -1) + np.float32(0)  # of the two zeros the positive one
        return _fitted(table, counts.reshape(len(counts), -1), EXACT, limit)

    @property
    def exact(self) -> bool:
        return self.bits == EXACT

    @property
    def total(self) -> int:
        return int(self.weights[:, 0].sum())

    @property
    def values(self) -> NDArray[np.float64]:
        """(n, d): the keys, or the middles of what they stand for."""
        exact = self.keys.astype(np.float64)
        if self.exact:
            return exact
        _, exponents = np.frexp(exact)
        return exact + np.where(exact == 0, 0.0, np.copysign(np.ldexp(1.0, exponents - 2 - self.bits), exact))

    def quantile(self, share: float, *, axis: int = 0, weight: int = 0) -> float:
        """The lowest value of one axis at or below which lies at least this share of the weight."""
        values, weights = self.values[:, axis], self.weights[:, weight]
        order = np.argsort(values, kind="stable")
        reached = np.cumsum(weights[order])
        place = int(np.searchsorted(reached, share * reached[-1], side="left"))
        return float(values[order][min(place, len(order) - 1)])

    def median(self, *, axis: int = 0, weight: int = 0) -> float:
        """The mean of the two middle values, where two are in the middle."""
        values, weights = self.values[:, axis], self.weights[:, weight]
        order = np.argsort(values, kind="stable")
        reached = np.cumsum(weights[order])
        total = int(reached[-1])
        ranks = np.array([(total - 1) // 2, total // 2])
        return float(values[order][np.searchsorted(reached, ranks, side="right")].mean())

    def to_json(self) -> dict[str, Any]:
        return {
            "bits": self.bits,
            "limit": self.limit,
            # The shortest decimals that are read back as the same float32.
            "keys": [[float(str(number)) for number in row] for row in self.keys],
            "weights": self.weights.tolist(),
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Tally:
        return cls(
            keys=np.array(document["keys"], np.float32),
            weights=np.array(document["weights"], np.int64),
            bits=document["bits"],
            limit=document["limit"],
        )


def merge_tallies(tallies: Iterable[Tally]) -> Tally:
    """Of at least one tally; all have the same numbers of axes and weights, and the same limit."""
    parts: Sequence[Tally] = list(tallies)
    if len(parts) == 1:
        return parts[0]
    bits = min(part.bits for part in parts)
    keys = np.concatenate([part.keys for part in parts])
    return _fitted(keys, np.concatenate([part.weights for part in parts]), bits, parts[0].limit)


def _fitted(keys: Keys, weights: Weights, bits: int, limit: int) -> Tally:
    """With the most bits, at most `bits`, that leave no more than `limit` distinct keys."""
    table, counts = _distinct(_cut(keys, bits), weights)
    low, high = -1, bits
    while len(table) > limit and high - low > 1:
        middle = (low + high) // 2
        if _count_distinct(_cut(table, middle)) > limit:
            high = middle
        else:
            low = middle
    if len(table) > limit:
        bits = max(low, 0)  # whole powers of two are as coarse as it gets
        table, counts = _distinct(_cut(table, bits), counts)
    return Tally(keys=table, weights=counts, bits=bits, limit=limit)


def _cut(keys: Keys, bits: int) -> Keys:
    """Numbers with only so many bits after the leading one, the rest being dropped."""
    mask = np.uint32(0xFFFFFFFF << (EXACT - bits) & 0xFFFFFFFF)
    return (np.ascontiguousarray(keys).view(np.uint32) & mask).view(np.float32)


def _distinct(keys: Keys, weights: Weights) -> tuple[Keys, Weights]:
    if not len(keys):
        return keys, weights
    order = np.lexsort(keys.T[::-1])
    ordered = keys[order]
    first = np.flatnonzero(np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1)))
    return ordered[first], np.add.reduceat(weights[order], first, axis=0)


def _count_distinct(keys: Keys) -> int:
    ordered = keys[np.lexsort(keys.T[::-1])]
    return 1 + int((ordered[1:] != ordered[:-1]).any(axis=1).sum())
