"""JSON: which shapes are rows, and what becomes of what is nested."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_tables import columns, table, texts, types, written

from medshard.converters.tables import json_stream
from medshard.errors import CaseError


def rows(folder: Path, value: Any, **request: Any) -> list[dict[str, Any]]:
    return list(table(written(folder, "a.json", json.dumps(value)), **request).read().to_pylist())


class TestShapes:
    def test_a_list_of_objects_is_a_row_each(self, tmp_path: Path) -> None:
        assert rows(tmp_path, [{"a": 1}, {"b": "x"}]) == [{"a": 1, "b": None}, {"a": None, "b": "x"}]

    def test_objects_by_name_keep_their_name(self, tmp_path: Path) -> None:
        found = rows(tmp_path, {"21645374": {"QUESTION": "why", "CONTEXTS": ["a", "b"], "final_decision": "yes"}})
        assert found == [{"key": "21645374", "QUESTION": "why", "CONTEXTS": ["a", "b"], "final_decision": "yes"}]

    def test_columns(self, tmp_path: Path) -> None:
        wanted = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
        assert rows(tmp_path, {"a": [1, 2], "b": ["x", "y"]}) == wanted
        assert rows(tmp_path, {"a": {"0": 1, "1": 2}, "b": {"0": "x", "1": "y"}}) == wanted

    def test_a_long_dictionary_of_words_is_pairs_and_a_short_one_a_record(self, tmp_path: Path) -> None:
        assert rows(tmp_path, {f"d{n}": n for n in range(300)})[299] == {"key": "d299", "value": 299}
        assert rows(tmp_path, {"findings": "clear", "age": 3}) == [{"findings": "clear", "age": 3}]

    @pytest.mark.parametrize("end", ["\n", "\r\n", " ", ""])
    def test_lines_whatever_the_file_is_called(self, tmp_path: Path, end: str) -> None:
        text = end.join(['{"o": {"A": "x"}, "n": 1}', '{"o": {"B": [2]}, "n": 2}', ""])
        assert columns(texts(written(tmp_path, "mimic-nle-dev.json", text))) == {
            "o": ['{"A":"x"}', '{"B":[2]}'],
            "n": [1, 2],
        }

    def test_a_key_goes_inside(self, tmp_path: Path) -> None:
        coco = {"info": {"year": 1}, "images": [{"id": 1}], "annotations": [{"id": 2}, {"id": 3}], "a": {"b": [4]}}
        assert rows(tmp_path, coco, key="annotations") == [{"id": 2}, {"id": 3}]
        assert rows(tmp_path, coco, key="a/b") == [{"value": 4}]
        with pytest.raises(CaseError, match=r"table\.no_such_key"):
            rows(tmp_path, coco, key="categories")

    def test_lists_of_objects_side_by_side_are_no_columns(self, tmp_path: Path) -> None:
        assert rows(tmp_path, {"images": [{"id": 1}], "boxes": [{"id": 2}]}) == [
            {"images": '[{"id":1}]', "boxes": '[{"id":2}]'}
        ]


class TestKinds:
    def test_one_kind_is_kept(self, tmp_path: Path) -> None:
        value = [{"s": "x", "i": 1, "n": 1, "b": True, "l": ["a"], "z": None}, {"s": "", "i": 2, "n": 0.5, "l": []}]
        found = table(written(tmp_path, "a.json", json.dumps(value)))
        assert types(found) == ["string", "int64", "double", "bool", "list<item: string>", "string"]
        assert columns(found)["s"] == ["x", ""]

    def test_several_kinds_become_json_text_with_a_warning(self, tmp_path: Path) -> None:
        found = table(written(tmp_path, "a.json", json.dumps([{"v": 1}, {"v": "1"}, {"v": None}])))
        assert columns(found)["v"] == ["1", '"1"', None]
        assert "several kinds" in found.warnings[0]

    @pytest.mark.parametrize("value", [2**63, -(2**70), 10**40])
    def test_integers_that_no_column_holds_keep_their_digits(self, tmp_path: Path, value: int) -> None:
        assert rows(tmp_path, [{"v": value}]) == [{"v": str(value)}]

    def test_a_large_integer_beside_a_fraction_is_not_rounded(self, tmp_path: Path) -> None:
        assert rows(tmp_path, [{"v": 2**60 + 1}, {"v": 0.5}]) == [{"v": str(2**60 + 1)}, {"v": "0.5"}]

    def test_declared(self, tmp_path: Path) -> None:
        assert rows(tmp_path, [{"v": "07"}, {"v": ""}], dtypes={"v": "integer"}) == [{"v": 7}, {"v": None}]
        with pytest.raises(CaseError, match=r"table\.bad_value") as caught:
            table(written(tmp_path, "a.json", '[{"v": "DOE^JANE"}]'), dtypes={"v": "integer"}).read()
        assert "DOE" not in str(caught.value)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.sampled_from("abc"), _JSON, min_size=1), min_size=1, max_size=6), st.integers(1, 40))
def test_values_cut_anywhere_are_read_whole(tmp_path: Path, records: list[dict[str, Any]], block: int) -> None:
    path = written(tmp_path, "a.json", json.dumps(records, ensure_ascii=False))
    original = json_stream.BLOCK
    json_stream.BLOCK = block
    try:
        text = json_stream.JsonText(path)
        assert list(text.members()) == records
        text.require_end()
    finally:
        json_stream.BLOCK = original


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('[{"a": 1}', r"read\.truncated"),
        ('{"a": 1, ', r"read\.(truncated|unreadable)"),
        ("[1,]", r"read\.unreadable"),
        ('[{"a": 1}] trailing', r"read\.unreadable"),
        ("[" * 200_000, r"read\.unreadable"),
        ('{"a":' * 200_000, r"read\.unreadable"),
        ('[{"a": 1, "a": 2}]', r"table\.duplicate_column"),
        ('{"a": 1, "a": 2}', r"table\.duplicate_column"),
        ('[{"a": ' + "9" * 5000 + "}]", r"read\.unreadable"),
        ("{'a': 1}", r"read\.unreadable"),
    ],
)
def test_what_is_no_json_is_refused(tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(CaseError, match=code):
        table(written(tmp_path, "a.json", text)).read()


def test_packed_and_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = written(tmp_path, "a.json.gz", gzip.compress('﻿[{"a": "ü"}]'.encode()))
    assert columns(table(path)) == {"a": ["ü"]}


def test_too_many_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"table\.too_many_columns"):
        rows(tmp_path, [{f"k{n}": n} for n in range(6000)])
