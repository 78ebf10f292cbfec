"""The template language: what a path with fields and stars matches, and that the quick search finds the same."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medshard.registry.layout import _Finder
from medshard.registry.templates import check_template, compile_filled, fill, match_template, template_fields

names = st.text(string.ascii_letters + string.digits + "-_. ()[]+^$", min_size=1, max_size=8).filter(
    lambda name: name.strip(".") != ""
)


@st.composite
def templates(draw: st.DrawFn) -> str:
    """Folders and a file, each with at most one field in it, so that there is one way to read a path."""
    parts = []
    for number in range(draw(st.integers(1, 4))):
        field = draw(st.sampled_from(["", f"{{field{number}}}", "{case}"]))
        parts.append(
            f"{draw(st.sampled_from(['', 'img_', 'a+b ']))}{field}{draw(st.sampled_from(['x', '_0000', '.d']))}"
        )
    return "/".join(parts)


@settings(deadline=None)
@given(template=templates(), data=st.data())
def test_what_was_filled_in_is_found_again(template: str, data: st.DataObject) -> None:
    fields = {name: data.draw(names, label=name) for name in template_fields(template)}
    path = fill(template, fields)
    assert match_template(template, path) == fields
    assert compile_filled(path).fullmatch(path), "special characters of a file name are plain"


@settings(deadline=None)
@given(name=names, other=names)
def test_a_field_that_stands_twice_means_the_same_both_times(name: str, other: str) -> None:
    found = match_template("{case}/{case}.nii", f"{name}/{other}.nii")
    assert found == ({"case": name} if name == other else None)


@pytest.mark.parametrize(
    ("template", "path", "matches"),
    [
        ("*.nii", "a.nii", True),
        ("*.nii", "a/b.nii", False),
        ("a*/b.nii", "a/b.nii", True),
        ("a/**.nii", "a/b/c/d.nii", True),
        ("a/**.nii", "b/d.nii", False),
        ("**/d.nii", "d.nii", True),
        ("**/d.nii", "a/b/d.nii", True),
        ("**/d.nii", "a/bd.nii", False),
        ("a/**/d.nii", "a/d.nii", True),
        ("a/**/d.nii", "a/b/c/d.nii", True),
        ("a/**/d.nii", "ab/d.nii", False),
        ("a/**/**/d.nii", "a/d.nii", True),
        ("a**/d.nii", "ab/c/d.nii", True),
        ("a**/d.nii", "a/d.nii", True),
        ("a**/d.nii", "ad.nii", False),
        ("a.nii", "aXnii", False),
    ],
)
def test_stars(template: str, path: str, matches: bool) -> None:
    assert (match_template(template, path) is not None) == matches
    assert (compile_filled(template).fullmatch(path) is not None) == matches


def test_a_field_never_reaches_into_the_next_folder() -> None:
    assert match_template("{case}.nii", "a/b.nii") is None
    assert match_template("{patient}/**.dcm", "p1/s1/1.dcm") == {"patient": "p1"}


@pytest.mark.parametrize("pattern", ["[^_]+", ".+", r"p1/?s?\d?", r"p\d|p\d/s\d"])
def test_nor_does_one_whose_own_expression_would(pattern: str) -> None:
    """`[^_]+` is how people write "up to the underscore", and it means slashes as well."""
    where = (("patient", pattern),)
    assert match_template("{patient}/**.dcm", "p1/s1/1.dcm", where) == {"patient": "p1"}
    assert match_template("{patient}.dcm", "p1/s1.dcm", where) is None


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ((), {"patient": "BraTS", "image": "001_t1"}),
        ((("image", "[^_]+"),), {"patient": "BraTS_001", "image": "t1"}),
        ((("patient", r"BraTS_\d+"),), {"patient": "BraTS_001", "image": "t1"}),
        ((("image", "t2|t1"), ("patient", ".*")), {"patient": "BraTS_001", "image": "t1"}),
        ((("image", "t2|flair"),), None),
        ((("image", "t"),), None),
    ],
)
def test_where_decides_where_a_field_ends(where: tuple[tuple[str, str], ...], expected: dict[str, str] | None) -> None:
    assert match_template("{patient}_{image}.nii", "BraTS_001_t1.nii", where) == expected


@settings(deadline=None)
@given(path=st.lists(names, min_size=1, max_size=4).map("/".join), pattern=st.sampled_from([r"\d+", "[a-z]+", ".+"]))
def test_where_only_ever_narrows(path: str, pattern: str) -> None:
    narrow = match_template("**/{case}", path, (("case", pattern),))
    wide = match_template("**/{case}", path)
    assert wide == {"case": path.rpartition("/")[2]}
    assert narrow == (wide if re.fullmatch(pattern, wide["case"]) else None)


def test_a_path_may_hold_what_looks_like_a_field() -> None:
    assert match_template("{case}.nii", "{x}.nii") == {"case": "{x}"}
    assert fill("{a}{b}*", {"a": "{b}"}) == "{b}{b}*"


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{a", "unbalanced brace at character 1"),
        ("ab}", "unbalanced brace at character 3"),
        ("{a b}", "no field name"),
        ("{1}", "no field name"),
        ("{}", "no field name"),
        ("/{a}", "below the acquired tree"),
        ("a/../b", "below the acquired tree"),
        ("./{a}", "no part empty"),
        ("a//{b}", "no part empty"),
        ("a/", "no part empty"),
        ("", "no part empty"),
    ],
)
def test_a_template_that_can_match_nothing_is_refused(template: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        check_template(template)


segments = st.text("ab._", min_size=1, max_size=3)
trees = st.lists(st.lists(segments, min_size=1, max_size=4).map("/".join), max_size=25, unique=True)
patterns = st.lists(
    st.lists(st.sampled_from(["a", "b", "ab", ".", "_", "*", "**", "a*", "*b"]), min_size=1, max_size=3).map("".join)
    | st.just("**"),
    min_size=1,
    max_size=4,
).map("/".join)  # fmt: skip


def slow_pattern(pattern: str) -> re.Pattern[str]:
    """The rules of the stars once more, a character at a time."""
    out, rest = "", pattern
    while rest:
        at_folder = out == "" or out.endswith(("/", "?"))
        if rest.startswith("**/") and at_folder:
            out, rest = out + "(?:.*/)?", rest[3:]
        elif rest.startswith("**"):
            out, rest = out + ".*", rest[2:]
        elif rest.startswith("*"):
            out, rest = out + "[^/]*", rest[1:]
        else:
            out, rest = out + re.escape(rest[0]), rest[1:]
    return re.compile(out)


@settings(deadline=None, max_examples=500)
@given(tree=trees, pattern=patterns)
def test_the_quick_search_finds_what_a_scan_finds(tree: list[str], pattern: str) -> None:
    expected = tuple(sorted(path for path in tree if slow_pattern(pattern).fullmatch(path)))
    assert _Finder(tree).files(pattern) == expected


@settings(deadline=None, max_examples=200)
@given(tree=trees, pattern=patterns)
def test_a_template_without_fields_matches_what_the_search_finds(tree: list[str], pattern: str) -> None:
    matched = tuple(sorted(path for path in tree if match_template(pattern, path) is not None))
    assert matched == _Finder(tree).files(pattern)


def test_a_backslash_divides_no_folders() -> None:
    with pytest.raises(ValueError, match="on Windows too"):
        check_template("scans\\{case}.nii.gz")
