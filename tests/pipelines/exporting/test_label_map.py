"""Layers as one map: every voxel's concepts, against a count voxel by voxel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from medshard.converters.volume import LabelLayer
from medshard.pipelines.exporting.label_map import IGNORED, Seen, first_readings, meaning_of, number_concepts, same_grid

CONCEPTS = ("liver", "kidney", "lesion")


def layer(array: object, classes: dict[int, str], **fields: object) -> LabelLayer:
    voxels = np.asarray(array)
    while voxels.ndim < 4:
        voxels = voxels[None]
    examined = tuple(classes.values())
    return LabelLayer(array=voxels, affine=np.eye(4), classes=classes, examined=examined, **fields)  # type: ignore[arg-type]


@st.composite
def layers(draw: st.DrawFn) -> list[LabelLayer]:
    made = []
    for _ in range(draw(st.integers(1, 3))):
        values = draw(st.lists(st.integers(0, 4), min_size=12, max_size=12))
        classes = draw(st.dictionaries(st.integers(1, 4), st.sampled_from(CONCEPTS), min_size=1, max_size=3))
        also = dict.fromkeys(draw(st.sets(st.sampled_from(sorted(classes)), max_size=1)), ("lesion",))
        free = sorted(set(range(5)) - classes.keys())
        ignore = tuple(draw(st.sets(st.sampled_from(free), max_size=1)))
        array = np.array(values, np.uint8).reshape(1, 2, 2, 3)
        made.append(layer(array, classes, also=also, ignore=ignore))
    return made


def concepts_at(some: list[LabelLayer], place: tuple[int, ...]) -> set[str]:
    found = set()
    for one in some:
        value = int(one.array[0][place])
        if value in one.ignore:
            found.add(IGNORED)
        elif value in one.classes:
            found |= {one.classes[value], *one.also.get(value, ())}
    return found


@settings(max_examples=100, deadline=None)
@given(some=layers())
def test_the_map_gives_back_the_concepts_of_every_voxel(some: list[LabelLayer]) -> None:
    meaning = meaning_of(some)
    seen = Seen()
    seen.add(some, meaning)
    numbering = number_concepts(seen, CONCEPTS)
    combined = numbering.apply(meaning)
    for place in np.ndindex(*combined.shape):
        expected, number = concepts_at(some, place), int(combined[place])
        if IGNORED in expected:
            assert number == numbering.ignore
        else:
            assert {name for name, numbers in numbering.labels.items() if number in numbers} == expected


@settings(max_examples=100, deadline=None)
@given(some=layers())
def test_numbers_are_consecutive_and_the_ignored_one_is_the_highest(some: list[LabelLayer]) -> None:
    seen = Seen()
    seen.add(some, meaning_of(some))
    numbering = number_concepts(seen, CONCEPTS)
    used = sorted({number for numbers in numbering.labels.values() for number in numbers})
    assert used == list(range(1, len(used) + 1))
    if numbering.ignore is not None:
        assert numbering.ignore == len(used) + 1


def numbers_of(*some: LabelLayer) -> tuple[dict[str, tuple[int, ...]], NDArray[np.generic]]:
    meaning, seen = meaning_of(some), Seen()
    seen.add(some, meaning)
    numbering = number_concepts(seen, CONCEPTS)
    return dict(numbering.labels), numbering.apply(meaning).ravel()


def test_concepts_apart_have_the_numbers_of_their_order() -> None:
    labels, combined = numbers_of(layer([0, 7, 3], {3: "liver", 7: "kidney"}))
    assert labels == {"liver": (1,), "kidney": (2,)}
    assert combined.tolist() == [0, 2, 1]


def test_overlapping_concepts_are_regions_the_largest_first() -> None:
    labels, combined = numbers_of(layer([1, 1, 1, 0], {1: "liver"}), layer([0, 1, 0, 0], {1: "lesion"}))
    assert labels == {"liver": (1, 2), "lesion": (2,)}
    assert combined.tolist() == [1, 2, 1, 0]


def test_instances_are_all_of_the_one_concept() -> None:
    labels, combined = numbers_of(layer([0, 1, 2, 3000], {1: "lesion"}, kind="instance"))
    assert labels == {"lesion": (1,)}
    assert combined.tolist() == [0, 1, 1, 1]


def test_a_value_that_nobody_judged_wins_over_what_another_layer_says() -> None:
    _, combined = numbers_of(layer([1, 1], {1: "liver"}), layer([0, 9], {1: "kidney"}, ignore=(9,)))
    assert combined.tolist() == [1, 3]


def test_concepts_that_are_not_wanted_are_background() -> None:
    meaning = meaning_of([layer([1, 2], {1: "liver", 2: "kidney"})], frozenset(["kidney"]))
    assert [meaning.sets[code] for code in meaning.codes.ravel()] == [frozenset(), frozenset(["kidney"])]


def test_of_several_raters_the_first_by_name_is_kept() -> None:
    one, two = layer([1], {1: "liver"}, rater="b"), layer([0], {1: "liver"}, rater="a")
    kept, left_out = first_readings({"x": one, "y": two})
    assert list(kept) == ["y"]
    assert list(left_out) == ["x"]


@pytest.mark.parametrize(("shift", "same"), [(1e-5, True), (0.5, False)])
def test_a_grid_that_is_off_by_rounding_is_the_same(shift: float, same: bool) -> None:
    moved = np.eye(4)
    moved[0, 3] += shift
    assert same_grid((3, 4, 5), np.eye(4), (3, 4, 5), moved) is same
    assert not same_grid((3, 4, 5), np.eye(4), (3, 4, 6), np.eye(4))


def test_a_combination_without_a_voxel_takes_no_number() -> None:
    some = [layer([[[0, 2]]], {1: "liver", 3: "kidney"}, also={1: ("lesion",)})]
    meaning, seen = meaning_of(some), Seen()
    seen.add(some, meaning)
    assert not number_concepts(seen, CONCEPTS).apply(meaning).any()
