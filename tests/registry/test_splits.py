"""Splits: whole components of the leakage graph on one side, frozen and reproducible."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medshard.errors import SplitError
from medshard.registry import Catalog
from medshard.registry.schema import Entry
from medshard.registry.splits import (
    Split,
    SplitCase,
    SplitRow,
    check_no_leak,
    check_overlaps,
    components,
    make_split,
)

THIRDS = {"train": 0.6, "val": 0.2, "test": 0.2}


def case(entry: str, name: str, patient: str, *, labelled: bool = True) -> SplitCase:
    return SplitCase(entry=entry, case=name, patient=patient, labelled=labelled)


@pytest.fixture(scope="module")
def public() -> list[Entry]:
    return list(Catalog.load())


@settings(deadline=None, max_examples=60)
@given(
    patients=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 15)), min_size=24, max_size=60),
    seed=st.integers(0, 1000),
)
def test_no_patient_is_on_two_sides(patients: list[tuple[str, int]], seed: int) -> None:
    cases = [case(entry, f"c{number}", f"p{patient}") for number, (entry, patient) in enumerate(patients)]
    if len({(c.entry, c.patient) for c in cases}) < 5:
        return
    split = make_split(cases, entries=[], fractions=THIRDS, seed=seed)
    check_no_leak(split)
    parts: dict[tuple[str, str], set[str]] = {}
    for row in split.rows:
        parts.setdefault((row.entry, row.patient), set()).add(row.part)
    assert all(len(found) == 1 for found in parts.values())
    assert {row.part for row in split.rows} == {"train", "val", "test"}


def test_the_order_of_the_cases_does_not_matter() -> None:
    cases = [case("a", f"c{n}", f"p{n // 2}") for n in range(20)]
    shuffled = random.Random(0).sample(cases, len(cases))
    one, other = (make_split(listed, entries=[], fractions=THIRDS, seed=3) for listed in (cases, shuffled))
    assert one.to_bytes() == other.to_bytes()
    assert one.digest != make_split(cases, entries=[], fractions=THIRDS, seed=4).digest


def test_a_person_in_two_entries_is_one_component(public: list[Entry]) -> None:
    cases = [
        case("pyradiomics-cases", "lung2", "lung2"),
        case("pydicom-samples", "lung2_reencoded", "lung2", labelled=False),
        case("format-families", "lung2_tumour_surface", "lung2", labelled=False),
        case("pyradiomics-cases", "lung1", "lung1"),
    ]
    found = components(cases, public)
    assert len({found[c.entry, c.patient] for c in cases[:3]}) == 1
    assert found["pyradiomics-cases", "lung1"] != found["pyradiomics-cases", "lung2"]


@pytest.mark.parametrize("seed", range(20))
def test_a_scan_of_a_test_patient_never_reaches_training(public: list[Entry], seed: int) -> None:
    cases = [case("pyradiomics-cases", name, name) for name in ("brain1", "brain2", "breast1", "lung1", "lung2")]
    cases.append(case("pydicom-samples", "lung2_reencoded", "lung2", labelled=False))
    split = make_split(cases, entries=public, fractions=THIRDS, seed=seed)
    assert split.part_of("pydicom-samples", "lung2_reencoded") == split.part_of("pyradiomics-cases", "lung2")
    assert split.counts()["val"] >= 1
    assert split.counts()["test"] >= 1


def test_unlabelled_components_go_to_train() -> None:
    cases = [case("a", f"c{n}", f"p{n}", labelled=n < 5) for n in range(10)]
    split = make_split(cases, entries=[], fractions=THIRDS, seed=0)
    assert all(split.part_of("a", f"c{n}") == "train" for n in range(5, 10))


def test_the_table_survives_its_bytes() -> None:
    split = make_split([case("a", f"c{n}", f"p{n}") for n in range(6)], entries=[], fractions=THIRDS, seed=0)
    assert Split.from_bytes(split.to_bytes()) == split


def test_an_edited_table_that_tears_a_patient_is_refused() -> None:
    def row(name: str, part: Any) -> SplitRow:
        return SplitRow(entry="a", case=name, patient="p", component="a/p", part=part)

    with pytest.raises(SplitError, match=r"split.leak(.|\n)*a/p"):
        check_no_leak(Split((row("c1", "train"), row("c2", "test"))))


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(SplitError, match="split.too_few"):
        make_split([case("a", "c1", "p1"), case("a", "c2", "p2")], entries=[], fractions=THIRDS, seed=0)


@pytest.mark.parametrize("fractions", [{"train": 0.5}, {"train": 1.2, "test": -0.2}, {"train": 0.5, "dev": 0.5}])
def test_shares_that_make_no_sense_are_refused(fractions: dict[str, float]) -> None:
    with pytest.raises(SplitError, match="split.fractions"):
        make_split([case("a", "c1", "p1")], entries=[], fractions=fractions, seed=0)


def test_the_same_voxels_under_two_names_are_one_component() -> None:
    cases = [
        SplitCase(entry="a", case="c1", patient="p1", labelled=True, contents=("x",)),
        SplitCase(entry="b", case="c9", patient="p9", labelled=True, contents=("y", "x")),
        SplitCase(entry="b", case="c8", patient="p8", labelled=True, contents=("z",)),
    ]
    found = components(cases, [])
    assert found["a", "p1"] == found["b", "p9"]
    assert found["b", "p8"] != found["b", "p9"]


def test_an_overlap_with_a_patient_that_nobody_has_is_refused(public: list[Entry]) -> None:
    check_overlaps({"pyradiomics-cases": {"breast1", "lung2"}, "pydicom-samples": {"lung2"}}, public)
    with pytest.raises(SplitError, match=r"split.unknown_patient(.|\n)*pyradiomics-cases has no patient 'lung2'"):
        check_overlaps({"pyradiomics-cases": {"breast1"}, "pydicom-samples": {"lung2"}}, public)
