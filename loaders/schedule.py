"""Deals numbers 0, 1, 2, ... to kinds by fixed shares and to places without repetition, as pure functions.

Nothing here keeps a state: which kind number n is, how many numbers of that kind came before it, and which place of a
permutation it has follow from n alone, in about 10 us for numbers in a row and 30 us for any. All arithmetic is on
integers, hence equal on every machine.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import accumulate

SHARE_BITS = 32
UNITS = 1 << SHARE_BITS
"""Shares are whole numbers of these; the shares of a schedule sum to it."""

_LAST_UNIT = UNITS - 1
_LEVEL_BITS = 6
_LEVEL_MASK = (1 << _LEVEL_BITS) - 1
_LEVELS = -(-SHARE_BITS // _LEVEL_BITS)
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

    Number n stands for a place of the van der Corput sequence (the bits of a number in reverse, which is in [0, 1)),
    and the kinds divide that interval. Which place is scattered by the key: for every bit of n, from the highest on, a
    bit chosen by the key and the bits above says whether it is flipped (the nested scrambling of Owen 1995, here of the
    numbers instead of the places). Each block of 2**k numbers that begins at a multiple of 2**k thus keeps places that
    are 2**-k apart and gives every kind its share to within less than one number. The first N numbers are as many such
    blocks as N has bits set: every share is kept to within log2(N) + 1 numbers, which chance would miss by the root of
    N. Two schedules with different keys know nothing of each other.
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
        """(kind, occurrence) of number n >= 0: the occurrence is how many numbers before n are of that kind.

        A kind that has all shares gets the numbers as they are.
        """
        if UNITS in self.shares:
            return self.shares.index(UNITS), n
        place = int(f"{_scattered(n, self.key):0{SHARE_BITS}b}"[::-1], 2)
        kind = self.kind_at(place)
        high = self._bounds[kind]
        return kind, _dealt_before(n, place, high - self.shares[kind], high)


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


def _scattered(n: int, key: int) -> int:
    """The number below UNITS whose place n takes; equal for all numbers of an aligned block in the bits above it."""
    above, flips = _branch(n >> _LEVEL_BITS, 0, key)
    return (above << _LEVEL_BITS | _flipped(n & _LEVEL_MASK, flips)) & _LAST_UNIT


@lru_cache(maxsize=1 << 12)
def _branch(prefix: int, level: int, key: int) -> tuple[int, int]:
    """(the scattered prefix, the flips of the bits of `level` below it); neighbours in the stream share them."""
    flips = keyed(key, level, prefix)
    if level + 1 == _LEVELS:
        return 0, flips
    above, flips_above = _branch(prefix >> _LEVEL_BITS, level + 1, key)
    return above << _LEVEL_BITS | _flipped(prefix & _LEVEL_MASK, flips_above), flips


def _flipped(bits: int, flips: int) -> int:
    """The bits of one level, each flipped or not by its own bit of `flips` for every value of the bits above it."""
    node, out = 1, 0
    for turn in range(_LEVEL_BITS - 1, -1, -1):
        bit = bits >> turn & 1
        out = out << 1 | (bit ^ (flips >> node & 1))
        node = node << 1 | bit
    return out


def _dealt_before(n: int, place: int, low: int, high: int) -> int:
    """How many of the numbers 0 ... n - 1 have their place in [low, high), where n has `place`.

    For each bit k that is set in n they hold one block of 2**k numbers, which n's own block is the neighbour of: their
    places are 2**(32 - k) apart and begin at the lowest bits of n's place with the uppermost of these flipped.
    """
    rounds, rest = divmod(n, UNITS)
    count = rounds * (high - low)
    while rest:
        bit = rest.bit_length() - 1
        rest ^= 1 << bit
        apart = SHARE_BITS - bit
        base = (place & ((1 << apart) - 1)) ^ (1 << (apart - 1))
        # Of base, base + 2**apart, ...: those below `high` less those below `low`, both rounded up.
        count += (base - low >> apart) - (base - high >> apart)
    return count
