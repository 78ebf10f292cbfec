"""Numbers are dealt by shares and permuted: every number once, in every prefix nearly as the shares say."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
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
@given(st.lists(st.integers(0, 50), min_size=1, max_size=12).filter(any), keys, st.integers(1, 3000))
def test_every_occurrence_of_a_kind_is_dealt_once_and_shares_are_kept(shares: list[int], key: int, count: int) -> None:
    """In the order of the numbers, and not only at the end but after every single number."""
    schedule = Schedule(units_of(shares), key)
    dealt = [schedule.at(n) for n in range(count)]
    so_far = [0] * len(shares)
    for kind, occurrence in dealt:
        assert occurrence == so_far[kind]
        so_far[kind] += 1
    of_kind = np.array([kind for kind, _ in dealt])[:, None] == np.arange(len(shares))
    numbers = np.arange(1, count + 1)[:, None]
    off = np.abs(np.cumsum(of_kind, axis=0) - numbers * np.array(shares) / sum(shares))
    assert (off <= np.log2(numbers) + 1).all()


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=9).filter(any), keys, st.integers(0, 2**50) | st.just(2**32 - 512)
)
def test_occurrences_are_counted_far_out(shares: list[float], key: int, first: int) -> None:
    """From any number on each kind moves on one by one, also past 2**32, and began where its share says."""
    schedule = Schedule(units_of(shares), key)
    dealt = [schedule.at(n) for n in range(first, first + 1024)]
    for kind in {kind for kind, _ in dealt}:
        found = [occurrence for other, occurrence in dealt if other == kind]
        assert found == list(range(found[0], found[0] + len(found)))
        assert abs(found[0] - Fraction(schedule.shares[kind], UNITS) * first) <= 33


def test_the_deal_is_that_of_version_3() -> None:
    schedule = Schedule(units_of([1, 2, 1]), keyed(3, 4))
    assert [schedule.at(n) for n in range(8)] == [(1, 0), (2, 0), (1, 1), (0, 0), (0, 1), (1, 2), (1, 3), (2, 1)]
    assert [schedule.at(11**number) for number in range(6, 18, 3)] == [
        (1, 885780),
        (1, 1178973845),
        (1, 1569214188360),
        (1, 2088624084707825),
    ]


@pytest.mark.parametrize("shares", [(1, 1), (2, 1), (1, 499)])
def test_two_schedules_know_nothing_of_each_other(shares: tuple[int, int]) -> None:
    """Also where one kind is rare: whom it meets is chance."""
    count = 8192
    one, other = Schedule(units_of(shares), keyed(0)), Schedule(units_of([2, 1]), keyed(1))
    both = Counter((one.at(n)[0], other.at(n)[0]) for n in range(count))
    for kind, share in enumerate(shares):
        for met, of_other in enumerate((2, 1)):
            expected = count * share / sum(shares) * of_other / 3
            assert abs(both[kind, met] - expected) <= 4 * np.sqrt(expected)


@given(st.lists(st.floats(0, 1e9), min_size=1).filter(lambda shares: sum(shares) > 0))
def test_units_sum_up_and_are_nearest(shares: list[float]) -> None:
    units = units_of(shares)
    assert sum(units) == UNITS
    total = sum(map(Fraction, shares))
    assert all(abs(unit - Fraction(share) * UNITS / total) < 1 for unit, share in zip(units, shares, strict=True))
