"""Splits: whole components of the leakage graph on one side, frozen, reproducible, and stable when cases come."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medshard.errors import SplitError
from medshard.registry import Catalog
from medshard.registry.schema import Entry
from medshard.registry.splits import (
    STRATA,
    Split,
    SplitCase,
    SplitRow,
    SplitRules,
    check_no_leak,
    check_overlaps,
    components,
    find_leaks,
    make_split,
)

THIRDS = {"train": 0.6, "val": 0.2, "test": 0.2}


def case(entry: str, name: str, patient: str, *, labelled: bool = True, **more: Any) -> SplitCase:
    return SplitCase(entry=entry, case=name, patient=patient, labelled=labelled, **more)


def made(
    cases: Sequence[SplitCase],
    seed: int = 0,
    *,
    entries: Sequence[Entry] = (),
    previous: Split | None = None,
    **more: Any,
) -> Split:
    rules = SplitRules(**{"fractions": THIRDS, "seed": seed, **more})
    return make_split(cases, entries=entries, rules=rules, previous=previous)


def made_or_too_few(cases: Sequence[SplitCase], seed: int, **more: Any) -> Split | None:
    """None where there are too few patients; any other refusal is a fault."""
    try:
        return made(cases, seed, **more)
    except SplitError as error:
        if error.code != "split.too_few":
            raise
        return None


@pytest.fixture(scope="module")
def public() -> list[Entry]:
    return list(Catalog.load())


# Up to 60 cases of two entries, whose scans, patients and classes overlap at random.
CASES = st.lists(
    st.builds(
        lambda entry, patient, scan, classes, labelled: (entry, patient, scan, classes, labelled),
        st.sampled_from("ab"),
        st.integers(0, 25),
        st.one_of(st.none(), st.integers(0, 40)),
        st.frozensets(st.sampled_from(["liver", "spleen", "rare"]), max_size=3),
        st.booleans(),
    ),
    min_size=24,
    max_size=60,
).map(
    lambda rows: [
        SplitCase(
            entry=entry,
            case=f"c{number}",
            patient=f"p{patient}",
            labelled=labelled,
            contents=() if scan is None else (f"scan{scan}",),
            strata=tuple(f"class:{name}" for name in sorted(classes)),
        )
        for number, (entry, patient, scan, classes, labelled) in enumerate(rows)
    ]
)


def joined(cases: Sequence[SplitCase]) -> list[set[int]]:
    """Numbers of the cases that show one person, by walking from each case to all that are like it."""
    groups: list[set[int]] = []
    for number, one in enumerate(cases):
        alike = [
            group
            for group in groups
            if any(
                (cases[other].entry, cases[other].patient) == (one.entry, one.patient)
                or set(cases[other].contents) & set(one.contents)
                for other in group
            )
        ]
        groups = [group for group in groups if group not in alike] + [set().union({number}, *alike)]
    return groups


@settings(deadline=None, max_examples=60)
@given(cases=CASES, seed=st.integers(0, 1000), stratified=st.booleans(), folds=st.sampled_from([0, 3]))
def test_nobody_is_on_two_sides(cases: list[SplitCase], seed: int, *, stratified: bool, folds: int) -> None:
    shares = {"train": 0.8, "test": 0.2} if folds else THIRDS
    split = made_or_too_few(cases, seed, fractions=shares, folds=folds, stratify=STRATA if stratified else ())
    if split is None:
        return
    check_no_leak(split)
    place = {row.name: (row.part, row.fold) for row in split.rows}
    assert len(place) == len(cases)
    for group in joined(cases):
        assert len({place[cases[number].name] for number in group}) == 1
    assert {row.part for row in split.rows} >= {part for part, share in shares.items() if part != "train" and share}
    assert find_leaks(split, cases, []) == ()


@settings(deadline=None, max_examples=40)
@given(cases=CASES, seed=st.integers(0, 1000), kept=st.integers(16, 40))
def test_cases_that_come_move_no_case_that_is_there(cases: list[SplitCase], seed: int, kept: int) -> None:
    """Where no new edge joins two parts, every case stays; where one does, no tested case leaves the test part."""
    before = made_or_too_few(cases[:kept], seed, stratify=STRATA)
    after = before and made_or_too_few(cases, seed, stratify=STRATA, previous=before)
    if before is None or after is None:
        return
    check_no_leak(after)
    was = {row.name: row.part for row in before.rows}
    now = {row.name: row.part for row in after.rows}
    torn = {
        cases[number].name
        for group in joined(cases)
        if len({was[cases[number].name] for number in group if cases[number].name in was}) > 1
        for number in group
    }
    assert {name: part for name, part in was.items() if name not in torn} == {
        name: now[name] for name in was if name not in torn
    }
    for name in torn & was.keys():
        assert was[name] == "test" or now.get(name) in (None, was[name])
        assert now.get(name) == was[name] or name in {out.name for out in after.left_out}


@settings(deadline=None, max_examples=30)
@given(cases=CASES, seed=st.integers(0, 1000))
def test_the_order_of_the_cases_does_not_matter(cases: list[SplitCase], seed: int) -> None:
    shuffled = random.Random(seed).sample(cases, len(cases))
    one, other = (made_or_too_few(listed, seed, stratify=STRATA) for listed in (cases, shuffled))
    if one is None or other is None:
        assert one is other
        return
    assert one.to_bytes() == other.to_bytes()
    assert one == Split.from_bytes(one.to_bytes())


def test_another_seed_is_another_split() -> None:
    cases = [case("a", f"c{n}", f"p{n // 2}") for n in range(40)]
    assert len({made(cases, seed).digest for seed in range(5)}) == 5


def test_a_split_made_again_is_the_same_table() -> None:
    cases = [case("a", f"c{n}", f"p{n}") for n in range(40)]
    first = made(cases)
    again = made(cases, previous=first)
    assert again.digest == first.digest


def test_without_a_previous_split_few_cases_move() -> None:
    cases = [case(f"e{n % 5}", f"c{n}", f"p{n}", strata=(f"class:{n % 7}",)) for n in range(2000)]
    more = [case(f"e{n % 5}", f"new{n}", f"new{n}", strata=("class:1",)) for n in range(20)]
    one, other = made(cases, stratify=STRATA), made([*cases, *more], stratify=STRATA)
    moved = sum(other.part_of(*row.name) != row.part for row in one.rows)
    assert moved <= 60


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
    split = made(cases, seed, entries=public)
    assert split.part_of("pydicom-samples", "lung2_reencoded") == split.part_of("pyradiomics-cases", "lung2")
    assert split.counts()["val"] >= 1
    assert split.counts()["test"] >= 1


def test_unlabelled_components_go_to_train() -> None:
    split = made([case("a", f"c{n}", f"p{n}", labelled=n < 5) for n in range(10)])
    assert all(split.part_of("a", f"c{n}") == "train" for n in range(5, 10))


@pytest.mark.parametrize("seed", range(10))
def test_a_rare_class_is_in_every_part(seed: int) -> None:
    """Nine classes of three patients each among 400 patients: one of each in train, val and test."""
    cases = [
        case("a", f"c{n}", f"p{n}", strata=("class:common", *([f"class:rare{n // 3}"] if n < 27 else [])))
        for n in range(400)
    ]
    split = made(cases, seed, fractions={"train": 0.8, "val": 0.1, "test": 0.1}, stratify=STRATA)
    parts: dict[int, set[str]] = defaultdict(set)
    for n in range(27):
        parts[n // 3].add(str(split.part_of("a", f"c{n}")))
    assert all(found == {"train", "val", "test"} for found in parts.values())
    assert split.counts() == {"train": 320, "val": 40, "test": 40}


@pytest.mark.parametrize("seed", range(5))
def test_every_part_has_its_share_of_entries_modalities_and_classes(seed: int) -> None:
    pick = random.Random(seed)
    cases = [
        case(
            f"e{n % 4}",
            f"c{n}",
            f"p{n}",
            strata=(
                f"modality:{pick.choice(['CT', 'MR'])}",
                *(f"class:{k}" for k in range(30) if pick.random() < 3 / (3 + k)),
            ),
        )
        for n in range(1000)
    ]
    split = made(cases, seed, fractions={"train": 0.7, "val": 0.1, "test": 0.2}, stratify=STRATA)
    for label, counts in split.making.balance.items():
        total = sum(counts.values())
        assert counts["test"] >= 0.9 * 0.2 * total - 1, label
        assert counts["val"] >= 0.9 * 0.1 * total - 1, label
        assert counts["train"] >= 0.9 * 0.7 * total - 1, label


def test_each_fold_is_val_once_and_test_never() -> None:
    cases = [case("a", f"c{n}", f"p{n // 2}", labelled=n < 80) for n in range(100)]
    split = made(cases, fractions={"train": 0.8, "test": 0.2}, folds=4)
    test = {row.name for row in split.rows_of("test")}
    val = [{row.name for row in split.rows_of("val", fold)} for fold in range(4)]
    for fold in range(4):
        assert {row.name for row in split.rows_of("test", fold)} == test
        assert not {row.name for row in split.rows_of("train", fold)} & (test | val[fold])
    assert sum(map(len, val)) == len(set().union(*val))
    assert set().union(*val) | test == {c.name for c in cases if c.labelled}
    with pytest.raises(SplitError, match="split.fold"):
        split.rows_of("val", 4)


SYNTHETIC = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=30, max_size=60)


@settings(deadline=None, max_examples=40)
@given(rows=SYNTHETIC, seed=st.integers(0, 100), folds=st.sampled_from([0, 2]))
def test_a_synthetic_case_is_never_held_out(rows: list[tuple[int, bool]], seed: int, folds: int) -> None:
    cases = [case("a", f"c{n}", f"p{patient}", synthetic=is_made) for n, (patient, is_made) in enumerate(rows)]
    shares = {"train": 0.6, "test": 0.4} if folds else THIRDS
    split = made_or_too_few(cases, seed, fractions=shares, folds=folds)
    if split is None:
        return
    check_no_leak(split)
    held = {row.patient for row in split.rows if row.part != "train" or row.fold is not None}
    for row in split.rows:
        assert not (row.synthetic and row.patient in held)
    out = {c.case for c in split.left_out}
    assert out == {c.case for c in cases if c.synthetic and c.patient in held}
    assert all(any(c.patient == patient and not c.synthetic for c in cases) for patient in held)


def test_a_patient_who_was_trained_on_and_turns_out_to_be_tested_leaves_training() -> None:
    cases = [case("a", f"c{n}", f"p{n}") for n in range(20)]
    before = made(cases)
    trained = next(row for row in before.rows if row.part == "train")
    tested = next(row for row in before.rows if row.part == "test")
    same = [replace(c, contents=("x",)) if c.name in (trained.name, tested.name) else c for c in cases]
    assert [leak.kind for leak in find_leaks(before, same, [])] == ["patient"]
    after = made(same, previous=before)
    assert after.part_of(*tested.name) == "test"
    assert after.part_of(*trained.name) is None
    assert [(out.name, out.left_out, out.was) for out in after.left_out] == [(trained.name, "joined", "train")]
    assert find_leaks(after, same, []) == ()
    # It stays out, and comes back to train when the edge was a mistake.
    assert made(same, previous=after) == after
    assert made(cases, previous=after).part_of(*trained.name) == "train"


def test_a_new_visit_of_a_tested_patient_is_tested() -> None:
    cases = [case("a", f"c{n}", f"p{n}") for n in range(20)]
    before = made(cases)
    tested = next(row for row in before.rows if row.part == "test")
    after = made([*cases, case("a", "visit", tested.patient)], previous=before)
    assert after.part_of("a", "visit") == "test"


@pytest.mark.parametrize("folds", [0, 3])
def test_a_patient_who_gets_another_name_stays_where_the_case_was(folds: int) -> None:
    shares = {"fractions": {"train": 0.8, "test": 0.2}, "folds": folds} if folds else {}
    cases = [case("a", f"c{n}", f"p{n // 2}") for n in range(40)]
    before = made(cases, seed=3, **shares)
    renamed = [replace(c, patient=f"new{c.patient}") for c in cases]
    after = made(renamed, seed=3, previous=before, **shares)
    assert after.left_out == ()
    assert [(row.name, row.part, row.fold) for row in after.rows] == [
        (row.name, row.part, row.fold) for row in before.rows
    ]


@given(names=st.permutations(range(20)))
@settings(deadline=None, max_examples=30)
def test_patients_who_swap_names_bring_nobody_who_was_tested_into_training(names: list[int]) -> None:
    """Whether the patients were renamed or the cases: neither who has the name nor who has the case may train."""
    before = made([case("a", f"c{n}", f"p{n}") for n in range(20)])
    swapped = [case("a", f"c{n}", f"p{name}") for n, name in enumerate(names)]
    after = made(swapped, previous=before)
    tested = [row for row in before.rows if row.part == "test"]
    named, kept = {row.patient for row in tested}, {row.case for row in tested}
    assert not {row.case for row in after.rows if row.part != "test" and (row.patient in named or row.case in kept)}
    assert kept == {row.case for row in after.rows if row.part == "test"}


@pytest.mark.parametrize("seed", range(5))
def test_a_case_that_is_not_split_may_show_that_two_patients_are_one(seed: int) -> None:
    """p and q are one person, as only a case without a part says: p has it, and a scan of q is in it."""
    cases = [case("a", f"c{n}", f"p{n}") for n in range(20)] + [case("b", "q", "q", contents=("x",))]
    link = case("a", "link", "p0", contents=("x",))
    split = make_split(cases, entries=[], rules=SplitRules(fractions=THIRDS, seed=seed), unsplit=[link])
    assert find_leaks(split, [*cases, link], []) == ()
    assert split.part_of("a", "c0") == split.part_of("b", "q")
    assert split.part_of("a", "link") is None
    assert len(split.rows) == len(cases)


def test_the_table_survives_its_bytes() -> None:
    split = made([case("a", f"c{n}", f"p{n}", shipped="test", synthetic=n > 20) for n in range(26)])
    assert Split.from_bytes(split.to_bytes()) == split


def test_a_table_of_the_first_format_still_reads() -> None:
    line = b'{"case":"c1","component":"a/p","entry":"a","part":"val","patient":"p"}\n'
    assert Split.from_bytes(line).rows == (SplitRow(entry="a", case="c1", patient="p", component="a/p", part="val"),)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"entry,case,part\n", "split.unreadable"),
        (b'{"entry":"a"}\n', "split.unreadable"),
        (b'{"format_version":99}\n', "split.format_version"),
    ],
)
def test_what_is_no_table_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(SplitError, match=code):
        Split.from_bytes(data)


def test_an_edited_table_that_tears_a_patient_is_refused() -> None:
    def row(name: str, part: Any, fold: int | None = None) -> SplitRow:
        return SplitRow(entry="a", case=name, patient="p", component="a/p", part=part, fold=fold)

    with pytest.raises(SplitError, match=r"split.leak(.|\n)*a/p"):
        check_no_leak(Split((row("c1", "train"), row("c2", "test"))))
    with pytest.raises(SplitError, match=r"split.leak(.|\n)*a/p"):
        check_no_leak(Split((row("c1", "train", 0), row("c2", "train", 1))))
    with pytest.raises(SplitError, match=r"split.synthetic(.|\n)*a/c1"):
        check_no_leak(Split((replace(row("c1", "test"), synthetic=True),)))


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(SplitError, match="split.too_few"):
        made([case("a", "c1", "p1"), case("a", "c2", "p2")])


@pytest.mark.parametrize("fractions", [{"train": 0.5}, {"train": 1.2, "test": -0.2}, {"train": 0.5, "dev": 0.5}])
def test_shares_that_make_no_sense_are_refused(fractions: dict[str, float]) -> None:
    with pytest.raises(SplitError, match="split.fractions"):
        made([case("a", "c1", "p1")], fractions=fractions)


def test_other_rules_that_make_no_sense_are_refused() -> None:
    cases = [case("a", f"c{n}", f"p{n}") for n in range(20)]
    for rules, code in (
        ({"folds": 3}, "split.folds"),
        ({"stratify": ("weather",)}, "split.strata"),
        ({"held_out": ("b",)}, "split.held_out"),
    ):
        with pytest.raises(SplitError, match=code):
            made(cases, **rules)


def test_the_same_voxels_under_two_names_are_one_component() -> None:
    cases = [
        case("a", "c1", "p1", contents=("x",)),
        case("b", "c9", "p9", contents=("y", "x")),
        case("b", "c8", "p8", contents=("z",)),
    ]
    found = components(cases, [])
    assert found["a", "p1"] == found["b", "p9"]
    assert found["b", "p8"] != found["b", "p9"]


def test_an_overlap_with_a_patient_that_nobody_has_is_refused(public: list[Entry]) -> None:
    check_overlaps({"pyradiomics-cases": {"breast1", "lung2"}, "pydicom-samples": {"lung2"}}, public)
    with pytest.raises(SplitError, match=r"split.unknown_patient(.|\n)*pyradiomics-cases has no patient 'lung2'"):
        check_overlaps({"pyradiomics-cases": {"breast1"}, "pydicom-samples": {"lung2"}}, public)


def test_a_hundred_thousand_cases_of_two_hundred_entries_are_split() -> None:
    cases = [
        case(f"e{n % 200}", f"c{n}", f"p{n // 2}", strata=(f"class:{n % 211}", f"site:{n % 800}"))
        for n in range(100_000)
    ]
    split = made(cases, fractions={"train": 0.8, "val": 0.1, "test": 0.1}, stratify=STRATA)
    check_no_leak(split)
    # Patients of two cases stand in two entries here, which are two patients.
    assert split.counts() == {"train": 80_000, "val": 10_000, "test": 10_000}
