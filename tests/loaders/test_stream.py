"""Sample number n is a pure function of (seed, n, mixture): which case, which window, which class."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medshard.errors import CatalogError
from medshard.loaders.class_balance import BalanceRule, ClassBalance, balance_classes
from medshard.loaders.mixture import MixtureRule, mix
from medshard.loaders.stream import Draw, Stream, draw, place_window

ENTRIES, SIZES = ("a", "b", "c"), (10, 1000, 5)
WEIGHED = mix(ENTRIES, SIZES, MixtureRule(weights={"a": 1.0, "b": 2.0, "c": 1.0}))
POOLED = mix(ENTRIES, SIZES)
MIXTURE = Stream(seed=3, mixture=WEIGHED, foreground=0.33)
ALONE = replace(MIXTURE, sampling="independent")


def present_classes(seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Three classes: in most samples, in a tenth, in one of fifty."""
    rng = np.random.default_rng(seed)
    present = []
    for size in SIZES:
        has = rng.random((size, 3)) < (0.9, 0.1, 0.02)
        samples, classes = np.nonzero(has)
        present.append((samples, classes + 1))
    return present


def balanced(rule: BalanceRule | None = None, mixture: Any = POOLED) -> ClassBalance:
    return balance_classes(mixture, ("common", "uncommon", "rare"), present_classes(), rule)


def test_a_draw_depends_on_seed_and_number_only() -> None:
    for stream in (MIXTURE, ALONE, replace(MIXTURE, balance=balanced(mixture=WEIGHED))):
        forwards = [draw(stream, n) for n in range(50)]
        assert [draw(pickle.loads(pickle.dumps(stream)), n) for n in reversed(range(50))] == forwards[::-1]
        assert draw(replace(stream, seed=4), 0) != forwards[0]


FROZEN = {
    "permuted": [
        (0, 4, None),
        (0, 3, 3),
        (1, 60, None),
        (2, 1, None),
        (0, 4, 2),
        (0, 0, None),
        (1, 408, None),
        (2, 1, 2),
        (2, 1, 2),
        (1, 781, 1),
        (1, 648, None),
        (0, 2, 1),
        (2, 0, None),
        (1, 200, None),
        (1, 972, None),
        (1, 640, None),
        (0, 3, 3),
        (1, 247, None),
        (1, 192, 3),
        (0, 4, None),
    ],
    "independent": [
        (1, 848, None),
        (0, 8, None),
        (1, 541, None),
        (1, 99, None),
        (1, 592, 3),
        (1, 787, None),
        (2, 0, 1),
        (2, 0, 1),
        (0, 7, 1),
        (1, 453, None),
        (1, 301, 3),
        (1, 954, 1),
        (1, 68, None),
        (0, 9, None),
        (0, 9, None),
        (1, 584, None),
        (1, 266, None),
        (1, 308, None),
        (1, 924, None),
        (0, 0, None),
    ],
}


@pytest.mark.parametrize("sampling", FROZEN)
def test_the_stream_is_that_of_version_3(sampling: Any) -> None:
    """Frozen: a change here changes what every resumed run and every recorded manifest means."""
    stream = replace(MIXTURE, sampling=sampling, balance=balanced(mixture=WEIGHED))
    drawn = [draw(stream, 7**number) for number in range(20)]
    assert [(one.entry_index, one.sample_index, one.class_number) for one in drawn] == FROZEN[sampling]


def test_the_fractions_are_those_of_version_1() -> None:
    assert draw(MIXTURE, 123_456_789) == Draw(
        seed=3,
        number=123_456_789,
        entry_index=1,
        sample_index=842,
        row=842,
        foreground=False,
        class_number=None,
        class_fraction=0.006711883127388241,
        voxel_fraction=0.1005135222631538,
        window_fractions=(0.896591680924847, 0.3022915461105, 0.6735443546907043),
        augmentation_seed=3937017129,
    )
    np.testing.assert_array_equal(
        draw(MIXTURE, 5).fractions(3), [0.6033883985135151, 0.9996536450107609, 0.24992322177888981]
    )


def test_further_fractions_are_one_list_a_lane() -> None:
    drawn = draw(MIXTURE, 11)
    many = drawn.fractions(1000)
    assert ((many >= 0) & (many < 1)).all()
    np.testing.assert_array_equal(many[:7], drawn.fractions(7))
    assert not np.intersect1d(many, drawn.fractions(1000, lane=1)).size
    assert not np.intersect1d(many, draw(MIXTURE, 12).fractions(1000)).size
    assert abs(many.mean() - 0.5) < 0.05


@pytest.mark.parametrize("stream", [MIXTURE, ALONE], ids=["permuted", "independent"])
def test_entries_are_mixed_by_weight_whatever_their_sizes(stream: Stream) -> None:
    drawn = [draw(stream, n) for n in range(20_000)]
    shares = np.bincount([one.entry_index for one in drawn], minlength=3) / len(drawn)
    tolerance = 0.0015 if stream is MIXTURE else 0.015
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.25], atol=tolerance)
    assert abs(np.mean([one.foreground for one in drawn]) - 0.33) < tolerance


def test_samples_of_an_entry_are_equally_likely() -> None:
    drawn = [draw(ALONE, n) for n in range(20_000)]
    counts = np.bincount([one.sample_index for one in drawn if one.entry_index == 0], minlength=10)
    expected = counts.sum() / 10
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected))


@pytest.mark.parametrize("foreground", [0.0, 0.33])
def test_every_case_comes_once_per_pass(foreground: float) -> None:
    stream = Stream(seed=8, mixture=POOLED, foreground=foreground)
    orders = []
    for epoch in range(3):
        drawn = [draw(stream, n) for n in range(epoch * 1015, (epoch + 1) * 1015)]
        orders.append([(one.entry_index, one.sample_index) for one in drawn])
        assert len(set(orders[-1])) == 1015
    assert orders[0] != orders[1] != orders[2]


def assert_whole_passes(drawn: list[tuple[Any, Any]], sizes: dict[Any, int]) -> None:
    """drawn: (component, sample). A component's draws are cut into passes: each has every sample once."""
    of_component: dict[Any, list[Any]] = {}
    for component, sample in drawn:
        of_component.setdefault(component, []).append(sample)
    for component, samples in of_component.items():
        size = sizes[component]
        for first in range(0, len(samples), size):
            one_pass = samples[first : first + size]
            assert len(set(one_pass)) == len(one_pass)


def test_an_epoch_of_two_equal_entries_has_every_case() -> None:
    for seed in range(5):
        halves = mix(("a", "b"), (100, 100), MixtureRule(weights={"a": 0.5, "b": 0.5}))
        drawn = [draw(Stream(seed=seed, mixture=halves), n) for n in range(200)]
        assert len({(one.entry_index, one.sample_index) for one in drawn}) == 200


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(1, 60), st.floats(0.01, 1)), min_size=1, max_size=6),
    st.integers(0, 2**64 - 1),
    st.sampled_from([{}, {"foreground": 0.4}, {"forced_batch": 6, "foreground": 0.33}, {"grouped_batch": 3}]),
)
def test_every_sample_of_a_component_comes_once_before_one_comes_twice(
    components: list[tuple[int, float]], seed: int, how: dict[str, Any]
) -> None:
    entries = [str(number) for number in range(len(components))]
    entry_sizes = [size for size, _ in components]
    weights = {entry: weight for entry, (_, weight) in zip(entries, components, strict=True)}
    stream = Stream(seed=seed, mixture=mix(entries, entry_sizes, MixtureRule(weights=weights)), **how)
    drawn = [draw(stream, n) for n in range(600)]
    assert_whole_passes([(one.entry_index, one.sample_index) for one in drawn], dict(enumerate(entry_sizes)))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**64 - 1), st.floats(0.1, 0.9))
def test_every_case_of_a_class_comes_once_before_one_comes_twice(seed: int, foreground: float) -> None:
    """Within a component; the windows that no class is chosen for make passes of their own."""
    balance = balanced(mixture=WEIGHED)
    drawn = [draw(Stream(seed=seed, mixture=WEIGHED, foreground=foreground, balance=balance), n) for n in range(1500)]
    expected: dict[Any, int] = {(None, entry): size for entry, size in enumerate(SIZES)}
    for entry, (_, classes) in enumerate(present_classes()):
        expected |= {(number, entry): int((classes == number).sum()) for number in (1, 2, 3)}
    assert_whole_passes([((one.class_number, one.entry_index), one.sample_index) for one in drawn], expected)


def test_a_case_of_a_small_entry_comes_as_often_as_any_other_of_it() -> None:
    """A quarter of 20,480 draws for each small entry: 512 passes through ten cases, 1,024 through five."""
    drawn = Counter((one.entry_index, one.sample_index) for one in (draw(MIXTURE, n) for n in range(20_480)))
    assert {drawn[0, case] for case in range(10)} <= set(range(509, 516))
    assert {drawn[2, case] for case in range(5)} <= set(range(1020, 1029))


def test_the_row_is_that_of_the_selection() -> None:
    rows = tuple(np.arange(size) * 3 + 1 for size in SIZES)
    for one in (draw(replace(MIXTURE, rows=rows), n) for n in range(100)):
        assert one.row == 3 * one.sample_index + 1


@pytest.mark.parametrize("sampling", ["permuted", "independent"])
@pytest.mark.parametrize("mixture", [WEIGHED, POOLED], ids=["weighed", "pooled"])
def test_classes_are_balanced_across_cases(mixture: Any, sampling: Any) -> None:
    stream = Stream(seed=5, mixture=mixture, foreground=0.5, sampling=sampling, balance=balanced(mixture=mixture))
    drawn = [draw(stream, n) for n in range(20_000)]
    placed = [one for one in drawn if one.foreground]
    shares = np.bincount([one.class_number or 0 for one in placed], minlength=4)[1:] / len(placed)
    np.testing.assert_allclose(shares, 1 / 3, rtol=0.01 if sampling == "permuted" else 0.04)
    has = [set(zip(samples.tolist(), classes.tolist(), strict=True)) for samples, classes in present_classes()]
    assert all((one.sample_index, one.class_number) in has[one.entry_index] for one in placed)
    # The other windows keep to the mixture.
    others = np.bincount([one.entry_index for one in drawn if not one.foreground], minlength=3)
    expected = np.array(list(mixture.entry_shares().values()))
    np.testing.assert_allclose(others / others.sum(), expected, atol=0.002 if sampling == "permuted" else 0.015)


def test_every_case_of_a_class_comes_as_often_as_the_others() -> None:
    stream = Stream(seed=5, mixture=POOLED, foreground=1.0, balance=balanced())
    drawn = Counter(
        (one.class_number, one.entry_index, one.sample_index) for one in (draw(stream, n) for n in range(12_288))
    )
    for class_number in (1, 2, 3):
        counts = [count for (drawn_class, *_), count in drawn.items() if drawn_class == class_number]
        assert len(counts) == balanced().samples_with(class_number)
        assert max(counts) - min(counts) <= 1


def test_classes_may_be_weighed_and_preferred_by_rarity() -> None:
    rare_first = balanced(BalanceRule(alpha=1.0)).shares
    frequencies = [balanced().samples_with(number) for number in (1, 2, 3)]
    np.testing.assert_allclose(np.array(rare_first) * frequencies / (rare_first[0] * frequencies[0]), 1.0, rtol=1e-6)
    weighed = balanced(BalanceRule(weights={"common": 0.0, "uncommon": 1.0, "rare": 3.0})).shares
    np.testing.assert_allclose(np.array(weighed) / 2**32, [0.0, 0.25, 0.75])
    with pytest.raises(CatalogError, match=r"balance\.empty"):
        balance_classes(POOLED, ("x",), [(np.zeros(0, np.int64), np.zeros(0, np.int64))] * 3)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=4), st.integers(0, 2**32), st.floats(0.005, 1))
def test_the_k_th_sample_of_a_class_is_the_k_th(sizes: list[int], seed: int, frequency: float) -> None:
    """Against a plain list, over component and block borders."""
    rng = np.random.default_rng(seed)
    entries = [str(number) for number in range(len(sizes))]
    groups = [rng.choice(["p", "q"], size) for size in sizes]
    mixture = mix(entries, sizes, MixtureRule(temperature=2.0), groups=groups)
    members = [np.flatnonzero(rng.random(size) < frequency) for size in sizes]
    members[0] = np.union1d(members[0], [0])
    balance = balance_classes(mixture, ("x",), [(found, np.ones_like(found)) for found in members])
    places = []
    first = 0
    for component in mixture.components:
        for place in range(component.size):
            entry_index, sample_index = component.locate(place)
            if sample_index in members[entry_index]:
                places.append(first + place)
        first += component.size
    assert [balance.place_of(1, rank) for rank in range(balance.samples_with(1))] == places


def test_nnunets_rule_forces_the_last_third_of_a_batch() -> None:
    stream = replace(MIXTURE, forced_batch=6)
    assert [draw(stream, n).foreground for n in range(12)] == ([False] * 4 + [True] * 2) * 2
    # nnU-Net 2: sample i of a batch of two is forced if i >= round(2 * (1 - 0.33)).
    assert [draw(replace(MIXTURE, forced_batch=2), n).foreground for n in range(4)] == [False, True] * 2
    with_classes = Stream(seed=5, mixture=POOLED, foreground=0.33, forced_batch=6, balance=balanced())
    forced = [draw(with_classes, n) for n in range(18_000) if n % 6 >= 4]
    shares = np.bincount([one.class_number or 0 for one in forced], minlength=4)[1:] / len(forced)
    np.testing.assert_allclose(shares, 1 / 3, rtol=0.01)


@pytest.mark.parametrize("sampling", ["permuted", "independent"])
def test_a_batch_may_be_of_one_component(sampling: Any) -> None:
    stream = replace(MIXTURE, grouped_batch=5, sampling=sampling)
    drawn = [draw(stream, n) for n in range(10_240)]
    entries = np.array([one.entry_index for one in drawn]).reshape(-1, 5)
    assert (entries == entries[:, :1]).all()
    shares = np.bincount(entries[:, 0], minlength=3) / len(entries)
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.25], atol=0.006 if sampling == "permuted" else 0.05)
    if sampling == "permuted":
        counts = Counter(one.sample_index for one in drawn if one.entry_index == 0)
        assert max(counts.values()) - min(counts.values()) <= 1


def test_neighbouring_numbers_and_seeds_are_unrelated() -> None:
    fractions = np.array([draw(MIXTURE, n).window_fractions for n in range(4000)])
    assert np.abs(np.corrcoef(fractions[:-1].ravel(), fractions[1:].ravel())[0, 1]) < 0.05
    other = np.array([draw(replace(MIXTURE, seed=4), n).window_fractions for n in range(4000)])
    assert np.abs(np.corrcoef(fractions.ravel(), other.ravel())[0, 1]) < 0.05


def test_foreground_and_entry_are_unrelated() -> None:
    drawn = [draw(MIXTURE, n) for n in range(20_000)]
    table = np.array(
        [[sum(one.foreground is f and one.entry_index == e for one in drawn) for e in range(3)] for f in (True, False)]
    )
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    assert (np.abs(table - expected) < 4 * np.sqrt(expected)).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"foreground": 1.5},
        {"forced_batch": 0},
        {"grouped_batch": 0},
        {"grouped_batch": 2, "balance": balanced(mixture=WEIGHED)},
        {"sampling": "sorted"},
        {"rows": (np.arange(10), np.arange(999), np.arange(5))},
        {"balance": balanced()},
    ],
)
def test_a_stream_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(CatalogError, match=r"stream\.mixture"):
        replace(MIXTURE, **wrong)


def test_the_digest_is_of_everything_that_changes_a_number() -> None:
    assert replace(MIXTURE).digest == MIXTURE.digest
    rows = tuple(np.arange(size) for size in SIZES)
    changed = [
        replace(MIXTURE, **change)
        for change in (
            {"seed": 4},
            {"mixture": POOLED},
            {"foreground": 0.3},
            {"forced_batch": 4},
            {"grouped_batch": 4},
            {"sampling": "independent"},
            {"rows": rows},
            {"rows": (rows[0], rows[1] + 1, rows[2])},
            {"sources": ("x", "y", "z")},
            {"balance": balanced(mixture=WEIGHED)},
            {"balance": balanced(BalanceRule(alpha=0.5), mixture=WEIGHED)},
        )
    ]
    assert len({MIXTURE.digest, *(stream.digest for stream in changed)}) == 12


sizes = st.tuples(*(st.integers(1, 60) for _ in range(3)))
fractions = st.floats(0, 1, exclude_max=True)


def drawn_at(window_fractions: tuple[float, float, float]) -> Draw:
    return replace(draw(MIXTURE, 0), window_fractions=window_fractions)


@settings(deadline=None)
@given(sizes, sizes, st.tuples(fractions, fractions, fractions), st.data())
def test_a_window_stays_inside_or_is_centred_and_holds_its_voxel(
    shape: tuple[int, int, int], patch: tuple[int, int, int], place: tuple[float, float, float], data: st.DataObject
) -> None:
    voxel = data.draw(st.none() | st.tuples(*(st.integers(0, extent - 1) for extent in shape)))
    start = place_window(drawn_at(place), shape, patch, voxel)
    for axis in range(3):
        before, behind = -start[axis], start[axis] + patch[axis] - shape[axis]
        if shape[axis] >= patch[axis]:
            assert before <= 0
            assert behind <= 0
        else:
            assert 0 <= behind - before <= 1
        if voxel is not None:
            assert start[axis] <= voxel[axis] < start[axis] + patch[axis]


def test_every_place_of_a_window_can_be_drawn() -> None:
    starts = {place_window(drawn_at((f, f, f)), (10, 8, 4), (4, 8, 9)) for f in np.linspace(0, 0.999, 50)}
    assert starts == {(z, 0, -2) for z in range(7)}
    around = {place_window(drawn_at((f, f, f)), (10, 8, 4), (4, 8, 9), (8, 3, 1)) for f in np.linspace(0, 0.999, 50)}
    assert around == {(5, 0, -2), (6, 0, -2)}
