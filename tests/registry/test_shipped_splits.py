"""The split as shipped: its leaks are found, and what is left of it without them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from medshard.registry.splits import SplitCase, as_shipped, check_no_leak, find_leaks, make_shipped_split, shipped_leaks

PARTS = ["train", "validation", "test", "unlabelled", "extra", None]


def case(name: str, patient: str, shipped: str | None, *scans: str, entry: str = "a", made: bool = False) -> SplitCase:
    return SplitCase(
        entry=entry, case=name, patient=patient, labelled=True, shipped=shipped, contents=scans, synthetic=made
    )


def test_file_names_that_were_taken_for_patients_are_found_out() -> None:
    """What was published of one set: shipped by visit, and 3 of 6 volunteers have visits in both parts."""
    shipped = {
        "V001-1": "train", "V001-2": "train", "V001-3": "test",
        "V002-1": "test", "V002-2": "train",
        "V003-1": "train", "V003-2": "train",
        "V004-1": "test", "V004-2": "test",
        "V005-1": "train", "V005-2": "test", "V005-3": "test",
        "V006-1": "train",
    }  # fmt: skip
    cases = [case(name, name.partition("-")[0], part) for name, part in shipped.items()]
    leaks = shipped_leaks(cases, [])
    assert [leak.patients for leak in leaks] == [("a/V001",), ("a/V002",), ("a/V005",)]
    assert leaks[0].cases == {"test": ("a/V001-3",), "train": ("a/V001-1", "a/V001-2")}
    usable = make_shipped_split(cases, entries=[])
    assert {row.case for row in usable.rows if row.part == "test"} == {
        name for name, part in shipped.items() if part == "test"
    }
    assert {out.case for out in usable.left_out} == {"V001-1", "V001-2", "V002-2", "V005-1"}
    assert {out.left_out for out in usable.left_out} == {"leak"}


def test_a_scan_that_was_shipped_twice_under_two_patients_is_named_with_its_voxels() -> None:
    cases = [case("c1", "p1", "train", "x"), case("c2", "p2", "test", "x"), case("c3", "p3", "train", "y")]
    (leak,) = shipped_leaks(cases, [])
    assert leak.patients == ("a/p1", "a/p2")
    assert [(link.kind, link.evidence) for link in leak.links] == [("scan", "x")]


def test_a_case_that_is_not_split_may_show_that_two_patients_are_one() -> None:
    cases = [case("c1", "p1", "train"), case("c2", "p2", "test", "x")]
    link = case("c3", "p1", "train", "x")
    assert [leak.patients for leak in shipped_leaks(cases, [], [link])] == [("a/p1", "a/p2")]
    usable = make_shipped_split(cases, entries=[], unsplit=[link])
    assert [row.case for row in usable.rows] == ["c2"]
    assert [out.case for out in usable.left_out] == ["c1"]


def test_a_chain_of_edges_is_told_link_by_link() -> None:
    cases = [case("c1", "p1", "train", "x"), case("c2", "p2", None, "x", "y"), case("c3", "p3", "test", "y")]
    (leak,) = shipped_leaks(cases, [])
    assert leak.patients == ("a/p1", "a/p3")
    links = find_leaks(as_shipped(cases, []), cases, [])[0].links
    assert [(link.one[1], link.other[1], link.evidence) for link in links] == [("p1", "p2", "x"), ("p2", "p3", "y")]


def test_a_synthetic_case_that_was_shipped_for_testing_is_told_and_does_not_test() -> None:
    cases = [case("c1", "p1", "test", made=True), case("c2", "p2", "test"), case("c3", "p3", "train")]
    assert [(leak.kind, leak.what) for leak in shipped_leaks(cases, [])] == [("synthetic", "a/c1")]
    usable = make_shipped_split(cases, entries=[])
    assert usable.part_of("a", "c1") == "train"
    assert usable.part_of("a", "c2") == "test"


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 12), st.sampled_from(PARTS), st.integers(0, 30), st.booleans()),
        min_size=1,
        max_size=40,
    )
)
def test_what_is_left_of_a_shipped_split_does_not_leak_and_keeps_every_real_test_case(
    rows: list[tuple[int, str | None, int, bool]],
) -> None:
    cases = [
        case(f"c{number}", f"p{patient}", part, f"s{scan}", made=made)
        for number, (patient, part, scan, made) in enumerate(rows)
    ]
    usable = make_shipped_split(cases, entries=[])
    check_no_leak(usable)
    assert find_leaks(usable, cases, []) == ()
    assert {row.name for row in usable.rows} | {out.name for out in usable.left_out} == {c.name for c in cases}
    tested = {row.case for row in usable.rows if row.part == "test"}
    assert tested == {c.case for c in cases if c.shipped == "test" and not c.synthetic}
