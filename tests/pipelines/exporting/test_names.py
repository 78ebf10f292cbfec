"""Names that other tools can bear: safe, told apart, and mostly what they were."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medshard.pipelines.exporting.names import Alphabet, safe_names

FIT = {"file": r"[A-Za-z0-9._-]+", "key": r"[A-Za-z0-9_-]+", "bids": r"[A-Za-z0-9]+"}
ALPHABETS = st.sampled_from(["file", "key", "bids"])
NAMES = st.lists(st.text(max_size=12) | st.sampled_from(["a", "A", "a b", "a/b", "a-b", "", ".", ".."]), max_size=12)


@given(names=NAMES, alphabet=ALPHABETS)
def test_no_two_cases_have_one_name_even_where_letters_count_alike(names: list[str], alphabet: Alphabet) -> None:
    safe = safe_names(names, alphabet)
    assert set(safe) == set(names)
    assert len({name.lower() for name in safe.values()}) == len(safe)


@given(names=NAMES, alphabet=ALPHABETS)
def test_a_name_holds_nothing_that_a_tool_trips_over(names: list[str], alphabet: Alphabet) -> None:
    for name in safe_names(names, alphabet).values():
        assert re.fullmatch(FIT[alphabet], name)
        assert not name.startswith((".", "-", "_"))


@pytest.mark.parametrize("alphabet", ["file", "key", "bids"])
def test_a_safe_name_stays(alphabet: Alphabet) -> None:
    assert safe_names(["case00042"], alphabet) == {"case00042": "case00042"}


def test_what_a_case_is_called_does_not_depend_on_the_others() -> None:
    alone = safe_names(["site a/case 1"])["site a/case 1"]
    assert safe_names(["site a/case 1", "other", "x y"])["site a/case 1"] == alone


def test_names_that_differ_in_large_letters_only_are_told_apart() -> None:
    safe = safe_names(["Case1", "case1"])
    assert safe["Case1"].startswith("Case1-")
    assert safe["case1"].startswith("case1-")
