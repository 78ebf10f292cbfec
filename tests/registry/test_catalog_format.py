"""One form for every catalog file: the same content, in the same order, whoever wrote it down and however."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from medshard.errors import CatalogError
from medshard.registry.catalog.formatting import WIDTH, format_catalog, format_file
from medshard.registry.schema import Entry

MISLEADING_TEXTS = [
    "", " ", "1", "007", "0x1f", "1_000", "1e3", ".5", "1:30:00", "2024-01-31", "2024-13-01", "yes", "No", "ON",
    "true", "null", "~", ".inf", "a: b", "a:b", "b:", "# no comment", "a # b", "a#b", " leading", "trailing ",
    "\ttab", "- item", "? key", "[list", "{map}", "a, b", "&anchor", "*alias", "!tag", "%directive", "@at", "`tick",
    "'single'", '"double"', "|", ">-", "---", "...", "<<", "=", "back\\slash", "line\nbreak", "line\n\n# two",
    "\nfirst", "last\n", "cr\rlf\r\n", "µm × 3", "naïve", "肝臓", "\U0001f480", "\u2028separator", "\x85next",
    "\ufeffmark", "\x07bell", "no\xa0break",
]  # fmt: skip

texts = st.sampled_from(MISLEADING_TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
long_texts = st.lists(texts, min_size=8, max_size=60).map(" ".join)
dates = st.dates(min_value=datetime.date(1900, 1, 1))
scalars = st.one_of(
    texts,
    long_texts,
    st.integers(),
    st.floats(allow_nan=False),
    st.booleans(),
    st.none(),
    dates,
    st.just("liver tumour"),
)
keys = st.sampled_from(list(Entry.model_fields)) | texts | st.integers(min_value=2)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(keys, inner, max_size=6), max_leaves=30
)
documents = st.lists(st.dictionaries(keys, values, max_size=6), max_size=4).map(
    lambda entries: {"format_version": 1, "entries": entries}
)


def catalog(*entries: str) -> str:
    return "format_version: 1\nentries:\n" + "".join(entries)


def formatted(text: str) -> str:
    return format_catalog(text, file="mine.yaml")


def sorted_by_id(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "entries": sorted(document["entries"], key=lambda entry: str(entry.get("id", "")))}


@settings(deadline=None, max_examples=80)
@given(document=documents, style=st.sampled_from([True, False, None]), width=st.sampled_from([40, 10**6]))
def test_formatting_changes_nothing_but_the_order(document: dict[str, Any], style: bool | None, width: int) -> None:
    text = yaml.safe_dump(document, default_flow_style=style, width=width, allow_unicode=True, sort_keys=False)
    assert yaml.safe_load(formatted(text)) == sorted_by_id(yaml.safe_load(text))


@settings(deadline=None, max_examples=40)
@given(document=documents)
def test_what_is_formatted_is_in_its_form(document: dict[str, Any]) -> None:
    once = formatted(yaml.safe_dump(document))
    assert formatted(once) == once


@pytest.mark.parametrize("text", MISLEADING_TEXTS)
@pytest.mark.parametrize("words", [0, 60])
def test_a_text_stays_a_text(text: str, words: int) -> None:
    """As a field, a key, an item of a list, and at the end of a long text."""
    long = " ".join(["word"] * words + [text]) if words else text
    entry = {"id": "x", "notes": long, "names": [long, "other"], "cases": [{"where": {text: long}}]}
    out = formatted(yaml.safe_dump({"format_version": 1, "entries": [entry]}))
    assert yaml.safe_load(out)["entries"] == [entry]
    assert formatted(out) == out


def test_numbers_that_are_equal_keep_their_types() -> None:
    out = formatted(catalog("- {id: x, a: 1, b: 1.0, c: true, d: '1', e: 'true', f: 0, g: false}\n"))
    (entry,) = yaml.safe_load(out)["entries"]
    assert [(type(value), value) for value in entry.values()][1:] == [
        (int, 1), (float, 1.0), (bool, True), (str, "1"), (str, "true"), (int, 0), (bool, False)
    ]  # fmt: skip


def test_entries_stand_by_id_and_fields_in_the_order_of_the_schema() -> None:
    text = catalog(
        "- {title: Second, id: b}\n",
        "- cases: [{images: {ct: {optional: true, path: '{case}.nii'}}, modality: CT, case: '{case}'}]\n"
        "  licence: {derivatives: allowed, id: MIT}\n"
        "  acquisition: [{record: '1', note: x, kind: zenodo}]\n"
        "  of_no_model: 1\n"
        "  title: First\n"
        "  id: a\n",
    )
    assert formatted(text) == catalog(
        "  - id: a\n"
        "    title: First\n"
        "    licence: {id: MIT, derivatives: allowed}\n"
        "    acquisition: [{kind: zenodo, record: '1', note: x}]\n"
        "    cases:\n"
        "      - case: '{case}'\n"
        "        modality: CT\n"
        "        images: {ct: {path: '{case}.nii', optional: true}}\n"
        "    of_no_model: 1\n"
        "\n"
        "  - {id: b, title: Second}\n"
    )


def test_keys_that_mean_something_by_their_order_keep_it() -> None:
    """The first image finds the cases: a plain mapping is not sorted."""
    text = catalog("- {id: a, cases: [{modality: MR, images: {t2: {path: a}, t1: {path: b}}}]}\n")
    (group,) = yaml.safe_load(formatted(text))["entries"][0]["cases"]
    assert list(group["images"]) == ["t2", "t1"]


def test_the_header_and_the_concepts_stay_and_the_entries_come_last() -> None:
    header = "# A lab's own catalog.\n\n# yaml-language-server: $schema=catalog.schema.json\n"
    text = header + "entries: [{id: x}]\nconcepts: [{name: stent strut, kind: instrument}]\nformat_version: 1\n"
    assert formatted(text) == (
        header + "concepts: [{name: stent strut, kind: instrument}]\nformat_version: 1\nentries:\n  - {id: x}\n"
    )


def test_a_catalog_without_entries_stays_one() -> None:
    assert formatted("format_version: 1\nentries: []\n") == "format_version: 1\nentries: []\n"


words = st.text("abcdefghij.,;:#'-", min_size=1, max_size=20)


@settings(deadline=None, max_examples=40)
@given(text=st.lists(words, min_size=30, max_size=90).map(" ".join), classes=st.dictionaries(st.integers(1), words))
def test_no_line_is_too_long_when_its_words_are_short(text: str, classes: dict[int, str]) -> None:
    label = {"path": "m.nii", "classes": classes}
    entry = {
        "id": "x",
        "description": text,
        "names": text.split(),
        "doubts": [text, text],
        "cases": [{"modality": "CT", "labels": {"mask": label}}],
    }
    lines = formatted(yaml.safe_dump({"format_version": 1, "entries": [entry]})).splitlines()
    # A text that folding would change (a word that begins with `#` at the start of a line) stays in one line, quoted.
    assert all(len(line) <= WIDTH or text[:20].replace("'", "''") in line for line in lines)


COMMENTS = [
    ("# a line of its own\n- id: x\n", 3),
    ("- id: x\n  # indented\n  title: y\n", 4),
    ("- id: x # behind a word\n", 3),
    ("- id: x\t# behind a tab\n", 3),
    ('- id: "x"#behind a quote\n', 3),
    ("- {id: x}#behind a brace\n", 3),
    ("- {id: x,#behind a comma\n   title: y}\n", 3),
    ("- id: x\n  notes: plain\n    and on # behind the second line\n", 5),
    ("- id: x\n  notes: >- # behind the mark of a block\n    text\n", 4),
    ("- id: x\n  notes: |\n    text\n  # behind a block\n  title: y\n", 6),
    ("- id: x\n# at the very end", 4),
]


@pytest.mark.parametrize(("entries", "line"), COMMENTS)
def test_a_comment_that_would_be_lost_is_refused_with_its_line(entries: str, line: int) -> None:
    with pytest.raises(CatalogError) as caught:
        formatted(catalog(entries))
    assert caught.value.code == "catalog.comment"
    assert caught.value.where == f"mine.yaml:{line}"
    assert caught.value.details == {"lines": str(line)}


def test_all_lost_comments_are_named_at_once() -> None:
    with pytest.raises(CatalogError, match="lines +4, 6"):
        formatted("# header\n" + catalog("  # one\n", "- id: x\n", "  # two\n"))


@pytest.mark.parametrize(
    "entries",
    [
        "- {id: x, notes: a#b}\n",
        "- {id: x, notes: 'a # b'}\n",
        '- {id: x, notes: "a\n    # b"}\n',
        "- id: x\n  notes: >-\n    a # b\n    # c\n",
        "- id: x\n  notes: |\n    # a\n",
        "- id: x\n  cases: [{labels: {m: {colours: {'#ff0000': 1}}}}]\n",
    ],
)
def test_a_hash_inside_a_text_is_no_comment(entries: str) -> None:
    assert yaml.safe_load(formatted(catalog(entries))) == yaml.safe_load(catalog(entries))


@pytest.mark.parametrize(
    ("text", "details"),
    [
        ("format_version: 1\nentries: [\n", ["line 3"]),
        ("format_version: 1\nentries:\n  - {id: x, id: y}\n", ["line 3"]),
        ("format_version: 1\n", []),
        ("", []),
        ("- just\n- a list\n", []),
    ],
)
def test_what_cannot_be_read_is_not_formatted(text: str, details: list[str]) -> None:
    with pytest.raises(CatalogError) as caught:
        formatted(text)
    assert caught.value.code == "catalog.unreadable"
    assert list(caught.value.details) == details


def test_checking_a_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(catalog("- {title: y, id: x}\n"))
    before = file.read_bytes()
    assert format_file(file, check=True)
    assert file.read_bytes() == before
    assert format_file(file)
    assert file.read_text() == catalog("  - {id: x, title: y}\n")
    assert not format_file(file, check=True)
    written = file.stat().st_mtime_ns
    assert not format_file(file)
    assert file.stat().st_mtime_ns == written
