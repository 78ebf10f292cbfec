"""Deals numbers 0, 1, 2, ... to kinds by fixed shares and to places without repetition, as pure functions.

Nothing here keeps a state: which kind number n is, how many numbers of that kind came before it, and which place of a
permutation it has follow from n alone, in about 10 us. All arithmetic is on integers, hence equal on every machine.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import accumulate

SHARE_BITS = 32
UNITS = 1 << SHARE_BITS
"""Shares are whole numbers of these; the shares of a schedule sum to it."""

_BLOCK_BITS = 10
_BLOCK = 1 << _BLOCK_BITS
_LAST_UNIT = UNITS - 1
_WORD = 2**64 - 1
_ROUNDS = 4


def keyed(*words: int) -> int:
    """A 64-bit key out of several numbers; each number and their order matter."""
    key = 0
    for word in words:
        key = _mixed((key + word + 0x9E3779B97F4A7C15) & _WORD)
    return key


def permuted(place: int, size: int, key: int) -> int:
    """Where `place` goes in a permutation of 0 ... size - 1 that the key chooses.

    A Feistel network on as many bits as the size needs; what falls behind the end is sent through again ("cycle
    walking", Black and Rogaway 2002, "Ciphers with arbitrary finite domains"), twice on average at most.
    """
    if size <= 1:
        return 0
    bits = (size - 1).bit_length()
    low_bits = bits // 2
    low_mask, high_mask = (1 << low_bits) - 1, (1 << (bits - low_bits)) - 1
    while True:
        high, low = place >> low_bits, place & low_mask
        for turn in range(_ROUNDS):
            high ^= _mixed(key ^ (low << 8 | turn)) & high_mask
            low ^= _mixed(key ^ (high << 8 | turn | 128)) & low_mask
        place = high << low_bits | low
        if place < size:
            return place


@dataclass(frozen=True)
class Schedule:
    """Deals numbers to kinds, each by its share and evenly spread: no run of numbers is far from the shares.

    shares: of each kind, in `UNITS`, which they sum to. key: decides the order.

    Number n stands for the place of n in the van der Corput sequence (the bits of n in reverse, a number in [0, 1)),
    and the kinds divide that interval. Of the first N numbers every kind has its share to within log2(N) + 1 numbers
    (Niederreiter 1992, chapter 3), which chance would miss by the root of N. Within blocks of 1,024 numbers the order
    is permuted, so that two schedules with different keys know nothing of each other.
    """

    shares: tuple[int, ...]
    key: int

    @cached_property
    def _bounds(self) -> list[int]:
        return list(accumulate(self.shares))

    def kind_at(self, place: int) -> int:
        """The kind that has a place, 0 <= place < UNITS."""
        return bisect_right(self._bounds, place)

    def at(self, n: int) -> tuple[int, int]:
        """(kind, occurrence) of number n: the occurrences of a kind are 0, 1, 2, ..., each given to one number.

        A kind that has all shares gets the numbers as they are.
        """
        if UNITS in self.shares:
            return self.shares.index(UNITS), n
        block = n >> _BLOCK_BITS
        turn = block << _BLOCK_BITS | permuted(n & (_BLOCK - 1), _BLOCK, keyed(self.key, block))
        place = int(f"{turn & _LAST_UNIT:0{SHARE_BITS}b}"[::-1], 2)
        kind = self.kind_at(place)
        high = self._bounds[kind]
        return kind, _dealt_below(turn, high - self.shares[kind], high)


def units_of(shares: Sequence[float | Fraction]) -> tuple[int, ...]:
    """Shares >= 0 in any unit as whole numbers that sum to `UNITS`, by the largest remainders, the first of equals."""
    fractions = [Fraction(share) for share in shares]
    total = sum(fractions)
    exact = [share * UNITS / total for share in fractions]
    units = [int(value) for value in exact]
    short = UNITS - sum(units)
    for number in sorted(range(len(units)), key=lambda n: (units[n] - exact[n], n))[:short]:
        units[number] += 1
    return tuple(units)


def _mixed(word: int) -> int:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): every bit of the result depends on every bit."""
    word = ((word ^ word >> 30) * 0xBF58476D1CE4E5B9) & _WORD
    word = ((word ^ word >> 27) * 0x94D049BB133111EB) & _WORD
    return word ^ word >> 31


def _dealt_below(turn: int, low: int, high: int) -> int:
    """How many of the turns 0 ... turn - 1 have their place in [low, high).

    The turns below 2**k * m that share all bits above the k-th have places 2**(32 - k) apart: one division counts them.
    """
    rounds, turn = divmod(turn, UNITS)
    count = rounds * (high - low)
    base = 0
    while turn:
        bit = turn.bit_length() - 1
        turn ^= 1 << bit
        apart = SHARE_BITS - bit
        # Of base, base + 2**apart, ...: those below `high` less those below `low`, both rounded up.
        count += max(0, -((base - high) >> apart)) - max(0, -((base - low) >> apart))
        base |= 1 << (apart - 1)
    return count
