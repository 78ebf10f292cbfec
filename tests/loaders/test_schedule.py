"""Numbers are dealt by shares and permuted: every number once, in every prefix nearly as the shares say."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from medshard.loaders.schedule import UNITS, Schedule, keyed, permuted, units_of

keys = st.integers(0, 2**64 - 1)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 1500), keys)
def test_a_permutation_has_every_place_once(size: int, key: int) -> None:
    assert sorted(permuted(place, size, key) for place in range(size)) == list(range(size))


def test_permutations_are_those_of_version_2() -> None:
    assert [permuted(place, 11, keyed(1, 2)) for place in range(11)] == [10, 7, 0, 9, 3, 4, 5, 6, 1, 8, 2]
    assert permuted(10**11, 10**12, keyed(0)) == 977990686004


def test_all_orders_of_few_things_are_about_equally_likely() -> None:
    counts = Counter(tuple(permuted(place, 4, keyed(7, epoch)) for place in range(4)) for epoch in range(24 * 200))
    assert len(counts) == 24
    chi_square = sum((count - 200) ** 2 / 200 for count in counts.values())
    assert chi_square < 60  # 23 degrees of freedom: 1 in 30,000 by chance


def test_where_a_thing_goes_says_nothing_of_its_neighbour() -> None:
    places = np.array([[permuted(place, 1000, keyed(epoch)) for place in range(100)] for epoch in range(40)])
    assert abs(np.corrcoef(places[:, :-1].ravel(), places[:, 1:].ravel())[0, 1]) < 0.05
    assert abs(places.mean() - 499.5) < 15


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=12).filter(any), keys, st.integers(1, 6))
def test_every_occurrence_of_a_kind_is_dealt_once_and_shares_are_kept(shares: list[int], key: int, blocks: int) -> None:
    schedule = Schedule(units_of(shares), key)
    count = 1024 * blocks
    occurrences: dict[int, list[int]] = {}
    for n in range(count):
        kind, occurrence = schedule.at(n)
        occurrences.setdefault(kind, []).append(occurrence)
    for kind, share in enumerate(shares):
        found = occurrences.get(kind, [])
        assert sorted(found) == list(range(len(found)))
        assert abs(len(found) - count * share / sum(shares)) <= np.log2(count) + 1


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=9).filter(any), keys, st.integers(0, 2**40))
def test_occurrences_are_counted_far_out(shares: list[float], key: int, block: int) -> None:
    """Between the beginnings of two blocks each kind moves on by as many as it got in between, also past 2**32."""
    schedule = Schedule(units_of(shares), key)
    dealt = [schedule.at(n) for n in range(1024 * block, 1024 * (block + 1))]
    for kind in {kind for kind, _ in dealt}:
        found = sorted(occurrence for other, occurrence in dealt if other == kind)
        assert found == list(range(found[0], found[0] + len(found)))
        assert abs(found[0] - Fraction(schedule.shares[kind], UNITS) * 1024 * block) <= 50


def test_two_schedules_know_nothing_of_each_other() -> None:
    one, other = (Schedule(units_of([1, 1]), keyed(number)) for number in range(2))
    both = Counter((one.at(n)[0], other.at(n)[0]) for n in range(8192))
    assert all(abs(count - 2048) < 200 for count in both.values())


@given(st.lists(st.floats(0, 1e9), min_size=1).filter(lambda shares: sum(shares) > 0))
def test_units_sum_up_and_are_nearest(shares: list[float]) -> None:
    units = units_of(shares)
    assert sum(units) == UNITS
    total = sum(map(Fraction, shares))
    assert all(abs(unit - Fraction(share) * UNITS / total) < 1 for unit, share in zip(units, shares, strict=True))
