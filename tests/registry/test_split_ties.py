"""Entries that share people nobody can name: none is held out, or the others are left out for it."""

from __future__ import annotations

from typing import Any

import pytest

from medshard.errors import SplitError
from medshard.registry import Catalog
from medshard.registry.schema import Entry, Overlap
from medshard.registry.splits import (
    Split,
    SplitCase,
    SplitRow,
    SplitRules,
    Tie,
    find_leaks,
    find_ties,
    leakage_graph,
    make_shipped_split,
    make_split,
)

HALVES = {"train": 0.5, "test": 0.5}


def cases_of(entry: str, count: int = 10, *, scans: str = "", **more: Any) -> list[SplitCase]:
    """scans: `s` gives case n the scan sn, which is in every entry whose cases have it."""
    return [
        SplitCase(
            entry=entry,
            case=f"c{n}",
            patient=f"{entry}{n}",
            labelled=True,
            contents=(f"{scans}{n}",) if scans else (),
            **more,
        )
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def template() -> Entry:
    return Catalog.load().entry("pyradiomics-cases")


@pytest.fixture(scope="module")
def entry(template: Entry) -> Any:
    def make(name: str, *overlaps: tuple[str, str] | tuple[str, str, dict[str, str]]) -> Entry:
        declared = tuple(
            Overlap(entry=other, kind=kind, evidence=f"{name} says so", patients=pairs[0] if pairs else {})
            for other, kind, *pairs in overlaps
        )
        return template.model_copy(update={"id": name, "overlaps": declared})

    return make


def ties(entries: list[Entry], cases: list[SplitCase], *, suspected: bool = False) -> list[tuple[str, str, str]]:
    graph = leakage_graph(cases, entries)
    found: list[Tie] = find_ties(entries, graph, {case.entry for case in cases}, suspected=suspected)
    return [(tie.one, tie.other, tie.through) for tie in found]


@pytest.mark.parametrize("kind", ["same-cases", "subset-of", "superset-of", "shares-cases", "shares-patients"])
def test_an_overlap_without_pairs_ties_two_entries(entry: Any, kind: str) -> None:
    entries = [entry("a", ("b", kind)), entry("b")]
    assert ties(entries, [*cases_of("a"), *cases_of("b")]) == [("a", "b", "")]
    assert ties(entries, cases_of("a")) == []


def test_what_is_only_suspected_ties_where_it_is_asked_for(entry: Any) -> None:
    entries = [entry("a", ("b", "possible")), entry("b"), entry("c", ("a", "no-overlap"))]
    cases = [*cases_of("a"), *cases_of("b"), *cases_of("c")]
    assert ties(entries, cases) == []
    assert ties(entries, cases, suspected=True) == [("a", "b", "")]


def test_pairs_that_name_all_shared_patients_tie_nothing(entry: Any) -> None:
    pairs = {f"a{n}": f"b{n}" for n in range(10)}
    cases = [*cases_of("a"), *cases_of("b", 20)]
    assert ties([entry("a", ("b", "subset-of", pairs)), entry("b")], cases) == []
    assert ties([entry("b", ("a", "superset-of", {b: a for a, b in pairs.items()})), entry("a")], cases) == []
    assert ties([entry("a", ("b", "shares-patients", {"a1": "b2"})), entry("b")], cases) == []
    # All of ours are said to be among theirs, and nine of ten are named.
    del pairs["a7"]
    assert ties([entry("a", ("b", "subset-of", pairs)), entry("b")], cases) == [("a", "b", "")]


def test_scans_that_were_found_in_the_other_entry_resolve_what_is_said_to_be_contained(entry: Any) -> None:
    cases = [*cases_of("a", scans="s"), *cases_of("b", 20, scans="s")]
    assert ties([entry("a", ("b", "subset-of")), entry("b")], cases) == []
    # That some of them are shared does not say that all shared ones were found.
    assert ties([entry("a", ("b", "shares-cases")), entry("b")], cases) == [("a", "b", "")]


def test_two_entries_drawn_from_a_third_one_are_tied(entry: Any) -> None:
    entries = [
        entry("a", ("pool", "subset-of")),
        entry("b"),
        entry("pool", ("b", "superset-of")),
        entry("c", ("pool", "shares-cases")),
    ]
    assert ties(entries, [*cases_of("a"), *cases_of("b"), *cases_of("c")]) == [("a", "b", "pool")]


THROUGH = [("a", "test"), ("b", "train"), ("pool", None)]


def through_a_pool(entry: Any) -> list[Entry]:
    return [entry("a", ("pool", "subset-of")), entry("b", ("pool", "same-cases")), entry("pool")]


def test_the_third_one_ties_them_also_where_it_is_split_itself(entry: Any) -> None:
    entries = through_a_pool(entry)
    cases = [*cases_of("a"), *cases_of("b"), *cases_of("pool")]
    assert ties(entries, cases) == [("a", "b", "pool"), ("a", "pool", ""), ("b", "pool", "")]
    held = make_split(cases, entries=entries, rules=SplitRules(fractions=HALVES, held_out=("a",)))
    alone = make_split(cases_of("a"), entries=entries, rules=SplitRules(fractions=HALVES))
    later = make_split(cases, entries=entries, rules=SplitRules(fractions=HALVES), previous=alone)
    for split in (held, later):
        assert {row.entry for row in split.rows} == {"a"}
        assert {(case.entry, case.left_out) for case in split.left_out} == {("b", "tied"), ("pool", "tied")}
        assert find_leaks(split, cases, entries) == ()


def test_the_third_one_ties_them_in_the_split_as_shipped(entry: Any) -> None:
    entries = through_a_pool(entry)
    cases = [case for name, part in THROUGH for case in cases_of(name, 3, shipped=part)]
    split = make_shipped_split(cases, entries=entries)
    assert {(row.entry, row.part) for row in split.rows} == {("a", "test")}
    assert find_leaks(split, cases, entries) == ()


def test_of_tied_entries_none_is_held_out(entry: Any) -> None:
    entries = [entry("a", ("b", "shares-cases")), entry("b")]
    cases = [*cases_of("a"), *cases_of("b"), *cases_of("c")]
    split = make_split(cases, entries=entries, rules=SplitRules(fractions=HALVES))
    assert {row.entry for row in split.rows if row.part == "test"} == {"c"}
    assert split.left_out == ()
    assert [note for note in split.making.notes if note.startswith("a is never held out: it shares people with b")]
    assert find_leaks(split, cases, entries) == ()


def test_nothing_is_left_to_hold_out_and_the_refusal_says_why(entry: Any) -> None:
    entries = [entry("a", ("b", "shares-cases")), entry("b")]
    with pytest.raises(SplitError, match=r"split.too_few(.|\n)*shares people with b(.|\n)*--hold-out"):
        make_split([*cases_of("a"), *cases_of("b")], entries=entries, rules=SplitRules(fractions=HALVES))


def test_for_the_entry_that_is_held_out_the_tied_ones_are_left_out(entry: Any) -> None:
    entries = [entry("a", ("b", "shares-cases"), ("c", "subset-of")), entry("b"), entry("c")]
    cases = [*cases_of("a"), *cases_of("b"), *cases_of("c"), *cases_of("d")]
    split = make_split(cases, entries=entries, rules=SplitRules(fractions=HALVES, held_out=("a",)))
    assert {(case.entry, case.left_out) for case in split.left_out} == {("b", "tied"), ("c", "tied")}
    assert {row.entry for row in split.rows} == {"a", "d"}
    assert find_leaks(split, cases, entries) == ()
    with pytest.raises(SplitError, match=r"split.tied(.|\n)*b says so|split.tied(.|\n)*a says so"):
        make_split(cases, entries=entries, rules=SplitRules(fractions=HALVES, held_out=("a", "b")))


def test_an_entry_that_comes_to_one_that_is_tested_is_left_out(entry: Any) -> None:
    entries = [entry("a", ("b", "shares-cases")), entry("b")]
    before = make_split(cases_of("a"), entries=entries, rules=SplitRules(fractions=HALVES))
    both = [*cases_of("a"), *cases_of("b")]
    after = make_split(both, entries=entries, rules=SplitRules(fractions=HALVES), previous=before)
    assert after.rows == before.rows
    assert {case.entry for case in after.left_out} == {"b"}


def test_entries_whose_patients_nobody_can_tell_apart_are_never_held_out_unless_one_says_so() -> None:
    cases = [*cases_of("a"), *cases_of("b", patients_known=False)]
    together = make_split(cases, entries=[], rules=SplitRules(fractions=HALVES))
    assert {row.entry for row in together.rows if row.part == "test"} == {"a"}
    assert any("b is never held out: nobody can tell" in note for note in together.making.notes)
    separate = make_split(cases, entries=[], rules=SplitRules(fractions=HALVES, unknown_patients="separate"))
    assert {row.entry for row in separate.rows if row.part == "test"} == {"a", "b"}
    assert any("b: each case counts as a patient" in note for note in separate.making.notes)


def test_the_check_names_tied_entries_on_two_sides(entry: Any) -> None:
    entries = [entry("a", ("b", "shares-cases")), entry("b")]
    rows = tuple(
        SplitRow(
            entry=case.entry, case=case.case, patient=case.patient, component=f"{case.entry}/{case.patient}", part=part
        )
        for name, part in (("a", "train"), ("b", "test"))
        for case in cases_of(name, 3)
    )
    found = find_leaks(Split(rows), [*cases_of("a", 3), *cases_of("b", 3)], entries)
    assert [(leak.kind, leak.what) for leak in found] == [("tied", "a")]
    assert "a says so" in found[0].evidence


def test_no_split_of_the_whole_catalog_contradicts_its_overlaps() -> None:
    """Ten patients of each of the 210 entries: what is declared without pairs is never on two sides."""
    entries = list(Catalog.load())
    cases = [case for known in entries for case in cases_of(known.id)]
    split = make_split(cases, entries=entries, rules=SplitRules(fractions={"train": 0.8, "val": 0.1, "test": 0.1}))
    held = {row.entry for row in split.rows if row.part != "train"}
    declared = [
        (known.id, overlap)
        for known in entries
        for overlap in known.overlaps
        if overlap.kind.value not in ("possible", "no-overlap") and not overlap.patients
    ]
    assert len(declared) > 90
    assert not [(one, overlap.entry) for one, overlap in declared if one in held or overlap.entry in held]
    assert len(held) > 100
    assert find_leaks(split, cases, entries) == ()
